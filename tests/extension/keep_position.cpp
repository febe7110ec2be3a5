// A keep by position from outside: beyond a window of recent rows only every second one is seen.
// One file, a setting of its own, reached by type and by the word `second`.
#include <cairn/cache/cache_spec.hpp>

#include "naive.hpp"

namespace {

struct EverySecond {
    int window = 12;

    static constexpr std::string_view word = "second";
    static constexpr std::string_view help = "the last N rows and every second one before them";
    static constexpr cairn::KeepFacts facts{.hides = true};
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(cairn::Option{"", "the recent rows", 1}, self.window);
    }
    cairn::Extent extent(int capacity, int chunk) const { return {capacity, 0, 0, chunk}; }
    void intervals(int committed, int length, cairn::Intervals& to) const {
        // Rows that the next queries see whole, and those before them: even ones for ever, odd ones
        // while they are recent.
        const int recent = std::max(0, committed - window + 1);
        for (int j = 0; j < std::min(recent, length); j += 2)
            to.push_back({.begin = j, .end = j + 1});
        for (int j = std::min(recent, length); j < length; ++j)
            to.push_back({.begin = j,
                          .end = j + 1,
                          .window = j % 2 == 0 ? cairn::Interval::forever : window});
    }
};

}  // namespace

int main() {
    const cairn::HeadLayout layout{4, 1, 16, 16};
    const extension::Text text(layout, 600, 4);
    const float scale = 0.25F;
    const auto wanted =
        extension::naive(text.q, text.k, text.v, layout, scale,
                         [](int, int q, int j) { return j % 2 == 0 || q - j < 40; });
    const bool by_type = extension::everywhere(
        [&] {
            return cairn::KvCache<cairn::Contiguous<>, EverySecond>(layout, 700, {},
                                                                    {.window = 40});
        },
        text, layout, scale, wanted);
    cairn::cache_words().keep(EverySecond{});
    const cairn::CacheSpec spec = cairn::CacheSpec::parse("paged=16:f32:second=40");
    const bool by_word =
        extension::everywhere([&] { return spec.make(layout, 700); }, text, layout, scale, wanted);
    return extension::verdict("a keep by position", by_type && by_word);
}
