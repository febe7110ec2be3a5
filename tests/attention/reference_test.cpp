// The oracle itself, against numbers that were worked out by hand.
#include <cairn/attention/reference.hpp>

#include "support.hpp"
using namespace support;

TEST_CASE("the reference gives what the definition says by hand", "[reference]") {
    using Rows = MatrixOf<double>;
    // Two heads over one KV head of one number; the second row of queries sees both keys.
    const HeadLayout layout{2, 1, 1, 1};
    Rows q(2, 2), k(2, 1), v(2, 1);
    q << 1, 0, 2, 0;
    k << 0, std::log(3.0);
    v << 1, 5;
    AttentionParameters parameters;
    Rows out = reference_attention<double>(q, k, v, layout, parameters);
    CHECK(out(0, 0) == Approx(1.0));
    CHECK(out(1, 0) == Approx((1.0 + 9.0 * 5.0) / 10.0));  // weights 1 and 3^2
    CHECK(out(1, 1) == Approx(3.0));                       // a zero query weighs alike
    parameters.scale = 0.5F;
    out = reference_attention<double>(q, k, v, layout, parameters);
    CHECK(out(1, 0) == Approx((1.0 + 3.0 * 5.0) / 4.0));
    parameters.mask = Mask::sliding_window(1);
    CHECK(reference_attention<double>(q, k, v, layout, parameters)(1, 0) == Approx(5.0));
    // One query stands at the last of two positions.
    parameters.mask = Mask::causal();
    out = reference_attention<double>(q.bottomRows(1), k, v, layout, parameters);
    CHECK(out(0, 0) == Approx(4.0));
    const float slopes[] = {static_cast<float>(std::log(2.0)), 0.0F};
    parameters.alibi = slopes;  // the key one before counts half
    out = reference_attention<double>(q, k, v, layout, parameters);
    CHECK(out(1, 0) == Approx((0.5 + 3.0 * 5.0) / 3.5).epsilon(1e-6));
    parameters.alibi = {};
    const float sinks[] = {static_cast<float>(std::log(2.0)), -1e9F};
    parameters.sinks = sinks;  // takes the part of a key of weight 2 whose value is nothing
    out = reference_attention<double>(q, k, v, layout, parameters);
    CHECK(out(1, 0) == Approx((1.0 + 3.0 * 5.0) / 6.0).epsilon(1e-6));
    CHECK(out(1, 1) == Approx(3.0));
    CHECK(code_of([&] { reference_attention<double>(q, k, v.topRows(1), layout, parameters); }) ==
          ErrorCode::shape_mismatch);
}
