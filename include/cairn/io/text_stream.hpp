// Generated tokens as text that can be shown at once: whole characters, cut exactly at stop
// strings.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cairn/generate/stop_strings.hpp"
#include "cairn/io/tokenizer.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Feed it tokens; it returns valid UTF-8. Special tokens and those of `end_of_text` show nothing.
class TextStream {
  public:
    /// The tokenizer must outlive the stream. Throws Error{invalid_argument} for an empty stop
    /// string.
    TextStream(const Tokenizer& tokenizer, std::vector<std::string> stops = {})
        : tokenizer_(&tokenizer), stops_(std::move(stops)) {}

    /// Text that is certain after this token.
    std::string feed(Token token) {
        if (tokenizer_->special(token)) return {};
        return stops_.feed(utf8_.feed(tokenizer_->bytes(token)));
    }
    /// Whatever was held back, at the end.
    std::string finish() {
        std::string text = stops_.feed(utf8_.finish());
        return text + stops_.finish();
    }
    /// Whether a stop string was reached.
    bool stopped() const noexcept { return stops_.stopped(); }

  private:
    const Tokenizer* tokenizer_;
    Utf8Stream utf8_;
    StopStrings stops_;
};

}}  // namespace cairn
