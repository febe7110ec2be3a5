// The one exception type of the library: a code for programs, a sentence with the numbers for
// people.
#pragma once

#include <concepts>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <stdexcept>
#include <string>
#include <string_view>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI {

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

namespace internal {

// One piece of an error message. Erased, so that functions that throw are compiled for the number
// of pieces, not for their types and the length of their words: there are many sentences, and
// compile time is part of the interface. Two words wide, so that it travels in registers.
class MessagePart {
  public:
    explicit MessagePart(const char* text) noexcept : MessagePart(std::string_view(text)) {}
    template <class T>
    explicit MessagePart(const T& value) noexcept {
        if constexpr (std::signed_integral<T>) {
            what_ = integer;
            integer_ = value;
        } else if constexpr (std::unsigned_integral<T>) {
            what_ = natural;
            natural_ = value;
        } else if constexpr (std::floating_point<T>) {
            what_ = real;
            real_ = static_cast<double>(value);
        } else {
            const std::string_view text(value);
            what_ = text.size();
            text_ = text.data();
        }
    }
    void append_to(std::string& message) const {
        char buffer[32];
        switch (what_) {
            case integer: message += std::to_string(integer_); return;
            case natural: message += std::to_string(natural_); return;
            case real:
                std::snprintf(buffer, sizeof buffer, "%g", real_);
                message += buffer;
                return;
            default: message.append(text_, what_);
        }
    }

  private:
    // Beyond the size of any text.
    enum Kind : std::size_t {
        real = static_cast<std::size_t>(-3),
        natural,
        integer,
    };
    std::size_t what_;  // the size of a text, or a kind of number
    union {
        const char* text_;
        long long integer_;
        unsigned long long natural_;
        double real_;
    };
};

[[noreturn, gnu::cold, gnu::noinline]] inline void fail_with(
    ErrorCode code, std::initializer_list<MessagePart> parts) {
    std::string message;
    for (const MessagePart& part : parts) part.append_to(message);
    throw Error(code, message);
}

template <class... Parts>
[[noreturn, gnu::cold, gnu::noinline]] void fail_parts(ErrorCode code, Parts... parts) {
    fail_with(code, {parts...});
}

}  // namespace internal

/// Throws Error{code} with the parts (text and numbers) one after another.
template <class... Parts>
[[noreturn]] void fail(ErrorCode code, const Parts&... parts) {
    internal::fail_parts(code, internal::MessagePart(parts)...);
}

/// `fail` unless the condition holds.
template <class... Parts>
void require(bool condition, ErrorCode code, const Parts&... parts) {
    if (!condition) [[unlikely]]
        internal::fail_parts(code, internal::MessagePart(parts)...);
}

}}  // namespace cairn
