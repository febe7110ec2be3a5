// tokenizer.json as Hugging Face writes it: byte-level BPE, and SentencePiece vocabularies as BPE
// with byte fallback.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cairn/io/byte_level.hpp"
#include "cairn/io/json.hpp"
#include "cairn/io/tokenizer.hpp"
#include "cairn/io/tokenizer_json_steps.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// Fills a Vocabulary from the parsed file.
struct TokenizerJson {
    Vocabulary v;

    void load(const Json& json, const FileLimits& limits) {
        const JsonObject root(json, ErrorCode::bad_tokenizer, "tokenizer");
        check_options(root);
        require(root.find("model") != nullptr, ErrorCode::bad_tokenizer,
                "tokenizer: \"model\" is missing");
        const Json* decoder = root.find("decoder");
        const Json* pre = root.find("pre_tokenizer");
        const bool bytes = decoder != nullptr && type_of(*decoder) == "ByteLevel";
        v.kind = bytes ? Vocabulary::Kind::bytes : Vocabulary::Kind::sentence;
        v.byte_ids.fill(-1);
        if (const Json* normalizer = root.find("normalizer"))
            v.normalizer = Normalizer(*normalizer, limits);
        const JsonObject model(*root.find("model"), ErrorCode::bad_tokenizer, "tokenizer: model");
        const std::string type = model.string("type", "BPE");
        if (type == "Unigram" || type == "WordPiece") {
            load_words(root, model, type, limits);
            load_added(root, limits);
            if (const Json* processor = root.find("post_processor")) load_processor(*processor, 0);
            return;
        }
        if (bytes) {
            require(pre != nullptr, ErrorCode::unsupported,
                    "tokenizer: without pre_tokenizer; ByteLevel is needed");
            v.pre_tokenizer = PreTokenizer(*pre, limits);
            require(v.pre_tokenizer.byte_level(), ErrorCode::unsupported,
                    "tokenizer: pre_tokenizer \"", type_of(*pre), "\" without ByteLevel");
        } else {
            require(decoder != nullptr, ErrorCode::unsupported,
                    "tokenizer: without decoder; ByteLevel, Sequence and Metaspace are known");
            load_sentence(*decoder, pre, limits);
        }
        load_vocabulary(root, limits);
        load_added(root, limits);
        if (const Json* processor = root.find("post_processor")) load_processor(*processor, 0);
    }
    // Words that are cut without merges: the most likely tokens, or the longest.
    void load_words(const JsonObject& root, const JsonObject& model, const std::string& type,
                    const FileLimits& limits) {
        const Json* decoder = root.find("decoder");
        const Json* pre = root.find("pre_tokenizer");
        if (pre != nullptr) v.pre_tokenizer = PreTokenizer(*pre, limits);
        require(!v.pre_tokenizer.byte_level(), ErrorCode::unsupported, "tokenizer: a ", type,
                " model behind ByteLevel");
        if (type == "Unigram") {
            v.kind = Vocabulary::Kind::unigram;
            if (decoder != nullptr) load_decoder(*decoder);
            v.strip_space = v.pre_tokenizer.prepends() || v.normalizer.prepends();
            load_unigram(model, limits);
            return;
        }
        v.kind = Vocabulary::Kind::wordpiece;
        const std::string back = decoder == nullptr ? "WordPiece" : type_of(*decoder);
        require(back == "WordPiece", ErrorCode::unsupported,
                "tokenizer: a WordPiece model with decoder \"", back, "\"");
        v.strip_space = true;
        load_wordpiece(model, limits);
    }
    // A list of tokens with the logarithms of their probabilities.
    void load_unigram(const JsonObject& model, const FileLimits& limits) {
        const Json* list = model.find("vocab");
        require(list != nullptr && list->is_array() && !list->empty(), ErrorCode::bad_tokenizer,
                "tokenizer: \"vocab\" is missing or empty");
        check_limit(list->size(), limits.vocabulary, "vocabulary", "tokenizer",
                    "tokens in \"vocab\"", ErrorCode::bad_tokenizer);
        const bool fallback = model.boolean("byte_fallback", false);
        for (const Json& entry : *list) {
            const auto id = static_cast<Token>(v.log_scores.size());
            require(entry.is_array() && entry.size() == 2 && entry[0].is_string() &&
                        entry[1].is_number() && !entry[0].get_ref<const std::string&>().empty(),
                    ErrorCode::bad_tokenizer, "tokenizer: token ", id, " is ",
                    JsonObject::shown(entry));
            const auto& name = entry[0].get_ref<const std::string&>();
            v.add_scored(id, name, entry[1].get<double>(), limits);
            const int byte = fallback ? byte_token(name) : -1;
            if (byte >= 0) v.byte_ids[static_cast<std::size_t>(byte)] = id;
            v.set(id, byte >= 0 ? std::string(1, static_cast<char>(byte)) : sentence_bytes(name),
                  limits);
        }
        v.byte_fallback = fallback && v.all_bytes();
        v.unknown = static_cast<Token>(
            model.integer("unk_id", 0, static_cast<std::int64_t>(list->size()) - 1));
    }
    void load_wordpiece(const JsonObject& model, const FileLimits& limits) {
        const Json* vocabulary = model.find("vocab");
        require(vocabulary != nullptr && vocabulary->is_object() && !vocabulary->empty(),
                ErrorCode::bad_tokenizer, "tokenizer: \"vocab\" is missing or empty");
        v.inside_prefix = model.string("continuing_subword_prefix", "##");
        v.longest_word = static_cast<std::size_t>(
            model.integer("max_input_chars_per_word", 0, std::int64_t{1} << 30, 100));
        for (const auto& [id, name] : numbered(*vocabulary, limits)) {
            check_limit(name->size(), limits.token_bytes, "token_bytes", "tokenizer",
                        "bytes of a token", ErrorCode::bad_tokenizer);
            const bool inside = !v.inside_prefix.empty() && name->starts_with(v.inside_prefix);
            v.ids.emplace(*name, id);
            v.set(id, inside ? name->substr(v.inside_prefix.size()) : " " + *name, limits);
        }
        const auto unknown = v.ids.find(model.string("unk_token", "[UNK]"));
        require(unknown != v.ids.end(), ErrorCode::bad_tokenizer,
                "tokenizer: unk_token is not in the vocabulary");
        v.unknown = unknown->second;
    }
    // The tokens of an object by their ids. Error{bad_tokenizer} for two with the same one.
    std::vector<std::pair<Token, const std::string*>> numbered(const Json& vocabulary,
                                                               const FileLimits& limits) const {
        check_limit(vocabulary.size(), limits.vocabulary, "vocabulary", "tokenizer",
                    "tokens in \"vocab\"", ErrorCode::bad_tokenizer);
        const JsonObject entries(vocabulary, ErrorCode::bad_tokenizer, "tokenizer: vocab");
        std::vector<std::pair<Token, const std::string*>> tokens;
        for (const auto& [name, value] : vocabulary.get_ref<const Json::object_t&>())
            tokens.emplace_back(
                static_cast<Token>(entries.integer_of(
                    value, name.c_str(), 0, static_cast<std::int64_t>(limits.vocabulary) - 1)),
                &name);
        std::sort(tokens.begin(), tokens.end());
        for (std::size_t i = 1; i < tokens.size(); ++i)
            require(tokens[i].first != tokens[i - 1].first, ErrorCode::bad_tokenizer,
                    "tokenizer: two tokens have id ", tokens[i].first);
        return tokens;
    }
    // SentencePiece as Hugging Face writes it: spaces made visible by the normalizer or by
    // Metaspace, undone by the decoder.
    void load_sentence(const Json& decoder, const Json* pre, const FileLimits& limits) {
        if (pre != nullptr) {
            load_sentence_spaces(*pre, limits);
        }
        load_decoder(decoder);
        v.strip_space = v.strip_space && (v.normalizer.prepends() || v.pre_tokenizer.prepends());
    }
    void load_decoder(const Json& decoder) {
        std::vector<const Json*> steps{&decoder};
        if (type_of(decoder) == "Sequence") {
            const auto list = decoder.find("decoders");
            require(list != decoder.end() && list->is_array() && list->size() <= 64,
                    ErrorCode::bad_tokenizer, "tokenizer: decoder Sequence without \"decoders\"");
            steps.clear();
            for (const Json& item : *list) steps.push_back(&item);
        }
        bool spaces = false;
        for (const Json* step : steps) {
            const std::string type = type_of(*step);
            if (type == "Replace" || type == "Metaspace") {
                spaces = true;
                v.strip_space |= type == "Metaspace";
            } else if (type == "Strip") {
                v.strip_space = true;
            } else {
                require(type == "ByteFallback" || type == "Fuse", ErrorCode::unsupported,
                        "tokenizer: decoder \"", type,
                        "\" is not known; known: ByteLevel, Metaspace, Replace, ByteFallback, "
                        "Fuse, Strip, Sequence");
            }
        }
        require(spaces, ErrorCode::unsupported,
                "tokenizer: a decoder that does not bring spaces back");
    }
    // Where words begin. Metaspace without cutting is a step before the vocabulary, and cutting at
    // spaces cuts nothing where none are left.
    void load_sentence_spaces(const Json& pre, const FileLimits& limits) {
        const JsonObject step(pre, ErrorCode::bad_tokenizer, "tokenizer: pre_tokenizer");
        const std::string type = step.string("type");
        const Json* pattern = type == "Split" ? step.find("pattern") : nullptr;
        if (pattern != nullptr && *pattern == Json{{"String", " "}} && v.normalizer.hides_spaces())
            return;
        v.pre_tokenizer = PreTokenizer(pre, limits);
        require(!v.pre_tokenizer.byte_level(), ErrorCode::unsupported,
                "tokenizer: pre_tokenizer ByteLevel with this decoder");
        if (type != "Metaspace" || step.boolean("split", true)) return;
        v.pre_tokenizer = {};
        const std::string scheme = step.string(
            "prepend_scheme", step.boolean("add_prefix_space", true) ? "always" : "never");
        if (scheme != "never")
            v.normalizer.prepend_missing(std::string(visible_space),
                                         scheme == "first" ? TextPlace::begin : TextPlace::later);
        v.normalizer.replace(" ", std::string(visible_space));
    }
    static std::string type_of(const Json& json) {
        return JsonObject(json, ErrorCode::bad_tokenizer, "tokenizer: a part")
            .string("type")
            .substr(0, 60);
    }
    // Truncation and padding belong to training batches; they are checked and not applied.
    static void check_options(const JsonObject& root) {
        if (const Json* truncation = root.find("truncation"))
            JsonObject(*truncation, ErrorCode::bad_tokenizer, "tokenizer: truncation")
                .integer("max_length", 1, std::int64_t{1} << 40);
        if (const Json* padding = root.find("padding"))
            JsonObject(*padding, ErrorCode::bad_tokenizer, "tokenizer: padding")
                .integer("pad_id", 0, std::int64_t{1} << 31, 0);
    }
    void load_vocabulary(const JsonObject& root, const FileLimits& limits) {
        const JsonObject bpe(*root.find("model"), ErrorCode::bad_tokenizer, "tokenizer: model");
        // Old files leave the type out; vocab and merges then say that it is BPE.
        const std::string type = bpe.string("type", "BPE");
        require(type == "BPE", ErrorCode::unsupported, "tokenizer: model \"", type.substr(0, 60),
                "\"; known: BPE, Unigram, WordPiece");
        for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
            require(bpe.string(key, "").empty(), ErrorCode::unsupported, "tokenizer: model with ",
                    key);
        require(bpe.find("dropout") == nullptr || bpe.number("dropout") == 0.0,
                ErrorCode::unsupported, "tokenizer: model with dropout");
        v.ignore_merges = bpe.boolean("ignore_merges", false);
        const Json* vocabulary = bpe.find("vocab");
        require(vocabulary != nullptr && vocabulary->is_object() && !vocabulary->empty(),
                ErrorCode::bad_tokenizer, "tokenizer: \"vocab\" is missing or empty");
        const auto tokens = numbered(*vocabulary, limits);
        std::unordered_map<std::string_view, Token> spelled;
        for (const auto& [id, name] : tokens) {
            spelled[*name] = id;
            const bool sentence = v.kind == Vocabulary::Kind::sentence;
            const int byte =
                sentence && bpe.boolean("byte_fallback", false) ? internal::byte_token(*name) : -1;
            std::string content = byte >= 0  ? std::string(1, static_cast<char>(byte))
                                  : sentence ? internal::sentence_bytes(*name)
                                             : internal::token_bytes(*name);
            if (byte >= 0) v.byte_ids[static_cast<std::size_t>(byte)] = id;
            v.ids.emplace(sentence ? *name : content, id);
            v.set(id, std::move(content), limits);
        }
        for (std::size_t b = 0; b < 256 && v.kind == Vocabulary::Kind::bytes; ++b) {
            std::string symbol;
            append_utf8(symbol, internal::byte_alphabet()[b]);
            const auto at = spelled.find(symbol);
            if (at != spelled.end()) v.byte_ids[b] = at->second;
        }
        if (const Json* unknown = bpe.find("unk_token")) {
            const auto at = unknown->is_string()
                                ? spelled.find(unknown->get_ref<const std::string&>())
                                : spelled.end();
            require(at != spelled.end(), ErrorCode::bad_tokenizer, "tokenizer: unk_token ",
                    JsonObject::shown(*unknown), " is not in the vocabulary");
            v.unknown = at->second;
        }
        require(v.kind == Vocabulary::Kind::bytes || v.unknown >= 0 || v.all_bytes(),
                ErrorCode::bad_tokenizer,
                "tokenizer: neither an unk_token nor a token for every byte");
        load_merges(bpe, spelled);
    }
    void load_merges(const JsonObject& bpe,
                     const std::unordered_map<std::string_view, Token>& spelled) {
        const Json* merges = bpe.find("merges");
        require(merges != nullptr && merges->is_array(), ErrorCode::bad_tokenizer,
                "tokenizer: \"merges\" is missing");
        std::uint32_t rank = 0;
        std::string joined;
        for (const Json& merge : *merges) {
            std::string_view left;
            std::string_view right;
            if (merge.is_array() && merge.size() == 2 && merge[0].is_string() &&
                merge[1].is_string()) {
                left = merge[0].get_ref<const std::string&>();
                right = merge[1].get_ref<const std::string&>();
            } else {
                require(merge.is_string(), ErrorCode::bad_tokenizer, "tokenizer: merge ", rank,
                        " is ", JsonObject::shown(merge));
                const std::string_view text = merge.get_ref<const std::string&>();
                const std::size_t space = text.find(' ');
                require(space != std::string_view::npos &&
                            text.find(' ', space + 1) == std::string_view::npos,
                        ErrorCode::bad_tokenizer, "tokenizer: merge ", rank,
                        " has not two parts: ", JsonObject::shown(merge));
                left = text.substr(0, space);
                right = text.substr(space + 1);
            }
            joined.assign(left).append(right);
            const auto a = spelled.find(left);
            const auto b = spelled.find(right);
            const auto c = spelled.find(joined);
            require(a != spelled.end() && b != spelled.end() && c != spelled.end(),
                    ErrorCode::bad_tokenizer, "tokenizer: merge ", rank,
                    " uses a token that is not in the vocabulary: ", JsonObject::shown(merge));
            v.pairs.add(a->second, b->second, c->second, rank++);
        }
    }
    void load_added(const JsonObject& root, const FileLimits& limits) {
        const Json* list = root.find("added_tokens");
        if (list == nullptr) return;
        require(list->is_array(), ErrorCode::bad_tokenizer,
                "tokenizer: \"added_tokens\" is no list");
        internal::check_limit(list->size(), limits.vocabulary, "vocabulary", "tokenizer",
                              "added tokens", ErrorCode::bad_tokenizer);
        for (const Json& item : *list) {
            const JsonObject added(item, ErrorCode::bad_tokenizer, "tokenizer: added token");
            const auto id = static_cast<Token>(
                added.integer("id", 0, static_cast<std::int64_t>(limits.vocabulary) - 1));
            const std::string content = added.string("content");
            require(!content.empty(), ErrorCode::bad_tokenizer, "tokenizer: added token ", id,
                    " is empty");
            require(!added.boolean("single_word", false), ErrorCode::unsupported,
                    "tokenizer: added token \"", content.substr(0, 60), "\" with single_word");
            const auto at = static_cast<std::size_t>(id);
            const bool taken = at < v.used.size() && v.used[at];
            require(!taken || v.bytes[at] == content || v.bytes[at] == " " + content ||
                        v.bytes[at] == internal::token_bytes(content) ||
                        v.bytes[at] == internal::sentence_bytes(content),
                    ErrorCode::bad_tokenizer, "tokenizer: added token \"", content.substr(0, 60),
                    "\" takes id ", id, " of another token");
            v.set(id, content, limits);
            v.added.push_back({content, id, added.boolean("special", false),
                               added.boolean("lstrip", false), added.boolean("rstrip", false)});
        }
    }
    // One of the tokens around a text: its name and its id.
    Token processor_token(const JsonObject& processor, const char* name) const {
        const Json* pair = processor.find(name);
        require(pair != nullptr && pair->is_array() && pair->size() == 2, ErrorCode::bad_tokenizer,
                "tokenizer: post_processor without \"", name, "\"");
        return static_cast<Token>(processor.integer_of(
            (*pair)[1], name, 0, static_cast<std::int64_t>(v.bytes.size()) - 1));
    }
    // What stands around a text: TemplateProcessing's single template.
    void load_processor(const Json& json, int depth) {
        require(depth < 8, ErrorCode::bad_tokenizer,
                "tokenizer: post_processor nested deeper than 8");
        const JsonObject processor(json, ErrorCode::bad_tokenizer, "tokenizer: post_processor");
        const std::string type = processor.string("type");
        if (type == "ByteLevel") return;
        if (type == "Sequence") {
            const Json* list = processor.find("processors");
            require(list != nullptr && list->is_array() && list->size() <= 64,
                    ErrorCode::bad_tokenizer,
                    "tokenizer: post_processor Sequence without \"processors\"");
            for (const Json& item : *list) load_processor(item, depth + 1);
            return;
        }
        if (type == "BertProcessing" || type == "RobertaProcessing") {
            v.prefix.push_back(processor_token(processor, "cls"));
            v.suffix.push_back(processor_token(processor, "sep"));
            return;
        }
        require(type == "TemplateProcessing", ErrorCode::unsupported,
                "tokenizer: post_processor \"", type.substr(0, 60),
                "\" is not known; known: ByteLevel, TemplateProcessing, BertProcessing, "
                "RobertaProcessing, Sequence");
        const Json* single = processor.find("single");
        const Json* specials = processor.find("special_tokens");
        require(single != nullptr && single->is_array() && single->size() <= 64,
                ErrorCode::bad_tokenizer, "tokenizer: TemplateProcessing without \"single\"");
        bool before = true;
        for (const Json& item : *single) {
            require(item.is_object() && item.size() == 1, ErrorCode::bad_tokenizer,
                    "tokenizer: TemplateProcessing item ", JsonObject::shown(item));
            if (item.contains("Sequence")) {
                before = false;
                continue;
            }
            require(item.contains("SpecialToken") && specials != nullptr && specials->is_object(),
                    ErrorCode::bad_tokenizer,
                    "tokenizer: TemplateProcessing item without a special token");
            const std::string name = JsonObject(item["SpecialToken"], ErrorCode::bad_tokenizer,
                                                "tokenizer: SpecialToken")
                                         .string("id");
            const auto found = specials->find(name);
            require(found != specials->end() && found->is_object() && found->contains("ids") &&
                        (*found)["ids"].is_array(),
                    ErrorCode::bad_tokenizer, "tokenizer: special token \"", name.substr(0, 60),
                    "\" has no ids");
            const JsonObject entry(*found, ErrorCode::bad_tokenizer, "tokenizer: special token");
            for (const Json& id : (*found)["ids"])
                (before ? v.prefix : v.suffix)
                    .push_back(static_cast<Token>(entry.integer_of(
                        id, "ids", 0, static_cast<std::int64_t>(v.bytes.size()) - 1)));
        }
    }
};

}  // namespace internal

inline Tokenizer Tokenizer::parse(std::string_view text, const FileLimits& limits) {
    const JsonDocument json(parse_json(text, ErrorCode::bad_tokenizer, "tokenizer", limits));
    internal::TokenizerJson reader;
    reader.load(*json, limits);
    return Tokenizer(std::move(reader.v));
}

}}  // namespace cairn
