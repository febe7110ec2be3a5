// What a cache saves, counted: keys and values projected, and dot products of attention, for n
// tokens fed one by one with a cache and for all of them again at every step without.
#include <cairn/models/tiny_gpt.hpp>

#include "support.hpp"
using namespace support;

namespace {

// f32 rows that count what is written and read.
struct Counting {
    static inline long written = 0;  // rows of one head: a key or a value was projected for each
    static inline long dots = 0;     // of a query with a key
    static inline long weighed = 0;  // values added to an output
    static const Codec& keys() noexcept {
        static const Codec codec = counted(F32::keys());
        return codec;
    }
    static const Codec& values() noexcept {
        static const Codec codec = counted(F32::values());
        return codec;
    }

  private:
    static Codec counted(Codec codec) {
        codec.encode = [](const float* x, std::ptrdiff_t stride, int dims, const Rows& to) {
            written += to.count;
            F32::keys().encode(x, stride, dims, to);
        };
        codec.scores = [](const Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride,
                          int queries, float* s, std::ptrdiff_t s_stride) {
            dots += long{keys.count} * queries;
            F32::keys().scores(keys, dims, q, q_stride, queries, s, s_stride);
        };
        codec.weigh = [](const Rows& values, int dims, const float* p, std::ptrdiff_t p_stride,
                         int queries, float* o, std::ptrdiff_t o_stride) {
            weighed += long{values.count} * queries;
            F32::values().weigh(values, dims, p, p_stride, queries, o, o_stride);
        };
        return codec;
    }
};

}  // namespace

TEST_CASE("n projections with a cache, n(n+1)/2 without", "[counting]") {
    const TinyGpt gpt = TinyGpt::random({.layers = 3, .heads = 2, .width = 32, .vocab = 50}, 4);
    using Cache = KvCache<Contiguous<Counting>>;
    const long streams = 3 * 2;  // layers x heads
    Random random(4);
    const auto tokens = random_tokens(random, 300, 50);
    for (const long n : {1L, 2L, 17L, 256L, 300L}) {
        INFO(n << " tokens");
        Counting::written = Counting::dots = Counting::weighed = 0;
        auto session = gpt.session<Cache>(300);
        std::vector<float> last;
        for (long i = 0; i < n; ++i) {
            const auto logits = session.decode(tokens[static_cast<std::size_t>(i)]);
            last.assign(logits.begin(), logits.end());
        }
        CHECK(Counting::written == 2 * streams * n);
        CHECK(Counting::dots == streams * n * (n + 1) / 2);
        CHECK(Counting::weighed == streams * n * (n + 1) / 2);

        Counting::written = Counting::weighed = 0;
        for (long i = 1; i <= n; ++i) {
            auto again = gpt.session<Cache>(300);
            const auto logits =
                again.prefill(cairn::Tokens(tokens).first(static_cast<std::size_t>(i)));
            if (i == n) CHECK(same_bits(logits, last));
        }
        CHECK(Counting::written == 2 * streams * n * (n + 1) / 2);
        // Every step attends to a triangle: the values of rows nobody sees are not touched.
        CHECK(Counting::weighed == streams * n * (n + 1) * (n + 2) / 6);
    }
}
