// The settings of a rotation as models' files say them.
#pragma once

#include <string>

#include "cairn/layers/rotary.hpp"
#include "cairn/models/model_numbers.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What models that know of YaRN (DeepSeek) do to scores beside turning queries and keys.
struct YarnScores {
    double magnitude = 1.0;   ///< scores are multiplied with its square
    bool plain_turns = true;  ///< cosines and sines are not scaled; GGUF files cannot say otherwise
};

/// Where a model's files say a rotation, where it is not as in Llama's.
struct RotaryNames {
    NumberName theta{"rope_theta", "rope.freq_base"};
    double usual_theta = 10000.0;
    /// The object inside `rope_parameters` where kinds of layers have their own.
    std::string_view kind{};
    /// Layers of this kind take the scaling that older files say for all of them.
    bool scaled = true;
    /// YaRN is another word for longrope in folders (Phi-3), GGUF files hold its divisors.
    bool longrope = false;
    /// Whoever asks turns rows by longrope too, and lets YaRN's ramp begin and end within a pair
    /// (`truncate` false), which GGUF files cannot say.
    bool all_kinds = false;
};

namespace internal {

inline constexpr std::string_view attention_times = "rope.scaling.attn_factor";
inline constexpr std::string_view yarn_times = "rope.scaling.yarn_log_multiplier";
inline constexpr double least_times = 1e-3;
inline constexpr double most_times = 1e3;

[[gnu::cold]] inline void require_between(const ModelNumbers& n, std::string_view in,
                                          std::string_view name, double value, double least,
                                          double most) {
    require(value >= least && value <= most, n.code(), n.where(), ": ", in, name, " ", value,
            " is not in ", least, "..", most);
}
// Bounds of every number of a scaling: within them no frequency and no factor is infinite.
[[gnu::cold]] inline void check_scaling(const ModelNumbers& n, const std::string& in,
                                        const RotaryScaling& s) {
    const auto between = [&](double value, double least, double most, const char* hf,
                             std::string_view gguf) {
        require_between(n, n.gguf() ? std::string_view() : in, n.gguf() ? gguf : hf, value, least,
                        most);
    };
    between(s.factor, 1.0 / 32, 1e6, "factor", "rope.scaling.factor");
    between(s.original_context, 1.0, 1e9, "original_max_position_embeddings",
            "rope.scaling.original_context_length");
    between(s.low_frequency, 1e-3, 1e6, "low_freq_factor", "");
    between(s.high_frequency, s.low_frequency * 1.0001, 1e6, "high_freq_factor", "");
    between(s.beta_slow, 1e-3, 1e6, "beta_slow", "rope.scaling.yarn_beta_slow");
    between(s.beta_fast, s.beta_slow, 1e6, "beta_fast", "rope.scaling.yarn_beta_fast");
    between(s.attention_factor == 0.0 ? 1.0 : s.attention_factor, least_times, most_times,
            "attention_factor", attention_times);
}
// What scores are scaled with by models that know of YaRN (see YarnScores).
[[gnu::cold]] inline void read_yarn_scores(ModelNumbers& n, RotaryScaling& s, YarnScores& to) {
    if (s.kind == RotaryScaling::Kind::none) return;
    const std::string in = n.has({"rope_parameters"}) ? "rope_parameters." : "rope_scaling.";
    const std::string all = in + "mscale_all_dim";
    // GGUF files say a tenth of it.
    const double said = n.gguf() ? 10.0 * n.number({"", yarn_times}, 0.0) : n.number({all}, 0.0);
    require_between(n, {}, n.gguf() ? yarn_times : std::string_view(all), said, 0.0, most_times);
    to.magnitude = yarn_magnitude(s.factor, said);
    if (!n.gguf()) n.note(yarn_times, 0.1 * said);
    if (s.kind != RotaryScaling::Kind::yarn) return;
    // llama.cpp leaves cosines and sines of such models as they are.
    if (n.gguf())
        s.attention_factor = 1.0;
    else
        n.note(attention_times, 1.0);
    to.plain_turns = s.attention_factor == 1.0;
}
// YaRN's numbers beside its factor. GGUF metadata say the factor of cosines and sines as what it is
// times the usual one: so llama.cpp reads them.
[[gnu::cold]] inline void read_yarn(ModelNumbers& n, const std::string& in, RotaryScaling& s) {
    s.kind = RotaryScaling::Kind::yarn;
    s.beta_fast = n.number({in + "beta_fast", "rope.scaling.yarn_beta_fast"}, s.beta_fast);
    s.beta_slow = n.number({in + "beta_slow", "rope.scaling.yarn_beta_slow"}, s.beta_slow);
    if (n.gguf()) {
        const double times = n.number({"", attention_times}, 1.0);
        require_between(n, {}, attention_times, times, least_times, most_times);
        if (times != 1.0) s.attention_factor = times * yarn_magnitude(s.factor);
        return;
    }
    s.attention_factor = n.number({in + "attention_factor"}, 0.0);
    const double scale = n.number({in + "mscale"}, 0.0);
    const double scale_all = n.number({in + "mscale_all_dim"}, 0.0);
    if (s.attention_factor == 0.0 && scale != 0.0 && scale_all != 0.0)
        s.attention_factor = yarn_magnitude(s.factor, scale) / yarn_magnitude(s.factor, scale_all);
    if (s.attention_factor != 0.0)
        n.note(attention_times, s.attention_factor / yarn_magnitude(s.factor));
    s.whole_pairs = n.boolean({in + "truncate"}, true);
}
// Divisors of the frequencies for sequences up to the original context and for longer ones (Ding et
// al. 2024).
[[gnu::cold]] inline void read_longrope(ModelNumbers& n, const std::string& in,
                                        const NumberName& context, RotarySettings& to) {
    RotaryScaling& s = to.scaling;
    s.kind = RotaryScaling::Kind::longrope;
    s.original_context = static_cast<double>(n.integer(context, 1, 1 << 24, to.positions));
    if (n.gguf()) {
        s.attention_factor = n.number({"", attention_times}, 1.0);
        require_between(n, {}, attention_times, s.attention_factor, least_times, most_times);
        // llama.cpp stretches positions by a factor beside it too.
        n.one_of({"", "rope.scaling.type"}, "longrope", {"longrope", "linear", "none"});
        const double factor = n.number({"", "rope.scaling.factor"}, 1.0);
        require(factor == 1.0, ErrorCode::unsupported, n.where(), ": rope.scaling.factor ", factor,
                " beside longrope's divisors is not supported");
        return check_scaling(n, in, s);
    }
    s.factor = n.number({in + "factor"}, to.positions / s.original_context);
    const double usual =
        s.factor <= 1.0
            ? 1.0
            : std::sqrt(1.0 + elementary::log(s.factor) / elementary::log(s.original_context));
    s.attention_factor = n.number({in + "attention_factor"}, usual);
    require_between(n, in, "attention_factor", s.attention_factor, least_times, most_times);
    check_scaling(n, in, s);
    to.divisors = n.reals({in + "short_factor"});
    to.far_divisors = n.reals({in + "long_factor"});
    for (const auto* list : {&to.divisors, &to.far_divisors}) {
        require(list->size() == static_cast<std::size_t>(to.dims / 2), n.code(), n.where(), ": ",
                in, "short_factor or long_factor lists ", list->size(), " numbers for ",
                to.dims / 2, " frequencies");
        for (const float divisor : *list)
            require_between(n, in, "short_factor or long_factor", double{divisor}, 1.0 / 32, 1e6);
    }
    n.note("rope.scaling.type", std::string("longrope"));
    n.note(attention_times, s.attention_factor);
}
// config.json: rope_theta and rope_scaling, or the newer rope_parameters that holds both.
[[gnu::cold]] inline void read_hf_rotary(ModelNumbers& n, const RotaryNames& names,
                                         RotarySettings& to) {
    const std::string of_kind = std::string("rope_parameters.").append(names.kind);
    const bool nested = !names.kind.empty() && n.has({of_kind});
    const bool both = names.kind.empty() ? n.has({"rope_parameters"}) : nested;
    require(!n.has({"rope_parameters"}) || !n.has({"rope_scaling"}), ErrorCode::unsupported,
            n.where(), ": rope_parameters beside rope_scaling");
    if (!both && (!names.scaled || !n.has({"rope_scaling"}))) return;
    const std::string in = nested ? of_kind + "." : both ? "rope_parameters." : "rope_scaling.";
    if (both) to.theta = n.number({in + "rope_theta", names.theta.gguf}, to.theta);
    const std::string type = n.word({in + "rope_type"}, n.word({in + "type"}, "default"));
    if (type == "default") return;
    RotaryScaling& s = to.scaling;
    std::string context = in + "original_max_position_embeddings";
    if (!nested && n.has({"original_max_position_embeddings"}))
        context = "original_max_position_embeddings";
    if (names.all_kinds &&
        (type == "longrope" || type == "su" || (type == "yarn" && names.longrope)))
        return read_longrope(n, in, {context, "rope.scaling.original_context_length"}, to);
    if (type == "linear" || type == "llama3" || type == "yarn")
        s.factor = n.number({in + "factor"});
    if (type == "linear") {
        s.kind = RotaryScaling::Kind::linear;
    } else if (type == "llama3") {
        s.kind = RotaryScaling::Kind::llama3;
        s.low_frequency = n.number({in + "low_freq_factor"});
        s.high_frequency = n.number({in + "high_freq_factor"});
        s.original_context = n.number({context}, 8192);
    } else if (type == "yarn") {
        read_yarn(n, in, s);
        require(names.all_kinds || s.whole_pairs, ErrorCode::unsupported, n.where(), ": ", in,
                "truncate false is not supported");
        s.original_context = n.number({context}, to.positions);
    } else {
        fail(ErrorCode::unsupported, n.where(), ": ", in, "type \"", type.substr(0, 60),
             "\"; known: default, linear, llama3, yarn", names.all_kinds ? ", longrope" : "");
    }
    check_scaling(n, in, s);
    if (s.kind == RotaryScaling::Kind::llama3) return;  // GGUF files hold divisors instead
    n.note("rope.scaling.type", type);
    n.note("rope.scaling.factor", s.factor);
    n.note("rope.scaling.original_context_length", static_cast<std::int64_t>(s.original_context));
}
[[gnu::cold]] inline void read_gguf_rotary(ModelNumbers& n, bool longrope, RotarySettings& to,
                                           const YarnScores* scores) {
    if (longrope) return read_longrope(n, {}, {"", "rope.scaling.original_context_length"}, to);
    // llama.cpp takes a factor without a type as linear.
    const bool scaled = n.has({"", "rope.scaling.factor"});
    const std::string type = n.word({"", "rope.scaling.type"}, scaled ? "linear" : "none");
    const auto unknown = [&](const char* key, double usual) {
        const double value = n.number({"", key}, usual);
        require(value == usual, ErrorCode::unsupported, n.where(), ": ", key, " ", value,
                " is not supported for rope.scaling.type \"", type.substr(0, 60), "\"");
    };
    if (scores == nullptr) unknown(yarn_times.data(), 0.0);
    unknown("rope.scaling.yarn_ext_factor", 1.0);
    unknown("rope.scaling.yarn_attn_factor", 1.0);
    if (type != "yarn" || scores != nullptr) unknown(attention_times.data(), 1.0);
    if (type == "none") return;
    require(type == "linear" || type == "yarn", ErrorCode::unsupported, n.where(),
            ": rope.scaling.type \"", type.substr(0, 60), "\"; known: none, linear, yarn");
    RotaryScaling& s = to.scaling;
    s.kind = RotaryScaling::Kind::linear;
    s.factor = n.number({"", "rope.scaling.factor"});
    s.original_context = static_cast<double>(
        n.integer({"", "rope.scaling.original_context_length"}, 1, 1000000000, to.positions));
    if (type == "yarn") read_yarn(n, {}, s);
    check_scaling(n, {}, s);
}

}  // namespace internal

/// Base and scaling of a rotation of `dims` numbers of each head, for `context` positions; where
/// `scores` are asked for, they are read too. Throws what `ModelNumbers` throws, Error{unsupported}
/// for a scaling that is not known.
inline RotarySettings read_rotary(ModelNumbers& n, int dims, int context,
                                  const RotaryNames& names = {}, YarnScores* scores = nullptr) {
    RotarySettings result{dims, n.number(names.theta, names.usual_theta), context, {}, {}};
    if (!n.gguf())
        internal::read_hf_rotary(n, names, result);
    else if (names.scaled)
        internal::read_gguf_rotary(n, names.longrope, result, scores);
    if (scores != nullptr) internal::read_yarn_scores(n, result.scaling, *scores);
    require(result.theta > 1.0 && result.theta < 1e30, n.code(), n.where(), ": rotary theta ",
            result.theta);
    return result;
}

/// Adds the tensors by whose numbers GGUF files divide the frequencies, where they have any: Llama
/// 3's scaling, longrope.
[[gnu::cold]] inline void add_rotary_divisors(TensorTable& to, const RotarySettings& rotary) {
    std::vector<float> divisors;
    if (rotary.scaling.kind == RotaryScaling::Kind::longrope) {
        to.add_numbers("rope_factors_short.weight", rotary.divisors);
        return to.add_numbers("rope_factors_long.weight", rotary.far_divisors);
    }
    if (rotary.scaling.kind != RotaryScaling::Kind::llama3)
        return to.add_numbers("rope_freqs.weight", {});
    RotarySettings plain = rotary;
    plain.scaling = {};
    const auto scaled = rotary_frequencies(rotary);
    const auto whole = rotary_frequencies(plain);
    for (std::size_t i = 0; i < whole.size(); ++i)
        divisors.push_back(static_cast<float>(whole[i] / scaled[i]));
    to.add_numbers("rope_freqs.weight", std::move(divisors));
}

}}  // namespace cairn
