// A host program: one model, two caches, the same text; and its own weights through the attention
// layer.
#include <cairn/cairn.hpp>

#include <cstdio>

int main() {
    const auto model = cairn::TinyGpt::random(
        {.layers = 2, .heads = 2, .width = 32, .vocab = 64, .context = 100}, 1);
    auto a = model.session<cairn::KvCache<>>(100);
    auto b = model.session<cairn::KvCache<cairn::Contiguous<cairn::F16>>>(100);
    cairn::Greedy greedy;
    const auto x = cairn::generate(a, cairn::bytes("!!"), greedy, {.max_tokens = 20});
    const auto y = cairn::generate(b, cairn::bytes("!!"), greedy, {.max_tokens = 20});
    cairn::KvCache<> cache({2, 1, 8, 8}, 4);
    cairn::Context context;
    const Eigen::MatrixXf column_major = Eigen::MatrixXf::Ones(2, 16);
    const cairn::RowMatrix q = column_major, k = q.leftCols(8);
    cairn::RowMatrix out(2, 16);
    cairn::prefill(q, k, k, cache, {}, out, context);
    std::printf("%zu and %zu tokens, %d rows\n", x.tokens.size(), y.tokens.size(),
                cache.committed());
    return x.tokens.size() == 20 && out(1, 3) == 1.0F && a.position() == 21 ? 0 : 1;
}
