// DeepSeek V2, V2-Lite and V3: multi-head latent attention, and experts behind a router in place of
// one feed-forward layer. Source: transformers' modeling_deepseek_v2.py and _v3.py; GGUF as
// llama.cpp writes it (deepseek2), with keys and values of all heads in one tensor or apart.
#pragma once

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/layers/any_feed_forward.hpp"
#include "cairn/layers/latent_attention.hpp"
#include "cairn/layers/sigmoid_router.hpp"
#include "cairn/models/architecture.hpp"
#include "cairn/models/feed_forward.hpp"
#include "cairn/models/rotary_numbers.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The numbers of a DeepSeek V2 or V3.
struct DeepSeekConfig {
    std::string architecture;
    int layers = 0;
    int width = 0;
    int hidden = 0;  ///< of the dense layers, which come first
    int context = 0;
    int vocabulary = 0;
    LatentShape latent{};
    int query_rank = 0;  ///< numbers of a compressed query; 0: queries are not compressed
    int dense_layers = 0;
    int experts = 0;
    int expert_hidden = 0;
    int shared = 0;        ///< experts that every token goes through
    bool sigmoid = false;  ///< experts are scored one by one, as in V3
    SoftmaxRouter router{};
    int predicting = 0;  ///< layers behind the last that guess further tokens, and are not read
    RotarySettings rotary{};
    YarnScores scores{};
    float epsilon = 1e-6F;
    bool biased = false;  ///< of compressed queries, latents and outputs
    bool tied = false;
    bool apart = false;  ///< the file holds what makes keys apart from what makes values
};

namespace internal {

/// Of the norms of compressed queries and latents, whatever the configuration says of the others.
inline constexpr float latent_epsilon = 1e-6F;

// How experts are chosen.
[[gnu::cold]] inline void read_router(ModelNumbers& n, DeepSeekConfig& c) {
    constexpr int most = 1 << 24;
    const bool third = n.architecture() == "deepseek_v3";
    c.experts = n.count({"n_routed_experts", "expert_count"}, 1 << 12);
    c.router.experts_used = n.count({"num_experts_per_tok", "expert_used_count"}, c.experts);
    c.expert_hidden = n.count({"moe_intermediate_size", "expert_feed_forward_length"}, most / 8);
    // Absent is the class's default, null is none.
    const NumberName shared{"n_shared_experts", "expert_shared_count"};
    const int usual = n.gguf() || n.contains(shared) ? 0 : third ? 1 : 2;
    c.shared = static_cast<int>(n.integer(shared, 0, 64, usual));
    c.router.scale = static_cast<float>(
        n.number({"routed_scaling_factor", "expert_weights_scale"}, third ? 2.5 : 1.0));
    const auto gating = n.integer({"", "expert_gating_func"}, 0, 1000, third ? 2 : 1);
    require(gating == 1 || gating == 2, ErrorCode::unsupported, n.where(), ": expert_gating_func ",
            gating, "; known: 1 (softmax), 2 (sigmoid)");
    c.sigmoid = gating == 2;
    if (third) {
        n.one_of({"scoring_func"}, "sigmoid", {"sigmoid"});
        n.one_of({"topk_method"}, "noaux_tc", {"noaux_tc"});
    } else {
        n.one_of({"scoring_func"}, "softmax", {"softmax"});
        n.one_of({"topk_method"}, "greedy", {"greedy", "group_limited_greedy"});
    }
    if (n.gguf() || third || n.word({"topk_method"}, "greedy") != "greedy") {
        const auto usual_of = [&](const char* key, int value) {
            return third && !n.contains({key}) ? value : 1;
        };
        c.router.groups = n.count({"n_group", "expert_group_count"}, SoftmaxRouter::most_groups,
                                  usual_of("n_group", 8));
        c.router.groups_used = n.count({"topk_group", "expert_group_used_count"}, c.router.groups,
                                       usual_of("topk_group", 4));
    }
    require(c.experts % c.router.groups == 0 && c.router.groups_used <= c.router.groups &&
                c.router.experts_used <= c.experts / c.router.groups * c.router.groups_used,
            n.code(), n.where(), ": ", c.router.experts_used, " of ", c.experts, " experts in ",
            c.router.groups_used, " of ", c.router.groups, " groups");
    require(c.router.scale > 0.0F && c.router.scale < 1e6F, n.code(), n.where(), ": experts times ",
            c.router.scale);
    // transformers takes no notice of it in V2, whose own code divides: nobody trained with it.
    if (!third) n.refuse({"norm_topk_prob"});
    if (n.boolean({"norm_topk_prob", "expert_weights_norm"}, third)) {
        c.router.weights = SoftmaxRouter::Weights::shares;
        n.note("expert_weights_norm", true);
    }
    if (c.sigmoid) n.note("expert_gating_func", gating);
}
// The widths of attention; newer GGUF files say those of the cache under the usual names.
[[gnu::cold]] inline void read_latent_shape(ModelNumbers& n, DeepSeekConfig& c) {
    constexpr int most = 1 << 16;
    LatentShape& s = c.latent;
    s.heads = n.count({"num_attention_heads", "attention.head_count"}, most);
    s.latent_dim = n.count({"kv_lora_rank", "attention.kv_lora_rank"}, most);
    s.rotated_dim = n.count({"qk_rope_head_dim", "rope.dimension_count"}, 4096);
    const NumberName keys{"", n.has({"", "attention.key_length_mla"}) ? "attention.key_length_mla"
                                                                      : "attention.key_length"};
    const NumberName values{"v_head_dim", n.has({"", "attention.value_length_mla"})
                                              ? "attention.value_length_mla"
                                              : "attention.value_length"};
    s.value_dim = n.count(values, 4096);
    if (n.gguf())
        s.plain_dim = n.count(keys, 1 << 13) - s.rotated_dim;
    else
        s.plain_dim = n.count({"qk_nope_head_dim"}, 4096);
    require(s.plain_dim > 0 && s.rotated_dim % 2 == 0, n.code(), n.where(), ": heads of ",
            s.plain_dim, " numbers and ", s.rotated_dim, " that are rotated (an even number)");
    n.note("attention.head_count_kv", std::int64_t{s.heads});
    n.note("attention.key_length", std::int64_t{s.plain_dim} + s.rotated_dim);
    // Absent is the class's default, null is none.
    const bool absent = !n.gguf() && !n.contains({"q_lora_rank"});
    c.query_rank = static_cast<int>(
        n.integer({"q_lora_rank", "attention.q_lora_rank"}, 1, most, absent ? 1536 : 0));
}

}  // namespace internal

/// The numbers of a model of this family from its files.
[[gnu::cold]] inline DeepSeekConfig read_deepseek_config(ModelNumbers& n,
                                                         const TensorSource& source) {
    constexpr int most = 1 << 24;
    DeepSeekConfig c;
    c.architecture = n.architecture();
    c.layers = n.count({"num_hidden_layers", "block_count"}, 1024);
    c.width = n.count({"hidden_size", "embedding_length"}, most / 8);
    c.hidden = n.count({"intermediate_size", "feed_forward_length"}, most);
    c.context = n.count({"max_position_embeddings", "context_length"}, most);
    c.vocabulary = n.vocabulary();
    n.note("vocab_size", std::int64_t{c.vocabulary});
    internal::read_latent_shape(n, c);
    c.dense_layers = static_cast<int>(
        n.integer({"first_k_dense_replace", "leading_dense_block_count"}, 0, c.layers,
                  c.architecture == "deepseek_v3" ? std::min(3, c.layers) : 0));
    if (c.dense_layers < c.layers) internal::read_router(n, c);
    require(n.integer({"moe_layer_freq"}, 1, 1024, 1) == 1, ErrorCode::unsupported, n.where(),
            ": moe_layer_freq: experts in some layers only");
    c.epsilon = static_cast<float>(n.number({"rms_norm_eps", "attention.layer_norm_rms_epsilon"},
                                            n.gguf() ? std::optional<double>() : 1e-6));
    require(c.epsilon > 0.0F && c.epsilon <= 1.0F, n.code(), n.where(), ": rms_norm epsilon ",
            c.epsilon, " is not in (0, 1]");
    c.tied = n.tied(false);
    c.biased = n.boolean({"attention_bias"}, false);
    n.refuse({"mlp_bias"});
    require(n.boolean({"rope_interleave"}, true), ErrorCode::unsupported, n.where(),
            ": rope_interleave false is not supported");
    c.predicting = static_cast<int>(n.integer({"num_nextn_predict_layers"}, 0, 64, 0));
    n.one_of({"hidden_act"}, "silu", {"silu", "swish"});
    c.rotary = read_rotary(n, c.latent.rotated_dim, c.context, {}, &c.scores);
    require(c.rotary.theta > 1.0 && c.rotary.theta < 1e30, n.code(), n.where(), ": rotary theta ",
            c.rotary.theta);
    c.apart = n.gguf() && source.shape("blk.0.attn_kv_b.weight") == nullptr;
    return c;
}

/// The tensors of a model of this family.
[[gnu::cold]] inline TensorTable deepseek_tensors(const DeepSeekConfig& c) {
    const LatentShape& s = c.latent;
    const std::ptrdiff_t d = c.width;
    const std::ptrdiff_t q = std::ptrdiff_t{s.heads} * (s.plain_dim + s.rotated_dim);
    const auto need = [](bool needed) { return needed ? Need::always : Need::never; };
    const Need rank = need(c.query_rank > 0);
    const Need bias = need(c.biased);
    const std::ptrdiff_t latent = s.latent_dim + s.rotated_dim;
    const std::ptrdiff_t kv = std::ptrdiff_t{s.heads} * (s.plain_dim + s.value_dim);
    TensorTable table;
    table.add({{"model.embed_tokens.weight", "token_embd.weight", {c.vocabulary, d}}});
    table.layers("model.layers.", "blk.", c.layers, c.predicting);
    for (int i = 0; i < c.layers; ++i) {
        const Need dense = need(i < c.dense_layers);
        const Need sparse = need(i >= c.dense_layers);
        const Need shared = need(i >= c.dense_layers && c.shared > 0);
        const std::ptrdiff_t wide = std::ptrdiff_t{c.expert_hidden} * c.shared;
        table.layer(
            i,
            {{"input_layernorm.weight", "attn_norm.weight", {d}},
             {"self_attn.q_proj.weight", "attn_q.weight", {q, d}, need(c.query_rank == 0)},
             {"self_attn.q_a_proj.weight", "attn_q_a.weight", {c.query_rank, d}, rank},
             {"self_attn.q_a_proj.bias", "", {c.query_rank}, need(c.biased && c.query_rank > 0)},
             {"self_attn.q_a_layernorm.weight", "attn_q_a_norm.weight", {c.query_rank}, rank},
             {"self_attn.q_b_proj.weight", "attn_q_b.weight", {q, c.query_rank}, rank},
             {"self_attn.kv_a_proj_with_mqa.weight", "attn_kv_a_mqa.weight", {latent, d}},
             {"self_attn.kv_a_proj_with_mqa.bias", "", {latent}, bias},
             {"self_attn.kv_a_layernorm.weight", "attn_kv_a_norm.weight", {s.latent_dim}},
             {"self_attn.kv_b_proj.weight", "attn_kv_b.weight", {kv, s.latent_dim}, need(!c.apart)},
             {"", "attn_k_b.weight", {s.heads, s.latent_dim, s.plain_dim}, need(c.apart)},
             {"", "attn_v_b.weight", {s.heads, s.value_dim, s.latent_dim}, need(c.apart)},
             {"self_attn.o_proj.weight",
              "attn_output.weight",
              {d, std::ptrdiff_t{s.heads} * s.value_dim}},
             {"self_attn.o_proj.bias", "", {d}, bias},
             {"post_attention_layernorm.weight", "ffn_norm.weight", {d}},
             {"mlp.gate_proj.weight", "ffn_gate.weight", {c.hidden, d}, dense},
             {"mlp.up_proj.weight", "ffn_up.weight", {c.hidden, d}, dense},
             {"mlp.down_proj.weight", "ffn_down.weight", {d, c.hidden}, dense},
             {"mlp.gate.weight", "ffn_gate_inp.weight", {c.experts, d}, sparse},
             {"mlp.gate.e_score_correction_bias",
              "exp_probs_b.bias",
              {c.experts},
              need(c.sigmoid && i >= c.dense_layers)},
             {"mlp.shared_experts.gate_proj.weight", "ffn_gate_shexp.weight", {wide, d}, shared},
             {"mlp.shared_experts.up_proj.weight", "ffn_up_shexp.weight", {wide, d}, shared},
             {"mlp.shared_experts.down_proj.weight", "ffn_down_shexp.weight", {d, wide}, shared}});
        if (i >= c.dense_layers) add_expert_lines(table, i, c.experts, c.expert_hidden, d);
    }
    table.add({{"model.norm.weight", "output_norm.weight", {d}},
               {"lm_head.weight", "output.weight", {c.vocabulary, d}, need(!c.tied)}});
    return table;
}

namespace internal {

// Why GGUF files cannot hold a model; empty: they can.
[[gnu::cold]] inline std::string not_in_gguf(const DeepSeekConfig& c) {
    if (c.biased) return "GGUF files cannot say biases of attention (attention_bias)";
    if (!c.scores.plain_turns) return "GGUF files cannot say an mscale that is not mscale_all_dim";
    return {};
}
// What makes keys and values of latents, a matrix a head, as the form wants them.
template <class Form>
[[gnu::cold]] void read_heads(const DeepSeekConfig& c, const std::string& at, WeightReader& reader,
                              LatentWeights& to) {
    const LatentShape& s = c.latent;
    constexpr bool absorbed = std::is_same_v<Form, Absorbed>;
    const std::ptrdiff_t head = s.plain_dim + s.value_dim;
    for (int h = 0; h < s.heads; ++h) {
        const TensorRows keys{c.apart ? s.latent_dim : s.plain_dim,
                              {},
                              h * (c.apart ? std::ptrdiff_t{s.latent_dim} : head)};
        const std::string name = at + (c.apart ? "attn_k_b.weight" : "kv_b_proj.weight");
        // Stored apart, the keys' are turned round already.
        to.key_up.emplace_back(absorbed == c.apart ? reader.matrix(name, keys)
                                                   : reader.turned(name, keys));
        if (c.apart)
            to.value_up.push_back(reader.linear(at + "attn_v_b", h));
        else
            to.value_up.push_back(
                reader.linear(at + "kv_b_proj", {s.value_dim, {}, h * head + s.plain_dim}));
    }
}
template <class Form>
[[gnu::cold]] LatentAttention<Form> read_latent_attention(const DeepSeekConfig& c, int layer,
                                                          const TensorTable& table,
                                                          WeightReader& reader) {
    const std::string at = table.layer_name(layer) + "self_attn.";
    LatentWeights w;
    w.query = reader.linear(at + (c.query_rank > 0 ? "q_a_proj" : "q_proj"));
    if (c.query_rank > 0) {
        w.query_norm = reader.rms_norm(at + "q_a_layernorm", latent_epsilon);
        w.query_up = reader.linear(at + "q_b_proj");
    }
    w.latent = reader.linear(at + "kv_a_proj_with_mqa");
    w.latent_norm = reader.rms_norm(at + "kv_a_layernorm", latent_epsilon);
    read_heads<Form>(c, c.apart ? "blk." + std::to_string(layer) + "." : at, reader, w);
    w.out = reader.linear(at + "o_proj");
    const double dims = c.latent.plain_dim + c.latent.rotated_dim;
    const double scale = c.scores.magnitude * c.scores.magnitude / std::sqrt(dims);
    return {c.latent, std::move(w), RotaryInterleaved(c.rotary), static_cast<float>(scale)};
}
[[gnu::cold]] inline AnyFeedForward read_expert_layer(const DeepSeekConfig& c,
                                                      const std::string& mlp,
                                                      WeightReader& reader) {
    std::vector<Expert> experts = cairn::read_experts(reader, mlp, c.experts);
    std::optional<SwiGlu> shared;
    if (c.shared > 0) shared = read_swiglu(reader, mlp + ".shared_experts");
    Linear gate = reader.linear(mlp + ".gate");
    if (!c.sigmoid)
        return AnyFeedForward(
            Experts<>(c.router, std::move(gate), std::move(experts), std::move(shared)));
    SigmoidRouter router{c.router, reader.vector(mlp + ".gate.e_score_correction_bias")};
    return AnyFeedForward(Experts<SigmoidRouter>(std::move(router), std::move(gate),
                                                 std::move(experts), std::move(shared)));
}

}  // namespace internal

/// The model, in the form that attends latents (Absorbed) or rebuilds keys and values (Direct).
template <class Form = Absorbed>
[[gnu::cold]] AnyModel load_deepseek(const DeepSeekConfig& c, WeightReader& reader) {
    const TensorTable table = deepseek_tensors(c);
    DecoderWeights<AnyBlock, NoPositions> weights;
    weights.architecture = c.architecture;
    weights.positions = {c.context};
    weights.embedding = reader.embedding("model.embed_tokens");
    for (int i = 0; i < c.layers; ++i) {
        const std::string at = table.layer_name(i);
        RmsNorm first = reader.rms_norm(at + "input_layernorm", c.epsilon);
        auto attention = internal::read_latent_attention<Form>(c, i, table, reader);
        RmsNorm second = reader.rms_norm(at + "post_attention_layernorm", c.epsilon);
        AnyFeedForward feed_forward = i < c.dense_layers
                                          ? AnyFeedForward(read_swiglu(reader, at + "mlp"))
                                          : internal::read_expert_layer(c, at + "mlp", reader);
        weights.blocks.emplace_back(SequentialBlock<RmsNorm, LatentAttention<Form>, AnyFeedForward>(
            std::move(first), std::move(attention), std::move(second), std::move(feed_forward)));
    }
    weights.final_norm = AnyNorm(reader.rms_norm("model.norm", c.epsilon));
    weights.output = reader.output("lm_head");
    return any_model(std::move(weights));
}

}}  // namespace cairn
