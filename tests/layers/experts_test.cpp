// Mixture of experts against its definition, token by token in double, and by bits in random
// batches.
#include <cairn/layers/experts.hpp>
#include <cairn/layers/sigmoid_router.hpp>
#include <cairn/layers/quantised.hpp>

#include "layers/layers_support.hpp"
using namespace support;

namespace {

struct ExpertParts {
    RowMatrix logits;
    std::vector<RowMatrix> gate, up, down;  // the last: shared

    explicit ExpertParts(int experts, int width = 10, int hidden = 7) {
        Random random(12);
        logits = random_matrix(random, experts, width, 0.6);
        for (int e = 0; e <= experts; ++e) {
            const int n = e < experts ? hidden : 2 * hidden;
            gate.push_back(random_matrix(random, n, width, 0.4));
            up.push_back(random_matrix(random, n, width, 0.4));
            down.push_back(random_matrix(random, width, n, 0.4));
        }
    }
    static cairn::Linear linear(const RowMatrix& m) { return cairn::Linear(WeightMatrix::from(m)); }
    Experts<> layer(SoftmaxRouter router, bool shared = true) const {
        std::vector<Expert> experts;
        for (std::size_t e = 0; e + 1 < gate.size(); ++e)
            experts.push_back({linear(gate[e]), linear(up[e]), linear(down[e])});
        std::optional<SwiGlu> beside;
        if (shared) beside.emplace(linear(gate.back()), linear(up.back()), linear(down.back()));
        return Experts<>(router, linear(logits), std::move(experts), std::move(beside));
    }
    // One token, in double: every expert that is chosen, by the definition.
    Wide one(const Wide& x, const SoftmaxRouter& r, bool shared) const {
        const auto expert = [&](std::size_t e) -> Wide {
            Wide g = x * gate[e].cast<double>().transpose();
            g = g.unaryExpr([](double v) { return v / (1 + std::exp(-v)); });
            return g.cwiseProduct(x * up[e].cast<double>().transpose()) *
                   down[e].cast<double>().transpose();
        };
        Wide z = x * logits.cast<double>().transpose();
        z = (z.array() - z.maxCoeff()).exp();
        std::vector<double> p(z.data(), z.data() + z.size());
        for (double& v : p) v /= z.sum();
        const std::size_t size = p.size() / std::size_t(r.groups);
        std::vector<std::pair<double, std::size_t>> best;  // of groups
        for (std::size_t g = 0; g < std::size_t(r.groups); ++g)
            best.emplace_back(-*std::max_element(p.begin() + std::ptrdiff_t(g * size),
                                                 p.begin() + std::ptrdiff_t((g + 1) * size)),
                              g);
        std::sort(best.begin(), best.end());
        std::vector<std::pair<double, std::size_t>> open;
        for (std::size_t g = 0; g < std::size_t(r.groups_used); ++g)
            for (std::size_t e = best[g].second * size; e < (best[g].second + 1) * size; ++e)
                open.emplace_back(-p[e], e);
        std::sort(open.begin(), open.end());
        open.resize(std::size_t(r.experts_used));
        double all = 0.0;
        for (const auto& [minus, e] : open) all -= minus;
        Wide y = Wide::Zero(1, x.cols());
        for (const auto& [minus, e] : open)
            y += -minus / (r.weights == SoftmaxRouter::Weights::shares ? all : 1.0) *
                 double(r.scale) * expert(e);
        if (shared) y += expert(gate.size() - 1);
        return y;
    }
};

}  // namespace

TEST_CASE("experts: each token is the sum of the experts it chooses, whoever is in its batch",
          "[experts]") {
    const SoftmaxRouter routers[]{
        {.experts_used = 3, .scale = 2.5F},
        {.experts_used = 4, .weights = SoftmaxRouter::Weights::shares},
        {.experts_used = 3, .groups = 4, .groups_used = 2, .scale = 1.5F},
        {.experts_used = 6, .groups = 4, .groups_used = 2},  // all of two groups
        {.experts_used = 12},
        {.experts_used = 1, .groups = 12, .groups_used = 1}};
    const ExpertParts parts(12);
    Random random(3);
    const RowMatrix x = random_matrix(random, 70, 10);
    ThreadPool pool(3);
    bool shared = false;
    for (const SoftmaxRouter& router : routers) {
        shared = !shared;
        const Experts<> layer = parts.layer(router, shared);
        Context context;
        RowMatrix whole(70, 10), in = x;
        layer.forward(view(in), view(whole), context);
        for (Eigen::Index r = 0; r < 70; ++r)
            CHECK((whole.row(r).cast<double>() - parts.one(x.row(r).cast<double>(), router, shared))
                      .cwiseAbs()
                      .maxCoeff() < 1e-5);
        // Alone, and with random others in random order, on threads.
        Context threads(pool);
        for (int i = 0; i < 60; ++i) {
            const int n = i < 20 ? 1 : draw(random, 2, 33);
            std::vector<int> rows;
            RowMatrix some(n, 10), y(n, 10);
            for (int r = 0; r < n; ++r) {
                rows.push_back(draw(random, 0, 69));
                some.row(r) = x.row(rows.back());
            }
            layer.forward(view(some), view(y), i % 2 == 0 ? threads : context);
            for (int r = 0; r < n; ++r)
                REQUIRE(same_bits(RowMatrix(y.row(r)), RowMatrix(whole.row(rows[std::size_t(r)]))));
        }
    }
}

namespace {

// The experts of largest logits, softmax over these alone, as gpt-oss chooses.
struct TopThenSoftmax {
    int used = 2;
    int chosen() const { return used; }
    void check(int experts) const { CHECK(used <= experts); }
    void route(float* z, int experts, Chosen* to) const {
        std::vector<float> best;
        take_largest(
            experts, used, [&](int e) { return z[e]; },
            [&](int e) {
                to[best.size()].expert = e;
                best.push_back(z[e]);
                z[e] = out_of_choice;
            });
        float sum = 0.0F;
        for (float& b : best) sum += b = std::exp(b);
        for (std::size_t i = 0; i < best.size(); ++i) to[i].weight = best[i] / sum;
    }
    void hash(Fingerprint& to) const { to.add(static_cast<std::uint64_t>(used)); }
};
// gate * (up + 1), the gate at most 1.
struct UpOneGate {
    static void apply(float* gate, const float* up, std::ptrdiff_t n) {
        for (std::ptrdiff_t i = 0; i < n; ++i) gate[i] = std::min(gate[i], 1.0F) * (up[i] + 1.0F);
    }
};

}  // namespace

TEST_CASE("experts: a router and a gate from outside", "[experts]") {
    Random random(14);
    std::vector<Expert> experts;
    std::vector<Wide> gate, up, down;
    for (int e = 0; e < 5; ++e) {
        auto g = random_linear(random, 6, 8, ElementType::f32, true);
        auto u = random_linear(random, 6, 8, ElementType::f32);
        auto d = random_linear(random, 8, 6, ElementType::f32);
        gate.push_back(weights_of(g)), up.push_back(weights_of(u)), down.push_back(weights_of(d));
        const Wide bias = Eigen::Map<const Eigen::RowVectorXf>(g.bias(), 6).cast<double>();
        gate.back().conservativeResize(6, 9);
        gate.back().col(8) = bias.transpose();
        experts.push_back({std::move(g), std::move(u), std::move(d)});
    }
    auto logits = random_linear(random, 5, 8, ElementType::f32, true);
    const Wide router = weights_of(logits);
    const Wide bias = Eigen::Map<const Eigen::RowVectorXf>(logits.bias(), 5).cast<double>();
    const Experts<TopThenSoftmax, UpOneGate> layer({}, std::move(logits), std::move(experts));
    RowMatrix x = random_matrix(random, 9, 8), y(9, 8);
    Context context;
    layer.forward(view(x), view(y), context);
    for (Eigen::Index r = 0; r < 9; ++r) {
        const Wide row = x.row(r).cast<double>();
        Wide z = row * router.transpose() + bias;
        Eigen::Index first = 0, second = 0, unused = 0;
        z.maxCoeff(&unused, &first);
        const double most = z(0, first);
        z(0, first) = -1e9;
        const double next = z.maxCoeff(&unused, &second);
        const double share = 1.0 / (1.0 + std::exp(next - most));
        const auto expert = [&](Eigen::Index e) -> Wide {
            const auto i = static_cast<std::size_t>(e);
            Wide g = row * gate[i].leftCols(8).transpose() + gate[i].col(8).transpose();
            const Wide u = row * up[i].transpose();
            return (g.array().min(1.0) * (u.array() + 1.0)).matrix() * down[i].transpose();
        };
        CHECK((y.row(r).cast<double>() - share * expert(first) - (1.0 - share) * expert(second))
                  .cwiseAbs()
                  .maxCoeff() < 1e-5);
    }
}

TEST_CASE("experts of block types: many rows give the bits of each alone", "[experts]") {
    for (const Compute compute : {Compute::fast, Compute::accurate}) {
        Random random(9);
        std::vector<Expert> experts;
        const auto linear = [&](int out, int in) {
            WeightMatrix m = quantised_matrix(out, in, ElementType::q8_0);
            std::vector<std::byte> bytes(block_size(ElementType::q8_0).size_of(std::size_t(in)));
            for (int r = 0; r < out; ++r) {
                const auto row = random_vector(random, std::size_t(in), 0.2);
                quantised::block_format(ElementType::q8_0)
                    .encode(row.data(), std::size_t(in) / 32, bytes.data());
                m.put_rows(r, 1, bytes.data());
            }
            return cairn::Linear(std::move(m));
        };
        for (int e = 0; e < 6; ++e)
            experts.push_back({linear(32, 64), linear(32, 64), linear(64, 32)});
        const Experts<> layer({.experts_used = 2}, random_linear(random, 6, 64, ElementType::f32),
                              std::move(experts));
        CHECK(layer.parameters() == 6 * 64 + 6 * 3 * 64 * 32);
        // Decoding reads two of the six.
        const std::size_t router = random_linear(random, 6, 64, ElementType::f32).bytes();
        CHECK((layer.bytes() - router) == 3 * (layer.decode_bytes() - router));
        RowMatrix x = random_matrix(random, 40, 64), y(40, 64), one(1, 64);
        Context context;
        context.compute = compute;
        layer.forward(view(x), view(y), context);
        for (Eigen::Index r = 0; r < 40; ++r) {
            layer.forward({x.row(r).data(), 64, 1}, view(one), context);
            REQUIRE(same_bits(one, RowMatrix(y.row(r))));
        }
    }
}

TEST_CASE("experts: equal probabilities go to the lower number; what does not fit is refused",
          "[experts]") {
    alignas(64) float p[16] = {};
    Chosen to[3];
    SoftmaxRouter({.experts_used = 3, .groups = 3, .groups_used = 2}).route(p, 6, to);
    for (int i = 0; i < 3; ++i) {
        CHECK(to[i].expert == i);
        CHECK(to[i].weight == Approx(1.0 / 6));
    }
    SigmoidRouter sigmoid{{.experts_used = 3, .groups = 3, .groups_used = 2}, {}};
    SoftmaxRouter softmax = sigmoid.numbers;
    Fingerprint one, other;
    sigmoid.hash(one), softmax.hash(other);
    CHECK(one.value() != other.value());
    // The least biases that are taken leave all experts apart; two lesser ones were no number.
    sigmoid.bias.assign(6, -9e29F);
    sigmoid.check(6);
    std::fill_n(p, 16, 0.0F);
    sigmoid.route(p, 6, to);
    for (int i = 0; i < 3; ++i) CHECK(to[i].expert == i);
    sigmoid.bias[1] = -3e38F;
    CHECK(code_of([&] { sigmoid.check(6); }) == ErrorCode::invalid_argument);
    const ExpertParts parts(6);
    const auto code = [&](SoftmaxRouter router) { return code_of([&] { parts.layer(router); }); };
    CHECK(code({.experts_used = 7}) == ErrorCode::invalid_argument);
    CHECK(code({.experts_used = 0}) == ErrorCode::invalid_argument);
    CHECK(code({.experts_used = 3, .groups = 3, .groups_used = 1}) == ErrorCode::invalid_argument);
    CHECK(code({.experts_used = 1, .groups = 4}) == ErrorCode::invalid_argument);
    CHECK(code({.experts_used = 1, .groups = 2, .groups_used = 3}) == ErrorCode::invalid_argument);
    ExpertParts wrong(6);
    wrong.up[2] = RowMatrix::Ones(7, 11);
    CHECK(code_of([&] { wrong.layer({}); }) == ErrorCode::shape_mismatch);
    Context context;
    RowMatrix x = RowMatrix::Ones(3, 10), y(3, 10);
    x(2, 1) = std::numeric_limits<float>::infinity();
    CHECK(code_of([&] { parts.layer({}).forward(view(x), view(y), context); }) ==
          ErrorCode::non_finite);
}
