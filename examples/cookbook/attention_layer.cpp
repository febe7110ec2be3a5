// Only the attention layer and its cache, inside an engine of your own: the weights are your Eigen
// matrices, and so are the projections. Needs no model and no files.
//
//   cmake --build build/release --target attention_layer
//   build/release/bin/cookbook/attention_layer
#include <cmath>
#include <iostream>

#include <Eigen/Core>
#include <cairn/attention/prefill.hpp>
#include <cairn/cache/kv_cache.hpp>
#include <cairn/layers/rotary.hpp>

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// 4 query heads that share one head of keys and values, each 16 wide.
constexpr cairn::HeadLayout heads{.heads = 4, .kv_heads = 1, .key_dim = 16, .value_dim = 16};
constexpr int width = 64;

struct Layer {
    Matrix wq = Matrix::Random(width, 64), wk = Matrix::Random(width, 16),
           wv = Matrix::Random(width, 16), wo = Matrix::Random(64, width);
    cairn::RotaryHalf rotary{{.dims = 16, .positions = 64}};

    // x: rows of tokens that come after those in the cache.
    template <class Cache>
    Matrix operator()(const Matrix& x, Cache& cache, cairn::Context& context) const {
        // Row by row, because Eigen sums a product of many rows in another order than that of one.
        Matrix q(x.rows(), 64), k(x.rows(), 16), v(x.rows(), 16), mixed(x.rows(), 64);
        for (int r = 0; r < x.rows(); ++r) {
            q.row(r) = x.row(r) * wq;
            k.row(r) = x.row(r) * wk;
            v.row(r) = x.row(r) * wv;
            rotary.rotate(k.row(r).data(), cache.committed() + r);  // queries are turned inside
        }
        cairn::prefill(q, k, v, cache, {.scale = 0.25F, .rotation = &rotary}, mixed, context);
        Matrix y(x.rows(), width);
        for (int r = 0; r < x.rows(); ++r) y.row(r) = mixed.row(r) * wo;
        return y;
    }
};

int main() try {
    const Layer layer;
    const Matrix x = Matrix::Random(40, width);
    cairn::Context context;

    cairn::KvCache<> at_once(heads, /*capacity=*/64);  // f32 rows; try cairn::Paged<cairn::Q8_0>
    const Matrix whole = layer(x, at_once, context);

    cairn::KvCache<> step_by_step(heads, 64);
    Matrix steps(x.rows(), width);
    for (int r = 0; r < x.rows(); ++r) steps.row(r) = layer(x.row(r), step_by_step, context);

    std::cout << "40 rows at once and one by one: "
              << (whole == steps ? "the same bits" : "different") << '\n'
              << at_once.committed() << " rows, " << at_once.payload_bytes(40) << " bytes\n"
              << "keys as an Eigen matrix: " << cairn::key_view(at_once, 0).rows() << " x "
              << cairn::key_view(at_once, 0).cols() << '\n';
} catch (const cairn::Error& error) {
    std::cerr << "error[" << cairn::code_name(error.code()) << "]: " << error.what() << '\n';
    return 1;
}
