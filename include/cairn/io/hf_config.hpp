// config.json as Hugging Face writes it. Nothing is guessed: a number of the wrong type, sign or
// size is an error that names the key, and so is an option that would change the mathematics.
#pragma once

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/io/find_architecture.hpp"
#include "cairn/io/json.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What a config.json says.
struct HfConfig {
    std::string architecture;  ///< model_type
    std::string gguf;          ///< what GGUF files call it; empty: it has no such form
    ModelRecipe recipe;
    std::vector<std::pair<std::string, NotedNumber>> numbers;  ///< by their GGUF names
    std::vector<Token> end_of_text;    ///< eos_token_id, one or several; empty if there is none
    std::vector<std::string> notes{};  ///< sentences about what was ignored

    int vocabulary() const noexcept { return recipe.shape.vocabulary; }
};

/// The numbers of a config.json. Keeps a reference to the object.
class HfNumbers final : public ModelNumbers {
  public:
    HfNumbers(const JsonObject& root, std::string architecture)
        : root_(root), architecture_(std::move(architecture)) {}

    ModelFormat format() const noexcept override { return ModelFormat::hugging_face; }
    const std::string& architecture() const noexcept override { return architecture_; }
    const std::string& where() const noexcept override { return root_.where(); }
    ErrorCode code() const noexcept override { return root_.code(); }
    using ModelNumbers::vocabulary;
    int vocabulary(int usual) override {
        return usual > 0 ? count({"vocab_size"}, 1 << 24, usual) : count({"vocab_size"}, 1 << 24);
    }
    bool tied(bool fallback) override { return boolean({"tie_word_embeddings"}, fallback); }

  private:
    // The object that holds a number, and its key there.
    struct Place {
        JsonObject object;
        std::string key;
    };
    static Place place(const JsonObject& in, std::string_view key) {
        static const Json none = Json::object();
        const std::size_t dot = key.find('.');
        if (dot == std::string_view::npos) return {in, std::string(key)};
        const std::string name(key.substr(0, dot));
        const Json* inner = in.find(name.c_str());
        const JsonObject object(inner != nullptr ? *inner : none, in.code(),
                                in.where() + ": " + name);
        return place(object, key.substr(dot + 1));
    }
    Presence presence(std::string_view key) const override {
        const Place at = place(root_, key);
        if (at.object.find(at.key.c_str()) != nullptr) return Presence::value;
        return at.object.json().contains(at.key) ? Presence::null : Presence::absent;
    }
    std::int64_t read_integer(std::string_view key, std::int64_t least,
                              std::int64_t most) const override {
        const Place at = place(root_, key);
        return at.object.integer(at.key.c_str(), least, most);
    }
    double read_number(std::string_view key) const override {
        const Place at = place(root_, key);
        return at.object.number(at.key.c_str());
    }
    bool read_boolean(std::string_view key) const override {
        const Place at = place(root_, key);
        return at.object.boolean(at.key.c_str(), false);
    }
    std::string read_word(std::string_view key) const override {
        const Place at = place(root_, key);
        return at.object.string(at.key.c_str());
    }
    std::vector<std::int64_t> read_integers(std::string_view key) const override {
        std::vector<std::int64_t> result;
        const Place at = place(root_, key);
        for (const Json& value : list(at))
            result.push_back(value.is_boolean() ? std::int64_t{value.get<bool>()}
                                                : at.object.integer_of(value, at.key.c_str(),
                                                                       -(1LL << 53), 1LL << 53));
        return result;
    }
    std::vector<std::string> read_words(std::string_view key) const override {
        std::vector<std::string> result;
        const Place at = place(root_, key);
        for (const Json& value : list(at)) {
            require(value.is_string(), code(), at.object.where(), ": \"", at.key, "\" holds ",
                    JsonObject::shown(value), "; strings are needed");
            result.push_back(value.get<std::string>());
        }
        return result;
    }
    std::vector<float> read_reals(std::string_view key) const override {
        std::vector<float> result;
        const Place at = place(root_, key);
        for (const Json& value : list(at)) {
            require(value.is_number() && std::abs(value.get<double>()) < 1e30, code(),
                    at.object.where(), ": \"", at.key, "\" holds ", JsonObject::shown(value),
                    "; numbers below 1e30 are needed");
            result.push_back(static_cast<float>(value.get<double>()));
        }
        return result;
    }
    const Json& list(const Place& at) const {
        const Json& value = *at.object.find(at.key.c_str());
        require(value.is_array(), code(), at.object.where(), ": \"", at.key, "\" is ",
                JsonObject::shown(value), "; a list is needed");
        return value;
    }

    const JsonObject& root_;
    std::string architecture_;
};

/// The ids that a vocabulary has, and a note for each of the others: Hugging Face writes its
/// defaults into configurations whose vocabulary is smaller, and loads them.
inline std::vector<Token> known_end_of_text(const std::vector<Token>& ids, int vocabulary,
                                            std::vector<std::string>& notes) {
    std::vector<Token> result;
    for (const Token id : ids)
        if (id >= 0 && id < vocabulary)
            result.push_back(id);
        else
            notes.push_back(std::string("end-of-text token ") + std::to_string(id) +
                            " is ignored: the vocabulary has " + std::to_string(vocabulary) +
                            " tokens");
    return result;
}

namespace internal {

// A source that holds nothing, for who asks for the numbers alone.
class NoTensors final : public TensorSource {
  public:
    const std::vector<std::size_t>* shape(std::string_view) const override { return nullptr; }
    ElementType type(std::string_view) const override { return ElementType::f32; }
    void read(std::string_view, std::size_t, std::span<float>) const override {}
    void read_stored(std::string_view, std::size_t, std::span<std::byte>) const override {}
};

[[gnu::cold]] inline std::vector<Token> hf_end_of_text(const JsonObject& root,
                                                       const FileLimits& limits) {
    std::vector<Token> ids;
    const Json* eos = root.find("eos_token_id");
    if (eos == nullptr) return ids;
    const auto add = [&](const Json& value) {
        ids.push_back(static_cast<Token>(
            root.integer_of(value, "eos_token_id", -1, std::numeric_limits<Token>::max())));
    };
    if (!eos->is_array()) {
        add(*eos);
        return ids;
    }
    require(!eos->empty(), ErrorCode::bad_config, root.where(), ": eos_token_id lists no ids");
    check_limit(eos->size(), limits.end_of_text_tokens, "end_of_text_tokens", root.where(),
                "ids in eos_token_id", ErrorCode::bad_config);
    for (const Json& value : *eos) add(value);
    return ids;
}

// model_type, and the names of `architectures` behind it.
[[gnu::cold]] inline std::vector<std::string> hf_names(const JsonObject& root) {
    std::vector<std::string> names;
    const Json* classes = root.find("architectures");
    const bool listed = classes != nullptr && classes->is_array() && !classes->empty();
    names.push_back(
        root.string("model_type", listed ? std::optional<std::string>("") : std::nullopt));
    if (listed)
        for (const Json& name : *classes)
            if (name.is_string()) names.push_back(name.get<std::string>());
    return names;
}

}  // namespace internal

/// Parses the text of a config.json; `source` holds the model's tensors, for architectures that ask
/// for them. Throws Error{bad_config, unsupported, limit}.
[[gnu::cold]] inline HfConfig parse_hf_config(std::string_view text, const std::string& where,
                                              const FileLimits& limits = {},
                                              const TensorSource& source = internal::NoTensors()) {
    const FpEnvironment environment;
    const JsonDocument json(parse_json(text, ErrorCode::bad_config, where, limits));
    const JsonObject outside(*json, ErrorCode::bad_config, where);
    // Of a model of several kinds of input only the part that reads text.
    const Json* text_part = outside.find("text_config");
    const JsonObject root(text_part != nullptr ? *text_part : *json, ErrorCode::bad_config,
                          text_part != nullptr ? where + ": text_config" : where);
    // One that reads its prompt both ways is another model than its text part alone.
    require(text_part == nullptr || outside.string("model_type", "") != "paligemma",
            ErrorCode::unsupported, where, ": paligemma, whose prompts see what comes after");
    const std::vector<std::string> names = internal::hf_names(root);
    const Architecture architecture =
        find_architecture(names, ModelFormat::hugging_face, root.where());
    HfNumbers numbers(root, architecture.hf);
    HfConfig result;
    result.architecture = architecture.hf;
    result.gguf = architecture.gguf;
    result.recipe = internal::read_recipe(architecture, numbers, source, limits);
    result.numbers = numbers.noted();
    result.end_of_text = known_end_of_text(
        internal::hf_end_of_text(root.find("eos_token_id") != nullptr ? root : outside, limits),
        result.vocabulary(), result.notes);
    return result;
}

}}  // namespace cairn
