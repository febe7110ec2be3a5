// tokenizer.json as Hugging Face writes it, for byte-level BPE. Text of special tokens is plain
// text unless the caller asks otherwise: a user's words never become control tokens by themselves.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cairn/core/checked.hpp"
#include "cairn/io/bpe.hpp"
#include "cairn/io/byte_level.hpp"
#include "cairn/io/pre_tokenizer.hpp"
#include "cairn/io/utf8.hpp"

namespace cairn::inline CAIRN_ABI {

/// Whether the text of special tokens in a prompt stands for them.
enum class SpecialTokens : std::uint8_t { as_text, recognised };

/// Text to token ids and back. Const after loading; shared by threads.
class Tokenizer {
  public:
    /// Parses the text of a tokenizer.json. Throws Error{bad_tokenizer}, Error{unsupported} naming
    /// the part it does not know, Error{limit}.
    static Tokenizer parse(std::string_view text, const FileLimits& limits = {}) {
        const Json json = parse_json(text, ErrorCode::bad_tokenizer, "tokenizer", limits);
        Tokenizer result;
        result.load(json, limits);
        return result;
    }

    /// The ids of a text, without a beginning-of-text token. Any bytes are accepted.
    std::vector<Token> encode(std::string_view text,
                              SpecialTokens special = SpecialTokens::as_text) const {
        std::vector<Token> result;
        std::size_t from = 0;
        for (std::size_t at = 0; at < text.size();) {
            const Added* added = match(text.substr(at), special);
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
    const std::vector<Token>& prefix() const noexcept { return prefix_; }
    const std::vector<Token>& suffix() const noexcept { return suffix_; }

    /// The bytes a token stands for; a special token's are its name. Error{token_range}.
    const std::string& bytes(Token token) const {
        require(token >= 0 && static_cast<std::size_t>(token) < bytes_.size(),
                ErrorCode::token_range, "token ", token, " is not in 0..", bytes_.size() - 1);
        return bytes_[static_cast<std::size_t>(token)];
    }
    bool special(Token token) const noexcept {
        return std::any_of(added_.begin(), added_.end(),
                           [&](const Added& a) { return a.id == token && a.special; });
    }
    /// The id of a special or added token by its name, or -1.
    Token id_of(std::string_view name) const noexcept {
        for (const Added& added : added_)
            if (added.content == name) return added.id;
        return -1;
    }
    /// The bytes of all tokens; special ones are left out unless wanted. Not necessarily valid
    /// UTF-8.
    std::string decode(Tokens tokens, SpecialTokens special = SpecialTokens::as_text) const {
        std::string result;
        for (const Token token : tokens)
            if (special == SpecialTokens::recognised || !this->special(token))
                result += bytes(token);
        return result;
    }
    /// One more than the highest id.
    std::size_t size() const noexcept { return bytes_.size(); }

  private:
    struct Added {
        std::string content;
        Token id;
        bool special;
    };

    const Added* match(std::string_view text, SpecialTokens special) const {
        const Added* best = nullptr;
        for (const std::size_t i : added_by_byte_[static_cast<unsigned char>(text.front())]) {
            const Added& added = added_[i];
            if (added.special && special == SpecialTokens::as_text) continue;
            if (text.starts_with(added.content) &&
                (best == nullptr || added.content.size() > best->content.size()))
                best = &added;
        }
        return best;
    }
    void encode_plain(std::string_view text, std::vector<Token>& to) const {
        if (text.empty()) return;
        std::vector<Token> symbols;
        for (const std::string& piece : pre_tokenizer_.split(text)) {
            if (ignore_merges_) {
                const auto whole = ids_.find(piece);
                if (whole != ids_.end()) {
                    to.push_back(whole->second);
                    continue;
                }
            }
            symbols.clear();
            for (const char c : piece) symbols.push_back(byte_ids_[static_cast<unsigned char>(c)]);
            pairs_.encode(symbols);
            to.insert(to.end(), symbols.begin(), symbols.end());
        }
    }

    void load(const Json& json, const FileLimits& limits) {
        const JsonObject root(json, ErrorCode::bad_tokenizer, "tokenizer");
        if (const Json* normalizer = root.find("normalizer"))
            fail(ErrorCode::unsupported, "tokenizer: normalizer \"", type_of(*normalizer),
                 "\" is not supported");
        check_options(root);
        load_vocabulary(root, limits);
        load_added(root, limits);
        const Json* pre = root.find("pre_tokenizer");
        require(pre != nullptr, ErrorCode::unsupported,
                "tokenizer: without pre_tokenizer; ByteLevel is needed");
        pre_tokenizer_ = PreTokenizer(*pre, limits);
        require(pre_tokenizer_.byte_level(), ErrorCode::unsupported, "tokenizer: pre_tokenizer \"",
                type_of(*pre), "\" without ByteLevel");
        const Json* decoder = root.find("decoder");
        require(decoder != nullptr && type_of(*decoder) == "ByteLevel", ErrorCode::unsupported,
                "tokenizer: decoder \"", decoder == nullptr ? "null" : type_of(*decoder),
                "\"; ByteLevel is needed");
        if (const Json* processor = root.find("post_processor")) load_processor(*processor, 0);
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
    void set_token(Token id, std::string content, const FileLimits& limits) {
        require(static_cast<std::size_t>(id) < limits.vocabulary &&
                    static_cast<std::size_t>(id) < 2 * bytes_.size() + limits.vocabulary / 16,
                ErrorCode::bad_tokenizer, "tokenizer: id ", id, " after ", bytes_.size(),
                " tokens");
        if (static_cast<std::size_t>(id) >= bytes_.size()) {
            bytes_.resize(static_cast<std::size_t>(id) + 1);
            used_.resize(bytes_.size(), false);
        }
        bytes_[static_cast<std::size_t>(id)] = std::move(content);
        used_[static_cast<std::size_t>(id)] = true;
    }

    void load_vocabulary(const JsonObject& root, const FileLimits& limits) {
        const Json* model = root.find("model");
        require(model != nullptr, ErrorCode::bad_tokenizer, "tokenizer: \"model\" is missing");
        const JsonObject bpe(*model, ErrorCode::bad_tokenizer, "tokenizer: model");
        // Old files leave the type out; vocab and merges then say that it is BPE.
        const std::string type = bpe.string("type", "BPE");
        require(type == "BPE", ErrorCode::unsupported, "tokenizer: model \"", type.substr(0, 60),
                "\"; BPE is known");
        for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
            require(bpe.string(key, "").empty(), ErrorCode::unsupported, "tokenizer: model with ",
                    key);
        require(bpe.find("dropout") == nullptr || bpe.number("dropout") == 0.0,
                ErrorCode::unsupported, "tokenizer: model with dropout");
        ignore_merges_ = bpe.boolean("ignore_merges", false);
        const Json* vocabulary = bpe.find("vocab");
        require(vocabulary != nullptr && vocabulary->is_object() && !vocabulary->empty() &&
                    vocabulary->size() <= limits.vocabulary,
                ErrorCode::bad_tokenizer, "tokenizer: \"vocab\" is missing, empty or too large");
        const JsonObject entries(*vocabulary, ErrorCode::bad_tokenizer, "tokenizer: vocab");
        std::vector<std::pair<Token, const std::string*>> tokens;
        std::unordered_map<std::string_view, Token> spelled;
        for (const auto& [name, value] : vocabulary->get_ref<const Json::object_t&>()) {
            const auto id = static_cast<Token>(entries.integer_of(
                value, name.c_str(), 0, static_cast<std::int64_t>(limits.vocabulary) - 1));
            tokens.emplace_back(id, &name);
            spelled[name] = id;
        }
        std::sort(tokens.begin(), tokens.end());
        for (const auto& [id, name] : tokens) {
            require(static_cast<std::size_t>(id) >= used_.size() ||
                        !used_[static_cast<std::size_t>(id)],
                    ErrorCode::bad_tokenizer, "tokenizer: two tokens have id ", id);
            std::string content = detail::token_bytes(*name);
            ids_.emplace(content, id);
            set_token(id, std::move(content), limits);
        }
        for (std::size_t b = 0; b < 256; ++b) {
            std::string symbol;
            append_utf8(symbol, detail::byte_alphabet()[b]);
            const auto at = spelled.find(symbol);
            require(at != spelled.end(), ErrorCode::bad_tokenizer, "tokenizer: byte ", b, " (\"",
                    symbol, "\") is not in the vocabulary");
            byte_ids_[b] = at->second;
        }
        if (const Json* unknown = bpe.find("unk_token"))
            require(
                unknown->is_string() && spelled.contains(unknown->get_ref<const std::string&>()),
                ErrorCode::bad_tokenizer, "tokenizer: unk_token ", JsonObject::shown(*unknown),
                " is not in the vocabulary");
        load_merges(bpe, spelled);
    }
    void load_merges(const JsonObject& bpe,
                     const std::unordered_map<std::string_view, Token>& spelled) {
        const Json* merges = bpe.find("merges");
        require(merges != nullptr && merges->is_array(), ErrorCode::bad_tokenizer,
                "tokenizer: \"merges\" is missing");
        int rank = 0;
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
            pairs_.add(a->second, b->second, c->second, rank++);
        }
    }
    void load_added(const JsonObject& root, const FileLimits& limits) {
        const Json* list = root.find("added_tokens");
        if (list == nullptr) return;
        require(list->is_array() && list->size() <= limits.vocabulary, ErrorCode::bad_tokenizer,
                "tokenizer: \"added_tokens\" is no list");
        for (const Json& item : *list) {
            const JsonObject added(item, ErrorCode::bad_tokenizer, "tokenizer: added token");
            const auto id = static_cast<Token>(
                added.integer("id", 0, static_cast<std::int64_t>(limits.vocabulary) - 1));
            const std::string content = added.string("content");
            require(!content.empty(), ErrorCode::bad_tokenizer, "tokenizer: added token ", id,
                    " is empty");
            for (const char* flag : {"lstrip", "rstrip", "single_word"})
                require(!added.boolean(flag, false), ErrorCode::unsupported,
                        "tokenizer: added token \"", content.substr(0, 60), "\" with ", flag);
            const auto at = static_cast<std::size_t>(id);
            const bool taken = at < used_.size() && used_[at];
            require(!taken || bytes_[at] == content || bytes_[at] == detail::token_bytes(content),
                    ErrorCode::bad_tokenizer, "tokenizer: added token \"", content.substr(0, 60),
                    "\" takes id ", id, " of another token");
            set_token(id, content, limits);
            added_by_byte_[static_cast<unsigned char>(content.front())].push_back(added_.size());
            added_.push_back({content, id, added.boolean("special", false)});
        }
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
        require(type == "TemplateProcessing", ErrorCode::unsupported,
                "tokenizer: post_processor \"", type.substr(0, 60),
                "\" is not known; known: ByteLevel, TemplateProcessing, Sequence");
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
                (before ? prefix_ : suffix_)
                    .push_back(static_cast<Token>(entry.integer_of(
                        id, "ids", 0, static_cast<std::int64_t>(bytes_.size()) - 1)));
        }
    }

    std::vector<std::string> bytes_;  // by id
    std::vector<bool> used_;
    std::unordered_map<std::string, Token> ids_;
    std::array<Token, 256> byte_ids_{};
    BytePairs pairs_;
    bool ignore_merges_ = false;
    PreTokenizer pre_tokenizer_;
    std::vector<Added> added_;
    std::array<std::vector<std::size_t>, 256> added_by_byte_{};
    std::vector<Token> prefix_;
    std::vector<Token> suffix_;
};

}  // namespace cairn::inline CAIRN_ABI
