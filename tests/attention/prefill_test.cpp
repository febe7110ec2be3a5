#include <cmath>
#include <limits>

#include "attention/attention_support.hpp"
using namespace support;

TEST_CASE("q shorter than k stands at the end", "[prefill]") {
    Random random(3);
    Context context;
    Problem p = random_problem(random, 400);
    p.parameters = {.scale = 0.2F};
    KvCache<> whole(p.layout, 400), late(p.layout, 400);
    const RowMatrix all = run(p, whole, context, nullptr);
    RowMatrix last(1, all.cols());
    prefill(p.q.bottomRows(1), p.k, p.v, late, p.parameters, last, context);
    CHECK(same_bits(last, all.bottomRows(1)));
}

TEST_CASE("attention refuses what does not fit and changes nothing", "[prefill]") {
    Random random(6);
    Context context;
    const HeadLayout layout{2, 1, 8, 8};
    KvCache<> cache(layout, 10);
    const RowMatrix q = random_matrix(random, 3, 16), k = random_matrix(random, 3, 8),
                    v = random_matrix(random, 3, 8);
    RowMatrix out(3, 16);
    const AttentionParameters plain;
    CHECK(code_of([&] { prefill(k, k, v, cache, plain, out, context); }) ==
          ErrorCode::shape_mismatch);
    CHECK(code_of([&] { prefill(q, k, v.topRows(2), cache, plain, out, context); }) ==
          ErrorCode::shape_mismatch);
    CHECK(code_of([&] { prefill(q, k.topRows(2), v.topRows(2), cache, plain, out, context); }) ==
          ErrorCode::shape_mismatch);
    RowMatrix shared = q;
    CHECK(code_of([&] { prefill(shared, k, v, cache, plain, shared, context); }) ==
          ErrorCode::invalid_argument);
    const std::vector<float> slopes(3);
    CHECK(code_of([&] { prefill(q, k, v, cache, {.alibi = slopes}, out, context); }) ==
          ErrorCode::shape_mismatch);
    CHECK(cache.length() == 0);
    CHECK(code_of([&] {
              attend(cache, {q.data(), 16, 3, 0}, plain, 2, out.data(), 16, context);
          }) == ErrorCode::bad_state);
    CHECK(code_of([&] { (void)Mask::sliding_window(0); }) == ErrorCode::invalid_argument);
    cache.stage(token_rows(k), token_rows(v));
    CHECK(code_of([&] { prefill(q, k, v, cache, plain, out, context); }) == ErrorCode::bad_state);
}

TEST_CASE("attention of numbers only: NaN and infinity change nothing", "[prefill]") {
    Random random(7);
    Context context;
    const HeadLayout layout{2, 1, 8, 8};
    KvCache<Contiguous<F16>> cache(layout, 10);
    const RowMatrix good[] = {random_matrix(random, 3, 16), random_matrix(random, 3, 8),
                              random_matrix(random, 3, 8)};
    RowMatrix out(3, 16);
    prefill(good[0], good[1], good[2], cache, {}, out, context);
    const float infinity = std::numeric_limits<float>::infinity();
    const char* names[] = {"row 2 of q", "row 2 of k", "row 2 of v"};
    for (int which = 0; which < 3; ++which)
        for (const float value : {std::nanf(""), infinity, -infinity}) {
            RowMatrix bad[] = {good[0], good[1], good[2]};
            bad[which](2, 7) = value;
            try {
                prefill(bad[0], bad[1], bad[2], cache, {}, out, context);
                FAIL("no error");
            } catch (const Error& error) {
                CHECK(error.code() == ErrorCode::non_finite);
                CHECK(std::string(error.what()).find(names[which]) != std::string::npos);
            }
            CHECK(cache.length() == 3);
        }
    // Finite numbers whose products are not.
    RowMatrix big[] = {good[0], good[1], good[2]};
    big[0].setConstant(3e38F);
    big[1].setConstant(60000.0F);
    CHECK(code_of([&] { prefill(big[0], big[1], big[2], cache, {}, out, context); }) ==
          ErrorCode::non_finite);
    CHECK(cache.length() == 3);
    CHECK(cache.committed() == 3);
    prefill(good[0], good[1], good[2], cache, {}, out, context);
}
