// Decoding in steady state allocates nothing: operator new is counted and Eigen's own is forbidden.
#define EIGEN_RUNTIME_NO_MALLOC
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <new>

#include <cairn/cache/codec/latent.hpp>
#include <cairn/cairn.hpp>
#include <cairn/layers/experts.hpp>
#include <cairn/layers/latent_attention.hpp>

namespace {
std::atomic<long> allocations{0};
void* counted(std::size_t bytes, std::size_t align) {
    ++allocations;
    void* p = std::aligned_alloc(align, (bytes + align - 1) / align * align);
    if (p == nullptr) throw std::bad_alloc();
    return p;
}
}  // namespace

void* operator new(std::size_t bytes) { return counted(bytes, 16); }
void* operator new(std::size_t bytes, std::align_val_t align) {
    return counted(bytes, static_cast<std::size_t>(align));
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

// A model whose positions enter by rotation: its angles are made when they are first used.
using RotaryBlock =
    cairn::SequentialBlock<cairn::RmsNorm, cairn::MultiHead<cairn::RotaryHalf>, cairn::SwiGlu>;
using RotaryModel = cairn::Decoder<RotaryBlock, cairn::NoPositions>;
cairn::WeightMatrix random_weights(cairn::Random& random, int out, int in) {
    cairn::RowMatrix values(out, in);
    for (Eigen::Index i = 0; i < values.size(); ++i)
        values.data()[i] = static_cast<float>(random.uniform() - 0.5);
    return cairn::WeightMatrix::from(values);
}
RotaryModel rotary_model() {
    using namespace cairn;
    Random random(1);
    const auto matrix = [&](int out, int in) { return random_weights(random, out, in); };
    const RotaryHalf rotation(RotarySettings{16, 10000.0, 900, {}, {}});
    const std::vector<float> gain(64, 1.0F);
    DecoderWeights<RotaryBlock, NoPositions> weights;
    weights.architecture = "test";
    weights.embedding = Embedding(matrix(300, 64));
    weights.positions.context = 900;
    for (int i = 0; i < 3; ++i)
        weights.blocks.emplace_back(
            RmsNorm(gain, 1e-5F),
            MultiHead<RotaryHalf>({4, 4, 16, 16}, Linear(matrix(192, 64)), Linear(matrix(64, 64)),
                                  rotation),
            RmsNorm(gain, 1e-5F),
            SwiGlu(Linear(matrix(96, 64)), Linear(matrix(96, 64)), Linear(matrix(64, 96))));
    weights.final_norm = RmsNorm(gain, 1e-5F);
    return RotaryModel(std::move(weights));
}

// Latent attention, and experts behind a router.
using LatentBlock = cairn::SequentialBlock<cairn::RmsNorm, cairn::LatentAttention<cairn::Absorbed>,
                                           cairn::Experts<>>;
using LatentModel = cairn::Decoder<LatentBlock, cairn::NoPositions>;
LatentModel latent_model() {
    using namespace cairn;
    Random random(1);
    const auto linear = [&](int out, int in) { return Linear(random_weights(random, out, in)); };
    const RmsNorm norm(std::vector<float>(64, 1.0F), 1e-5F);
    DecoderWeights<LatentBlock, NoPositions> weights;
    weights.architecture = "test";
    weights.embedding = Embedding(random_weights(random, 300, 64));
    weights.positions.context = 900;
    for (int i = 0; i < 2; ++i) {
        LatentWeights w;
        w.query = linear(96, 64);
        w.latent = linear(40, 64);
        for (int h = 0; h < 4; ++h) {
            w.key_up.push_back(linear(32, 16));
            w.value_up.push_back(linear(16, 32));
        }
        w.out = linear(64, 64);
        std::vector<Expert> experts;
        for (int e = 0; e < 8; ++e)
            experts.push_back({linear(24, 64), linear(24, 64), linear(64, 24)});
        weights.blocks.emplace_back(
            norm,
            LatentAttention<Absorbed>({4, 16, 8, 16, 32}, std::move(w),
                                      RotaryInterleaved(RotarySettings{8, 10000.0, 900, {}, {}})),
            norm, Experts<>({.experts_used = 3}, linear(8, 64), std::move(experts)));
    }
    weights.final_norm = norm;
    return LatentModel(std::move(weights));
}

template <class Cache, class Model>
long steady(const Model& model, cairn::Executor& executor) {
    auto session = model.template session<Cache>(900, executor);
    const std::vector<cairn::Token> prompt(400, 7);
    session.prefill(prompt);
    cairn::Token token = 1;
    cairn::Greedy greedy;
    auto sampler =
        cairn::temperature(0.9F) | cairn::top_k(40) | cairn::top_p(0.9F) | cairn::draw(1);
    std::vector<float> logits(5 * 300);
    session.propose(cairn::Tokens(prompt).first(5), logits.data()).accept(0);
    for (int i = 0; i < 3; ++i) token = sampler(session.decode(token), {});
    const long before = allocations;
    Eigen::internal::set_is_malloc_allowed(false);
    for (int i = 0; i < 200; ++i)
        token = i % 2 == 0 ? sampler(session.decode(token), {}) : greedy(session.decode(token), {});
    // Rows of which some stay.
    for (int i = 0; i < 50; ++i)
        session.propose(cairn::Tokens(prompt).first(5), logits.data()).accept(3);
    Eigen::internal::set_is_malloc_allowed(true);
    return allocations - before;
}

int main() {
    cairn::ThreadPool pool(3);
    const auto model =
        cairn::TinyGpt::random({.layers = 3, .heads = 4, .width = 64, .vocab = 300}, 1);
    const long counts[] = {
        steady<cairn::KvCache<>>(model, cairn::Serial::instance()),
        steady<cairn::KvCache<cairn::Contiguous<cairn::F16>>>(model, pool),
        steady<cairn::KvCache<cairn::Contiguous<cairn::BF16, cairn::F32>>>(model, pool),
        steady<cairn::KvCache<>>(rotary_model(), pool),
        steady<cairn::KvCache<cairn::Contiguous<cairn::Latent<cairn::F16>>>>(latent_model(), pool)};
    bool good = true;
    for (const long count : counts) {
        std::printf("%ld allocations in 200 tokens and 50 proposals\n", count);
        good = good && count == 0;
    }
    return good ? 0 : 1;
}
