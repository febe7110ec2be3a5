// The parts a tokenizer is made of, as a file reader fills them in.
#pragma once

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cairn/io/bpe.hpp"
#include "cairn/io/normalizer.hpp"
#include "cairn/io/pre_tokenizer.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Tokens, merges and the steps around them. Filled by a reader of tokenizer.json or of GGUF
/// metadata, then owned by a Tokenizer.
struct Vocabulary {
    /// A token that is looked for in the text before anything else.
    struct Added {
        std::string content;
        Token id;
        bool special;                ///< only where special tokens are recognised
        bool strips_before = false;  ///< takes the white space in front of it
        bool strips_after = false;   ///< and behind it
    };
    /// What symbols a piece of text starts as.
    enum class Kind : std::uint8_t {
        bytes,      ///< every byte is a token (GPT-2)
        sentence,   ///< every character, or its bytes as <0x..> tokens (SentencePiece)
        unigram,    ///< no symbols: the most likely row of tokens
        wordpiece,  ///< no symbols: the longest token first
    };

    Kind kind = Kind::bytes;
    std::vector<std::string> bytes;              ///< by id: what a token stands for
    std::vector<bool> used;                      ///< by id
    std::size_t given = 0;                       ///< calls of `set`
    std::unordered_map<std::string, Token> ids;  ///< by what a token matches in a text
    std::array<Token, 256> byte_ids{};           ///< the token of each byte; -1: none
    BytePairs pairs;
    std::vector<float> scores;        ///< sentence without merges: the best score goes first
    std::vector<std::string> pieces;  ///< with scores: tokens as they are spelt
    std::vector<double> log_scores;   ///< unigram: by id
    double lowest_score = 0.0;        ///< unigram: of all tokens that are found in texts
    bool byte_fallback = false;       ///< unigram: unknown characters are their bytes' tokens
    std::string word_prefix;          ///< wordpiece: in front of tokens that begin a word
    std::string inside_prefix;        ///< wordpiece: in front of those inside of one
    std::size_t longest_word = 100;   ///< wordpiece: in characters
    bool ignore_merges = false;
    Token unknown = -1;
    bool strip_space = false;  ///< decoding drops the space that encoding put in front
    Normalizer normalizer;
    PreTokenizer pre_tokenizer;
    std::vector<Added> added;
    std::vector<Token> prefix;
    std::vector<Token> suffix;

    /// Gives an id its bytes. Throws Error{bad_tokenizer} for an id far beyond what the number of
    /// tokens explains: the table costs memory by its highest id.
    void set(Token id, std::string content, const FileLimits& limits) {
        const auto at = static_cast<std::size_t>(id);
        internal::check_limit(at + 1, limits.vocabulary, "vocabulary", "tokenizer",
                              "ids up to a token's", ErrorCode::bad_tokenizer);
        require(at < 2 * given + limits.vocabulary / 64, ErrorCode::bad_tokenizer, "tokenizer: id ",
                id, " after ", given, " tokens; their ids may leave ",
                given + limits.vocabulary / 64, " out");
        ++given;
        if (at >= bytes.size()) {
            bytes.resize(at + 1);
            used.resize(bytes.size(), false);
        }
        bytes[at] = std::move(content);
        used[at] = true;
    }
    /// Gives an id of Unigram its text, which a later one may take over, and its score. Throws
    /// Error{bad_tokenizer} for a score that is no number and for a token that is too long.
    void add_scored(Token id, const std::string& name, double score, const FileLimits& limits) {
        internal::check_limit(name.size(), limits.token_bytes, "token_bytes", "tokenizer",
                              "bytes of a token", ErrorCode::bad_tokenizer);
        require(score == score && score - score == 0.0, ErrorCode::bad_tokenizer,
                "tokenizer: the score of token ", id, " is no finite number");
        ids[name] = id;
        log_scores.resize(std::max(log_scores.size(), static_cast<std::size_t>(id) + 1));
        log_scores[static_cast<std::size_t>(id)] = score;
        lowest_score = ids.size() == 1 ? score : std::min(lowest_score, score);
    }
    /// Whether every byte has a token.
    bool all_bytes() const noexcept {
        for (const Token id : byte_ids)
            if (id < 0) return false;
        return true;
    }
};

namespace internal {

/// Error{bad_tokenizer} for more tokens than a model has rows for.
inline void check_vocabulary(std::size_t tokens, int vocabulary, const std::string& where) {
    require(tokens <= static_cast<std::size_t>(vocabulary), ErrorCode::bad_tokenizer, where, ": ",
            tokens, " tokens for a vocabulary of ", vocabulary);
}

/// The byte of a token spelt "<0x41>", or -1.
inline int byte_token(std::string_view name) noexcept {
    if (name.size() != 6 || !name.starts_with("<0x") || name[5] != '>') return -1;
    int value = 0;
    for (const char c : name.substr(3, 2)) {
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}
/// A SentencePiece token as text: visible spaces become spaces.
inline std::string sentence_bytes(std::string_view name) {
    std::string result;
    for (std::size_t at = 0; at < name.size();) {
        const bool space = name.substr(at).starts_with(visible_space);
        result += space ? ' ' : name[at];
        at += space ? visible_space.size() : 1;
    }
    return result;
}

}  // namespace internal

}}  // namespace cairn
