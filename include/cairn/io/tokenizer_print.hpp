// A tokenizer as numbers, one for each of its parts: tells two tokenizers apart and says by what.
#pragma once

#include <string_view>

#include "cairn/core/fingerprint.hpp"
#include "cairn/io/tokenizer.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// What a token matches in a text, by no order.
inline std::uint64_t print_of_ids(const Vocabulary& v) {
    std::uint64_t sum = 0;
    for (const auto& [content, id] : v.ids) {
        Fingerprint one;
        one.add(std::string_view(content));
        one.add(static_cast<std::uint64_t>(id));
        sum += one.value();
    }
    return sum;
}

inline std::uint64_t print_of_tokens(const Vocabulary& v) {
    Fingerprint to;
    to.add(static_cast<std::uint64_t>(v.kind));
    to.add(v.bytes.size());
    for (std::size_t i = 0; i < v.bytes.size(); ++i) {
        to.add(std::string_view(v.bytes[i]));
        to.add(std::uint64_t{i < v.used.size() && v.used[i]});
    }
    to.add(print_of_ids(v));
    to.add(v.byte_ids.data(), sizeof v.byte_ids);
    for (const std::string& piece : v.pieces) to.add(std::string_view(piece));
    return to.value();
}

}  // namespace internal

/// Hands over every part of a tokenizer that changes what it makes of a text or of tokens.
inline void print_tokenizer(const Tokenizer& tokenizer, SettingSink& to) {
    const Vocabulary& v = tokenizer.vocabulary();
    to.setting("tokenizer's tokens", internal::print_of_tokens(v));
    Fingerprint merges, types, ends;
    merges.add(v.pairs.print());
    merges.add(std::uint64_t{v.ignore_merges});
    to.setting("tokenizer's merges", merges.value());
    Fingerprint scores;
    scores.add(v.scores.data(), v.scores.size() * sizeof(float));
    if (v.kind == Vocabulary::Kind::unigram || v.kind == Vocabulary::Kind::wordpiece) {
        scores.add(v.log_scores.data(), v.log_scores.size() * sizeof(double));
        scores.add(&v.lowest_score, sizeof v.lowest_score);
        scores.add(std::uint64_t{v.byte_fallback});
        scores.add(std::string_view(v.word_prefix));
        scores.add(std::string_view(v.inside_prefix));
        scores.add(std::uint64_t{v.longest_word});
    }
    to.setting("tokenizer's scores", scores.value());
    for (const Vocabulary::Added& added : v.added) {
        types.add(std::string_view(added.content));
        types.add(static_cast<std::uint64_t>(added.id));
        types.add(std::uint64_t{added.special});
        if (added.strips_before || added.strips_after)
            types.add(std::uint64_t{added.strips_before} * 2 + std::uint64_t{added.strips_after});
    }
    types.add(static_cast<std::uint64_t>(v.unknown));
    to.setting("tokenizer's token types", types.value());
    for (const auto* list : {&v.prefix, &v.suffix})
        ends.add(list->data(), list->size() * sizeof(Token));
    to.setting("tokenizer's tokens around a text (BOS, EOS)", ends.value());
    Fingerprint normalizer;
    v.normalizer.hash(normalizer);
    normalizer.add(std::uint64_t{v.strip_space});
    to.setting("tokenizer's normalizer", normalizer.value());
    Fingerprint pre;
    v.pre_tokenizer.hash(pre);
    to.setting("tokenizer's pre-tokenizer", pre.value());
}

}}  // namespace cairn
