// Multi-head latent attention: both forms against their definitions in double, by bits under every
// cut, and against multi-head attention where the two are the same.
#include <cairn/cache/codec/factored.hpp>
#include <cairn/cache/codec/inputs.hpp>
#include <cairn/cache/codec/latent.hpp>
#include <cairn/cache/codec/uniform.hpp>
#include <cairn/layers/absorbed_heads.hpp>
#include <cairn/layers/latent_attention.hpp>

#include "layers/layers_support.hpp"
using namespace support;

namespace {

// Random weights of a layer, odd on purpose.
struct LatentParts {
    LatentShape shape{3, 6, 4, 7, 10};
    int width = 14;
    bool compressed = true;
    bool normed = true;
    RowMatrix query, query_up, latent, out;
    std::vector<RowMatrix> key_up, value_up;
    std::vector<float> query_gain, latent_gain;

    explicit LatentParts(bool compress = true) : compressed(compress) {
        Random random(31);
        const LatentShape& s = shape;
        const int q = s.heads * (s.plain_dim + s.rotated_dim);
        const auto matrix = [&](int n, int m) { return random_matrix(random, n, m, 0.4); };
        query = matrix(compressed ? 9 : q, width);
        query_up = matrix(q, 9);
        latent = matrix(s.latent_dim + s.rotated_dim, width);
        out = matrix(width, s.heads * s.value_dim);
        for (int h = 0; h < s.heads; ++h) {
            key_up.push_back(matrix(s.plain_dim, s.latent_dim));
            value_up.push_back(matrix(s.value_dim, s.latent_dim));
        }
        query_gain = random_vector(random, 9, 0.2, 1.0);
        latent_gain = random_vector(random, static_cast<std::size_t>(s.latent_dim), 0.2, 1.0);
    }
    template <class Form>
    LatentAttention<Form> layer() const {
        const auto linear = [](const RowMatrix& m) { return cairn::Linear(WeightMatrix::from(m)); };
        LatentWeights w;
        w.query = linear(query);
        if (compressed) {
            w.query_up = linear(query_up);
            if (normed) w.query_norm = RmsNorm(query_gain, 1e-6F);
        }
        w.latent = linear(latent);
        if (normed) w.latent_norm = RmsNorm(latent_gain, 1e-6F);
        w.out = linear(out);
        for (std::size_t h = 0; h < key_up.size(); ++h) {
            const RowMatrix turned = key_up[h].transpose();
            w.key_up.push_back(linear(std::is_same_v<Form, Absorbed> ? turned : key_up[h]));
            w.value_up.push_back(linear(value_up[h]));
        }
        RotaryInterleaved rotation;
        if (shape.rotated_dim > 0)
            rotation = RotaryInterleaved(RotarySettings{shape.rotated_dim, 10000.0, 1000, {}, {}});
        return LatentAttention<Form>(shape, std::move(w), rotation);
    }

    // The two definitions in double.
    static Wide normed_rows(const Wide& x, const std::vector<float>& gain) {
        Wide y = x;
        for (Eigen::Index r = 0; r < x.rows(); ++r) {
            const double scale = 1.0 / std::sqrt(x.row(r).squaredNorm() / double(x.cols()) + 1e-6F);
            for (Eigen::Index c = 0; c < x.cols(); ++c)
                y(r, c) = x(r, c) * scale * gain[static_cast<std::size_t>(c)];
        }
        return y;
    }
    void turn(Wide& x, Eigen::Index from) const {
        for (Eigen::Index r = 0; r < x.rows(); ++r)
            for (int i = 0; i < shape.rotated_dim / 2; ++i) {
                const double angle = double(r) * std::pow(10000.0, -2.0 * i / shape.rotated_dim);
                const double a = x(r, from + 2 * i), b = x(r, from + 2 * i + 1);
                x(r, from + 2 * i) = a * std::cos(angle) - b * std::sin(angle);
                x(r, from + 2 * i + 1) = b * std::cos(angle) + a * std::sin(angle);
            }
    }
    Wide queries(const Wide& x) const {
        Wide q = x * query.cast<double>().transpose();
        if (compressed) q = normed_rows(q, query_gain) * query_up.cast<double>().transpose();
        const int dim = shape.plain_dim + shape.rotated_dim;
        for (int h = 0; h < shape.heads; ++h) turn(q, h * dim + shape.plain_dim);
        return q;
    }
    Wide latents(const Wide& x) const {
        Wide k = x * latent.cast<double>().transpose();
        k.leftCols(shape.latent_dim) = normed_rows(k.leftCols(shape.latent_dim), latent_gain);
        turn(k, shape.latent_dim);
        return k;
    }
    AttentionParameters parameters() const {
        return {.scale = 1.0F / std::sqrt(float(shape.plain_dim + shape.rotated_dim))};
    }
    Wide direct(const Wide& x) const {
        const LatentShape& s = shape;
        const int dim = s.plain_dim + s.rotated_dim;
        const Wide rows = latents(x), c = rows.leftCols(s.latent_dim);
        Wide k(x.rows(), s.heads * dim), v(x.rows(), s.heads * s.value_dim);
        for (int h = 0; h < s.heads; ++h) {
            const auto i = static_cast<std::size_t>(h);
            k.middleCols(h * dim, s.plain_dim) = c * key_up[i].cast<double>().transpose();
            k.middleCols(h * dim + s.plain_dim, s.rotated_dim) = rows.rightCols(s.rotated_dim);
            v.middleCols(h * s.value_dim, s.value_dim) = c * value_up[i].cast<double>().transpose();
        }
        return reference_attention<double>(queries(x), k, v, {s.heads, s.heads, dim, s.value_dim},
                                           parameters()) *
               out.cast<double>().transpose();
    }
    Wide absorbed(const Wide& x) const {
        const LatentShape& s = shape;
        const int dim = s.plain_dim + s.rotated_dim, row = s.latent_dim + s.rotated_dim;
        const Wide rows = latents(x), c = rows.leftCols(s.latent_dim), q = queries(x);
        Wide near(x.rows(), s.heads * row), values(x.rows(), s.heads * s.value_dim);
        for (int h = 0; h < s.heads; ++h) {
            near.middleCols(h * row, s.latent_dim) =
                q.middleCols(h * dim, s.plain_dim) *
                key_up[static_cast<std::size_t>(h)].cast<double>();
            near.middleCols(h * row + s.latent_dim, s.rotated_dim) =
                q.middleCols(h * dim + s.plain_dim, s.rotated_dim);
        }
        const Wide mixed = reference_attention<double>(
            near, rows, c, {s.heads, 1, row, s.latent_dim}, parameters());
        for (int h = 0; h < s.heads; ++h)
            values.middleCols(h * s.value_dim, s.value_dim) =
                mixed.middleCols(h * s.latent_dim, s.latent_dim) *
                value_up[static_cast<std::size_t>(h)].cast<double>().transpose();
        return values * out.cast<double>().transpose();
    }
};

// The rows of x through a layer, `piece` at once (0: pieces at random).
template <class Layer>
RowMatrix through(const Layer& layer, AnyCache cache, const RowMatrix& x, int piece,
                  Context& context) {
    Random random(77);
    RowMatrix in = x, y(x.rows(), x.cols());
    for (Eigen::Index at = 0; at < x.rows();) {
        const int most = std::min(piece > 0 ? piece : draw(random, 1, 40), cache.max_rows());
        const Eigen::Index n = std::min<Eigen::Index>(most, x.rows() - at);
        const BatchSlice slice{cache, 0, static_cast<int>(n), static_cast<int>(at)};
        layer.forward({in.row(at).data(), x.cols(), n}, std::span(&slice, 1),
                      {y.row(at).data(), x.cols(), n}, context);
        cache.commit(static_cast<int>(n));
        at += n;
    }
    return y;
}

template <class S, class K = KeepAll, class Layer>
RowMatrix exact_through(const Layer& layer, const RowMatrix& x, const K& keep = {}) {
    Context context;
    const auto cache = [&] { return AnyCache(KvCache<S, K>(layer.layout(), 400, {}, keep)); };
    const RowMatrix whole = through(layer, cache(), x, 400, context);
    CHECK(whole.allFinite());
    for (const int piece : {0, 1, 7}) {
        INFO("pieces of " << piece);
        CHECK(same_bits(through(layer, cache(), x, piece, context), whole));
    }
    return whole;
}

double far(const RowMatrix& a, const Wide& b) {
    return (a.cast<double>() - b).cwiseAbs().maxCoeff() / b.cwiseAbs().maxCoeff();
}

}  // namespace

TEST_CASE("latent attention: both forms are their definition, to the bit under every cut",
          "[latent_attention]") {
    for (const bool compressed : {true, false}) {
        const LatentParts parts(compressed);
        Random random(5);
        const RowMatrix x = random_matrix(random, 300, parts.width);
        const Wide wanted = parts.direct(x.cast<double>());
        CHECK((parts.absorbed(x.cast<double>()) - wanted).cwiseAbs().maxCoeff() < 1e-10);

        const auto absorbed = parts.layer<Absorbed>();
        CHECK(absorbed.layout() == HeadLayout{3, 1, 14, 10});
        const RowMatrix a = exact_through<Contiguous<Latent<F32>>>(absorbed, x);
        CHECK(far(a, wanted) < 1e-5);
        CHECK(same_bits(a, exact_through<Contiguous<F32>>(absorbed, x)));
        CHECK(same_bits(a, exact_through<Paged<Latent<F32>>>(absorbed, x)));
        CHECK(same_bits(a, exact_through<Spilled<Latent<F32>>>(absorbed, x)));
        CHECK(far(exact_through<Paged<Latent<F16>>>(absorbed, x), wanted) < 2e-3);
        CHECK(far(exact_through<Paged<BareKeys<F32>>>(absorbed, x), wanted) < 1e-5);

        const auto direct = parts.layer<Direct>();
        CHECK(direct.layout() == HeadLayout{3, 3, 10, 7});
        const RowMatrix d = exact_through<Contiguous<F32>>(direct, x);
        CHECK(far(d, wanted) < 1e-5);
        CHECK(same_bits(d, exact_through<Contiguous<Inputs<F32>>>(direct, x)));
        CHECK(same_bits(d, exact_through<Paged<Inputs<F32>>>(direct, x)));
        CHECK(far(exact_through<Paged<BareKeys<F16>>>(direct, x), wanted) < 2e-3);
        CHECK(absorbed.parameters() == direct.parameters());

        // A keep by position moves the queries to their places among the sinks: in both forms.
        const RowMatrix window = exact_through<Paged<Latent<F32>>, WindowSinks<40, 3>>(absorbed, x);
        CHECK_FALSE(same_bits(window, a));
        const RowMatrix rebuilt = exact_through<Paged<F32>, WindowSinks<40, 3>>(direct, x);
        CHECK(far(window, rebuilt.cast<double>()) < 1e-5);
    }
}

TEST_CASE("latent attention: a cache holds the latent and the shared key, no more",
          "[latent_attention]") {
    const auto absorbed = LatentParts().layer<Absorbed>();
    const auto direct = LatentParts().layer<Direct>();
    const auto bytes = [](const auto& cache) { return cache.payload_bytes(100); };
    CHECK(bytes(KvCache<Contiguous<Latent<F16>>>(absorbed.layout(), 128)) == 100 * 14 * 2);
    CHECK(bytes(KvCache<Contiguous<Inputs<F16>>>(direct.layout(), 128)) == 100 * 14 * 2);
    CHECK(bytes(KvCache<Contiguous<F16>>(direct.layout(), 128)) == 100 * 3 * 17 * 2);
}

TEST_CASE("latent attention: batches, threads and forks change no bit", "[latent_attention]") {
    const auto layer = LatentParts().layer<Absorbed>();
    Random random(6);
    const RowMatrix x = random_matrix(random, 120, 14);
    Context context;
    const auto fresh = [&] { return AnyCache(KvCache<Paged<Latent<F32>>>(layer.layout(), 200)); };
    const RowMatrix alone = through(layer, fresh(), x, 120, context);
    ThreadPool pool(3);
    Context threads(pool);
    CHECK(same_bits(through(layer, fresh(), x, 50, threads), alone));
    // Three sequences, two of which stand on a fork, in one batch: 1, 1 and 5 rows.
    AnyCache first = fresh();
    RowMatrix in = x, y(120, 14), batch(7, 14), out(7, 14);
    const BatchSlice begin{first, 0, 80, 0};
    layer.forward({in.data(), 14, 80}, std::span(&begin, 1), {y.data(), 14, 80}, context);
    first.commit(80);
    AnyCache second = first.fork(), third = first.fork();
    batch << x.row(80), x.row(80), x.middleRows(80, 5);
    const BatchSlice slices[]{{first, 0, 1, 80}, {second, 1, 1, 80}, {third, 2, 5, 80}};
    layer.forward(view(batch), slices, view(out), threads);
    CHECK(same_bits(RowMatrix(out.row(0)), RowMatrix(alone.row(80))));
    CHECK(same_bits(RowMatrix(out.row(1)), RowMatrix(alone.row(80))));
    CHECK(same_bits(RowMatrix(out.bottomRows(5)), RowMatrix(alone.middleRows(80, 5))));
}

TEST_CASE("latent attention is multi-head attention where the latent is the input",
          "[latent_attention]") {
    LatentParts parts(false);
    parts.normed = false;
    parts.shape = {3, 6, 0, 7, 18};
    parts.width = 18;
    Random random(8);
    parts.query = random_matrix(random, 18, 18, 0.4);
    parts.latent = RowMatrix::Identity(18, 18);
    parts.out = random_matrix(random, 18, 21, 0.4);
    RowMatrix k(18, 18), v(21, 18);
    for (int h = 0; h < 3; ++h) {
        k.middleRows(6 * h, 6) = parts.key_up[std::size_t(h)] = random_matrix(random, 6, 18, 0.4);
        v.middleRows(7 * h, 7) = parts.value_up[std::size_t(h)] = random_matrix(random, 7, 18, 0.4);
    }
    std::vector<cairn::Linear> qkv;
    for (const RowMatrix& m : {parts.query, k, v}) qkv.emplace_back(WeightMatrix::from(m));
    const MultiHead<NoRotation> plain({3, 3, 6, 7}, JoinedLinear(std::move(qkv)),
                                      cairn::Linear(WeightMatrix::from(parts.out)));
    const RowMatrix x = random_matrix(random, 90, 18);
    Context context;
    const RowMatrix wanted = through(plain, KvCache<>(plain.layout(), 100), x, 90, context);
    CHECK(same_bits(exact_through<Contiguous<F32>>(parts.layer<Direct>(), x), wanted));
    CHECK(far(exact_through<Contiguous<Latent<F32>>>(parts.layer<Absorbed>(), x),
              wanted.cast<double>()) < 1e-5);
}

TEST_CASE("absorbed heads are multi-head attention whose cache keeps the layer's inputs",
          "[latent_attention]") {
    for (const HeadLayout layout : {HeadLayout{3, 3, 6, 7}, HeadLayout{4, 2, 5, 5}}) {
        Random random(9);
        const int width = 18, queries = layout.heads * layout.key_dim;
        const int keys = layout.kv_heads * layout.key_dim;
        const int values = layout.kv_heads * layout.value_dim;
        const RowMatrix qkv = random_matrix(random, queries + keys + values, width, 0.4);
        const RowMatrix out = random_matrix(random, width, layout.heads * layout.value_dim, 0.4);
        const auto bias = random_vector(random, static_cast<std::size_t>(qkv.rows()), 0.5);
        const auto projected = [&] { return cairn::Linear(WeightMatrix::from(qkv), bias); };
        const auto mixed = [&] { return cairn::Linear(WeightMatrix::from(out)); };
        const auto absorbed = absorbed_heads(layout, projected(), mixed());
        const RowMatrix x = random_matrix(random, 90, width);

        // The definition, keys and values as they are with their biases.
        const Wide all =
            (x.cast<double>() * qkv.cast<double>().transpose()).rowwise() +
            Eigen::Map<const Eigen::RowVectorXf>(bias.data(), qkv.rows()).cast<double>();
        const AttentionParameters parameters{.scale = 1.0F / std::sqrt(float(layout.key_dim))};
        const Wide wanted =
            reference_attention<double>(all.leftCols(queries), all.middleCols(queries, keys),
                                        all.rightCols(values), layout, parameters) *
            out.cast<double>().transpose();
        const RowMatrix got = exact_through<Contiguous<Latent<F32>>>(absorbed, x);
        CHECK(far(got, wanted) < 1e-5);
        CHECK(same_bits(got, exact_through<Paged<F32>>(absorbed, x)));

        // In few bits: the rows that a cache of inputs keeps, and as many bytes; nothing is
        // rebuilt.
        const MultiHead<NoRotation> plain(layout, projected(), mixed());
        const RowMatrix rebuilt = exact_through<Contiguous<Inputs<Uniform>>>(plain, x);
        CHECK_FALSE(far(rebuilt, wanted) < 1e-3);
        CHECK(far(exact_through<Contiguous<Latent<Uniform>>>(absorbed, x), rebuilt.cast<double>()) <
              1e-5);
        CHECK(KvCache<Contiguous<Latent<Uniform>>>(absorbed.layout(), 128).payload_bytes(100) ==
              KvCache<Contiguous<Inputs<Uniform>>>(plain.layout(), 128).payload_bytes(100));
        CHECK(code_of([&] { (void)absorbed_heads({3, 3, 6, 6}, projected(), mixed()); }) ==
              ErrorCode::shape_mismatch);
    }
}

TEST_CASE("latent attention refuses what does not fit", "[latent_attention]") {
    const LatentParts parts;
    const auto absorbed = parts.layer<Absorbed>();
    const auto direct = parts.layer<Direct>();
    Context context;
    RowMatrix x = RowMatrix::Ones(2, 14), y(2, 14);
    const auto code = [&](const auto& layer, AnyCache cache) {
        const BatchSlice slice{cache, 0, 2, 0};
        const ErrorCode result =
            code_of([&] { layer.forward(view(x), std::span(&slice, 1), view(y), context); });
        CHECK(cache.length() == 0);
        return result;
    };
    CHECK(code(absorbed, KvCache<>(direct.layout(), 9)) == ErrorCode::shape_mismatch);
    CHECK(code(absorbed, KvCache<Contiguous<Inputs<F32>>>(absorbed.layout(), 9)) ==
          ErrorCode::unsupported);
    CHECK(code(direct, KvCache<Contiguous<Factored<F32>>>(direct.layout(), 9)) ==
          ErrorCode::unsupported);
    HeadLayout other = direct.layout();
    other.input = 20;
    CHECK(code(direct, KvCache<Contiguous<Inputs<F32>>>(other, 9)) == ErrorCode::shape_mismatch);
    x(1, 3) = std::numeric_limits<float>::quiet_NaN();
    CHECK(code(absorbed, KvCache<>(absorbed.layout(), 9)) == ErrorCode::non_finite);
    const auto broken = [](auto change) {
        LatentParts wrong;
        change(wrong);
        return code_of([&] { wrong.layer<Absorbed>(); });
    };
    CHECK(broken([](auto& p) { p.key_up.pop_back(); }) == ErrorCode::shape_mismatch);
    CHECK(broken([](auto& p) { p.value_up[1] = RowMatrix::Ones(7, 9); }) ==
          ErrorCode::shape_mismatch);
    CHECK(broken([](auto& p) { p.shape.rotated_dim = 2; }) == ErrorCode::shape_mismatch);
    CHECK(broken([](auto& p) { p.shape.heads = 0; }) == ErrorCode::invalid_argument);
    CHECK(broken([](auto& p) { p.latent_gain.pop_back(); }) == ErrorCode::shape_mismatch);
}
