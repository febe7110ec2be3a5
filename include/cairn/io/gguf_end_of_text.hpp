// Which tokens end a text, in GGUF files. llama.cpp stops at those of three keys, whichever of them
// it finds, and at some that it knows by their names.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/io/gguf_writer.hpp"
#include "cairn/io/limits.hpp"
#include "cairn/io/tokenizer.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Where files that are written here list all of them.
inline constexpr std::string_view gguf_end_of_text_key = "cairn.end_of_text_ids";

/// The tokens after which a model has nothing more to say: what the metadata lists, or what they
/// name and control tokens that chat models end their turns with. Throws Error{bad_file, limit}.
inline std::vector<Token> gguf_end_of_text(const GgufMetadata& metadata,
                                           const std::optional<Tokenizer>& tokenizer,
                                           const FileLimits& limits = {}) {
    std::vector<Token> result;
    const auto add = [&](std::int64_t id) {
        const auto token = static_cast<Token>(id);
        if (id >= 0 && std::find(result.begin(), result.end(), token) == result.end())
            result.push_back(token);
    };
    constexpr std::int64_t most = (std::int64_t{1} << 31) - 1;
    const bool listed = metadata.find(gguf_end_of_text_key) != nullptr;
    if (listed) {
        const std::vector<std::int64_t> ids = metadata.integers(gguf_end_of_text_key);
        internal::check_limit(ids.size(), limits.end_of_text_tokens, "end_of_text_tokens",
                              metadata.where(), "ids in cairn.end_of_text_ids");
        for (const std::int64_t id : ids) {
            require(id >= 0 && id <= most, ErrorCode::bad_file, metadata.where(), ": ",
                    gguf_end_of_text_key, " holds ", id);
            add(id);
        }
    }
    for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                            "tokenizer.ggml.eom_token_id"})
        add(metadata.integer(key, -1, most, -1));
    if (listed || !tokenizer) return result;
    for (const char* name : {"<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|end_of_text|>",
                             "<end_of_turn>", "<|return|>", "<|call|>"})
        add(tokenizer->id_of(name));
    // Where messages have channels, this is the end of one of them, not of the turn.
    if (tokenizer->id_of("<|channel|>") < 0) add(tokenizer->id_of("<|end|>"));
    return result;
}

namespace internal {

// Writes the list, and of it what has a key of llama.cpp's; `message` is the one called <|eom_id|>.
[[gnu::cold]] inline void add_end_of_text(GgufWriter& to, const std::vector<Token>& ends,
                                          Token message) {
    if (ends.empty()) return;
    GgufArray list{GgufType::u32, {}, {}, {}};
    list.integers.assign(ends.begin(), ends.end());
    to.add(std::string(gguf_end_of_text_key), GgufValue{GgufType::array, std::move(list)});
    to.add_u32("tokenizer.ggml.eos_token_id", ends.front());
    std::vector<Token> others(ends.begin() + 1, ends.end());
    const auto named = std::find(others.begin(), others.end(), message);
    if (named != others.end())
        others.erase(named);
    else
        message = others.size() > 1 ? others[1] : -1;
    if (!others.empty()) to.add_u32("tokenizer.ggml.eot_token_id", others.front());
    if (message >= 0) to.add_u32("tokenizer.ggml.eom_token_id", message);
}

}  // namespace internal

}}  // namespace cairn
