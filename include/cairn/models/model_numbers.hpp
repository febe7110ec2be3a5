// The numbers of a model as its files say them: config.json or GGUF metadata, read alike. What is
// read is noted under its GGUF name, so that an export writes what a recipe has read.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "cairn/core/error.hpp"
#include "cairn/models/tensor_table.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What a number is called in config.json (a dot leads into an object: "rope_scaling.factor") and
/// in GGUF metadata, behind the architecture's name. Empty: such files do not say it.
struct NumberName {
    std::string_view hf;
    std::string_view gguf{};
};

/// A value of GGUF metadata.
using NotedNumber = std::variant<std::int64_t, double, bool, std::string>;

/// Reads the numbers of one model. A value of the wrong type or out of bounds is an error that
/// names the key: Error{bad_config} of config.json, Error{bad_file} of metadata. What is absent,
/// null or not said by such files is the fallback; without one it is an error.
class ModelNumbers {
  public:
    virtual ~ModelNumbers() = default;
    virtual ModelFormat format() const noexcept = 0;
    bool gguf() const noexcept { return format() == ModelFormat::gguf; }
    /// As the files name it: llama, qwen2, ...
    virtual const std::string& architecture() const noexcept = 0;
    /// For errors: the file, and the code of its errors.
    virtual const std::string& where() const noexcept = 0;
    virtual ErrorCode code() const noexcept = 0;
    /// Token ids are below this; in GGUF files the rows of the embedding, in config.json `usual`
    /// where it is not said and not 0.
    virtual int vocabulary(int usual) = 0;
    int vocabulary() { return vocabulary(0); }
    /// Whether the output layer is the embedding. `fallback` where config.json does not say it;
    /// GGUF files say it by having no tensor output.weight.
    virtual bool tied(bool fallback) = 0;

    /// Whether the files say it, even if they say null.
    bool contains(const NumberName& name) const {
        const std::string_view key = here(name);
        return !key.empty() && presence(key) != Presence::absent;
    }
    /// Whether the files say a value.
    bool has(const NumberName& name) const {
        const std::string_view key = here(name);
        return !key.empty() && presence(key) == Presence::value;
    }
    std::int64_t integer(const NumberName& name, std::int64_t least, std::int64_t most,
                         std::optional<std::int64_t> fallback = std::nullopt) {
        const bool said = !fallback || has(name);
        const std::int64_t value = said ? read_integer(need(name), least, most) : *fallback;
        if (said || value != 0) note(name.gguf, value);  // a fallback of 0 means none
        return value;
    }
    /// An integer from 1 on.
    int count(const NumberName& name, std::int64_t most,
              std::optional<std::int64_t> fallback = std::nullopt) {
        return static_cast<int>(integer(name, 1, most, fallback));
    }
    double number(const NumberName& name, std::optional<double> fallback = std::nullopt) {
        const bool said = !fallback || has(name);
        const double value = said ? read_number(need(name)) : *fallback;
        note(name.gguf, value);
        return value;
    }
    /// A number that the files say, without a note of it.
    double said_number(const NumberName& name) const { return read_number(need(name)); }
    bool boolean(const NumberName& name, bool fallback) const {
        return has(name) ? read_boolean(here(name)) : fallback;
    }
    std::string word(const NumberName& name,
                     std::optional<std::string> fallback = std::nullopt) const {
        return !fallback || has(name) ? read_word(need(name)) : *fallback;
    }
    /// A list of integers or truths (0 and 1), of words; empty where the files do not say one.
    std::vector<std::int64_t> integers(const NumberName& name) const {
        return has(name) ? read_integers(here(name)) : std::vector<std::int64_t>();
    }
    std::vector<std::string> words(const NumberName& name) const {
        return has(name) ? read_words(here(name)) : std::vector<std::string>();
    }
    /// A list of numbers of config.json; empty where it does not say one.
    std::vector<float> reals(const NumberName& name) const {
        return !gguf() && has(name) ? read_reals(name.hf) : std::vector<float>();
    }
    /// Error{unsupported} unless the word (or the fallback) is one of the known ones.
    void one_of(const NumberName& name, const char* fallback,
                std::initializer_list<const char*> known) const {
        const std::string value = word(name, fallback);
        std::string list;
        for (const char* good : known) {
            if (value == good) return;
            if (!list.empty()) list.append(", ");
            list.append(good);
        }
        fail(ErrorCode::unsupported, where(), ": ", here(name), " \"", value.substr(0, 60),
             "\"; known: ", list);
    }
    /// Error{unsupported} if an option of config.json is true.
    void refuse(std::initializer_list<const char*> options) const {
        for (const char* option : options)
            require(!boolean({option}, false), ErrorCode::unsupported, where(), ": ", option,
                    " is not supported");
    }

    /// What an export writes: each number read by its GGUF name, in the order of reading. A recipe
    /// may note more, or what a number came to; a later note of a name replaces.
    void note(std::string_view gguf, NotedNumber value) {
        if (gguf.empty()) return;
        for (auto& [key, old] : noted_)
            if (key == gguf) {
                old = std::move(value);
                return;
            }
        noted_.emplace_back(gguf, std::move(value));
    }
    const std::vector<std::pair<std::string, NotedNumber>>& noted() const noexcept {
        return noted_;
    }

  protected:
    enum class Presence : std::uint8_t { absent, null, value };

  private:
    virtual Presence presence(std::string_view key) const = 0;
    // Errors name what is missing.
    virtual std::int64_t read_integer(std::string_view key, std::int64_t least,
                                      std::int64_t most) const = 0;
    virtual double read_number(std::string_view key) const = 0;
    virtual bool read_boolean(std::string_view key) const = 0;
    virtual std::string read_word(std::string_view key) const = 0;
    virtual std::vector<std::int64_t> read_integers(std::string_view key) const = 0;
    virtual std::vector<std::string> read_words(std::string_view key) const = 0;
    virtual std::vector<float> read_reals(std::string_view) const { return {}; }

    std::string_view here(const NumberName& name) const noexcept {
        return gguf() ? name.gguf : name.hf;
    }
    std::string_view need(const NumberName& name) const {
        const std::string_view key = here(name);
        require(!key.empty(), code(), where(), ": such files do not say \"", name.hf, name.gguf,
                "\", which the recipe needs");
        return key;
    }
    std::vector<std::pair<std::string, NotedNumber>> noted_;
};

}}  // namespace cairn
