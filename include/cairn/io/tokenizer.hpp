// Text to token ids and back. Text of special tokens is plain text unless the caller asks
// otherwise: a user's words never become control tokens by themselves.
#pragma once

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/core/checked.hpp"
#include "cairn/io/added_tokens.hpp"
#include "cairn/io/encoder.hpp"
#include "cairn/io/white_space.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A tokenizer. Const after loading; shared by threads. One that was moved from has no tokens:
/// encoding and decoding then throw Error{bad_state}.
class Tokenizer {
  public:
    explicit Tokenizer(Vocabulary vocabulary)
        : v_(std::move(vocabulary)),
          tables_(v_),
          always_(v_.added, SpecialTokens::as_text),
          all_(v_.added, SpecialTokens::recognised) {
        special_.resize(v_.bytes.size(), false);
        for (const Vocabulary::Added& added : v_.added)
            if (added.special) special_[static_cast<std::size_t>(added.id)] = true;
    }
    /// Parses the text of a tokenizer.json (include cairn/io/tokenizer_json.hpp). Throws
    /// Error{bad_tokenizer}, Error{unsupported} naming the part it does not know, Error{limit}.
    static Tokenizer parse(std::string_view text, const FileLimits& limits = {});

    /// The ids of a text, without a beginning-of-text token. Any bytes are accepted; time grows
    /// with the length of the text. Error{capacity} as soon as it is certain that there are more
    /// than `most`, Error{limit} for a text that the pre-tokenizer's pattern or the normalizer
    /// gives up on, std::bad_alloc.
    std::vector<Token> encode(std::string_view text, SpecialTokens special = SpecialTokens::as_text,
                              std::size_t most = std::numeric_limits<std::size_t>::max()) const {
        return encode(text, special, most, TextPlace::begin);
    }
    /// The ids of plain text that stands somewhere: some tokenizers treat the first text
    /// differently.
    std::vector<Token> encode_text(std::string_view text, TextPlace place) const {
        return encode(text, SpecialTokens::as_text, std::numeric_limits<std::size_t>::max(), place);
    }
    /// What the tokenizer's own metadata puts before and after a text (empty for GPT-2).
    const std::vector<Token>& prefix() const noexcept { return v_.prefix; }
    const std::vector<Token>& suffix() const noexcept { return v_.suffix; }

    /// The bytes a token stands for; a special token's are its name. Error{token_range}.
    const std::string& bytes(Token token) const {
        check_alive();
        require(token >= 0 && static_cast<std::size_t>(token) < v_.bytes.size(),
                ErrorCode::token_range, "token ", token, " is not in 0..", v_.bytes.size() - 1);
        return v_.bytes[static_cast<std::size_t>(token)];
    }
    bool special(Token token) const noexcept {
        return token >= 0 && static_cast<std::size_t>(token) < special_.size() &&
               special_[static_cast<std::size_t>(token)];
    }
    /// Whether white space behind a token belongs to it.
    bool strips_after(Token token) const noexcept {
        for (const Vocabulary::Added& added : v_.added)
            if (added.id == token) return added.strips_after;
        return false;
    }
    /// The id of a special or added token by its name, or -1.
    Token id_of(std::string_view name) const noexcept {
        for (const Vocabulary::Added& added : v_.added)
            if (added.content == name) return added.id;
        return -1;
    }
    /// The bytes of all tokens; special ones are left out unless wanted. Not necessarily valid
    /// UTF-8. Where encoding puts a space in front of a text, it is dropped again.
    std::string decode(Tokens tokens, SpecialTokens special = SpecialTokens::as_text) const {
        check_alive();
        std::string result;
        for (const Token token : tokens)
            if (special == SpecialTokens::recognised || !this->special(token))
                result += bytes(token);
        if (v_.strip_space && result.starts_with(' ')) result.erase(0, 1);
        return result;
    }
    /// One more than the highest id.
    std::size_t size() const noexcept { return v_.bytes.size(); }
    const Vocabulary& vocabulary() const noexcept { return v_; }

  private:
    std::vector<Token> encode(std::string_view text, SpecialTokens special, std::size_t most,
                              TextPlace place) const;
    void check_alive() const {
        require(!v_.bytes.empty(), ErrorCode::bad_state,
                "tokenizer: no tokens; it was moved from, or was given none");
    }

    Vocabulary v_;
    internal::EncoderTables tables_;
    internal::AddedTokens always_;
    internal::AddedTokens all_;
    std::vector<bool> special_;
};

// Compiled in every program that uses the headers alone, or in the library cairn::io_compiled.
#if !defined(CAIRN_EXTERN_IO) || defined(CAIRN_IO_IMPLEMENTATION)
CAIRN_IO_LINKAGE std::vector<Token> Tokenizer::encode(std::string_view text, SpecialTokens special,
                                                      std::size_t most, TextPlace place) const {
    check_alive();
    const internal::AddedTokens& looked_for = special == SpecialTokens::recognised ? all_ : always_;
    internal::Encoder encoder(v_, tables_, text.size(), most);
    const auto plain = [&](std::size_t from, std::string_view part) {
        encoder.plain(part, from == 0 ? place : TextPlace::later);
    };
    std::size_t from = 0;
    std::size_t at = looked_for.candidate(text, 0);
    while (at < text.size()) {
        const Vocabulary::Added* added = looked_for.match(v_.added, text.substr(at));
        if (added != nullptr) {
            std::string_view before = text.substr(from, at - from);
            if (added->strips_before)
                before = internal::trimmed_end(before, internal::unicode_space);
            plain(from, before);
            encoder.token(added->id);
            from = at + added->content.size();
            if (added->strips_after)
                from = text.size() -
                       internal::trimmed_begin(text.substr(from), internal::unicode_space).size();
        }
        at = looked_for.candidate(text, added != nullptr ? from : at + 1);
    }
    plain(from, text.substr(from));
    return std::move(encoder).take();
}
#endif

}}  // namespace cairn
