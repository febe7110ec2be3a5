// The one exception type of the library: a code for programs, a sentence with the numbers for
// people.
#pragma once

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "cairn/core/config.hpp"

namespace cairn::inline CAIRN_ABI {

/// What went wrong, for code that reacts to it. `code_name` gives the word that programs print.
enum class ErrorCode : std::uint8_t {
    invalid_argument,  ///< a value outside its documented range
    shape_mismatch,    ///< sizes of two things that must agree do not
    capacity,          ///< a cache or context is full; nothing was changed
    empty_prompt,      ///< nothing to feed to the model
    token_range,       ///< a token id below 0 or not below the vocabulary size
    bad_state,         ///< the call is not allowed now (truncate past the end, use after move)
    concurrent_use,    ///< two threads use one cache or session at once
    non_finite,        ///< NaN or infinity in weights or activations
    model_mismatch,    ///< a session or file belongs to another model
    cancelled,         ///< the caller asked to stop; the session is as it was
    out_of_memory,     ///< memory or address space is exhausted
    io,                ///< the operating system refused a file operation
    bad_file,          ///< a file's bytes break its format
    bad_config,        ///< a model's configuration is impossible or contradicts its tensors
    bad_tokenizer,     ///< a tokenizer file is inconsistent
    unsupported,       ///< legal, but not implemented here; the message names it
    limit,             ///< a configured limit was exceeded
    usage,             ///< a program was called with wrong arguments
};

/// The word of a code as printed in `error[word]: ...`.
constexpr std::string_view code_name(ErrorCode code) noexcept {
    switch (code) {
        case ErrorCode::invalid_argument: return "invalid_argument";
        case ErrorCode::shape_mismatch: return "shape_mismatch";
        case ErrorCode::capacity: return "capacity";
        case ErrorCode::empty_prompt: return "empty_prompt";
        case ErrorCode::token_range: return "token_range";
        case ErrorCode::bad_state: return "bad_state";
        case ErrorCode::concurrent_use: return "concurrent_use";
        case ErrorCode::non_finite: return "non_finite";
        case ErrorCode::model_mismatch: return "model_mismatch";
        case ErrorCode::cancelled: return "cancelled";
        case ErrorCode::out_of_memory: return "out_of_memory";
        case ErrorCode::io: return "io";
        case ErrorCode::bad_file: return "bad_file";
        case ErrorCode::bad_config: return "bad_config";
        case ErrorCode::bad_tokenizer: return "bad_tokenizer";
        case ErrorCode::unsupported: return "unsupported";
        case ErrorCode::limit: return "limit";
        case ErrorCode::usage: return "usage";
    }
    return "unknown";
}

/// Thrown by everything in the library that can fail. `what()` is one sentence: what, where,
/// numbers.
class Error : public std::runtime_error {
  public:
    Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}

    /// The code to branch on.
    ErrorCode code() const noexcept { return code_; }

  private:
    ErrorCode code_;
};

/// Throws Error{code} with the parts printed one after another.
template <class... Parts>
[[noreturn]] void fail(ErrorCode code, const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    throw Error(code, text.str());
}

/// `fail` unless the condition holds.
template <class... Parts>
void require(bool condition, ErrorCode code, const Parts&... parts) {
    if (!condition) [[unlikely]]
        fail(code, parts...);
}

}  // namespace cairn::inline CAIRN_ABI
