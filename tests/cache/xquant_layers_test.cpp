// Codes that a layer shares with the one before it: KIVI where nothing is shared, what the paper
// counts, and rows that survive whatever happens to the caches.
#include <cairn/cache/codec/kivi.hpp>

#include "cache/script_support.hpp"
#include "session_support.hpp"
using namespace support;

namespace {

std::vector<Step> layers_alike(Random& random, int layers, int rows) {
    std::vector<Step> all;
    for (int layer = 0; layer < layers; ++layer) {
        all.emplace_back(random, rows);
        if (layer % 2 == 1) {  // neighbours are alike, as the paper observes
            all.back().k = 0.2F * all.back().k + all[all.size() - 2].k;
            all.back().v = 0.2F * all.back().v + all[all.size() - 2].v;
        }
    }
    return all;
}

// Codes of a group by the definition.
std::vector<int> naive_codes(const std::vector<float>& x, int bits, float& scale, float& least) {
    const auto [low, high] = std::minmax_element(x.begin(), x.end());
    const float l = *low;
    const float s = (*high - l) / static_cast<float>((1 << bits) - 1);
    std::vector<int> codes;
    for (const float value : x) {  // to the nearest integer, ties to even
        const float magic = 12582912.0F;
        const float code = std::fma(value - l, 1.0F / s, magic) - magic;
        codes.push_back(std::clamp(static_cast<int>(code), 0, (1 << bits) - 1));
    }
    scale = f16_to_f32(f32_to_f16(s));
    least = f16_to_f32(f32_to_f16(l));
    return codes;
}

}  // namespace

TEST_CASE("xlayers: the paper's count of bits", "[xquant_layers]") {
    XQuantLayers paper{.kq = 30, .vq = 2, .km = 32, .vm = 16};
    CHECK(paper.equivalent_bits(32) == 1.375);
    const XQuantLayers extreme{.kq = 30, .vq = 2, .km = 16, .vm = 18};
    CHECK(extreme.equivalent_bits(32) == 1.15625);
    double sum = 0.0;
    for (int l = 0; l < 32; ++l) {
        sum += l % 2 == 1 && l >= 16 ? 0 : (l < 30 ? 2 : 1);  // keys
        sum += l % 2 == 1 && l >= 18 ? 0 : (l < 2 ? 2 : 1);   // values
    }
    CHECK(extreme.equivalent_bits(32) == sum / 64);
    CHECK(XQuantLayers{.kq = 30, .vq = 2, .km = 1, .vm = 1}.equivalent_bits(32) ==
          (30.0 + 1.0 + 2.0 + 15.0) / 64.0);
    CHECK(XQuantLayers{}.equivalent_bits(30) == 2.0);
    CHECK(XQuantLayers{.kq = 28, .vq = 2, .km = 30, .vm = 14}.equivalent_bits(30) == 82.0 / 60.0);
}

TEST_CASE("xlayers with no eta and nothing shared is KIVI, to the bit", "[xquant_layers]") {
    Random random(41);
    const Step all(random, 300);
    const XQuantLayers plain{.group = 32, .eta1 = 0, .eta2 = 0};
    AnyCache ours = KvCache<Contiguous<XQuantLayers>>(uneven_heads, 400, {plain, plain});
    AnyCache kivi = KvCache<Contiguous<Kivi<2>>>(uneven_heads, 400);
    for (int at = 0; at < 300; at += 100) {
        const auto [k, v] = step_rows(all, at, 100);
        ours.append(k, v);
        kivi.append(k, v);
        CHECK(rows_seen(ours) == rows_seen(kivi));
    }
}

TEST_CASE("xlayers: eta cuts what 1 and 2 bits lose of normal numbers", "[xquant_layers]") {
    Random random(42);
    const auto loss = [&](int bits, int eta) {
        const internal::SharedValueCodes codec(bits, 128, eta, false);
        std::vector<std::byte> bytes(codec.unit_bytes(128));
        const Rows row{bytes.data(), 0, 0, 1, 0, 0};
        double sum = 0.0;
        for (int i = 0; i < 400; ++i) {
            const RowMatrix x = random_matrix(random, 1, 128);
            RowMatrix y(1, 128);
            codec.encode(x.data(), 128, 128, row, {});
            codec.decode(row, 128, y.data(), 128, {});
            sum += double{(x - y).squaredNorm()} / double{x.squaredNorm()};
        }
        return sum / 400;
    };
    CHECK(loss(1, 0) > 2.5 * loss(1, 167));
    CHECK(loss(2, 0) > 1.1 * loss(2, 45));
}

TEST_CASE("xlayers: a follower reads its leader's codes with scales of its own",
          "[xquant_layers]") {
    Random random(43);
    const std::vector<Step> all = layers_alike(random, 4, 300);
    const double eta[] = {0.2, 0.05};
    for (const int group : {32, 128}) {
        const XQuantLayers codec{.kq = 2, .vq = 2, .km = 1, .vm = 3, .group = group};
        CacheSet<AnyCache> set;
        for (int layer = 0; layer < 4; ++layer) {
            set.add(
                KvCache<Contiguous<XQuantLayers>>(uneven_heads, 400, {codec, codec}, {}, layer));
            for (int at = 0; at < 300; at += 100) {
                const auto [k, v] = step_rows(all[static_cast<std::size_t>(layer)], at, 100);
                set[layer].append(k, v);
            }
        }
        // Keys of rows below 256 are old: the next query is at 300.
        const auto f16 = [](float x) { return f16_to_f32(f32_to_f16(x)); };
        for (int layer = 0; layer < 4; ++layer) {
            const auto seen = rows_seen(set[layer]);
            const bool shares = codec.follows(layer, true);
            CHECK(shares == (layer % 2 == 1));
            const int bits = codec.bits(layer, true);
            for (int h = 0; h < 2; ++h)
                for (int d = 0; d < 20; ++d)
                    for (int first = 0; first < 256; first += group) {
                        std::vector<float> own, codes_of;
                        for (int r = first; r < first + group; ++r) {
                            const auto at = static_cast<std::size_t>(layer);
                            own.push_back(f16(all[at].k(r, h * 20 + d)));
                            codes_of.push_back(f16(all[shares ? at - 1 : at].k(r, h * 20 + d)));
                        }
                        float scale = 0.0F, least = 0.0F, other = 0.0F;
                        const std::vector<int> codes = naive_codes(codes_of, bits, other, other);
                        (void)naive_codes(own, bits, scale, least);
                        for (int r = 0; r < group; ++r) {
                            const double e = eta[bits - 1];
                            const double want =
                                least + e * scale * ((1 << bits) - 1) +
                                (1 - 2 * e) * scale * codes[static_cast<std::size_t>(r)];
                            // `seen` has keys of head 0, values of head 0, keys of head 1, ...
                            const auto& row =
                                seen[static_cast<std::size_t>(2 * h * 300 + first + r)];
                            CHECK(std::abs(row[static_cast<std::size_t>(d)] - want) < 2e-3);
                        }
                    }
        }
        // A follower keeps no codes: 4 bytes a channel and group of keys, f16 for recent rows.
        const HeadLayout& heads = uneven_heads;
        const std::size_t own = set[2].payload_bytes(300);
        const std::size_t shared = set[3].payload_bytes(300);
        const std::size_t keys = 256 * static_cast<std::size_t>(heads.kv_heads) * 3;  // 20 codes
        const std::size_t values = 172 * static_cast<std::size_t>(heads.kv_heads) * 2;
        CHECK(own - shared >= keys / 2 + values);
    }
}

TEST_CASE("xlayers live through scripts", "[xquant_layers]") {
    Random random(44);
    for (const char* word :
         {"contiguous:xlayers,group=32", "contiguous:xlayers,kq=2,vq=2,km=1,vm=1,group=64",
          "paged=128:xlayers,kq=4,vq=2,vm=3", "mapped:xlayers,km=3,group=32,recent=64",
          "paged=32:k=xlayers,km=1,group=32,v=q8_0",
          "contiguous:xlayers,vq=2,km=1,vm=1,group=32+bare"}) {
        INFO(word);
        const CacheSpec spec = CacheSpec::parse(word);
        CHECK(CacheSpec::parse(spec.canonical()).canonical() == spec.canonical());
        lives_through_a_script(spec, uneven_heads, layers_alike(random, 4, 300), random);
    }
    for (const char* wrong :
         {"xlayers,group=48", "xlayers,recent=100", "xlayers,eta1=500", "paged=16:xlayers",
          "xlayers:h2o=10", "tiered=20:xlayers", "contiguous,disk=200:xlayers,km=1"})
        CHECK(code_of([&] { (void)CacheSpec::parse(wrong); }) == ErrorCode::usage);
    // Codes of 2 bits cannot be read as codes of 1.
    CHECK(code_of([] { (void)CacheSpec::parse("xlayers,kq=1,km=1").make(uneven_heads, 300, 1); }) ==
          ErrorCode::invalid_argument);
    // Settings of a leader that is not its own are not followed.
    const Step all(random, 300);
    CacheSet<AnyCache> mixed;
    mixed.add(CacheSpec::parse("xlayers,group=64").make(uneven_heads, 300, 0));
    mixed.add(CacheSpec::parse("xlayers,km=1,group=32").make(uneven_heads, 300, 1));
    const auto [k, v] = step_rows(all, 0, 10);
    CHECK(code_of([&, k = k, v = v] { mixed[1].append(k, v); }) == ErrorCode::bad_state);
}

TEST_CASE("xlayers in a model: cuts change no bit", "[xquant_layers]") {
    const TinyLlama model = tiny_llama();
    const std::vector<Token> text(180, 7);
    const CacheSpec spec = CacheSpec::parse("xlayers,km=1,vm=1,group=32,recent=32");
    const auto found =
        verify_equivalence(model, text, [&](int layer, const HeadLayout& layout, int rows) {
            return spec.make(layout, rows, layer);
        });
    CHECK(found.exact);
}
