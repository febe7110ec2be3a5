// KVQuant against its definition: levels, outliers, first token, the bits of "decode, rotate,
// multiply" however rows come, and files that are not what they should be.
#include <cairn/cache/cache_spec.hpp>
#include <cairn/cache/codec/kvquant_calibration.hpp>
#include <cairn/cache/planner.hpp>

#include <cstdio>
#include <numeric>

#include "cache/script_support.hpp"
#include "read_rows.hpp"
#include "session_support.hpp"
using namespace support;

namespace {

const HeadLayout nuq_heads{6, 2, 24, 16};

struct NuqText {
    RowMatrix q, k, v;
    explicit NuqText(int rows, int seed = 5) {
        Random random(static_cast<std::uint64_t>(seed));
        q = random_matrix(random, rows, nuq_heads.heads * nuq_heads.key_dim);
        k = random_matrix(random, rows, nuq_heads.kv_heads * nuq_heads.key_dim);
        v = random_matrix(random, rows, nuq_heads.kv_heads * nuq_heads.value_dim);
        k.col(3) *= 20.0F;  // a channel that stands out, and numbers that do
        for (int r = 0; r < rows; r += 17) v(r, r % 32) = 30.0F;
    }
};

std::span<const float> numbers_of(const RowMatrix& m) {
    return {m.data(), static_cast<std::size_t>(m.size())};
}

std::shared_ptr<const KvQuantTables> nuq_tables(const HeadLayout& heads = nuq_heads,
                                                int layers = 1) {
    Random random(77);
    std::vector<float> numbers;
    for (int layer = 0; layer < layers; ++layer) {
        const RowMatrix k = random_matrix(random, 400, heads.kv_heads * heads.key_dim);
        const RowMatrix v = random_matrix(random, 400, heads.kv_heads * heads.value_dim);
        const std::vector<float> found =
            calibrate_kvquant_layer(numbers_of(k), numbers_of(v), heads);
        numbers.insert(numbers.end(), found.begin(), found.end());
    }
    return std::make_shared<const KvQuantTables>(
        KvQuantTables::Shape{layers, heads.kv_heads, heads.key_dim, heads.value_dim},
        std::move(numbers));
}

template <int bits, template <class, class> class Store = Contiguous>
AnyCache nuq_cache(int capacity = 400) {
    const KvQuant<bits> codec{nuq_tables()};
    return KvCache<Store<KvQuant<bits>, KvQuant<bits>>>(nuq_heads, capacity, {codec, codec});
}

float naive_nearest(std::span<const float> levels, double middle, double half, float x) {
    float best = 0.0F;
    for (std::size_t i = 0; i < levels.size(); ++i) {
        const auto level = static_cast<float>(std::fma(double{levels[i]}, half, middle));
        if (i == 0 || std::abs(double{level} - x) < std::abs(double{best} - x)) best = level;
    }
    return best;
}

void nuq_write_file(const std::string& path, std::span<const std::byte> bytes) {
    std::FILE* file = std::fopen(path.c_str(), "wb");
    REQUIRE(file != nullptr);
    REQUIRE(std::fwrite(bytes.data(), 1, bytes.size(), file) == bytes.size());
    std::fclose(file);
}

}  // namespace

TEST_CASE("levels: k-means ascends, and loses no more than even levels", "[kvquant]") {
    Random random(3);
    for (const int count : {4, 8, 16})
        for (int round = 0; round < 6; ++round) {
            std::vector<float> x, w;
            for (int i = 0; i < 2000; ++i) {
                const double z = random.normal() / 3.0;
                x.push_back(
                    static_cast<float>(std::clamp(round % 2 == 0 ? z : z * z * z, -1.0, 1.0)));
                w.push_back(round < 3 ? 1.0F : static_cast<float>(draw(random, 0, 5)));
            }
            const std::vector<float> levels = find_levels(x, w, count);
            REQUIRE(levels.size() == static_cast<std::size_t>(count));
            CHECK(std::is_sorted(levels.begin(), levels.end()));
            CHECK(levels.front() >= -1.0F);
            CHECK(levels.back() <= 1.0F);
            const auto naive_error = [&](const std::vector<float>& at) {
                double sum = 0.0;
                for (std::size_t i = 0; i < x.size(); ++i) {
                    double least = 1e9;
                    for (const float level : at)
                        least = std::min(least, (double{x[i]} - level) * (double{x[i]} - level));
                    sum += w[i] * least;
                }
                return sum / static_cast<double>(x.size());
            };
            const double error = naive_error(levels);
            CHECK(error < naive_error(even_levels(count)));
            CHECK(std::abs(error - level_error(x, w, levels)) < 1e-9);
            // A step from a naive assignment moves no level: k-means has settled, or 50 steps are
            // over. Moving any level to the mean of its numbers gains next to nothing.
            for (int c = 0; c < count; ++c) {
                std::vector<float> moved = levels;
                double sum = 0.0, weight = 0.0;
                for (std::size_t i = 0; i < x.size(); ++i) {
                    int nearest = 0;
                    for (int j = 1; j < count; ++j)
                        if (std::abs(x[i] - levels[static_cast<std::size_t>(j)]) <
                            std::abs(x[i] - levels[static_cast<std::size_t>(nearest)]))
                            nearest = j;
                    if (nearest == c) sum += double{w[i]} * x[i], weight += w[i];
                }
                if (weight > 0.0)
                    moved[static_cast<std::size_t>(c)] = static_cast<float>(sum / weight);
                CHECK(naive_error(moved) > 0.98 * error);
            }
        }
    CHECK(find_levels({}, {}, 4) == even_levels(4));
    const std::vector<float> same(100, 0.25F);
    CHECK(level_error(same, {}, find_levels(same, {}, 4)) < 1e-12);
}

TEST_CASE("calibration leaves exactly 0.5 % of a channel out at either end", "[kvquant]") {
    const NuqText text(1000);
    const std::vector<float> found =
        calibrate_kvquant_layer(numbers_of(text.k), numbers_of(text.v), nuq_heads);
    const auto channels = static_cast<int>(text.k.cols());
    for (int c = 0; c < channels; ++c) {
        int below = 0, above = 0;
        for (int r = 0; r < 1000; ++r) {
            below += text.k(r, c) < found[static_cast<std::size_t>(c)];
            above += text.k(r, c) > found[static_cast<std::size_t>(channels + c)];
        }
        CHECK(below == 5);
        CHECK(above == 5);
    }
    CHECK(code_of([&] {
              (void)calibrate_kvquant_layer(numbers_of(text.k).first(48 * 10),
                                            numbers_of(text.v).first(32 * 10), nuq_heads);
          }) == ErrorCode::invalid_argument);
    RowMatrix bad = text.k;
    bad(3, 3) = std::nanf("");
    CHECK(code_of([&] {
              (void)calibrate_kvquant_layer(numbers_of(bad), numbers_of(text.v), nuq_heads);
          }) == ErrorCode::non_finite);
}

TEST_CASE("values: the exact number of outliers, the narrowest range, the nearest levels",
          "[kvquant]") {
    Random random(8);
    for (const int dims : {1, 2, 16, 64, 200, 255, 256, 300})
        for (const int bits : {2, 3, 4}) {
            const RowMatrix sample = random_matrix(random, 1, 500);
            const std::vector<float> levels = find_levels(numbers_of(sample), {}, 1 << bits);
            std::vector<float> inside(levels);
            for (float& level : inside) level = std::clamp(level, -1.0F, 1.0F);
            const internal::NuqValues codec("nuq", bits, inside);
            RowMatrix x = random_matrix(random, 3, dims);
            if (dims > 4) x(1, dims / 2) = 1e3F;
            std::vector<std::byte> bytes(3 * codec.unit_bytes(dims));
            const Rows rows{
                bytes.data(), static_cast<std::ptrdiff_t>(codec.unit_bytes(dims)), 0, 3, 0, 0};
            codec.encode(x.data(), dims, dims, rows, {});
            RowMatrix y(3, dims);
            codec.decode(rows, dims, y.data(), dims, {});
            for (int r = 0; r < 3; ++r) {
                std::vector<std::uint8_t> out(static_cast<std::size_t>(dims));
                const int wanted = std::max(1, (dims + 50) / 100);
                const auto [low, high] =
                    internal::take_outliers(x.row(r).data(), dims, wanted, out.data());
                const int taken = std::accumulate(out.begin(), out.end(), 0);
                CHECK(taken == std::min(wanted, dims - 1));
                if (taken == 1 && dims > 2) {  // no other single number leaves less
                    for (int without = 0; without < dims; ++without) {
                        float l = 1e9F, h = -1e9F;
                        for (int i = 0; i < dims; ++i)
                            if (i != without) l = std::min(l, x(r, i)), h = std::max(h, x(r, i));
                        CHECK(high - low <= h - l);
                    }
                }
                const float middle = f16_to_f32(f32_to_f16((low + high) / 2));
                const float half = f16_to_f32(f32_to_f16(high / 2 - low / 2));
                for (int i = 0; i < dims; ++i) {
                    const float want = out[static_cast<std::size_t>(i)] != 0
                                           ? f16_to_f32(f32_to_f16(x(r, i)))
                                           : naive_nearest(inside, middle, half, x(r, i));
                    CHECK(y(r, i) == want);
                }
            }
        }
}

TEST_CASE("keys: outliers by channel, as many as there is room for, the others at their level",
          "[kvquant]") {
    Random random(9);
    const auto tables = nuq_tables();
    const auto low = tables->low(0), high = tables->high(0);
    for (const int bits : {2, 3, 4}) {
        const auto levels = tables->levels(0, bits, true);
        const internal::NuqKeys codec("nuq", bits, 24, low, high, levels);
        RowMatrix x = random_matrix(random, 40, 24);
        x(3, 4) = 9.0F;
        x(3, 9) = -20.0F;
        const auto unit = static_cast<std::ptrdiff_t>(codec.unit_bytes(24));
        for (int head = 0; head < 2; ++head) {
            std::vector<std::byte> bytes(static_cast<std::size_t>(40 * unit));
            const Rows rows{bytes.data(), unit, 0, 40, head, 0};
            codec.encode(x.data(), 24, 24, rows, {});
            RowMatrix y(40, 24);
            codec.decode(rows, 24, y.data(), 24, {});
            for (int r = 0; r < 40; ++r) {
                int kept = 0;
                for (int i = 0; i < 24; ++i) {
                    const auto c = static_cast<std::size_t>(head * 24 + i);
                    const float level = naive_nearest(levels, 0.5 * (double{low[c]} + high[c]),
                                                      0.5 * (double{high[c]} - low[c]), x(r, i));
                    const bool outside = x(r, i) < low[c] || x(r, i) > high[c];
                    const bool apart = y(r, i) == f16_to_f32(f32_to_f16(x(r, i)));
                    CHECK((y(r, i) == level || (outside && apart)));
                    kept += y(r, i) != level;
                }
                CHECK(kept <= internal::key_outliers(24));
                if (r == 3) CHECK(y(3, 9) == -20.0F);
            }
        }
        CHECK(code_of([&] { (void)codec.unit_bytes(32); }) == ErrorCode::shape_mismatch);
    }
    // Bits of a number, counted from bytes: SmolLM2's heads of 64 at 3 bits.
    const auto wide = nuq_tables({9, 3, 64, 64});
    CHECK(internal::NuqKeys("k", 3, 64, wide->low(0), wide->high(0), wide->levels(0, 3, true))
              .unit_bytes(64) == 24 + 2 * 3);
    CHECK(internal::NuqValues("v", 3, wide->levels(0, 3, false)).unit_bytes(64) == 4 + 3 + 24);
}

TEST_CASE("kvquant: keys are turned after they are read, whatever they are fed in", "[kvquant]") {
    constexpr int rows = 330;
    const NuqText text(rows);
    const RotaryHalf rotary(RotarySettings{20, 1e4, 2000, {}, {}});
    const AttentionParameters parameters{.scale = 0.2F, .rotation = &rotary};
    const auto make = [](int which) {
        return which == 0   ? nuq_cache<2>()
               : which == 1 ? nuq_cache<3>()
               : which == 2 ? nuq_cache<4>()
                            : nuq_cache<3, Mapped>();
    };
    for (int which = 0; which < 4; ++which) {
        INFO(which);
        AnyCache one = make(which);
        CHECK(one.rows_wanted() == RowsWanted{RowKind::bare_key, true});
        RowMatrix wanted(rows, nuq_heads.heads * nuq_heads.value_dim);
        for (int p = 0; p < rows; ++p) {
            one.stage(token_rows(text.k.middleRows(p, 1)), token_rows(text.v.middleRows(p, 1)));
            wanted.row(p) = read_and_attend(
                one, text.q.row(p), p, parameters,
                [&](RowKind, Made part, int, int position, std::span<const float> row) {
                    std::vector<float> key(row.begin(), row.end());
                    if (part == Made::keys) rotary.rotate(key.data(), position);
                    return key;
                });
            one.commit();
        }
        same_however_fed(
            [&] { return make(which); }, text.k, text.v, wanted,
            [&](AnyCache& cache, RowMatrix& out, int begin, int end, int piece, Context& context) {
                for (int at = begin; at < end;) {
                    const int n = std::min(piece, end - at);
                    prefill(text.q.middleRows(at, n), text.k.middleRows(at, n),
                            text.v.middleRows(at, n), cache, parameters, out.middleRows(at, n),
                            context);
                    at += n;
                }
            });
    }
}

TEST_CASE("kvquant: the first token is f16, and all of it lives through scripts", "[kvquant]") {
    const std::string file = "/tmp/cairn-kvquant-test-" + std::to_string(::getpid()) + ".kvq";
    const HeadLayout heads = uneven_heads;
    const auto tables = nuq_tables(heads);
    nuq_write_file(file, tables->bytes());
    Random random(21);
    for (const std::string& word : std::vector<std::string>{
             "contiguous:kvquant3=" + file, "paged=16:kvquant2=" + file,
             "mapped:kvquant4=" + file + ",first=5", "tiered=20:kvquant3=" + file,
             "contiguous,disk=64:kvquant4=" + file, "contiguous:k=kvquant3=" + file + ",v=q8_0",
             "paged=16:kvquant3=" + file + ":window=50,sinks=2"}) {
        INFO(word);
        const CacheSpec spec = CacheSpec::parse(word);
        CHECK(CacheSpec::parse(spec.canonical()).canonical() == spec.canonical());
        const Step all(random, 300);
        const auto step = [&](int begin, int n) {
            return std::pair(token_rows(all.k.middleRows(begin, n)),
                             token_rows(all.v.middleRows(begin, n)));
        };
        AnyCache cache = spec.make(heads, 400);
        {
            const auto [k, v] = step(0, 5);
            cache.append(k, v);
            RunList keys, values;
            cache.runs(1, keys, values);
            std::vector<float> row(20);
            keys[0].codec->decode(keys[0].rows(0, 1), 20, row.data(), 20);
            CHECK(keys[0].end == (word.ends_with("first=5") ? 5 : 1));
            for (int d = 0; d < 20; ++d)
                CHECK(row[static_cast<std::size_t>(d)] == f16_to_f32(f32_to_f16(all.k(0, 20 + d))));
        }
        lives_through_a_script(spec, heads, {all}, random);
        const CachePlan plan = plan_cache(spec, heads, {400, 90, 0});
        AnyCache sized = spec.make(heads, 400);
        for (int row = 0; row < 90; ++row) {
            const auto [k, v] = step(row, 1);
            sized.append(k, v);
        }
        CHECK(plan.payload == sized.payload_bytes(90));
        CHECK(plan.committed == sized.bytes());
        // Another calibration is another cache.
        const KvQuantTables other(tables->shape(), [&] {
            const auto found =
                calibrate_kvquant_layer(numbers_of(random_matrix(random, 40, 40)),
                                        numbers_of(random_matrix(random, 40, 24)), heads);
            return found;
        }());
        nuq_write_file(file, other.bytes());
        AnyCache stranger = CacheSpec::parse(word).make(heads, 400);
        MemoryArchive stored(archived(sized));
        CHECK(code_of([&] { stranger.archive(stored); }) == ErrorCode::model_mismatch);
        nuq_write_file(file, tables->bytes());
    }
    for (const std::string& word : std::vector<std::string>{
             "kvquant3=" + file + ":h2o=10", "k=f16,v=kvquant3=" + file, "kvquant3",
             "kvquant3=", "q8_0=3", "q8_0,x=3", "kvquant3=" + file + "+bare"})
        CHECK(code_of([&] { (void)CacheSpec::parse(word); }) == ErrorCode::usage);
    CHECK(code_of([&] { (void)CacheSpec::parse("kvquant3=/nowhere/x.kvq"); }) == ErrorCode::io);
    CHECK(code_of([&] { (void)CacheSpec::parse("kvquant3=" + file).make(nuq_heads, 10); }) ==
          ErrorCode::model_mismatch);
    CHECK(code_of([&] { (void)CacheSpec::parse("kvquant3=" + file).make(heads, 10, 1); }) ==
          ErrorCode::model_mismatch);
    CHECK(code_of([] { KvCache<Contiguous<KvQuant<3>>>(nuq_heads, 10); }) ==
          ErrorCode::invalid_argument);
    std::remove(file.c_str());
}

TEST_CASE("calibration files that are not are refused", "[kvquant]") {
    const auto tables = nuq_tables();
    const std::vector<std::byte> good = tables->bytes();
    CHECK(KvQuantTables::parse(good).bytes() == good);
    Random random(4);
    for (int round = 0; round < 400; ++round) {
        std::vector<std::byte> bad = good;
        if (round % 4 == 0)
            bad.resize(
                static_cast<std::size_t>(draw(random, 0, static_cast<int>(good.size()) - 1)));
        else
            bad[static_cast<std::size_t>(draw(random, 0, static_cast<int>(good.size()) - 1))] ^=
                static_cast<std::byte>(draw(random, 1, 255));
        REQUIRE(code_of([&] { (void)KvQuantTables::parse(bad); }) == ErrorCode::bad_file);
    }
    // With a sum that is right the numbers are looked at.
    const auto refused = [&](auto change) {
        std::vector<std::byte> bad = good;
        change(bad);
        Fingerprint print;
        print.add(bad.data(), bad.size() - 8);
        const std::uint64_t sum = print.value();
        std::memcpy(bad.data() + bad.size() - 8, &sum, 8);
        return code_of([&] { (void)KvQuantTables::parse(bad); }) == ErrorCode::bad_file;
    };
    const auto put = [](std::size_t at, auto x) {
        return [=](std::vector<std::byte>& bytes) { std::memcpy(bytes.data() + at, &x, sizeof x); };
    };
    CHECK(refused(put(28, std::nanf(""))));
    CHECK(refused(put(28, 1e20F)));                      // a low above its high
    CHECK(refused(put(28 + 2 * 48 * 4, 5.0F)));          // levels that do not ascend
    CHECK(refused(put(8, std::uint32_t{2})));            // another version
    CHECK(refused(put(12, std::uint32_t{0xFFFFFFFF})));  // sizes beyond all
    CHECK(refused(put(16, std::uint32_t{4096})));
    CHECK(refused([](std::vector<std::byte>& bytes) { bytes.resize(36); }));
}

TEST_CASE("kvquant in a model: audited, and chunks change no bit", "[kvquant]") {
    const TinyLlama model = tiny_llama();
    const auto tables = nuq_tables(model.layout(0), model.layers());
    const KvQuant<4> codec{tables};
    const std::vector<Token> text(60, 7);
    const auto make = [&](int layer, const HeadLayout& layout, int rows) {
        return AnyCache(
            KvCache<Paged<KvQuant<4>, KvQuant<4>>>(layout, rows, {codec, codec}, {}, layer));
    };
    const auto found = verify_equivalence(model, text, make);
    CHECK(found.exact);
}
