// The tokenizer in a GGUF file's metadata: byte-level BPE ("gpt2"), SentencePiece ("llama"),
// Unigram
// ("t5") and WordPiece ("bert").
#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cairn/io/byte_level.hpp"
#include "cairn/io/chars_map.hpp"
#include "cairn/io/gguf_value.hpp"
#include "cairn/io/letter_steps.hpp"
#include "cairn/io/tokenizer.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// Fills a Vocabulary from metadata.
struct TokenizerGguf {
    const GgufMetadata& metadata;
    const FileLimits& limits;
    Vocabulary v{};

    // Numbers of token types in the format.
    enum Type : std::int64_t { normal = 1, unknown, control, user_defined, unused, byte };

    Token token(const char* key, Token usual = -1) const {
        const std::int64_t id = metadata.integer(key, -1, (std::int64_t{1} << 32) - 1, usual);
        require(id == -1 || id < static_cast<std::int64_t>(v.bytes.size()),
                ErrorCode::bad_tokenizer, metadata.where(), ": ", key, " is ", id, " of ",
                v.bytes.size(), " tokens");
        return static_cast<Token>(id);
    }

    void load() {
        const std::string model = metadata.string("tokenizer.ggml.model");
        require(model == "gpt2" || model == "llama" || model == "t5" || model == "bert",
                ErrorCode::unsupported, metadata.where(), ": tokenizer model \"",
                model.substr(0, 60), "\"; known: gpt2, llama, t5, bert");
        if (model == "t5" || model == "bert") {
            load_words(model);
            return;
        }
        const bool sentence = model == "llama";
        v.kind = sentence ? Vocabulary::Kind::sentence : Vocabulary::Kind::bytes;
        v.byte_ids.fill(-1);
        load_tokens(sentence);
        const Token unknown_token = token("tokenizer.ggml.unknown_token_id");
        if (sentence) v.unknown = unknown_token;
        const bool space =
            metadata.boolean("tokenizer.ggml.add_space_prefix", sentence) && sentence;
        if (sentence) {
            v.normalizer = Normalizer::sentence(space);
            v.strip_space = space;
            require(v.unknown >= 0 || v.all_bytes(), ErrorCode::bad_tokenizer, metadata.where(),
                    ": neither an unknown token nor a token for every byte");
        } else {
            load_merges();
        }
        const NamedPreTokenizer* row = nullptr;
        if (!sentence) {
            const std::string pre = metadata.string("tokenizer.ggml.pre", "default");
            v.pre_tokenizer = PreTokenizer::named(pre, limits);
            row = find_pre_tokenizer(pre);
            v.ignore_merges = row->whole_pieces;
        }
        const Token bos = token("tokenizer.ggml.bos_token_id");
        const Token eos = token("tokenizer.ggml.eos_token_id");
        token("tokenizer.ggml.padding_token_id");
        const bool default_bos = sentence || row->begins;
        if (metadata.boolean("tokenizer.ggml.add_bos_token", default_bos) && bos >= 0)
            v.prefix.push_back(bos);
        if (metadata.boolean("tokenizer.ggml.add_eos_token", false) && eos >= 0)
            v.suffix.push_back(eos);
    }

    // Words that are cut without merges: T5's Unigram and BERT's WordPiece.
    void load_words(const std::string& model) {
        const bool unigram = model == "t5";
        v.kind = unigram ? Vocabulary::Kind::unigram : Vocabulary::Kind::wordpiece;
        v.byte_ids.fill(-1);
        v.strip_space = true;
        load_word_tokens(unigram);
        v.unknown = token("tokenizer.ggml.unknown_token_id", unigram ? 2 : 100);
        require(v.unknown >= 0, ErrorCode::bad_tokenizer, metadata.where(),
                ": no token for unknown words");
        const auto ends = [&](const char* wanted, bool fallback, const char* key, Token usual,
                              std::vector<Token>& to) {
            const Token id = token(key, usual);
            if (metadata.boolean(wanted, fallback) && id >= 0) to.push_back(id);
        };
        ends("tokenizer.ggml.add_bos_token", !unigram, "tokenizer.ggml.bos_token_id",
             unigram ? -1 : 101, v.prefix);
        if (unigram)
            ends("tokenizer.ggml.add_eos_token", true, "tokenizer.ggml.eos_token_id", 1, v.suffix);
        else
            ends("tokenizer.ggml.add_sep_token", true, "tokenizer.ggml.seperator_token_id", 102,
                 v.suffix);
        if (unigram)
            load_unigram_spaces();
        else
            load_bert_steps();
    }
    void load_bert_steps() {
        v.word_prefix = visible_space;
        v.longest_word = std::numeric_limits<std::size_t>::max();
        BertCleaning wanted;
        wanted.lowercase = metadata.boolean("tokenizer.ggml.normalizer.lowercase", true);
        wanted.strip_accents =
            metadata.boolean("tokenizer.ggml.normalizer.strip_accents", wanted.lowercase);
        v.normalizer.change("BertNormalizer", bert_number(wanted),
                            [wanted](std::string_view text) { return bert_cleaned(text, wanted); });
        v.pre_tokenizer = PreTokenizer::bert(limits);
    }
    // SentencePiece's map of characters, then spaces: those beyond one are dropped, or all are
    // kept.
    void load_unigram_spaces() {
        if (metadata.find("tokenizer.ggml.precompiled_charsmap") != nullptr) {
            const auto* value = std::get_if<GgufArray>(
                &metadata.find("tokenizer.ggml.precompiled_charsmap")->value);
            require(
                value != nullptr && (value->type == GgufType::u8 || value->type == GgufType::i8),
                ErrorCode::bad_tokenizer, metadata.where(),
                ": tokenizer.ggml.precompiled_charsmap is no array of bytes");
            std::string bytes;
            for (const std::int64_t number : value->integers) bytes += static_cast<char>(number);
            const auto map = std::make_shared<const CharsMap>(bytes);
            v.normalizer.change("Precompiled", map->print() + 1,
                                [map](std::string_view text) { return map->by_longest(text); });
        }
        const bool prefix = metadata.boolean("tokenizer.ggml.add_space_prefix", false);
        if (!metadata.boolean("tokenizer.ggml.remove_extra_whitespaces", false)) {
            if (prefix) v.normalizer.prepend(std::string(visible_space));
            v.normalizer.replace(" ", std::string(visible_space));
            return;
        }
        v.normalizer.change("words", 0, [](std::string_view text) {
            std::string result;
            for (std::size_t i = 0; i < text.size(); ++i) {
                if (text[i] == ' ') continue;
                if (i == 0 || text[i - 1] == ' ') result += visible_space;
                result += text[i];
            }
            return result;
        });
    }
    void load_word_tokens(bool unigram) {
        const std::size_t count =
            each_token(unigram, [&](Token id, const std::string& name, std::int64_t type) {
                const bool special = is_added(type);
                v.set(id, special ? name : sentence_bytes(name), limits);
                if (special)
                    v.added.push_back({name, id, type != user_defined});
                else if (unigram && type != byte)
                    v.add_scored(id, name, double{v.scores[static_cast<std::size_t>(id)]}, limits);
                else if (!unigram)
                    check_limit(name.size(), limits.token_bytes, "token_bytes", metadata.where(),
                                "bytes of a token", ErrorCode::bad_tokenizer),
                        v.ids.emplace(name, id);
            });
        v.scores.clear();
        if (unigram) v.log_scores.resize(count);
    }
    // Tokens that texts hold as they are, outside the model.
    static bool is_added(std::int64_t type) noexcept {
        return type == control || type == unknown || type == user_defined;
    }
    // Calls body(id, name, type) for every token, behind their scores; returns how many there are.
    template <class Body>
    std::size_t each_token(bool scored, const Body& body) {
        const GgufArray* tokens = token_list();
        const GgufArray* types = token_types(tokens->size());
        if (scored) load_scores(tokens->size());
        for (std::size_t i = 0; i < tokens->size(); ++i) {
            const std::string& name = tokens->strings[i];
            const auto id = static_cast<Token>(i);
            require(!name.empty(), ErrorCode::bad_tokenizer, metadata.where(), ": token ", id,
                    " is empty");
            body(id, name, types == nullptr ? std::int64_t{normal} : types->integers[i]);
        }
        return tokens->size();
    }
    const GgufArray* token_list() const {
        const GgufArray* tokens = metadata.array("tokenizer.ggml.tokens", GgufType::string);
        require(tokens != nullptr && tokens->size() > 0, ErrorCode::bad_tokenizer, metadata.where(),
                ": tokenizer.ggml.tokens is missing or empty");
        check_limit(tokens->size(), limits.vocabulary, "vocabulary", metadata.where(),
                    "tokens in tokenizer.ggml.tokens", ErrorCode::bad_tokenizer);
        return tokens;
    }
    const GgufArray* token_types(std::size_t count) const {
        const GgufArray* types = metadata.array("tokenizer.ggml.token_type", GgufType::i32);
        require(types == nullptr || types->size() == count, ErrorCode::bad_tokenizer,
                metadata.where(), ": ", types == nullptr ? 0 : types->size(), " token types for ",
                count, " tokens");
        return types;
    }
    void load_tokens(bool sentence) {
        each_token(sentence, [&](Token id, const std::string& name, std::int64_t type) {
            if (is_added(type)) {
                v.set(id, name, limits);
                v.added.push_back({name, id, type != user_defined});
            } else if (type == byte) {
                const int value = byte_token(name);
                require(value >= 0, ErrorCode::bad_tokenizer, metadata.where(), ": byte token ", id,
                        " is spelt \"", name.substr(0, 40), "\"");
                v.set(id, std::string(1, static_cast<char>(value)), limits);
                if (v.byte_ids[static_cast<std::size_t>(value)] < 0)
                    v.byte_ids[static_cast<std::size_t>(value)] = id;
            } else {
                std::string content = sentence ? sentence_bytes(name) : token_bytes(name);
                v.ids.emplace(sentence ? name : content, id);  // equal tokens: the lowest id
                v.set(id, std::move(content), limits);
                // How converters of models name an id that has no token.
                if (type == unused && name == "[PAD" + std::to_string(id) + "]")
                    v.used[static_cast<std::size_t>(id)] = false;
            }
            if (sentence) v.pieces.push_back(name);
            spelled.emplace(name, id);
        });
        for (std::size_t b = 0; b < 256 && !sentence; ++b) {
            std::string symbol;
            append_utf8(symbol, byte_alphabet()[b]);
            const auto at = spelled.find(symbol);
            if (at != spelled.end()) v.byte_ids[b] = at->second;
        }
    }
    void load_scores(std::size_t count) {
        const GgufArray* scores = metadata.array("tokenizer.ggml.scores", GgufType::f32);
        require(scores != nullptr && scores->size() == count, ErrorCode::bad_tokenizer,
                metadata.where(), ": ", scores == nullptr ? 0 : scores->size(), " scores for ",
                count, " tokens");
        for (const double score : scores->numbers) {
            require(score == score, ErrorCode::bad_tokenizer, metadata.where(),
                    ": a token's score is NaN");
            v.scores.push_back(static_cast<float>(score));
        }
    }
    void load_merges() {
        const GgufArray* merges = metadata.array("tokenizer.ggml.merges", GgufType::string);
        require(merges != nullptr, ErrorCode::bad_tokenizer, metadata.where(),
                ": tokenizer.ggml.merges is missing");
        std::uint32_t rank = 0;
        std::string joined;
        for (const std::string& merge : merges->strings) {
            const std::size_t space = merge.find(' ', 1);  // a token may begin with one
            const std::string_view left(merge.data(), std::min(space, merge.size()));
            const bool two = space != std::string::npos && space + 1 < merge.size() &&
                             merge.find(' ', space + 1) == std::string::npos;
            joined = two ? std::string(left) + merge.substr(space + 1) : std::string();
            const auto a = spelled.find(std::string(left));
            const auto b = two ? spelled.find(merge.substr(space + 1)) : spelled.end();
            const auto c = spelled.find(joined);
            require(two && a != spelled.end() && b != spelled.end() && c != spelled.end(),
                    ErrorCode::bad_tokenizer, metadata.where(), ": merge ", rank, " \"",
                    merge.substr(0, 80),
                    "\" has not two parts, or a part or the whole is no token");
            v.pairs.add(a->second, b->second, c->second, rank++);
        }
    }
    std::unordered_map<std::string, Token> spelled{};
};

}  // namespace internal

/// The tokenizer of a GGUF file, or nothing if the file has none ("no_vocab", or no key). Throws
/// Error{bad_tokenizer, bad_file}, Error{unsupported} naming what it does not know, Error{limit}.
inline std::optional<Tokenizer> gguf_tokenizer(const GgufMetadata& metadata,
                                               const FileLimits& limits = {}) {
    if (metadata.find("tokenizer.ggml.model") == nullptr ||
        metadata.string("tokenizer.ggml.model") == "no_vocab")
        return std::nullopt;
    internal::TokenizerGguf reader{metadata, limits};
    reader.load();
    return Tokenizer(std::move(reader.v));
}

}}  // namespace cairn
