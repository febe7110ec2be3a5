// What a cache saves, counted: keys and values projected, and dot products of attention, for n
// tokens fed one by one with a cache and for all of them again at every step without.
#include <cairn/models/tiny_gpt.hpp>

#include "counting_codec.hpp"
#include "support.hpp"
using namespace support;

TEST_CASE("n projections with a cache, n(n+1)/2 without", "[counting]") {
    const TinyGpt gpt = TinyGpt::random({.layers = 3, .heads = 2, .width = 32, .vocab = 50}, 4);
    using Cache = KvCache<Contiguous<Counting>>;
    const long streams = 3 * 2;  // layers x heads
    Random random(4);
    const auto tokens = random_tokens(random, 300, 50);
    for (const long n : {1L, 2L, 17L, 256L, 300L}) {
        INFO(n << " tokens");
        Counting::clear();
        auto session = gpt.session<Cache>(300);
        std::vector<float> last;
        for (long i = 0; i < n; ++i) {
            const auto logits = session.decode(tokens[static_cast<std::size_t>(i)]);
            last.assign(logits.begin(), logits.end());
        }
        CHECK(Counting::written == 2 * streams * n);
        CHECK(Counting::dots == streams * n * (n + 1) / 2);
        CHECK(Counting::sums == streams * n * (n + 1) / 2);

        Counting::clear();
        for (long i = 1; i <= n; ++i) {
            auto again = gpt.session<Cache>(300);
            const auto logits =
                again.prefill(cairn::Tokens(tokens).first(static_cast<std::size_t>(i)));
            if (i == n) CHECK(same_bits(logits, last));
        }
        CHECK(Counting::written == 2 * streams * n * (n + 1) / 2);
        // Every step attends to a triangle: the values of rows nobody sees are not touched.
        CHECK(Counting::sums == streams * n * (n + 1) * (n + 2) / 6);
    }
}
