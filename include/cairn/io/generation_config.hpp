// generation_config.json beside a model: which tokens end its texts, and how its makers sample.
#pragma once

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "cairn/generate/sampler_steps.hpp"
#include "cairn/io/file.hpp"
#include "cairn/io/hf_config.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What a generation_config.json says.
struct GenerationConfig {
    std::vector<Token> end_of_text{};  ///< one or several; `load_model` ends texts by them too
    /// What its makers sample with; greedy where they do not. Nothing here uses it unasked.
    SamplingSettings sampling{};
};

/// Reads the file of a model folder; empty and greedy where there is none. Throws Error{io, limit},
/// Error{bad_config} for what is no number or no sampler takes.
[[gnu::cold]] inline GenerationConfig read_generation_config(const std::filesystem::path& folder,
                                                             const FileLimits& limits = {}) {
    const FpEnvironment environment;
    GenerationConfig result;
    const std::string file = (folder / "generation_config.json").string();
    internal::with_config_file(file, limits, [&](const JsonObject& root) {
        result.end_of_text = internal::hf_end_of_text(root, limits);
        SamplingSettings& s = result.sampling;
        const auto number = [&](const char* key, double usual) {
            const double value = root.number(key, usual);
            require(value >= -1e30 && value <= 1e30, ErrorCode::bad_config, root.where(), ": \"",
                    key, "\" is ", value);
            return static_cast<float>(value);
        };
        s.repetition_penalty = number("repetition_penalty", 1.0);
        if (root.boolean("do_sample", false)) {
            s.temperature = number("temperature", 1.0);
            s.top_k = root.find("top_k") == nullptr
                          ? 50  // transformers' own
                          : static_cast<int>(root.integer("top_k", 0, 1 << 24));
            s.top_p = number("top_p", 1.0);
            s.min_p = number("min_p", 0.0);
            s.typical_p = number("typical_p", 1.0);
        }
        try {
            make_sampler(s);
        } catch (const Error& error) {
            fail(ErrorCode::bad_config, root.where(), ": ", error.what());
        }
    });
    return result;
}

/// All tokens that end the texts of the model in a folder: those of config.json, and behind them
/// the others that generation_config.json names, nothing else of which is looked at. Those that the
/// vocabulary has not get a note. Throws Error{io, limit, bad_config}.
[[gnu::cold]] inline std::vector<Token> folder_end_of_text(const std::filesystem::path& folder,
                                                           HfConfig& config,
                                                           const FileLimits& limits = {}) {
    std::vector<Token> result = config.end_of_text;
    const std::string file = (folder / "generation_config.json").string();
    internal::with_config_file(file, limits, [&](const JsonObject& root) {
        for (const Token id : known_end_of_text(internal::hf_end_of_text(root, limits),
                                                config.vocabulary(), config.notes))
            if (std::find(result.begin(), result.end(), id) == result.end()) result.push_back(id);
    });
    return result;
}

}}  // namespace cairn
