// A StandardConfig as a table of tensors and as a model.
#pragma once

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cairn/layers/normed_embedding.hpp"
#include "cairn/layers/projected_norms.hpp"
#include "cairn/models/feed_forward.hpp"
#include "cairn/models/standard_config.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// How an export moves the rows of a tensor (`TensorLine`).
struct RowMoves {
    std::ptrdiff_t head = 0;
    std::ptrdiff_t by_head = 0;
    float more = 0.0F;
};

// The lines of a StandardConfig.
class StandardTable {
  public:
    explicit StandardTable(const StandardConfig& c)
        : c_(c), table_(std::string(c.names.left_out)) {}

    [[gnu::cold]] TensorTable make() {
        const StandardNames& n = c_.names;
        const std::ptrdiff_t width = c_.shape.width;
        const std::ptrdiff_t words = c_.shape.vocabulary;
        if (!c_.rotations.empty()) add_rotary_divisors(table_, c_.rotations.front());
        add(-1, n.embedding, {words, width});
        add(-1, n.positions, {c_.shape.context, width});
        norm(-1, n.embedding_norm);
        table_.layers(std::string(n.hf_layers), std::string(n.gguf_layers), c_.shape.layers);
        for (int i = 0; i < c_.shape.layers; ++i) layer(i);
        norm(-1, n.final_norm);
        add(-1, n.output, {words, width}, c_.tied ? Need::never : Need::always);
        return std::move(table_);
    }

  private:
    void layer(int i) {
        const StandardNames& n = c_.names;
        const HeadLayout& heads = c_.shape.heads;
        const std::ptrdiff_t width = c_.shape.width;
        const std::ptrdiff_t head = heads.key_dim;
        const std::ptrdiff_t q = heads.heads * head;
        const bool own = c_.layers[static_cast<std::size_t>(i)].reads < 0;
        const std::ptrdiff_t k = own ? heads.kv_heads * head : 0;
        const RowMoves paired{c_.pairing == Pairing::interleaved_in_gguf ? head : 0};
        norm(i, n.attention_norm);
        if (n.qkv.given()) {
            const RowMoves moved{0, c_.joined == JoinedRows::by_head ? head : 0};
            linear(i, n.qkv, q + 2 * k, width, c_.qkv_bias, moved);
        } else {
            linear(i, n.q, q, width, c_.qkv_bias, paired);
            if (own) linear(i, n.k, k, width, c_.qkv_bias, paired);
            if (own) linear(i, n.v, k, width, c_.qkv_bias);
        }
        query_key_norm(i, n.q_norm, heads.heads);
        if (own) query_key_norm(i, n.k_norm, heads.kv_heads);
        linear(i, n.out, width, q, c_.out_bias);
        add_tensor(i, n.sinks, "", {heads.heads}, Need::always, {});
        norm(i, n.attention_post_norm);
        norm(i, n.mlp_norm);
        if (c_.layers[static_cast<std::size_t>(i)].experts)
            experts(i);
        else if (n.gate_up.given())
            linear(i, n.gate_up, 2 * std::ptrdiff_t{c_.hidden}, width, c_.mlp_bias);
        else
            linear(i, n.gate, c_.hidden, width, c_.mlp_bias),
                linear(i, n.up, c_.hidden, width, c_.mlp_bias);
        if (!c_.layers[static_cast<std::size_t>(i)].experts)
            linear(i, n.down, width, c_.hidden, c_.mlp_bias);
        norm(i, n.mlp_post_norm);
    }
    void experts(int i) {
        if (c_.own.lines) return c_.own.lines(table_, i);
        const StandardExperts& e = c_.experts;
        const std::ptrdiff_t width = c_.shape.width;
        linear(i, e.choice, e.count, width, Need::never);
        add(i, e.gate, {e.count, e.hidden, width});
        add(i, e.up, {e.count, e.hidden, width});
        add(i, e.down, {e.count, width, e.hidden});
    }
    void query_key_norm(int i, const PartName& name, std::ptrdiff_t heads) {
        const std::ptrdiff_t head = c_.shape.heads.key_dim;
        const RowMoves moves{0, 0, c_.norm == NormKind::rms_plus_one ? 1.0F : 0.0F};
        switch (c_.query_key_norm) {
            case QueryKeyNormKind::none: return;
            case QueryKeyNormKind::head: return add(i, name, {head}, Need::always, moves);
            case QueryKeyNormKind::row: return add(i, name, {heads * head}, Need::always, moves);
            case QueryKeyNormKind::own_head: break;
        }
        add(i, name, {heads, head});
    }
    void linear(int i, const PartName& name, std::ptrdiff_t out, std::ptrdiff_t in, Need bias,
                const RowMoves& moves = {}) {
        add(i, name, {out, in}, Need::always, moves);
        add_tensor(i, name, ".bias", {out}, bias, moves);
    }
    void norm(int i, const PartName& name) {
        const RowMoves moves{0, 0, c_.norm == NormKind::rms_plus_one ? 1.0F : 0.0F};
        add(i, name, {c_.shape.width}, Need::always, moves);
        if (c_.norm == NormKind::layer)
            add_tensor(i, name, ".bias", {c_.shape.width}, Need::always, {});
    }
    void add(int i, const PartName& name, const TensorShape& shape, Need need = Need::always,
             const RowMoves& moves = {}) {
        add_tensor(i, name, ".weight", shape, need, moves);
    }
    void add_tensor(int i, const PartName& name, const char* kind, const TensorShape& shape,
                    Need need, const RowMoves& moves) {
        if (!name.given()) return;
        const auto whole = [kind](std::string_view part) {
            return part.empty() ? std::string() : std::string(part).append(kind);
        };
        const std::string hf = whole(name.hf);
        const std::string gguf = whole(name.gguf);
        TensorLine line{hf, gguf, shape, need};
        line.head = moves.head;
        line.by_head = moves.by_head;
        line.more = moves.more;
        if (i < 0)
            table_.add({line});
        else
            table_.layer(i, {line});
    }

    const StandardConfig& c_;
    TensorTable table_;
};

// The parts of a StandardConfig out of a file.
class StandardLoader {
  public:
    StandardLoader(const StandardConfig& c, WeightReader& reader) : c_(c), reader_(reader) {
        for (const RotarySettings& settings : c.rotations) rotations_.push_back(rotation(settings));
        if (c.alibi_bias > 0.0) alibi_ = alibi_slopes(c.shape.heads.heads, c.alibi_bias);
    }
    [[gnu::cold]] DecoderWeights<ComposedBlock, AnyPositions> load() {
        const StandardNames& n = c_.names;
        DecoderWeights<ComposedBlock, AnyPositions> weights;
        weights.architecture = c_.shape.architecture;
        weights.embedding = reader_.embedding(whole(n.embedding));
        weights.positions = positions();
        for (int i = 0; i < c_.shape.layers; ++i) weights.blocks.emplace_back(block(i));
        at_.clear();
        gguf_at_.clear();
        weights.final_norm = norm(n.final_norm);
        weights.output = reader_.output(whole(n.output));
        weights.logits = c_.logits;
        return weights;
    }

  private:
    std::string whole(const PartName& name) const {
        return name.hf.empty() ? gguf_at_ + std::string(name.gguf) : at_ + std::string(name.hf);
    }
    AnyPositions positions() {
        const StandardNames& n = c_.names;
        const int context = c_.shape.context;
        if (n.positions.given())
            return AnyPositions(LearnedPositions(reader_.matrix(whole(n.positions) + ".weight")));
        if (n.embedding_norm.given())
            return AnyPositions(
                NormedEmbedding(reader_.layer_norm(whole(n.embedding_norm), c_.epsilon), context));
        if (c_.embedding_scale != 1.0F)
            return AnyPositions(ScaledEmbedding(c_.embedding_scale, c_.shape.width, context));
        return AnyPositions(NoPositions{context});
    }
    AnyRotation rotation(RotarySettings settings) {
        if (reader_.has("rope_freqs.weight"))
            settings.divisors = read_rotary_divisors(c_.shape.architecture, settings.dims, reader_);
        const bool pairs =
            c_.pairing == Pairing::interleaved ||
            (c_.pairing == Pairing::interleaved_in_gguf && reader_.format() == ModelFormat::gguf);
        const auto turn = [&]() -> AnyRotation {
            if (pairs) return RotaryInterleaved(settings);
            return RotaryHalf(settings);
        };
        if (settings.scaling.kind != RotaryScaling::Kind::longrope) return turn();
        const auto own = [&](std::vector<float>& divisors, const char* name) -> AnyRotation {
            if (reader_.format() == ModelFormat::gguf)
                divisors =
                    read_rotary_divisors(c_.shape.architecture, settings.dims, reader_, name);
            settings.divisors = divisors;
            return turn();
        };
        const AnyRotation near = own(settings.divisors, "rope_factors_short.weight");
        return {near, own(settings.far_divisors, "rope_factors_long.weight"),
                static_cast<int>(settings.scaling.original_context)};
    }
    AnyNorm norm(const PartName& name) {
        if (!name.given()) return {};
        const std::string at = whole(name);
        if (c_.norm == NormKind::layer) return AnyNorm(reader_.layer_norm(at, c_.epsilon));
        std::vector<float> weight = norm_weight(at);
        if (c_.norm != NormKind::layer_without_bias)
            return AnyNorm(RmsNorm(std::move(weight), c_.epsilon));
        std::vector<float> zeros(weight.size());
        return AnyNorm(LayerNorm(std::move(weight), std::move(zeros), c_.epsilon));
    }
    std::vector<float> norm_weight(const std::string& name) {
        std::vector<float> weight = reader_.vector(name + ".weight");
        const bool more =
            c_.norm == NormKind::rms_plus_one && reader_.format() == ModelFormat::hugging_face;
        if (more)
            for (float& w : weight) w += 1.0F;
        return weight;
    }
    QueryKeyNorms::Part query_key_part(const PartName& name, std::ptrdiff_t heads) {
        const std::ptrdiff_t head = c_.shape.heads.key_dim;
        const bool row = c_.query_key_norm == QueryKeyNormKind::row;
        QueryKeyNorms::Part part{{}, heads * head, row ? heads * head : head};
        part.weight = norm_weight(whole(name));
        return part;
    }
    std::shared_ptr<const ProjectedStep> projected(bool own) {
        const HeadLayout& heads = c_.shape.heads;
        if (c_.clamp > 0.0F) return std::make_shared<ClampedProjections>(heads, c_.clamp);
        if (c_.query_key_norm == QueryKeyNormKind::none) return nullptr;
        const bool rms = c_.norm == NormKind::rms || c_.norm == NormKind::rms_plus_one;
        auto q = query_key_part(c_.names.q_norm, heads.heads);
        auto k = own ? query_key_part(c_.names.k_norm, heads.kv_heads) : q;  // not used
        return std::make_shared<QueryKeyNorms>(
            rms ? QueryKeyNorms::Kind::rms : QueryKeyNorms::Kind::layer_without_bias, std::move(q),
            std::move(k), c_.epsilon);
    }
    JoinedLinear qkv(bool own) {
        const StandardNames& n = c_.names;
        if (!n.qkv.given() && !own) return reader_.linear(whole(n.q));
        if (!n.qkv.given()) return reader_.joined({whole(n.q), whole(n.k), whole(n.v)});
        const bool by_head =
            c_.joined == JoinedRows::by_head && reader_.format() == ModelFormat::hugging_face;
        if (!by_head) return reader_.linear(whole(n.qkv));
        const std::ptrdiff_t head = c_.shape.heads.key_dim;
        std::vector<Linear> parts;
        for (std::ptrdiff_t part = 0; part < 3; ++part)
            parts.push_back(reader_.linear(
                whole(n.qkv), {c_.shape.heads.heads * head, [head, part](std::ptrdiff_t r) {
                                   return (r / head * 3 + part) * head + r % head;
                               }}));
        return JoinedLinear(std::move(parts));
    }
    AnyFeedForward mlp() {
        const StandardNames& n = c_.names;
        const bool gated = c_.mlp == MlpKind::silu_gated || c_.mlp == MlpKind::gelu_new_gated;
        if (!gated) {
            Linear up = reader_.linear(whole(n.up));
            Linear down = reader_.linear(whole(n.down));
            if (c_.mlp == MlpKind::gelu)
                return AnyFeedForward(Mlp<Gelu>(std::move(up), std::move(down)));
            return AnyFeedForward(Mlp<GeluNew>(std::move(up), std::move(down)));
        }
        const auto half = [&](const PartName& own, std::ptrdiff_t first) {
            if (!n.gate_up.given()) return reader_.linear(whole(own));
            return reader_.linear(whole(n.gate_up),
                                  {c_.hidden, [first](std::ptrdiff_t r) { return first + r; }});
        };
        Linear gate = half(n.gate, 0);
        Linear up = half(n.up, c_.hidden);
        Linear down = reader_.linear(whole(n.down));
        if (c_.mlp == MlpKind::silu_gated)
            return AnyFeedForward(SwiGlu(std::move(gate), std::move(up), std::move(down)));
        return AnyFeedForward(
            GatedMlp<ActivationGate<GeluNew>>(std::move(gate), std::move(up), std::move(down)));
    }
    AnyFeedForward experts() {
        if (c_.own.read) return c_.own.read(reader_, at_, gguf_at_);
        const StandardExperts& e = c_.experts;
        std::vector<Expert> parts =
            read_experts(reader_, ExpertNames{whole(e.gate), whole(e.up), whole(e.down)}, e.count);
        return AnyFeedForward(
            Experts<>(e.router, reader_.linear(whole(e.choice)), std::move(parts)));
    }
    BlockParts block(int i) {
        const StandardNames& n = c_.names;
        at_ = std::string(n.hf_layers).append(std::to_string(i)).append(".");
        gguf_at_ = std::string(n.gguf_layers).append(std::to_string(i)).append(".");
        const StandardLayer& layer = c_.layers[static_cast<std::size_t>(i)];
        AttentionSettings settings;
        if (layer.window > 0 && layer.window < c_.shape.context)
            settings.mask = Mask::sliding_window(layer.window);
        settings.scale = c_.attention_scale;
        settings.soft_cap = c_.attention_cap;
        settings.alibi = alibi_;
        if (n.sinks.given()) settings.sinks = reader_.vector(whole(n.sinks));
        const bool own = layer.reads < 0;
        settings.leader = layer.reads;
        settings.projected = projected(own);
        const AnyRotation turn = layer.rotation < 0
                                     ? AnyRotation()
                                     : rotations_[static_cast<std::size_t>(layer.rotation)];
        BlockParts parts;
        parts.residual = c_.residual;
        parts.attention_norm = norm(n.attention_norm);
        JoinedLinear in = qkv(own);
        parts.attention = MultiHead<AnyRotation>(c_.shape.heads, std::move(in),
                                                 reader_.linear(whole(n.out)), turn, settings);
        parts.attention_post_norm = norm(n.attention_post_norm);
        parts.mlp_norm = norm(n.mlp_norm);
        parts.mlp = layer.experts ? experts() : mlp();
        parts.mlp_post_norm = norm(n.mlp_post_norm);
        return parts;
    }

    const StandardConfig& c_;
    WeightReader& reader_;
    std::vector<AnyRotation> rotations_;
    std::vector<float> alibi_;
    std::string at_;
    std::string gguf_at_;
};

}  // namespace internal

/// The recipe of a config: what an architecture's reader returns.
[[gnu::cold]] inline ModelRecipe standard_recipe(const StandardConfig& config) {
    return {config.shape, internal::StandardTable(config).make(),
            [config](WeightReader& reader) {
                return any_model(internal::StandardLoader(config, reader).load());
            },
            config.not_in_gguf};
}
/// The same as a reader of architectures: `read` gives the config of the numbers, or of these and
/// the tensors.
template <auto read>
[[gnu::cold]] ModelRecipe standard_reader(ModelNumbers& n, const TensorSource& source) {
    if constexpr (std::is_invocable_v<decltype(read), ModelNumbers&, const TensorSource&>)
        return standard_recipe(read(n, source));
    else
        return (void)source, standard_recipe(read(n));
}

}}  // namespace cairn
