// Seeded digests of kernels, attention and whole models. They are committed, and must come out the
// same for every compiler, optimisation level and instruction set: `digest FILE` compares, `digest`
// prints.
#include <cstdio>
#include <fstream>
#include <string>

#include <cairn/cache/cache_spec.hpp>
#include <cairn/cairn.hpp>
#include <cairn/layers/experts.hpp>
#include <cairn/layers/latent_attention.hpp>
#include <cairn/layers/quantised.hpp>

using namespace cairn;

namespace {

class Digest {
  public:
    void add(std::span<const float> values) {
        for (const float v : values) {
            hash_ ^= std::bit_cast<std::uint32_t>(v);
            hash_ *= 0x100000001B3ULL;
            hash_ ^= hash_ >> 29;
        }
    }
    std::string text() const {
        char buffer[17];
        std::snprintf(buffer, sizeof buffer, "%016llx", static_cast<unsigned long long>(hash_));
        return buffer;
    }

  private:
    std::uint64_t hash_ = 0xCBF29CE484222325ULL;
};

std::vector<float> numbers(Random& random, std::size_t n, double scale) {
    std::vector<float> v(n);
    for (float& x : v) x = static_cast<float>(random.normal() * scale);
    return v;
}

std::string kernel_digest() {
    Digest digest;
    Random random(1);
    const kernels::Table& t = kernels::active();
    for (const std::size_t n : {1U, 16U, 33U, 200U}) {
        const auto count = static_cast<std::ptrdiff_t>(n);
        const auto w = numbers(random, n, 1.0);
        const auto b = numbers(random, n, 1.0);
        using kernels::Table;
        for (auto function : {&Table::gelu_erf, &Table::gelu_tanh, &Table::silu, &Table::exp}) {
            auto x = numbers(random, n, 8.0);
            (t.*function)(x.data(), count);
            digest.add(x);
        }
        const auto x = numbers(random, n, 3.0);
        std::vector<float> y(n);
        t.layer_norm(x.data(), w.data(), b.data(), 1e-5F, count, y.data());
        digest.add(y);
        t.rms_norm(x.data(), w.data(), 1e-5F, count, y.data());
        digest.add(y);
        t.soft_cap(y.data(), 0, static_cast<int>(n), 1.5F);
        digest.add(y);
    }
    for (int i = 0; i < 2000; ++i) {
        const double u = random.normal() * 50.0;
        const auto [s, c] = elementary::sincos(u * 100.0);
        const float values[] = {static_cast<float>(elementary::exp(u / 5)), static_cast<float>(s),
                                static_cast<float>(c),
                                static_cast<float>(elementary::log(u * u + 1e-9)),
                                static_cast<float>(random.normal())};
        digest.add(values);
    }
    return digest.text();
}

template <class Cache>
std::string attention_digest() {
    Digest digest;
    Random random(2);
    Context context;
    for (const HeadLayout layout : {HeadLayout{3, 3, 24, 24}, HeadLayout{6, 2, 17, 33}}) {
        constexpr int rows = 300;
        const auto columns = [&](int heads, int dim) {
            return static_cast<std::size_t>(rows * heads * dim);
        };
        const auto q = numbers(random, columns(layout.heads, layout.key_dim), 1.0);
        const auto k = numbers(random, columns(layout.kv_heads, layout.key_dim), 1.0);
        const auto v = numbers(random, columns(layout.kv_heads, layout.value_dim), 1.0);
        for (const AttentionParameters& parameters :
             {AttentionParameters{.scale = 0.3F},
              AttentionParameters{
                  .scale = 0.3F, .mask = Mask::sliding_window(70), .soft_cap = 3.0F}}) {
            Cache cache(layout, rows);
            cache.stage({k.data(), layout.kv_heads * layout.key_dim, rows},
                        {v.data(), layout.kv_heads * layout.value_dim, rows});
            std::vector<float> out(columns(layout.heads, layout.value_dim));
            attend(cache, {q.data(), layout.heads * layout.key_dim, rows, 0}, parameters,
                   layout.heads, out.data(), layout.heads * layout.value_dim, context);
            digest.add(out);
        }
    }
    return digest.text();
}

std::string model_digest(ElementType type, Compute compute = Compute::accurate) {
    Digest digest;
    const auto model = random_gpt2(
        {.layers = 2, .heads = 3, .width = 48, .context = 300, .vocabulary = 70}, 5, type);
    auto session = model.session<KvCache<Contiguous<F16, BF16>>>(300);
    session.context().compute = compute;
    Random random(3);
    std::vector<Token> tokens;
    for (int i = 0; i < 40; ++i) tokens.push_back(static_cast<Token>(random.below(70)));
    digest.add(session.prefill(tokens));
    auto sampler = temperature(1.3F) | typical_p(0.95F) | top_p(0.9F) | draw(9);
    const Generation g = generate(session, std::vector<Token>{1}, sampler, {.max_tokens = 40});
    for (const Token t : g.tokens) {
        const auto value = static_cast<float>(t);
        digest.add({&value, 1});
    }
    return digest.text();
}

// Every block format, integer and f32 products, one row and many: of integers, or of four-bit
// floats.
enum class Codes { integers, floats };
std::string quantised_digest(Codes codes) {
    Digest digest;
    Random random(4);
    for (const quantised::Format* format : quantised::formats) {
        if (format->layout.fp4() != (codes == Codes::floats)) continue;
        constexpr int in = 512;
        constexpr int out = 37;
        const BlockSize& size = block_size(format->type);
        std::vector<std::byte> blocks(size.size_of(std::size_t{in} * out));
        for (std::byte& b : blocks) b = static_cast<std::byte>(random.below(256));
        std::size_t scale = 0;
        if (format->type == ElementType::q2_k) scale = 80;
        if (format->type == ElementType::q3_k) scale = 108;
        if (format->type == ElementType::q6_k) scale = 208;
        for (std::size_t at = scale; at < blocks.size(); at += size.bytes) {
            if (codes == Codes::floats) {  // a byte, a power of two
                blocks[at] = static_cast<std::byte>(118 + random.below(8));
                continue;
            }
            for (int i = 0; i < (format->layout.minimum ? 2 : 1); ++i) {
                const std::uint16_t f16 = f32_to_f16(static_cast<float>(random.normal() * 0.01));
                std::memcpy(blocks.data() + at + 2 * i, &f16, 2);
            }
        }
        WeightMatrix weights = quantised_matrix(out, in, format->type);
        weights.put_rows(0, out, blocks.data());
        std::vector<float> x = numbers(random, std::size_t{in} * 7, 1.0);
        std::vector<float> y(std::size_t{out} * 7);
        Context context;
        for (const Compute compute : {Compute::fast, Compute::accurate}) {
            context.compute = compute;
            for (const int rows : {7, 1}) {
                multiply(weights, nullptr, {x.data(), in, rows}, {y.data(), out, rows}, context);
                digest.add(y);
            }
        }
    }
    return digest.text();
}

// Caches on attention with rotated queries: a prompt, then tokens one by one.
std::string cache_digest(std::initializer_list<const char*> specs) {
    Digest digest;
    Random random(5);
    const HeadLayout layout{6, 2, 40, 36};
    constexpr int rows = 190;
    const RotaryHalf rotation({40, 10000.0, 256, {}, {}});
    AttentionParameters parameters;
    parameters.scale = 0.2F;
    parameters.rotation = &rotation;
    const std::vector<float> q = numbers(random, std::size_t{rows} * 240, 1.0);
    const std::vector<float> k = numbers(random, std::size_t{rows} * 80, 1.0);
    const std::vector<float> v = numbers(random, std::size_t{rows} * 72, 1.0);
    std::vector<float> out(std::size_t{rows} * 216);
    for (const char* text : specs) {
        AnyCache cache = CacheSpec::parse(text).make(layout, rows);
        Context context;
        cache.expect_prompt(150);
        for (int at = 0; at < rows;) {
            const int n = std::min(at < 150 ? std::min(150 - at, 64) : 1, cache.max_rows());
            cache.stage({k.data() + at * 80, 80, n}, {v.data() + at * 72, 72, n});
            attend(cache, {q.data() + at * 240, 240, n, at}, parameters, 6, out.data() + at * 216,
                   216, context);
            cache.commit(n);
            at += n;
        }
        digest.add(out);
    }
    return digest.text();
}

// Latent attention in both forms, and experts in groups: a prompt and single rows.
template <class Form>
void add_latent(Digest& digest, const char* cache_spec) {
    constexpr LatentShape shape{3, 20, 6, 17, 40};
    constexpr int width = 50;
    constexpr int rows = 90;
    Random random(6);
    const auto linear = [&](int out, int in) {
        RowMatrix m(out, in);
        const auto values = numbers(random, static_cast<std::size_t>(m.size()), 0.2);
        std::copy(values.begin(), values.end(), m.data());
        return Linear(WeightMatrix::from(m, ElementType::f16));
    };
    LatentWeights w;
    w.query = linear(78, width);
    w.latent = linear(46, width);
    w.latent_norm = RmsNorm(numbers(random, 40, 1.0), 1e-6F);
    for (int h = 0; h < shape.heads; ++h) {
        w.key_up.push_back(std::is_same_v<Form, Absorbed> ? linear(40, 20) : linear(20, 40));
        w.value_up.push_back(linear(17, 40));
    }
    w.out = linear(width, 51);
    const LatentAttention<Form> attention(shape, std::move(w),
                                          RotaryInterleaved({6, 1e4, 99, {}, {}}));
    std::vector<Expert> parts;
    for (int e = 0; e < 8; ++e) {
        Linear gate = linear(33, width);
        Linear up = linear(33, width);
        parts.push_back({std::move(gate), std::move(up), linear(width, 33)});
    }
    const Experts<> experts({.experts_used = 3, .groups = 4, .groups_used = 2, .scale = 1.5F},
                            linear(8, width), std::move(parts));
    AnyCache cache = CacheSpec::parse(cache_spec).make(attention.layout(), rows);
    Context context;
    for (int at = 0; at < rows;) {
        const int n = at == 0 ? rows - 9 : 1;
        const auto floats = static_cast<std::size_t>(n * width);
        std::vector<float> x = numbers(random, floats, 1.0), y(floats), z(floats);
        const BatchSlice slice{cache, 0, n, at};
        attention.forward({x.data(), width, n}, {&slice, 1}, {y.data(), width, n}, context);
        cache.commit(n);
        experts.forward({y.data(), width, n}, {z.data(), width, n}, context);
        digest.add(y), digest.add(z);
        at += n;
    }
}
std::string latent_digest() {
    Digest digest;
    add_latent<Absorbed>(digest, "contiguous:f32+latent");
    add_latent<Absorbed>(digest, "paged=16:q8_0+latent:window=30,sinks=3");
    add_latent<Direct>(digest, "paged=16:f16+inputs");
    return digest.text();
}
// Every codec and keep.
std::string cache_digest() {
    return cache_digest(
        {"contiguous:fp8_e4m3", "contiguous:fp8_e5m2", "contiguous:q8_0", "contiguous:q5_1",
         "contiguous:q5_0", "contiguous:q4_1", "contiguous:q4_0+rot", "contiguous:iq4_nl",
         "contiguous:int8", "contiguous:int4", "contiguous:kivi4", "contiguous:kivi2+rot",
         "tiered=20:q4_0", "paged=16:f16:window=30,sinks=3", "paged=16:f32:h2o=30",
         "contiguous:q8_0:snapkv=40", "contiguous:f32:nacl=40", "contiguous:f16:hashevict=40"});
}
// Queries that choose what they read.
std::string read_digest() {
    return cache_digest({"contiguous:f32:all:quest=40,page=8,recent=10,sinks=2,full=0",
                         "paged=16:f16:all:quest=48,full=0",
                         "contiguous:q4_0+rot:all:quest=30,page=5,recent=0,sinks=0,full=0"});
}

std::string all() {
    return "kernels " + kernel_digest() + "\nattention-f32 " + attention_digest<KvCache<>>() +
           "\nattention-f16 " + attention_digest<KvCache<Contiguous<F16>>>() + "\nattention-bf16 " +
           attention_digest<KvCache<Contiguous<BF16>>>() + "\nmodel-f32 " +
           model_digest(ElementType::f32) + "\nmodel-f16 " + model_digest(ElementType::f16) +
           "\nmodel-bf16 " + model_digest(ElementType::bf16) + "\nmodel-bf16-rounded " +
           model_digest(ElementType::bf16, Compute::fast) + "\nquantised " +
           quantised_digest(Codes::integers) + "\nmxfp4 " + quantised_digest(Codes::floats) +
           "\ncaches " + cache_digest() + "\nlatent " + latent_digest() + "\nreads " +
           read_digest() + "\nnumerics " + std::to_string(numerics_version) + "\n";
}

}  // namespace

int main(int argc, char** argv) {
    if (!exact()) {
        std::puts("this build does not keep the promise: exact() is false");
        return 3;
    }
    if (argc < 2) {
        std::fputs(all().c_str(), stdout);
        return 0;
    }
    std::ifstream file(argv[1]);
    const std::string wanted((std::istreambuf_iterator<char>(file)),
                             std::istreambuf_iterator<char>());
    int bad = 0;
    for (const kernels::Table* table : kernels::available()) {
        const kernels::Override use(*table);
        const std::string got = all();
        const bool same = got == wanted;
        std::printf("%-9s %s\n", table->name, same ? "as committed" : "DIFFERENT");
        if (!same) std::printf("%s", got.c_str());
        bad += same ? 0 : 1;
    }
    return bad == 0 ? 0 : 1;
}
