// The two ways to cut words that are not merges: the most likely row of tokens (Unigram; Kudo
// 2018), and the longest token first (WordPiece).
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/io/token_trie.hpp"
#include "cairn/io/utf8.hpp"
#include "cairn/io/vocabulary.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Bytes of the character that a text begins with; of what is none, one.
inline std::size_t character_bytes(std::string_view text) noexcept {
    const Utf8Char c = utf8_char(text);
    return c.state == Utf8Char::State::complete ? c.bytes : 1;
}

/// What both look up, made once from a vocabulary.
struct WordTables {
    TokenTrie trie;
    double unknown_score = 0.0;
    std::uint32_t inside = TokenTrie::root;  ///< where tokens inside of a word begin
    std::uint32_t begin = TokenTrie::root;

    WordTables() = default;
    explicit WordTables(const Vocabulary& v) {
        // Special tokens are none of a text: nobody writes one by its name.
        std::vector<bool> special(v.bytes.size(), false);
        for (const Vocabulary::Added& added : v.added)
            if (added.special) special[static_cast<std::size_t>(added.id)] = true;
        std::vector<TokenTrie::Entry> entries;
        for (const auto& [name, id] : v.ids)
            if (!special[static_cast<std::size_t>(id)]) entries.emplace_back(name, id);
        trie = TokenTrie(std::move(entries));
        inside = trie.walk(v.inside_prefix);
        begin = trie.walk(v.word_prefix);
        unknown_score = v.lowest_score - 10.0;
    }
};

/// Unigram's best row of tokens for one piece. One thread's, for one call.
class UnigramSearch {
  public:
    /// Appends the tokens of a piece. Of two rows with the same score the one whose last token is
    /// longer counts, as in Hugging Face's.
    void encode(const Vocabulary& v, const WordTables& tables, std::string_view text,
                std::vector<Token>& ids) {
        best_.assign(text.size() + 1, {});
        best_[0].score = 0.0;
        for (std::size_t at = 0; at < text.size();) {
            const std::size_t step = character_bytes(text.substr(at));
            bool alone = false;  // whether the character is a token
            std::uint32_t node = TokenTrie::root;
            for (std::size_t end = at; end < text.size();) {
                node = tables.trie.next(node, text[end++]);
                if (node == TokenTrie::nothing) break;
                const Token id = tables.trie.token(node);
                if (id < 0) continue;
                offer(at, end, id, v.log_scores[static_cast<std::size_t>(id)]);
                alone = alone || end - at == step;
            }
            if (!alone) offer(at, at + step, v.unknown, tables.unknown_score);
            at += step;
        }
        append(v, tables.trie, text, ids);
    }

  private:
    struct Best {
        double score = -std::numeric_limits<double>::infinity();
        std::uint32_t from = 0;
        Token id = -1;
    };
    void offer(std::size_t at, std::size_t end, Token id, double score) {
        const double sum = score + best_[at].score;
        if (best_[end].id >= 0 && !(sum > best_[end].score)) return;
        best_[end] = {sum, static_cast<std::uint32_t>(at), id};
    }
    // Rows of unknown characters are one piece, which is a token, its bytes or one unknown token.
    void append(const Vocabulary& v, const TokenTrie& trie, std::string_view text,
                std::vector<Token>& ids) {
        row_.clear();
        for (std::size_t end = text.size(); end > 0;) {
            const Best& best = best_[end];
            const bool joins = !row_.empty() && best.id == v.unknown && row_.back().id == v.unknown;
            if (joins)
                row_.back().begin = best.from;
            else
                row_.push_back({best.from, end, best.id});
            end = best.from;
        }
        for (std::size_t i = row_.size(); i-- > 0;) {
            if (row_[i].id != v.unknown) {
                ids.push_back(row_[i].id);
                continue;
            }
            const std::string_view part = text.substr(row_[i].begin, row_[i].end - row_[i].begin);
            const std::uint32_t node = trie.walk(part);
            const Token whole = node == TokenTrie::nothing ? -1 : trie.token(node);
            if (whole >= 0 || !v.byte_fallback)
                ids.push_back(whole >= 0 ? whole : v.unknown);
            else
                for (const char byte : part)
                    ids.push_back(v.byte_ids[static_cast<unsigned char>(byte)]);
        }
    }
    struct Part {
        std::size_t begin, end;
        Token id;
    };
    std::vector<Best> best_;  // by the bytes before
    std::vector<Part> row_;   // from behind
};

/// Appends WordPiece's tokens of a word: the longest one each time, or one unknown token for all.
inline void encode_wordpiece(const Vocabulary& v, const WordTables& tables, std::string_view word,
                             std::vector<Token>& ids) {
    const std::size_t before = ids.size();
    std::size_t characters = 0;
    for (std::size_t at = 0; at < word.size(); ++characters) at += character_bytes(word.substr(at));
    bool known = characters <= v.longest_word;
    for (std::size_t at = 0; known && at < word.size();) {
        const bool first = at == 0;
        std::uint32_t node = first ? tables.begin : tables.inside;
        known = node != TokenTrie::nothing || (first ? v.word_prefix : v.inside_prefix).empty();
        std::size_t longest = 0;
        Token best = -1;
        for (std::size_t end = at; known && end < word.size();) {
            node = tables.trie.next(node, word[end++]);
            if (node == TokenTrie::nothing) break;
            if (tables.trie.token(node) < 0) continue;
            best = tables.trie.token(node);
            longest = end - at;
        }
        known = known && best >= 0;
        if (known) ids.push_back(best);
        at += longest;
    }
    if (known) return;
    ids.resize(before);
    ids.push_back(v.unknown);
}

}  // namespace internal

}}  // namespace cairn
