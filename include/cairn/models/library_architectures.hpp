// The architectures of the library, one line each.
#pragma once

#include <vector>

#include "cairn/models/alibi_models.hpp"
#include "cairn/models/architecture.hpp"
#include "cairn/models/cohere.hpp"
#include "cairn/models/deepseek.hpp"
#include "cairn/models/gemma.hpp"
#include "cairn/models/gpt2.hpp"
#include "cairn/models/gpt_j.hpp"
#include "cairn/models/gpt_neox.hpp"
#include "cairn/models/gpt_oss.hpp"
#include "cairn/models/granite.hpp"
#include "cairn/models/llama.hpp"
#include "cairn/models/llama_rotations.hpp"
#include "cairn/models/mixtures.hpp"
#include "cairn/models/olmo2.hpp"
#include "cairn/models/phi3.hpp"
#include "cairn/models/qwen3.hpp"
#include "cairn/models/smollm3.hpp"
#include "cairn/models/stablelm.hpp"
#include "cairn/models/starcoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

[[gnu::cold]] inline ModelRecipe read_deepseek(ModelNumbers& numbers, const TensorSource& source) {
    const DeepSeekConfig c = read_deepseek_config(numbers, source);
    const int row = c.latent.latent_dim + c.latent.rotated_dim;
    const HeadLayout heads{.heads = c.latent.heads,
                           .kv_heads = 1,
                           .key_dim = row,
                           .value_dim = c.latent.latent_dim,
                           .stepped = true,
                           .leading = true};
    return {{c.architecture, c.layers, c.width, c.context, c.vocabulary, heads},
            deepseek_tensors(c),
            [c](WeightReader& reader) { return load_deepseek(c, reader); },
            not_in_gguf(c)};
}
[[gnu::cold]] inline ModelRecipe read_gpt2(ModelNumbers& numbers, const TensorSource&) {
    const Gpt2Config c = read_gpt2_config(numbers);
    const int head = c.width / c.heads;
    return {{"gpt2", c.layers, c.width, c.context, c.vocabulary, {c.heads, c.heads, head, head}},
            gpt2_tensors(c),
            [c](WeightReader& reader) { return any_model(load_gpt2_weights(c, reader)); }};
}
[[gnu::cold]] inline ModelRecipe read_gpt_j(ModelNumbers& numbers, const TensorSource&) {
    const GptJConfig c = read_gpt_j_config(numbers);
    const int head = c.width / c.heads;
    return {{"gptj", c.layers, c.width, c.context, c.vocabulary, {c.heads, c.heads, head, head}},
            gpt_j_tensors(c),
            [c](WeightReader& reader) { return any_model(load_gpt_j_weights(c, reader)); }};
}
[[gnu::cold]] inline ModelRecipe read_llama(ModelNumbers& numbers, const TensorSource& source) {
    // GGUF files of Mixtral say that it is a Llama.
    if (numbers.has({"", "expert_count"}) && numbers.integer({"", "expert_count"}, 0, 1 << 12) > 0)
        return standard_reader<read_mixtral_config>(numbers, source);
    if (turns_by_usual_parts(numbers, source))
        return standard_reader<read_turned_llama_config>(numbers, source);
    const LlamaConfig c = read_llama_config(numbers);
    return {{c.architecture, c.layers, c.width, c.context, c.vocabulary, c.heads},
            llama_tensors(c),
            [c](WeightReader& reader) {
                // Rows of queries and keys that a GGUF file has paired are rotated in pairs.
                if (reader.format() == ModelFormat::gguf && c.architecture != "qwen2")
                    return any_model(load_llama_weights<RotaryInterleaved>(c, reader));
                return any_model(load_llama_weights<RotaryHalf>(c, reader));
            }};
}

}  // namespace internal

/// Those that the library knows; Mistral is a Llama in GGUF files.
[[gnu::cold]] inline std::vector<Architecture> library_architectures() {
    return {{"gpt2", "gpt2", internal::read_gpt2},
            {"gptj", "", internal::read_gpt_j},
            {"deepseek_v2", "deepseek2", internal::read_deepseek},
            {"deepseek_v3", "deepseek2", internal::read_deepseek},
            {"llama", "llama", internal::read_llama},
            {"mistral", "llama", internal::read_llama},
            {"qwen2", "qwen2", internal::read_llama},
            {"mixtral", "llama", standard_reader<read_mixtral_config>},
            {"qwen3", "qwen3", standard_reader<read_qwen3_config>},
            {"qwen3_moe", "qwen3moe", standard_reader<read_qwen3_moe_config>},
            {"gemma2", "gemma2", standard_reader<read_gemma2_config>},
            {"gemma3_text", "gemma3", standard_reader<read_gemma3_config>},
            {"phi3", "phi3", standard_reader<read_phi3_config>},
            {"smollm3", "smollm3", standard_reader<read_smollm3_config>},
            {"gpt_oss", "gpt-oss", standard_reader<read_gpt_oss_config>},
            {"olmo2", "olmo2", standard_reader<read_olmo2_config>},
            {"olmo3", "olmo2", standard_reader<read_olmo2_config>},
            {"granite", "granite", standard_reader<read_granite_config>},
            {"gpt_neox", "gptneox", standard_reader<read_gpt_neox_config>},
            {"gpt_bigcode", "starcoder", standard_reader<read_gpt_bigcode_config>},
            {"starcoder2", "starcoder2", standard_reader<read_starcoder2_config>},
            {"cohere", "command-r", standard_reader<read_cohere_config>},
            {"stablelm", "stablelm", standard_reader<read_stablelm_config>},
            {"bloom", "bloom", standard_reader<read_bloom_config>},
            {"mpt", "mpt", standard_reader<read_mpt_config>}};
}

}}  // namespace cairn
