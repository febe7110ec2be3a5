// What a recipe says of a decoder that is put together from the usual parts: numbers, kinds of
// parts, and what each part is called in both kinds of file. models/standard_decoder.hpp builds it.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/layers/composed_block.hpp"
#include "cairn/layers/experts.hpp"
#include "cairn/models/architecture.hpp"
#include "cairn/models/rotary_numbers.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A part's names in both kinds of file, without ".weight" and ".bias". Neither: the architecture
/// has no such part.
struct PartName {
    std::string_view hf{};
    std::string_view gguf{};
    bool given() const noexcept { return !hf.empty() || !gguf.empty(); }
};

/// The parts of a model; Llama's names unless a recipe says others. Those of a layer follow
/// "PREFIX" "i" ".".
struct StandardNames {
    std::string_view left_out{};  ///< what Hugging Face's files may leave out in front of all names
    PartName embedding{"model.embed_tokens", "token_embd"};
    PartName embedding_norm{};
    PartName positions{};  ///< learned
    PartName final_norm{"model.norm", "output_norm"};
    PartName output{"lm_head", "output"};
    std::string_view hf_layers = "model.layers.";
    std::string_view gguf_layers = "blk.";
    PartName attention_norm{"input_layernorm", "attn_norm"};
    PartName q{"self_attn.q_proj", "attn_q"};
    PartName k{"self_attn.k_proj", "attn_k"};
    PartName v{"self_attn.v_proj", "attn_v"};
    PartName qkv{};  ///< in place of q, k and v: all three in one tensor
    PartName q_norm{};
    PartName k_norm{};
    PartName out{"self_attn.o_proj", "attn_output"};
    PartName sinks{};  ///< a number a head, the whole name
    PartName attention_post_norm{};
    PartName mlp_norm{"post_attention_layernorm", "ffn_norm"};
    PartName gate{"mlp.gate_proj", "ffn_gate"};  ///< none: a feed-forward without a gate
    PartName up{"mlp.up_proj", "ffn_up"};
    PartName gate_up{};  ///< in place of gate and up: gate's rows first
    PartName down{"mlp.down_proj", "ffn_down"};
    PartName mlp_post_norm{};
};

enum class NormKind : std::uint8_t {
    rms,
    rms_plus_one,  ///< Hugging Face's files hold what the weight is more than 1, GGUF files the
                   ///< weight
    layer,
    layer_without_bias
};
enum class MlpKind : std::uint8_t { silu_gated, gelu_new_gated, gelu, gelu_new };
/// Which numbers a norm of queries and keys takes at a time, and whether heads share its weight.
enum class QueryKeyNormKind : std::uint8_t { none, head, own_head, row };
/// How Hugging Face's one tensor of queries, keys and values is laid out; GGUF's is always `parts`.
enum class JoinedRows : std::uint8_t { parts, by_head };
/// How the numbers of a head are paired when they are rotated, by kind of file.
enum class Pairing : std::uint8_t { half, interleaved, interleaved_in_gguf };

/// What differs between layers.
struct StandardLayer {
    int window = 0;        ///< keys a query sees; 0: all
    int rotation = 0;      ///< index into `rotations`; below 0: none
    bool experts = false;  ///< in place of the one feed-forward
    int reads = -1;        ///< the layer whose keys and values it attends; below 0: its own
};

/// Experts of layers that have them; a star in Hugging Face's names is an expert's number.
struct StandardExperts {
    int count = 0;
    int hidden = 0;  ///< of each
    SoftmaxRouter router{};
    PartName choice{"mlp.gate", "ffn_gate_inp"};
    PartName gate{"mlp.experts.*.gate_proj", "ffn_gate_exps"};
    PartName up{"mlp.experts.*.up_proj", "ffn_up_exps"};
    PartName down{"mlp.experts.*.down_proj", "ffn_down_exps"};
};

/// A feed-forward that is none of the usual ones, in place of the experts.
struct OwnFeedForward {
    /// Adds the lines of a layer.
    std::function<void(TensorTable& to, int layer)> lines{};
    /// Reads it; `hf` and `gguf` stand in front of the layer's names in recipes.
    std::function<AnyFeedForward(WeightReader& reader, const std::string& hf,
                                 const std::string& gguf)>
        read{};
};

/// A whole model.
struct StandardConfig {
    ModelShape shape{};
    int hidden = 0;
    float epsilon = 1e-5F;
    bool tied = false;
    StandardNames names{};
    NormKind norm = NormKind::rms;
    MlpKind mlp = MlpKind::silu_gated;
    QueryKeyNormKind query_key_norm = QueryKeyNormKind::none;
    JoinedRows joined = JoinedRows::parts;
    Need qkv_bias = Need::never;
    Need out_bias = Need::never;
    Need mlp_bias = Need::never;
    Residual residual{};
    Pairing pairing = Pairing::half;
    std::vector<RotarySettings> rotations{};
    std::vector<StandardLayer> layers{};
    StandardExperts experts{};
    OwnFeedForward own{};          ///< of layers with experts; none: `experts`
    float attention_scale = 0.0F;  ///< 0: 1 / sqrt(width of a head)
    float attention_cap = 0.0F;
    float clamp = 0.0F;       ///< of queries, keys and values; 0: none
    double alibi_bias = 0.0;  ///< the largest exponent of ALiBi's slopes; 0: no ALiBi
    float embedding_scale = 1.0F;
    LogitStep logits{};
    std::string not_in_gguf{};  ///< why GGUF files cannot hold it; empty: they can
};

/// What the usual numbers are called, where not as in Llama's files.
struct StandardNumbers {
    NumberName layers{"num_hidden_layers", "block_count"};
    NumberName width{"hidden_size", "embedding_length"};
    NumberName hidden{"intermediate_size", "feed_forward_length"};
    NumberName context{"max_position_embeddings", "context_length"};
    NumberName heads{"num_attention_heads", "attention.head_count"};
    NumberName kv_heads{"num_key_value_heads", "attention.head_count_kv"};
    NumberName head{"head_dim", "attention.key_length"};
    NumberName epsilon{"rms_norm_eps", "attention.layer_norm_rms_epsilon"};
    double usual_epsilon = 1e-5;
    int usual_kv_heads = 0;  ///< where config.json does not name them; 0: as many as heads
    int usual_head = 0;      ///< likewise; 0: width / heads
    int usual_context = 0;   ///< 0: files must say it
    int usual_heads = 0;     ///< likewise
    int usual_vocabulary = 0;
    bool usually_tied = false;
};

/// The epsilon of a LayerNorm in both kinds of file.
inline constexpr std::string_view gguf_layer_norm_epsilon = "attention.layer_norm_epsilon";

/// A config with its shape, feed-forward width and epsilon read, one kind of layer, no rotation.
/// Throws what `ModelNumbers` throws.
[[gnu::cold]] inline StandardConfig read_standard(ModelNumbers& n, const StandardNumbers& s = {}) {
    constexpr int most = 1 << 24;
    StandardConfig c;
    ModelShape& shape = c.shape;
    shape.architecture = n.architecture();
    shape.layers = n.count(s.layers, 1024);
    shape.width = n.count(s.width, most / 8);
    // GGUF files say what has a name there.
    const auto number = [&](const NumberName& name, int largest, int usual) {
        const bool said = usual == 0 || (n.gguf() && !name.gguf.empty());
        return said ? n.count(name, largest) : n.count(name, largest, usual);
    };
    shape.context = number(s.context, most, s.usual_context);
    shape.vocabulary = n.vocabulary(s.usual_vocabulary);
    n.note("vocab_size", std::int64_t{shape.vocabulary});
    // Without a name the feed-forward is four times as wide.
    c.hidden = n.count(s.hidden, most, std::int64_t{4} * shape.width);
    HeadLayout& heads = shape.heads;
    heads.heads = number(s.heads, most / 8, s.usual_heads);
    // What is absent is the architecture's own number, null means as many as heads.
    const bool usual = !n.gguf() && s.usual_kv_heads > 0 && !n.contains(s.kv_heads);
    heads.kv_heads = n.count(s.kv_heads, most / 8, usual ? s.usual_kv_heads : heads.heads);
    require(heads.heads % heads.kv_heads == 0, n.code(), n.where(), ": ", heads.heads,
            " heads are no multiple of ", heads.kv_heads, " heads of keys");
    const bool own = !n.gguf() && s.usual_head > 0;
    require(n.has(s.head) || own || shape.width % heads.heads == 0, n.code(), n.where(), ": width ",
            shape.width, " is no multiple of ", heads.heads, " heads");
    heads.key_dim =
        n.count(s.head, 4096, own ? s.usual_head : std::max(shape.width / heads.heads, 1));
    heads.value_dim = n.count({"", "attention.value_length"}, 4096, heads.key_dim);
    require(heads.value_dim == heads.key_dim, ErrorCode::unsupported, n.where(), ": values of ",
            heads.value_dim, " beside keys of ", heads.key_dim);
    const double epsilon = n.gguf() ? n.number(s.epsilon) : n.number(s.epsilon, s.usual_epsilon);
    require(epsilon > 0.0 && epsilon <= 1.0, n.code(), n.where(), ": the epsilon of its norms is ",
            epsilon, ", not in (0, 1]");
    c.epsilon = static_cast<float>(epsilon);
    c.tied = n.tied(s.usually_tied);
    c.layers.resize(static_cast<std::size_t>(shape.layers), StandardLayer{0, -1, false});
    return c;
}

/// Whether parts have biases: config.json says so by an option, GGUF files by having them.
inline Need bias_need(const ModelNumbers& n, std::string_view option, bool usual) {
    if (n.gguf()) return Need::optional;
    return n.boolean({option}, usual) ? Need::always : Need::never;
}

/// Biases of all of attention's projections behind one option, in architectures whose GGUF files
/// have none behind its output.
[[gnu::cold]] inline void read_attention_bias(StandardConfig& c, const ModelNumbers& n) {
    c.qkv_bias = c.out_bias = bias_need(n, "attention_bias", false);
    if (c.out_bias == Need::always)
        c.not_in_gguf = "GGUF files of its kind have no bias of attention's output";
}

/// Whether a GGUF file holds longrope's divisors; false for folders, whose config.json says it.
/// Throws an Error with the numbers' code where one of the two tensors is missing.
[[gnu::cold]] inline bool longrope_in_gguf(const ModelNumbers& n, const TensorSource& source) {
    if (!n.gguf()) return false;
    const bool far = source.shape("rope_factors_long.weight") != nullptr;
    require(far == (source.shape("rope_factors_short.weight") != nullptr), n.code(), n.where(),
            ": one of rope_factors_short and rope_factors_long is missing");
    return far;
}

/// One rotation for all layers. `partial` of each head is rotated; GGUF files say how many numbers.
[[gnu::cold]] inline void rotate_all(StandardConfig& c, ModelNumbers& n, RotaryNames names = {},
                                     double partial = 1.0) {
    names.all_kinds = true;  // an export of what GGUF files cannot say is refused below
    const int head = c.shape.heads.key_dim;
    const int dims =
        n.count({"", "rope.dimension_count"}, 4096, static_cast<std::int64_t>(head * partial));
    require(dims > 0 && dims <= head && dims % 2 == 0, ErrorCode::unsupported, n.where(), ": ",
            dims, " rotated numbers of heads of ", head, " (even, at most the head)");
    n.note("rope.dimension_count", std::int64_t{dims});
    c.rotations.push_back(read_rotary(n, dims, c.shape.context, names));
    if (!c.rotations.back().scaling.whole_pairs)
        c.not_in_gguf = "GGUF files cannot say that YaRN's ramp is not truncated";
    if (c.rotations.back().scaling.kind == RotaryScaling::Kind::longrope && !names.longrope)
        c.not_in_gguf = "GGUF files of this architecture have no longrope";
    for (StandardLayer& layer : c.layers) layer.rotation = 0;
}
/// The share of a head that is rotated, as config.json says it in one of two places.
[[gnu::cold]] inline double rotated_share(const ModelNumbers& n, std::string_view name,
                                          double usual) {
    double share = usual;
    for (const std::string_view key : {name, std::string_view("partial_rotary_factor"),
                                       std::string_view("rope_parameters.partial_rotary_factor")})
        if (!n.gguf() && n.has({key})) share = n.said_number({key});
    require(share > 0.0 && share <= 1.0, n.code(), n.where(), ": a share of ", share,
            " of each head is rotated; (0, 1]");
    return share;
}

/// How many bases GGUF files of an architecture hold for two rotations.
enum class Bases : std::uint8_t { one, two };

/// Refuses an export where GGUF files cannot say what the second rotation, of layers with windows,
/// is.
[[gnu::cold]] inline void check_two_rotations(StandardConfig& c, Bases bases) {
    const RotarySettings& full = c.rotations[0];
    const RotarySettings& sliding = c.rotations[1];
    if (sliding.scaling.kind != RotaryScaling::Kind::none ||
        full.scaling.kind == RotaryScaling::Kind::llama3 ||
        (bases == Bases::one && full.theta != sliding.theta))
        c.not_in_gguf = "GGUF files cannot say the rotation of its layers with windows";
}

/// Gives layers a window where config.json's `layer_types` says so, or `sliding(i)` where there is
/// no such list.
template <class Sliding>
[[gnu::cold]] void set_windows(StandardConfig& c, const ModelNumbers& n, int window,
                               const Sliding& sliding) {
    const std::vector<std::string> types = n.words({"layer_types"});
    // GGUF files of some say a mark a layer; a number alone is a period.
    const std::vector<std::int64_t> marks = n.integers({"", "attention.sliding_window_pattern"});
    const bool marked = marks.size() > 1;
    const std::int64_t period = marks.size() == 1 ? marks.front() : -1;
    require(marks.size() != 1 || period >= 0, n.code(), n.where(),
            ": attention.sliding_window_pattern ", period);
    require(!marked || marks.size() == c.layers.size(), n.code(), n.where(),
            ": attention.sliding_window_pattern marks ", marks.size(), " layers of ",
            c.layers.size());
    require(types.empty() || types.size() == c.layers.size(), n.code(), n.where(),
            ": layer_types names ", types.size(), " layers of ", c.layers.size());
    for (std::size_t i = 0; i < c.layers.size(); ++i) {
        const bool listed = !types.empty();
        require(!listed || types[i] == "sliding_attention" || types[i] == "full_attention",
                ErrorCode::unsupported, n.where(), ": layer_types names \"",
                listed ? types[i].substr(0, 60) : std::string(),
                "\"; known: full_attention, sliding_attention");
        const auto at = static_cast<std::int64_t>(i);
        const bool slides = marked        ? marks[i] != 0
                            : period == 0 ? true
                            : period > 0  ? at % period < period - 1
                            : listed      ? types[i] == "sliding_attention"
                                          : sliding(static_cast<int>(i));
        c.layers[i].window = slides ? window : 0;
        if (slides != sliding(static_cast<int>(i)))
            c.not_in_gguf = "GGUF files cannot say which layers its layer_types name";
    }
}

/// ALiBi's slopes (Press et al. 2022), negative distances times them are added to scores: 2^(-b (h
/// + 1) / n) for the first n = 2^floor(log2 heads) heads, the odd steps of twice as many for the
/// others.
[[gnu::cold]] inline std::vector<float> alibi_slopes(int heads, double bias) {
    const FpEnvironment environment;
    int whole = 1;
    while (2 * whole <= heads) whole *= 2;
    std::vector<float> result;
    for (int h = 0; h < heads; ++h) {
        const double exponent =
            h < whole ? -bias * (h + 1) / whole : -bias / 2.0 * (2 * (h - whole) + 1) / whole;
        result.push_back(static_cast<float>(elementary::pow(2.0, exponent)));
    }
    return result;
}

}}  // namespace cairn
