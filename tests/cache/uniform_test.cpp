// Rows of a few bits in groups, and differences to the layer before (XQuant-CL): the loop is
// closed, so that errors do not add up, whatever happens to the caches.
#include <cairn/models/audit.hpp>

#include "cache/script_support.hpp"
#include "layers/layers_support.hpp"
#include "session_support.hpp"
using namespace support;

namespace {

const HeadLayout input_of_40{4, 2, 20, 12, 40};

// Rows of the layers of a residual stream: each the one before and a bit.
std::vector<Step> residual_stream(Random& random, int layers, int rows) {
    std::vector<Step> all;
    for (int layer = 0; layer < layers; ++layer) {
        all.emplace_back(random, rows);
        if (layer > 0) {
            all.back().k = 0.3F * all.back().k + all[all.size() - 2].k;
            all.back().v = 0.3F * all.back().v + all[all.size() - 2].v;
        }
    }
    return all;
}

CacheSet<AnyCache> caches_fed(const CacheSpec& spec, const std::vector<Step>& all, int rows) {
    CacheSet<AnyCache> set = cache_set_of(spec, input_of_40, static_cast<int>(all.size()));
    for (int layer = 0; layer < set.layers(); ++layer) {
        const auto [k, v] = step_rows(all[static_cast<std::size_t>(layer)], 0, rows);
        set[layer].append(k, v);
    }
    return set;
}

// Scale and least of a group by the definition, in binary16.
std::pair<float, float> uniform_scale(const float* x, int n, int bits) {
    const auto [low, high] = std::minmax_element(x, x + n);
    const float scale = (*high - *low) / static_cast<float>((1 << bits) - 1);
    return {f16_to_f32(f32_to_f16(scale)), f16_to_f32(f32_to_f16(*low))};
}

}  // namespace

TEST_CASE("uniform: half a scale is the most that is lost, and bytes are counted", "[uniform]") {
    Random random(31);
    for (int bits = 1; bits <= 8; ++bits)
        for (const int dims : {1, 20, 96, 100, 576}) {
            const internal::UniformRows codec(bits, 96);
            CHECK(codec.unit_bytes(dims) ==
                  static_cast<std::size_t>((dims + 95) / 96 * 4 + (dims * bits + 7) / 8));
            const RowMatrix x = random_matrix(random, 5, dims);
            std::vector<std::byte> bytes(5 * codec.unit_bytes(dims));
            const Rows rows{
                bytes.data(), static_cast<std::ptrdiff_t>(codec.unit_bytes(dims)), 0, 5, 0, 0};
            codec.encode(x.data(), dims, dims, rows, {});
            RowMatrix y(5, dims);
            codec.decode(rows, dims, y.data(), dims, {});
            for (int r = 0; r < 5; ++r)
                for (int i = 0; i < dims; ++i) {
                    const int from = i / 96 * 96;
                    const auto [scale, least] =
                        uniform_scale(x.row(r).data() + from, std::min(96, dims - from), bits);
                    CHECK(std::abs(x(r, i) - y(r, i)) <= 0.5F * scale * 1.01F + 4e-3F);
                    const float code = (y(r, i) - least) / std::max(scale, 1e-9F);
                    CHECK(std::abs(code - std::nearbyint(code)) < 2e-2F);
                }
        }
    // The paper's 7.7 times below f16 keys and values has zeros of 4 bits: with leasts of f16 it is
    // 2 * 16 / (4 + 32 / 128).
    CHECK(internal::UniformRows(4, 128).unit_bytes(4096) == 4096 / 2 + 4096 / 128 * 4);
}

TEST_CASE("differences: the loop is closed, open it and errors add up", "[uniform]") {
    Random random(32);
    constexpr int layers = 12;
    constexpr int rows = 30;
    const std::vector<Step> all = residual_stream(random, layers, rows);
    const CacheSet<AnyCache> set =
        caches_fed(CacheSpec::parse("uniform=3,across=2+inputs"), all, rows);
    RowMatrix before(rows, 40);
    RowMatrix open(rows, 40);  // differences of what was, not of what is read
    double most_open = 0.0;
    for (int layer = 0; layer < layers; ++layer) {
        const RowMatrix& x = all[static_cast<std::size_t>(layer)].k;
        const auto seen = rows_seen(set[layer]);
        RowMatrix got(rows, 40);
        for (int r = 0; r < rows; ++r)
            std::copy_n(seen[static_cast<std::size_t>(r)].data(), 40, got.row(r).data());
        const auto steps = [&](const RowMatrix& difference, int bits, RowMatrix& rounded) {
            const internal::UniformRows codec(bits, 40);
            std::vector<std::byte> bytes(codec.unit_bytes(40));
            for (int r = 0; r < rows; ++r) {
                const Rows row{bytes.data(), 0, 0, 1, 0, 0};
                codec.encode(difference.row(r).data(), 40, 40, row, {});
                codec.decode(row, 40, rounded.row(r).data(), 40, {});
            }
        };
        RowMatrix wanted(rows, 40);
        if (layer < 2) {
            steps(x, 4, wanted);
            open = wanted;
        } else {
            const RowMatrix difference = x - before;
            steps(difference, 3, wanted);
            // What the layer loses is what its own codes lose, and nothing of the layers before.
            CHECK(((x - got) - (difference - wanted)).cwiseAbs().maxCoeff() < 1e-5F);
            wanted += before;
            const RowMatrix true_difference = x - all[static_cast<std::size_t>(layer - 1)].k;
            RowMatrix lossy(rows, 40);
            steps(true_difference, 3, lossy);
            open += lossy;
            if (layer == layers - 1) {
                most_open = double{(x - open).norm()};
                CHECK(double{(x - got).norm()} < 0.6 * most_open);
            }
        }
        CHECK(same_bits(got, wanted));
        before = got;
    }
    CHECK(most_open > 0.0);
}

TEST_CASE("uniform rows and differences live through scripts", "[uniform]") {
    Random random(33);
    for (const char* word :
         {"contiguous:uniform=3+inputs", "paged=16:uniform=2,group=20", "mapped:uniform=4+rot",
          "contiguous:uniform=3,across=1+inputs", "paged=16:uniform=2,across=2+inputs",
          "paged=16:k=uniform=4,across=1+inputs,v=q8_0", "mapped:uniform=4,across=1",
          "tiered=20:uniform=4,across=1+inputs", "contiguous:uniform=3+bare",
          "contiguous:uniform=3,across=2+inputs:window=60,sinks=3"}) {
        INFO(word);
        const CacheSpec spec = CacheSpec::parse(word);
        CHECK(CacheSpec::parse(spec.canonical()).canonical() == spec.canonical());
        lives_through_a_script(spec, input_of_40, residual_stream(random, 4, 300), random);
    }
}

TEST_CASE("differences want the layer before, and say so", "[uniform]") {
    Random random(34);
    const CacheSpec spec = CacheSpec::parse("uniform=3,across=1+inputs");
    const Step step(random, 4);
    const auto [k, v] = step_rows(step, 0, 4);
    AnyCache alone = spec.make(input_of_40, 50, 1);
    CHECK(code_of([&, k = k, v = v] { alone.append(k, v); }) == ErrorCode::bad_state);
    CHECK(alone.committed() == 0);
    // Behind a cache of another kind there is no row to take a difference to.
    CacheSet<AnyCache> mixed;
    mixed.add(CacheSpec::parse("f16").make(input_of_40, 50, 0));
    mixed.add(spec.make(input_of_40, 50, 1));
    mixed[0].append(k, v);
    CHECK(code_of([&, k = k, v = v] { mixed[1].append(k, v); }) == ErrorCode::bad_state);
    for (const char* wrong : {"uniform=9", "uniform=0", "uniform=3,group=5000", "uniform=3,x=1",
                              "contiguous,disk=64:uniform=3,across=1+inputs"})
        CHECK(code_of([&] { (void)CacheSpec::parse(wrong); }) == ErrorCode::usage);
}

TEST_CASE("differences in a model: cuts, branches and batches change no bit", "[uniform]") {
    const TinyLlama model = tiny_llama();
    const std::vector<Token> text(60, 7);
    for (const char* word : {"contiguous:uniform=3,across=1+inputs", "paged=16:uniform=4+inputs"}) {
        INFO(word);
        const CacheSpec spec = CacheSpec::parse(word);
        const auto found =
            verify_equivalence(model, text, [&](int layer, const HeadLayout& layout, int rows) {
                return spec.make(layout, rows, layer);
            });
        CHECK(found.exact);
        CHECK(audit_cache(model, text, spec).attention[0].value() > 0.0);
    }
}
