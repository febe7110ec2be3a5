#include <cfenv>
#include <cmath>
#include <functional>

#include <cairn/generate/beam.hpp>
#include <cairn/generate/sampler_steps.hpp>
#include <cairn/numeric/log_probability.hpp>

#include "environment_support.hpp"
using namespace support;

TEST_CASE("this build keeps the promise, and the environment is restored", "[fp_environment]") {
    CHECK(exact());
#if defined(__x86_64__)
    const unsigned before = _mm_getcsr();
    _mm_setcsr(before | 0x8040);  // flush to zero, denormals are zero
    {
        const FpEnvironment environment;
        volatile float tiny = 1e-38F;
        CHECK(tiny * 0.01F > 0.0F);
    }
    CHECK((_mm_getcsr() & 0x8040) == 0x8040);
    CHECK(exact());
    _mm_setcsr(before);
#endif
}

TEST_CASE("what is packed does not depend on the host's rounding", "[fp_environment]") {
    Random random(1);
    RowMatrix w = random_matrix(random, 20, 32);
    w(3, 4) = 1e-7F;   // a denormal in f16
    w(5, 6) = 1e-40F;  // and one in f32
    for (const ElementType type : {ElementType::f32, ElementType::f16, ElementType::bf16})
        same_everywhere("WeightMatrix", [&] {
            const WeightMatrix matrix = WeightMatrix::from(w, type);
            Bytes bytes;
            bytes.add(matrix.data(), matrix.bytes());
            std::vector<float> row(32);
            for (int n = 0; n < 20; ++n) matrix.row(n, row.data()), bytes.add(row);
            return bytes;
        });
    same_everywhere("random_gpt2", [] {
        Bytes bytes;
        bytes.add(
            random_gpt2({.layers = 1, .heads = 2, .width = 16, .context = 8, .vocabulary = 11}, 3)
                .fingerprint());
        return bytes;
    });
    same_everywhere("Random", [] {
        Random r(5);
        Bytes bytes;
        for (int i = 0; i < 50; ++i) bytes.add(r.normal());
        return bytes;
    });
    for (const auto kind : {RotaryScaling::Kind::none, RotaryScaling::Kind::linear,
                            RotaryScaling::Kind::llama3, RotaryScaling::Kind::yarn})
        same_everywhere("Rotary", [&] {
            RotarySettings settings{16, 10000.0, 64, {}, {}};
            settings.scaling.kind = kind;
            settings.scaling.factor = 3.0;
            settings.scaling.original_context = 300;
            const RotaryHalf rotary(settings);
            Bytes bytes;
            for (const int position : {0, 3, 700}) {
                std::vector<float> row(16, 0.3F);
                rotary.rotate(row.data(), position);
                bytes.add(row);
            }
            Fingerprint fingerprint;
            rotary.hash(fingerprint);
            bytes.add(fingerprint.value());
            return bytes;
        });
}

TEST_CASE("what layers compute does not depend on the host's rounding", "[fp_environment]") {
    Random random(2);
    constexpr int width = 16;
    const RowMatrix x = random_matrix(random, 5, width);
    Context context;
    // forward(x, y, context) of a layer with outputs of `out` numbers.
    const auto check = [&](const char* what, const auto& layer, int out) {
        same_everywhere(what, [&] {
            RowMatrix in = x;
            RowMatrix y(5, out);
            layer.forward(Activations{in.data(), width, 5}, Activations{y.data(), out, 5}, context);
            Bytes bytes;
            bytes.add(y);
            return bytes;
        });
    };
    const std::vector<float> gain = random_vector(random, width, 0.1, 1.0);
    const auto linear = [&](int out, int in) {
        return random_linear(random, out, in, ElementType::f16, true);
    };
    check("LayerNorm", LayerNorm(gain, gain, 1e-5F), width);
    check("RmsNorm", RmsNorm(gain, 1e-5F), width);
    check("Linear", linear(30, width), 30);
    check("Mlp", Mlp<Gelu>(linear(24, width), linear(width, 24)), width);
    check("Mlp", Mlp<GeluNew>(linear(24, width), linear(width, 24)), width);
    check("SwiGlu", SwiGlu(linear(24, width), linear(24, width), linear(width, 24)), width);
    const LearnedPositions positions(WeightMatrix::from(random_matrix(random, 8, width)));
    const Embedding embedding(
        WeightMatrix::from(random_matrix(random, 8, width), ElementType::f16));
    same_everywhere("Embedding", [&] {
        std::vector<float> row(width), scratch(width);
        embedding.lookup(3, row.data());
        positions.add(5, row.data(), scratch.data());
        Bytes bytes;
        bytes.add(row);
        return bytes;
    });
    const HeadLayout layout{2, 1, 8, 8};
    LlamaShape shape;
    shape.layout = layout;
    shape.width = width;
    using Block = SequentialBlock<RmsNorm, MultiHead<RotaryHalf>, Mlp<Gelu>>;
    using Parallel = ParallelBlock<RmsNorm, MultiHead<RotaryHalf>, Mlp<Gelu>>;
    const Block block(RmsNorm(gain, 1e-5F), random_attention<RotaryHalf>(random, shape),
                      RmsNorm(gain, 1e-5F), Mlp<Gelu>(linear(24, width), linear(width, 24)));
    const Parallel parallel(RmsNorm(gain, 1e-5F), random_attention<RotaryHalf>(random, shape),
                            Mlp<Gelu>(linear(24, width), linear(width, 24)));
    same_everywhere("blocks", [&] {
        RowMatrix y = x;
        KvCache<> a(layout, 10), b(layout, 10);
        const BatchSlice first{a, 0, 5, 0}, second{b, 0, 5, 0};
        block.forward({y.data(), width, 5}, std::span(&first, 1), width, context);
        parallel.forward({y.data(), width, 5}, std::span(&second, 1), width, context);
        Bytes bytes;
        bytes.add(y);
        return bytes;
    });
}

TEST_CASE("what caches keep does not depend on the host's rounding", "[fp_environment]") {
    Random random(3);
    const HeadLayout layout{4, 2, 32, 32};
    const RowMatrix q = random_matrix(random, 40, 128), k = random_matrix(random, 40, 64),
                    v = random_matrix(random, 40, 64);
    for (const char* spec :
         {"contiguous:f32", "contiguous:f16", "contiguous:fp8_e4m3", "paged=16:q8_0",
          "contiguous:q4_0+rot", "contiguous:int4", "contiguous:kivi2",
          "contiguous:f32:h2o=16,recent=4", "contiguous:f32:snapkv=16", "contiguous:f32:nacl=16",
          "contiguous:f32:hashevict=16"}) {
        const CacheSpec parsed = CacheSpec::parse(spec);
        same_everywhere(spec, [&] {
            Context context;
            AnyCache cache = parsed.make(layout, 40);
            RowMatrix out(40, 128);
            const AttentionParameters parameters{.scale = 0.2F, .soft_cap = 5.0F};
            cache.ref().expect_prompt(30);
            prefill(q.topRows(30), k.topRows(30), v.topRows(30), cache, parameters, out.topRows(30),
                    context);
            for (int at = 30; at < 40; ++at) {
                const TokenRows keys{k.row(at).data(), 64, 1}, values{v.row(at).data(), 64, 1};
                cache.stage(keys, values);
                attend(cache.ref(), {q.row(at).data(), 128, 1, at}, parameters, 4,
                       out.row(at).data(), 128, context);
                cache.commit(1);
            }
            Bytes bytes;
            bytes.add(out);
            return bytes;
        });
    }
    same_everywhere("reference", [&] {
        Bytes bytes;
        bytes.add(RowMatrix(reference_attention<float>(q, k, v, layout, {.scale = 0.3F})));
        return bytes;
    });
}

TEST_CASE("what is generated does not depend on the host's rounding", "[fp_environment]") {
    const TinyGpt model = TinyGpt::random({.layers = 2, .heads = 2, .width = 32, .vocab = 60}, 1);
    const std::vector<Token> prompt{1, 2, 3};
    same_everywhere("generate", [&] {
        auto session = model.session(60);
        auto sampler = penalties(1.1F, 0.1F, 0.2F) | temperature(0.7F) | top_k(50) |
                       typical_p(0.95F) | top_p(0.9F) | min_p(0.01F) | cairn::draw(7);
        Limits limits;
        limits.max_tokens = 30;
        limits.log_probabilities = true;
        const Generation result = generate(session, prompt, sampler, limits);
        Bytes bytes;
        for (const Token token : result.tokens) bytes.add(token);
        for (const double p : result.log_probabilities) bytes.add(p);
        bytes.add(session.logits());
        bytes.add(log_probability(session.logits(), 3));
        BeamSettings settings;
        settings.max_tokens = 8;
        settings.length_penalty = 0.7;
        auto fresh = model.session(60);
        for (const BeamText& text : beam_search(fresh, prompt, settings)) {
            bytes.add(text.score);
            bytes.add(text.log_probability);
        }
        return bytes;
    });
    same_everywhere("steps", [&] {
        auto session = model.session(8);
        Candidates candidates;
        candidates.load(session.prefill(prompt));
        temperature(0.3F).apply(candidates, {});
        candidates.softmax();
        Bytes bytes;
        for (const Candidate& c : candidates.list) bytes.add(c.probability);
        return bytes;
    });
}

TEST_CASE("the threads of a host's executor may round as they like", "[fp_environment]") {
    struct Upward final : Executor {
        int workers() const noexcept override { return 3; }
        void run(int count, TaskRef task) override {
            const HostEnvironment host(FE_UPWARD);
            for (int i = 0; i < count; ++i) task(i, i % 3);
        }
    } upward;
    const TinyGpt model = TinyGpt::random({.layers = 2, .heads = 4, .width = 64, .vocab = 90}, 1);
    std::vector<Token> prompt(400, 7);
    auto mine = model.session(500);
    auto theirs = model.session(500, upward);
    CHECK(same_bits(mine.prefill(prompt), theirs.prefill(prompt)));
    for (int i = 0; i < 3; ++i) CHECK(same_bits(mine.decode(i), theirs.decode(i)));
}
