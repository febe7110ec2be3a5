// Somebody else's engine that takes only the attention layer and a cache from Cairn: the weights
// are its own Eigen matrices, and so are the projections. It feeds a prompt at once and then token
// by token, and checks that a second run, fed one token at a time, gave the same bits.
#include <cstring>
#include <iostream>

#include <Eigen/Core>
#include <cairn/attention/prefill.hpp>
#include <cairn/cache/kv_cache.hpp>

#include "plain_help.hpp"

namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// The host's own layer: 8 query heads over 2 KV heads of 32.
struct MyLayer {
    static constexpr int width = 256;
    cairn::HeadLayout layout{8, 2, 32, 32};
    Matrix wq, wk, wv, wo;

    MyLayer() : wq(width, 256), wk(width, 64), wv(width, 64), wo(256, width) {
        float x = 0.3F;
        for (Matrix* m : {&wq, &wk, &wv, &wo})
            for (float& w : m->reshaped()) w = ((x = 3.9F * x * (1.0F - x)) - 0.5F) * 0.1F;
    }

    // The projections run row by row here: Eigen's product of many rows has other bits than of one.
    Matrix forward(const Matrix& x, cairn::KvCache<>& cache, cairn::Context& context) const {
        Matrix q(x.rows(), 256), k(x.rows(), 64), v(x.rows(), 64), mixed(x.rows(), 256),
            y(x.rows(), width);
        for (Eigen::Index r = 0; r < x.rows(); ++r) {
            q.row(r).noalias() = x.row(r) * wq;
            k.row(r).noalias() = x.row(r) * wk;
            v.row(r).noalias() = x.row(r) * wv;
        }
        cairn::prefill(q, k, v, cache, {.scale = 1.0F / std::sqrt(32.0F)}, mixed, context);
        for (Eigen::Index r = 0; r < x.rows(); ++r) y.row(r).noalias() = mixed.row(r) * wo;
        return y;
    }
};

}  // namespace

int main(int argc, char** argv) {
    if (const auto code = programs::answer_arguments(
            argc, argv,
            "The attention layer and a cache inside somebody else's engine: a prompt at once and\n"
            "token by token, compared by their bits.\nExamples:\n  host_project\n"))
        return *code;
    const MyLayer layer;
    cairn::Context context;
    const Matrix x = Matrix::NullaryExpr(100, MyLayer::width, [](Eigen::Index r, Eigen::Index c) {
        return static_cast<float>((r * 31 + c * 17) % 101) / 101.0F - 0.5F;
    });

    cairn::KvCache<> whole(layer.layout, 128);
    const Matrix a = layer.forward(x, whole, context);

    cairn::KvCache<> stepwise(layer.layout, 128);
    Matrix b(a.rows(), a.cols());
    for (Eigen::Index r = 0; r < x.rows(); ++r)
        b.row(r) = layer.forward(x.row(r), stepwise, context);

    const bool same =
        std::memcmp(a.data(), b.data(), sizeof(float) * static_cast<std::size_t>(a.size())) == 0;
    std::cout << "100 tokens at once and one by one: " << (same ? "the same bits" : "DIFFERENT")
              << '\n'
              << "first key of head 0, seen by Eigen: " << cairn::key_view(whole, 0).row(0).head(3)
              << " ...\n"
              << whole.committed() << " rows in " << whole.bytes() << " bytes\n";
    return same ? 0 : 1;
}
