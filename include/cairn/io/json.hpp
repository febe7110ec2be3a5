// JSON from outside, read strictly: no repeated keys, no byte-order mark, a depth limit; and typed
// access that names the key in every error. Parsing itself is nlohmann/json's.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

#include "cairn/core/error.hpp"
#include "cairn/io/limits.hpp"

namespace cairn::inline CAIRN_ABI {

using Json = nlohmann::json;

namespace detail {

// Builds a document and refuses what a plain parse lets pass.
class StrictJson final : public nlohmann::json_sax<Json> {
  public:
    StrictJson(int depth, ErrorCode code, std::string where)
        : depth_(depth), code_(code), where_(std::move(where)) {}

    bool null() override { return put(nullptr); }
    bool boolean(bool value) override { return put(value); }
    bool number_integer(number_integer_t value) override { return put(value); }
    bool number_unsigned(number_unsigned_t value) override { return put(value); }
    bool number_float(number_float_t value, const string_t&) override { return put(value); }
    bool string(string_t& value) override { return put(std::move(value)); }
    bool binary(binary_t&) override { return false; }
    bool start_object(std::size_t) override { return open(Json::object()); }
    bool start_array(std::size_t) override { return open(Json::array()); }
    bool end_object() override { return close(); }
    bool end_array() override { return close(); }
    bool key(string_t& name) override {
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
    template <class T>
    Json* place(T&& value) {
        if (stack_.empty()) {
            root_ = std::forward<T>(value);
            return &root_;
        }
        if (stack_.back()->is_array()) return &stack_.back()->emplace_back(std::forward<T>(value));
        *slot_ = std::forward<T>(value);
        return slot_;
    }
    template <class T>
    bool put(T&& value) {
        place(Json(std::forward<T>(value)));
        return true;
    }
    bool open(Json value) {
        require(static_cast<int>(stack_.size()) < depth_, code_, where_, ": nested deeper than ",
                depth_);
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
    int depth_;
    ErrorCode code_;
    std::string where_;
};

// Every reader of JSON comes through here, so that a program compiles nlohmann's parser once.
inline void read_json(std::string_view text, nlohmann::json_sax<Json>& handler) {
    Json::sax_parse(text.begin(), text.end(), &handler);
}
}  // namespace detail

/// Parses a whole text. Throws Error{code} with `where` and the byte offset.
inline Json parse_json(std::string_view text, ErrorCode code, const std::string& where,
                       const FileLimits& limits = {}) {
    require(!text.starts_with("\xEF\xBB\xBF"), code, where, ": starts with a byte-order mark");
    detail::StrictJson handler(limits.json_depth, code, where);
    detail::read_json(text, handler);
    return handler.take();
}

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

}  // namespace cairn::inline CAIRN_ABI
