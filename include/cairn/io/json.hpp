// JSON from outside, read strictly: no repeated keys, no byte-order mark, a depth limit; and typed
// access that names the key in every error. Parsing itself is nlohmann/json's.
#pragma once

#include <algorithm>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "cairn/core/checked.hpp"
#include "cairn/core/error.hpp"
#include "cairn/core/fp_environment.hpp"
#include "cairn/io/file.hpp"
#include "cairn/io/json_fwd.hpp"
#include "cairn/io/limits.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// Empties a document from its leaves up. The destructor of a value that holds others asks for
// memory to avoid recursion, and ends the process where there is none; that of an empty one does
// not. The depth is bounded by FileLimits::json_depth.
inline void take_apart(Json& value) noexcept {
    if (auto* list = value.get_ptr<Json::array_t*>()) {
        for (Json& element : *list) take_apart(element);
        list->clear();
    } else if (auto* object = value.get_ptr<Json::object_t*>()) {
        for (auto& [key, member] : *object) take_apart(member);
        object->clear();
    }
}

// Builds a document and refuses what a plain parse lets pass. What its values take in memory is
// counted while they are made: short ones take up to 30 times their text.
class StrictJson final : public nlohmann::json_sax<Json> {
  public:
    StrictJson(const FileLimits& limits, std::size_t text, ErrorCode code, const std::string& where)
        : limits_(limits),
          most_(checked_add(limits.json_values, checked_mul(7, text, where), where)),
          code_(code),
          where_(where) {}
    ~StrictJson() override { take_apart(root_); }
    StrictJson(const StrictJson&) = delete;
    StrictJson& operator=(const StrictJson&) = delete;

    bool null() override { return put(nullptr); }
    bool boolean(bool value) override { return put(value); }
    bool number_integer(number_integer_t value) override { return put(value); }
    bool number_unsigned(number_unsigned_t value) override { return put(value); }
    bool number_float(number_float_t value, const string_t&) override { return put(value); }
    bool string(string_t& value) override {
        charge(block + sizeof(string_t) + heap_of(value));
        return put(std::move(value));
    }
    bool binary(binary_t&) override { return false; }
    bool start_object(std::size_t) override {
        charge(2 * block + sizeof(Json::object_t));
        return open(Json::object());
    }
    bool start_array(std::size_t) override {
        charge(block + sizeof(Json::array_t));
        return open(Json::array());
    }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool key(string_t& name) override {
        charge(block + tree_links + sizeof(Json::object_t::value_type) + heap_of(name));
        const auto [at, fresh] = stack_.back()->get_ref<Json::object_t&>().try_emplace(name);
        require(fresh, code_, where_, ": key \"", name.substr(0, 100), "\" is repeated");
        slot_ = &at->second;
        return true;
    }
    bool parse_error(std::size_t position, const std::string&,
                     const nlohmann::detail::exception& error) override {
        fail(code_, where_, ": not JSON at byte ", position, ": ",
             std::string(error.what()).substr(0, 200));
    }
    Json take() { return std::move(root_); }

  private:
    static constexpr std::size_t block = 16;       // what the heap adds to a piece of memory
    static constexpr std::size_t tree_links = 32;  // of a member of an object

    static std::size_t heap_of(const string_t& text) {
        return text.size() < sizeof(string_t) / 2 ? 0 : text.size() + block;
    }
    void charge(std::size_t bytes) {
        used_ += bytes;
        require(used_ <= most_, ErrorCode::limit, where_, ": its values take more than ", most_,
                " bytes of memory; the limit FileLimits::json_values is ", limits_.json_values,
                " beyond 7 times the text");
    }
    template <class T>
    Json* place(T&& value) {
        if (stack_.empty()) {
            root_ = std::forward<T>(value);
            return &root_;
        }
        charge(sizeof(Json));  // a value that is destroyed lies in a list for a while
        if (!stack_.back()->is_array()) {
            *slot_ = std::forward<T>(value);
            return slot_;
        }
        auto& list = stack_.back()->get_ref<Json::array_t&>();
        if (list.size() == list.capacity()) {
            // It doubles, and the old list is there until its values have moved.
            const std::size_t more = std::max<std::size_t>(list.size(), 1) * sizeof(Json);
            charge(2 * more);
            used_ -= more;
        }
        return &list.emplace_back(std::forward<T>(value));
    }
    template <class T>
    bool put(T&& value) {
        place(Json(std::forward<T>(value)));
        return true;
    }
    bool open(Json value) {
        check_limit(stack_.size() + 1, static_cast<std::size_t>(limits_.json_depth), "json_depth",
                    where_, "levels of nested values", code_);
        stack_.push_back(place(std::move(value)));
        return true;
    }
    bool close() {
        stack_.pop_back();
        return true;
    }
    Json root_;
    std::vector<Json*> stack_;
    Json* slot_ = nullptr;
    const FileLimits& limits_;
    std::size_t used_ = 0;
    std::size_t most_;
    ErrorCode code_;
    const std::string& where_;
};

// While it lives, the C library rounds to nearest too: its strtod looks at the rounding mode of
// another unit than the one that computes.
class NearestConversions {
  public:
    NearestConversions() noexcept {
        std::fegetenv(&saved_);
        std::fesetround(FE_TONEAREST);
    }
    ~NearestConversions() { std::fesetenv(&saved_); }
    NearestConversions(const NearestConversions&) = delete;
    NearestConversions& operator=(const NearestConversions&) = delete;

  private:
    std::fenv_t saved_{};
};

// Every reader of JSON comes through here, so that a program compiles nlohmann's parser once. It
// takes a NUL for the end of the text, and what lies behind would be read by others.
inline void read_json(std::string_view text, nlohmann::json_sax<Json>& handler, ErrorCode code,
                      std::string_view where) {
    const FpEnvironment environment;
    const NearestConversions conversions;
    const std::size_t nul = text.find('\0');
    require(nul == std::string_view::npos, code, where, ": not JSON at byte ", nul + 1,
            ": a NUL byte");
    Json::sax_parse(text.begin(), text.end(), &handler);
}
}  // namespace internal

/// The text of a JSON file. Throws Error{io}, Error{limit} beyond `limits.json_bytes`.
inline std::string read_json_file(const std::string& path, const FileLimits& limits = {}) {
    const InputFile file(path);
    internal::check_limit(file.size(), limits.json_bytes, "json_bytes", path, "bytes");
    std::string text(file.size(), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text;
}

/// Parses a whole text. Throws Error{code} with `where` and the byte offset, and Error{limit} if
/// the values would take more memory than `limits` allows.
inline Json parse_json(std::string_view text, ErrorCode code, const std::string& where,
                       const FileLimits& limits = {}) {
    require(!text.starts_with("\xEF\xBB\xBF"), code, where, ": starts with a byte-order mark");
    internal::StrictJson handler(limits, text.size(), code, where);
    internal::read_json(text, handler, code, where);
    return handler.take();
}

/// A parsed document: its end never asks for memory.
class JsonDocument {
  public:
    explicit JsonDocument(Json root) noexcept : root_(std::move(root)) {}
    ~JsonDocument() { internal::take_apart(root_); }
    JsonDocument(const JsonDocument&) = delete;
    JsonDocument& operator=(const JsonDocument&) = delete;
    const Json& operator*() const noexcept { return root_; }

  private:
    Json root_;
};

/// Typed access to the members of an object; every error names the key and what was there.
class JsonObject {
  public:
    /// Throws Error{code} unless `value` is an object. Keeps a reference to it.
    JsonObject(const Json& value, ErrorCode code, std::string where)
        : value_(value), code_(code), where_(std::move(where)) {
        require(value.is_object(), code_, where_, " is ", value.type_name(), ", not an object");
    }
    /// The member, or null if it is absent or null.
    const Json* find(const char* key) const {
        const auto at = value_.find(key);
        return at == value_.end() || at->is_null() ? nullptr : &*at;
    }
    /// An integer within bounds; `fallback` if absent.
    std::int64_t integer(const char* key, std::int64_t least, std::int64_t most,
                         std::optional<std::int64_t> fallback = std::nullopt) const {
        const Json* value = find(key);
        if (value == nullptr) {
            require(fallback.has_value(), code_, where_, ": \"", key, "\" is missing");
            return *fallback;
        }
        return integer_of(*value, key, least, most);
    }
    std::int64_t integer_of(const Json& value, const char* key, std::int64_t least,
                            std::int64_t most) const {
        const bool fits =
            value.is_number_integer() &&
            (!value.is_number_unsigned() ||
             value.get<std::uint64_t>() <=
                 static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
        require(fits && value.get<std::int64_t>() >= least && value.get<std::int64_t>() <= most,
                code_, where_, ": \"", key, "\" is ", shown(value), "; an integer in ", least, "..",
                most, " is needed");
        return value.get<std::int64_t>();
    }
    /// A finite number; `fallback` if absent.
    double number(const char* key, std::optional<double> fallback = std::nullopt) const {
        const Json* value = find(key);
        if (value == nullptr) {
            require(fallback.has_value(), code_, where_, ": \"", key, "\" is missing");
            return *fallback;
        }
        require(value->is_number() && std::isfinite(value->get<double>()), code_, where_, ": \"",
                key, "\" is ", shown(*value), "; a number is needed");
        return value->get<double>();
    }
    bool boolean(const char* key, bool fallback) const {
        const Json* value = find(key);
        if (value == nullptr) return fallback;
        require(value->is_boolean(), code_, where_, ": \"", key, "\" is ", shown(*value),
                "; true or false is needed");
        return value->get<bool>();
    }
    std::string string(const char* key, std::optional<std::string> fallback = std::nullopt) const {
        const Json* value = find(key);
        if (value == nullptr) {
            require(fallback.has_value(), code_, where_, ": \"", key, "\" is missing");
            return *fallback;
        }
        require(value->is_string(), code_, where_, ": \"", key, "\" is ", shown(*value),
                "; a string is needed");
        return value->get<std::string>();
    }
    ErrorCode code() const noexcept { return code_; }
    const std::string& where() const noexcept { return where_; }
    const Json& json() const noexcept { return value_; }

    /// A value as an error shows it: short.
    static std::string shown(const Json& value) {
        if (value.is_structured()) return value.type_name();
        return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 60);
    }

  private:
    const Json& value_;
    ErrorCode code_;
    std::string where_;
};

namespace internal {

// Calls `use` with the object in a configuration file, where there is such a file.
template <class Use>
[[gnu::cold]] void with_config_file(const std::string& path, const FileLimits& limits,
                                    const Use& use) {
    if (!name_exists(path)) return;
    const JsonDocument document(
        parse_json(read_json_file(path, limits), ErrorCode::bad_config, path, limits));
    use(JsonObject(*document, ErrorCode::bad_config, path));
}

}  // namespace internal

}}  // namespace cairn
