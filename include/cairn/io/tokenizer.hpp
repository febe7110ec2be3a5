// Text to token ids and back. Text of special tokens is plain text unless the caller asks
// otherwise: a user's words never become control tokens by themselves.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/core/checked.hpp"
#include "cairn/io/utf8.hpp"
#include "cairn/io/vocabulary.hpp"

namespace cairn::inline CAIRN_ABI {

/// Whether the text of special tokens in a prompt stands for them.
enum class SpecialTokens : std::uint8_t { as_text, recognised };

/// A tokenizer. Const after loading; shared by threads.
class Tokenizer {
  public:
    explicit Tokenizer(Vocabulary vocabulary) : v_(std::move(vocabulary)) {
        for (std::size_t i = 0; i < v_.added.size(); ++i)
            added_by_byte_[static_cast<unsigned char>(v_.added[i].content.front())].push_back(i);
        special_.resize(v_.bytes.size(), false);
        for (const Vocabulary::Added& added : v_.added)
            if (added.special) special_[static_cast<std::size_t>(added.id)] = true;
    }
    /// Parses the text of a tokenizer.json (include cairn/io/tokenizer_json.hpp). Throws
    /// Error{bad_tokenizer}, Error{unsupported} naming the part it does not know, Error{limit}.
    static Tokenizer parse(std::string_view text, const FileLimits& limits = {});

    /// The ids of a text, without a beginning-of-text token. Any bytes are accepted.
    std::vector<Token> encode(std::string_view text,
                              SpecialTokens special = SpecialTokens::as_text) const {
        std::vector<Token> result;
        std::size_t from = 0;
        for (std::size_t at = 0; at < text.size();) {
            const Vocabulary::Added* added = match(text.substr(at), special);
            if (added == nullptr) {
                ++at;
                continue;
            }
            encode_plain(text.substr(from, at - from), result);
            result.push_back(added->id);
            at += added->content.size();
            from = at;
        }
        encode_plain(text.substr(from), result);
        return result;
    }
    /// What the tokenizer's own metadata puts before and after a text (empty for GPT-2).
    const std::vector<Token>& prefix() const noexcept { return v_.prefix; }
    const std::vector<Token>& suffix() const noexcept { return v_.suffix; }

    /// The bytes a token stands for; a special token's are its name. Error{token_range}.
    const std::string& bytes(Token token) const {
        require(token >= 0 && static_cast<std::size_t>(token) < v_.bytes.size(),
                ErrorCode::token_range, "token ", token, " is not in 0..", v_.bytes.size() - 1);
        return v_.bytes[static_cast<std::size_t>(token)];
    }
    bool special(Token token) const noexcept {
        return token >= 0 && static_cast<std::size_t>(token) < special_.size() &&
               special_[static_cast<std::size_t>(token)];
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
    const Vocabulary::Added* match(std::string_view text, SpecialTokens special) const {
        const Vocabulary::Added* best = nullptr;
        for (const std::size_t i : added_by_byte_[static_cast<unsigned char>(text.front())]) {
            const Vocabulary::Added& added = v_.added[i];
            if (added.special && special == SpecialTokens::as_text) continue;
            if (text.starts_with(added.content) &&
                (best == nullptr || added.content.size() > best->content.size()))
                best = &added;
        }
        return best;
    }
    void encode_plain(std::string_view text, std::vector<Token>& to) const {
        if (text.empty()) return;
        const std::string changed =
            v_.normalizer.empty() ? std::string() : v_.normalizer.apply(text);
        const std::string_view now = v_.normalizer.empty() ? text : std::string_view(changed);
        if (v_.kind == Vocabulary::Kind::sentence) {
            encode_sentence(now, to);
            return;
        }
        std::vector<Token> symbols;
        for (const std::string& piece : v_.pre_tokenizer.split(now)) {
            if (v_.ignore_merges) {
                const auto whole = v_.ids.find(piece);
                if (whole != v_.ids.end()) {
                    to.push_back(whole->second);
                    continue;
                }
            }
            symbols.clear();
            // Some published vocabularies lack bytes: those are unknown, or lost, as in HF's.
            for (const char c : piece) {
                const Token id = v_.byte_ids[static_cast<unsigned char>(c)];
                if (id >= 0 || v_.unknown >= 0) symbols.push_back(id >= 0 ? id : v_.unknown);
            }
            v_.pairs.encode(symbols);
            to.insert(to.end(), symbols.begin(), symbols.end());
        }
    }
    // Characters that are no tokens become their bytes' tokens, or one unknown token for a row of
    // them.
    void encode_sentence(std::string_view text, std::vector<Token>& to) const {
        const bool byte_fallback = v_.all_bytes();
        std::vector<Token> symbols;
        while (!text.empty()) {
            const Utf8Char c = utf8_char(text);
            const std::string_view part = text.substr(0, c.bytes);
            const auto at = v_.ids.find(std::string(part));
            if (at != v_.ids.end())
                symbols.push_back(at->second);
            else if (byte_fallback)
                for (const char byte : part)
                    symbols.push_back(v_.byte_ids[static_cast<unsigned char>(byte)]);
            else if (symbols.empty() || symbols.back() != v_.unknown)
                symbols.push_back(v_.unknown);
            text.remove_prefix(c.bytes);
        }
        if (v_.scores.empty())
            v_.pairs.encode(symbols);
        else
            merge_by_score(symbols);
        to.insert(to.end(), symbols.begin(), symbols.end());
    }
    void merge_by_score(std::vector<Token>& symbols) const {
        std::string joined;
        merge_pairs(symbols, [&](Token left, Token right) {
            joined.assign(v_.pieces[static_cast<std::size_t>(left)])
                .append(v_.pieces[static_cast<std::size_t>(right)]);
            const auto at = v_.ids.find(joined);
            if (at == v_.ids.end()) return PairMerge{0.0, -1};
            return PairMerge{-double{v_.scores[static_cast<std::size_t>(at->second)]}, at->second};
        });
    }

    Vocabulary v_;
    std::array<std::vector<std::size_t>, 256> added_by_byte_{};
    std::vector<bool> special_;
};

}  // namespace cairn::inline CAIRN_ABI
