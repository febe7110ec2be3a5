// docs/extend.md: its blocks as they stand there, and what they do.
#include <filesystem>
#include <fstream>

#include <cairn/cache/cache_spec.hpp>
#include <cairn/cache/codec/decoded.hpp>

#include "support.hpp"
using namespace support;

// The page is for reading: it mixes int and size_t as people do.
#pragma GCC diagnostic ignored "-Wsign-conversion"

// clang-format off
namespace extend_page {
class Halves final : public cairn::DecodedCodec {
  public:
    Halves() : DecodedCodec({.name = "halves"}) {}
    std::size_t unit_bytes(int dims) const override { return std::size_t(dims) * 2; }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const cairn::Rows& to,
                cairn::Scratch) const override {
        for (int r = 0; r < to.count; ++r)
            for (int d = 0; d < dims; ++d) {
                const cairn::f16_bits half = cairn::f32_to_f16_saturated(x[r * stride + d]);
                std::memcpy(to.unit + r * to.stride + 2 * d, &half, 2);
            }
    }
    void decode(const cairn::Rows& from, int dims, float* x, std::ptrdiff_t stride,
                cairn::Scratch) const override {
        for (int r = 0; r < from.count; ++r)
            for (int d = 0; d < dims; ++d) {
                cairn::f16_bits half;
                std::memcpy(&half, from.unit + r * from.stride + 2 * d, 2);
                x[r * stride + d] = cairn::f16_to_f32(half);
            }
    }
};
// The policy: how the rows of any stream are written.
struct InHalves {
    static constexpr std::string_view word = "halves";
    cairn::StreamPlan plan(const cairn::StreamShape&) const { return std::make_shared<const Halves>(); }
};
using Cache = cairn::KvCache<cairn::Paged<InHalves>>;
struct EveryOther {
    static constexpr std::string_view word = "other";
    static constexpr cairn::KeepFacts facts{.hides = true};
    cairn::Extent extent(int capacity, int chunk) const { return {capacity, 0, 0, chunk}; }
    void intervals(int, int length, cairn::Intervals& to) const {
        for (int j = 0; j < length; ++j) to.push_back({.begin = j, .end = j + 1, .window = j % 2 ? 1 : cairn::Interval::forever});
    }
};
}  // namespace extend_page
// clang-format on

namespace {

const HeadLayout page_heads{4, 2, 16, 16};

RowMatrix fed(AnyCache cache, const RowMatrix& q, const RowMatrix& k, int piece) {
    RowMatrix out(q.rows(), 64);
    Context context;
    for (Eigen::Index at = 0; at < q.rows(); at += piece) {
        const Eigen::Index n = std::min<Eigen::Index>(piece, q.rows() - at);
        prefill(q.middleRows(at, n), k.middleRows(at, n), k.middleRows(at, n), cache, {},
                out.middleRows(at, n), context);
    }
    return out;
}
std::string page(const char* name) {
    std::ifstream in(std::filesystem::path(CAIRN_TEST_DATA) / ".." / ".." / "docs" / name);
    return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("the parts of docs/extend.md work, by type and by word", "[extend]") {
    Random random(2);
    const RowMatrix q = random_matrix(random, 300, 64);
    const RowMatrix k = random_matrix(random, 300, 32);
    const RowMatrix wanted = fed(extend_page::Cache(page_heads, 400), q, k, 300);
    CHECK(same_bits(fed(extend_page::Cache(page_heads, 400), q, k, 7), wanted));
    // As plain rows that were rounded before.
    RowMatrix rounded = k;
    for (Eigen::Index i = 0; i < k.size(); ++i)
        rounded.data()[i] = f16_to_f32(f32_to_f16_saturated(k.data()[i]));
    CHECK(same_bits(fed(KvCache<>(page_heads, 400), q, rounded, 300), wanted));
    {
        using extend_page::EveryOther;
        using extend_page::InHalves;
        cairn::cache_words().codec(InHalves{});
        cairn::cache_words().keep(EveryOther{});
    }
    const auto spec = cairn::CacheSpec::parse("paged=16:halves:other");
    CHECK(spec.canonical() == "paged=16:halves:other");
    const RowMatrix other = fed(spec.make(page_heads, 400), q, k, 300);
    CHECK(same_bits(fed(spec.make(page_heads, 400), q, k, 1), other));
    CHECK_FALSE(same_bits(other, wanted));
    CHECK(CacheSpec::codecs().find("halves") != std::string::npos);
}

TEST_CASE("the pages show what is tested, and every rule", "[extend]") {
    const std::string extend = page("extend.md");
    std::ifstream self(std::filesystem::path(CAIRN_TEST_DATA) / ".." / "cache" / "extend_test.cpp");
    const std::string source{std::istreambuf_iterator<char>(self), {}};
    const std::string begin = "namespace extend_page {\n";
    std::size_t at = source.find(begin) + begin.size();
    const std::size_t end = source.find("}  // namespace extend_page");
    while (at < end) {
        const std::size_t stop = source.find('\n', at);
        INFO(source.substr(at, stop - at));
        CHECK(extend.find(source.substr(at, stop - at)) != std::string::npos);
        at = stop + 1;
    }
    const std::string caches = page("caches.md");
    for (const CacheRule& rule : cache_rules) {
        INFO(rule.sentence);
        CHECK(caches.find(rule.sentence) != std::string::npos);
    }
}
