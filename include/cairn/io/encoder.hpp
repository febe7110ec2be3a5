// One text on its way to token ids: what Tokenizer::encode does between added tokens.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/io/piece_cache.hpp"
#include "cairn/io/utf8.hpp"
#include "cairn/io/vocabulary.hpp"
#include "cairn/io/word_models.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// What encoding looks up besides the vocabulary itself; made once from it.
struct EncoderTables {
    NumberMap<Token> characters;  ///< sentence: tokens of one character, by its code
    bool words = false;           ///< sentence: no token goes on from a word into the next one
    std::size_t longest = 1;      ///< symbols that one token can stand for, at most
    std::size_t per_symbol = 0;   ///< bytes of text that one symbol can stand for; 0: any number
    WordTables without_symbols;   ///< unigram and wordpiece

    EncoderTables() = default;
    explicit EncoderTables(const Vocabulary& v) {
        for (const std::string& bytes : v.bytes) longest = std::max(longest, bytes.size());
        if (v.kind == Vocabulary::Kind::bytes) {
            per_symbol = v.unknown >= 0 || v.all_bytes() ? 1 : 0;
            return;
        }
        if (v.kind != Vocabulary::Kind::sentence) {
            without_symbols = WordTables(v);
            return;
        }
        per_symbol = v.all_bytes() ? 4 : 0;
        words = v.ids.contains(std::string(visible_space));
        for (const auto& [name, id] : v.ids) {
            const std::string_view text = name;
            const Utf8Char c =
                text.empty() ? Utf8Char{Utf8Char::State::invalid, 0} : utf8_char(text);
            if (c.state == Utf8Char::State::complete && c.bytes == text.size())
                characters.set(c.code, id);
            words = words && word_end(text, 0) == text.size();
        }
    }
    /// Where the word that begins at `at` ends: before a visible space behind something else.
    static std::size_t word_end(std::string_view text, std::size_t at) noexcept {
        while (text.substr(at).starts_with(visible_space)) at += visible_space.size();
        return std::min(text.find(visible_space, at), text.size());
    }
};

/// The ids of one text as they come. One thread's, for one call.
class Encoder {
  public:
    /// Refuses texts of more than `most` tokens. What is passed must outlive the encoder.
    Encoder(const Vocabulary& v, const EncoderTables& tables, std::size_t text_bytes,
            std::size_t most)
        : v_(v), tables_(tables), text_bytes_(text_bytes), most_(most), cache_(text_bytes) {}

    /// Appends an added token.
    void token(Token id) {
        ids_.push_back(id);
        check(0);
    }
    /// Appends the ids of a text without added tokens.
    void plain(std::string_view text, TextPlace place) {
        if (text.empty()) return;
        if (v_.normalizer.empty()) {
            pieces(text, place);
            return;
        }
        if (v_.normalizer.never_shrinks()) check_bytes(text.size());
        pieces(v_.normalizer.apply(text, place), place);
    }
    std::vector<Token> take() && { return std::move(ids_); }

  private:
    // Error{capacity} if what is there and `symbols` more are certainly too many.
    void check(std::size_t symbols) const {
        require(ids_.size() <= most_ && symbols / tables_.longest <= most_ - ids_.size(),
                ErrorCode::capacity, "tokenizer: a text of ", text_bytes_, " bytes has more than ",
                most_, " tokens");
    }
    void check_bytes(std::size_t bytes) const {
        if (tables_.per_symbol > 0) check(bytes / tables_.per_symbol);
    }
    void pieces(std::string_view text, TextPlace place) {
        check_bytes(text.size());
        if (v_.kind == Vocabulary::Kind::bytes)
            v_.pre_tokenizer.split(
                text, [this](std::string_view piece) { byte_piece(piece); }, place);
        else if (v_.kind == Vocabulary::Kind::unigram || v_.kind == Vocabulary::Kind::wordpiece)
            v_.pre_tokenizer.split(
                text, [this](std::string_view piece) { whole_piece(piece); }, place);
        else if (v_.pre_tokenizer.empty())
            sentence_words(text);
        else
            v_.pre_tokenizer.split(
                text, [this](std::string_view piece) { sentence_words(piece); }, place);
    }
    void sentence_words(std::string_view text) {
        while (!text.empty()) {
            const std::size_t end = tables_.words ? EncoderTables::word_end(text, 0) : text.size();
            sentence_piece(text.substr(0, end));
            text.remove_prefix(end);
        }
    }

    void byte_piece(std::string_view piece) {
        if (!cache_.append(piece, ids_)) {
            const std::size_t at = ids_.size();
            const auto whole = v_.ignore_merges ? v_.ids.find(std::string(piece)) : v_.ids.end();
            if (whole != v_.ids.end())
                ids_.push_back(whole->second);
            else
                merge_bytes(piece);
            cache_.keep(piece, at, ids_);
        }
        check(0);
    }
    void merge_bytes(std::string_view piece) {
        symbols_.clear();
        // Some published vocabularies lack bytes: those are unknown, or lost, as in HF's.
        for (const char c : piece) {
            const Token id = v_.byte_ids[static_cast<unsigned char>(c)];
            if (id >= 0 || v_.unknown >= 0) symbols_.push_back(id >= 0 ? id : v_.unknown);
        }
        check(symbols_.size());
        v_.pairs.encode(symbols_, scratch_);
        ids_.insert(ids_.end(), symbols_.begin(), symbols_.end());
    }

    // Unigram and WordPiece.
    void whole_piece(std::string_view piece) {
        if (!cache_.append(piece, ids_)) {
            const std::size_t at = ids_.size();
            if (v_.kind == Vocabulary::Kind::unigram) {
                check(piece.size());
                search_.encode(v_, tables_.without_symbols, piece, ids_);
            } else {
                encode_wordpiece(v_, tables_.without_symbols, piece, ids_);
            }
            cache_.keep(piece, at, ids_);
        }
        check(0);
    }
    void sentence_piece(std::string_view piece) {
        if (!cache_.append(piece, ids_)) {
            const std::size_t at = ids_.size();
            sentence_symbols(piece);
            check(symbols_.size());
            if (v_.scores.empty())
                v_.pairs.encode(symbols_, scratch_);
            else
                merge_pairs(
                    symbols_, [this](Token left, Token right) { return by_score(left, right); },
                    scratch_);
            ids_.insert(ids_.end(), symbols_.begin(), symbols_.end());
            cache_.keep(piece, at, ids_);
        }
        check(0);
    }
    // Characters that are no tokens become their bytes' tokens, or one unknown token for a row of
    // them.
    void sentence_symbols(std::string_view text) {
        const bool byte_fallback = tables_.per_symbol > 0;
        symbols_.clear();
        while (!text.empty()) {
            const Utf8Char c = utf8_char(text);
            const std::string_view part = text.substr(0, c.bytes);
            const Token id = character(c, part);
            if (id >= 0)
                symbols_.push_back(id);
            else if (byte_fallback)
                for (const char byte : part)
                    symbols_.push_back(v_.byte_ids[static_cast<unsigned char>(byte)]);
            else if (symbols_.empty() || symbols_.back() != v_.unknown)
                symbols_.push_back(v_.unknown);
            text.remove_prefix(c.bytes);
        }
    }
    // The token of a character, or of bytes that are none; -1 if there is none.
    Token character(const Utf8Char& c, std::string_view part) const {
        if (c.state == Utf8Char::State::complete) {
            const Token* found = tables_.characters.find(c.code);
            return found == nullptr ? -1 : *found;
        }
        const auto found = v_.ids.find(std::string(part));
        return found == v_.ids.end() ? -1 : found->second;
    }
    // What two neighbours become where scores decide, by the text of both; found once for most
    // pairs.
    PairMerge by_score(Token left, Token right) {
        if (known_.empty())
            known_.resize(std::bit_ceil(std::clamp<std::size_t>(text_bytes_ / 4, 16, 16384)));
        const std::uint64_t key = pair_key(left, right);
        Known& known = known_[static_cast<std::size_t>((key * 0x9E3779B97F4A7C15U) >> 40) &
                              (known_.size() - 1)];
        if (known.key == key) return known.pair;
        joined_.assign(v_.pieces[static_cast<std::size_t>(left)])
            .append(v_.pieces[static_cast<std::size_t>(right)]);
        const auto at = v_.ids.find(joined_);
        known = {key,
                 at == v_.ids.end() ? PairMerge{} : PairMerge{rank_of(at->second), at->second}};
        return known.pair;
    }
    // Scores as numbers whose order is theirs, the best one lowest.
    std::uint32_t rank_of(Token token) const noexcept {
        const float cost = 0.0F - v_.scores[static_cast<std::size_t>(token)];
        const auto bits = std::bit_cast<std::uint32_t>(cost);
        return (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
    }

    struct Known {
        std::uint64_t key = std::numeric_limits<std::uint64_t>::max();
        PairMerge pair;
    };
    const Vocabulary& v_;
    const EncoderTables& tables_;
    std::size_t text_bytes_;
    std::size_t most_;
    std::vector<Token> ids_;
    PieceCache cache_;
    std::vector<Token> symbols_;
    MergeScratch scratch_;
    UnigramSearch search_;
    std::vector<Known> known_;
    std::string joined_;
};

}  // namespace internal

}}  // namespace cairn
