// How much a file from outside may ask for. One struct, so that a server can lower all of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Defaults fit every published model; crossing one is Error{limit} or Error{bad_file}.
struct FileLimits {
    std::size_t safetensors_header = 100'000'000;     ///< bytes, as the reference reader
    std::size_t json_bytes = std::size_t{256} << 20;  ///< config.json, index, tokenizer.json
    /// Bytes that the values of a JSON text may take in memory beyond 7 times the text; with the
    /// text itself that is 8 times.
    std::size_t json_values = std::size_t{64} << 20;
    int json_depth = 64;
    std::size_t tensors = std::size_t{1} << 18;  ///< of one file
    std::size_t tensor_rank = 8;
    std::size_t shards = 4096;
    std::size_t gguf_values = std::size_t{1} << 16;  ///< keys of the metadata
    std::size_t gguf_key = 65'535;
    std::size_t gguf_string = std::size_t{16} << 20;
    std::size_t gguf_array = std::size_t{1} << 26;  ///< elements
    std::size_t gguf_alignment = std::size_t{1} << 20;
    std::size_t vocabulary = std::size_t{1} << 24;
    std::size_t end_of_text_tokens = 1024;
    std::size_t chat_template = std::size_t{1} << 20;  ///< bytes of a file of its own
    std::size_t token_bytes = 1024;  ///< of a token, where words are cut without merges
    std::size_t regex_bytes = 16384;
    std::uint32_t regex_steps = 10'000'000;          ///< backtracking steps for one match
    std::size_t cache_bytes = std::size_t{1} << 44;  ///< keys and values at the full context, f32
};

namespace internal {

/// Error{code} that names the limit, its value and what was found, unless `found` is within it.
inline void check_limit(std::size_t found, std::size_t most, std::string_view name,
                        std::string_view where, std::string_view what,
                        ErrorCode code = ErrorCode::limit) {
    require(found <= most, code, where, ": ", found, " ", what, "; the limit FileLimits::", name,
            " is ", most);
}

/// Error{limit} if a text grew to more than 64 times its length.
inline void check_growth(std::size_t size, std::size_t before) {
    require(size / 64 <= before, ErrorCode::limit, "tokenizer: the normalizer turns ", before,
            " bytes into more than ", size);
}

}  // namespace internal

}}  // namespace cairn
