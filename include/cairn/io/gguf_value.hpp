// The metadata of a GGUF file: typed values by key. A value is only ever read as what it is.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The value types of the format, by their numbers.
enum class GgufType : std::uint32_t {
    u8,
    i8,
    u16,
    i16,
    u32,
    i32,
    f32,
    boolean,
    string,
    array,
    u64,
    i64,
    f64,
};
inline constexpr std::string_view gguf_type_names[] = {
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};

/// An array: strings, or numbers kept as what they are in the file.
struct GgufArray {
    GgufType type = GgufType::u8;
    std::vector<std::string> strings;
    std::vector<std::int64_t> integers;  ///< all integer types and bool; u64 beyond i64 is refused
    std::vector<double> numbers;         ///< f32, f64
    std::size_t size() const noexcept {
        return type == GgufType::string                         ? strings.size()
               : type == GgufType::f32 || type == GgufType::f64 ? numbers.size()
                                                                : integers.size();
    }
};

/// One value.
struct GgufValue {
    GgufType type = GgufType::u8;
    std::variant<std::int64_t, double, bool, std::string, GgufArray> value{};

    bool is_integer() const noexcept { return std::holds_alternative<std::int64_t>(value); }
};

/// All metadata of a file. Getters throw Error{bad_file} naming the key, what it is and what is
/// needed; without a fallback a missing key is an error too.
class GgufMetadata {
  public:
    explicit GgufMetadata(std::string where = {}) : where_(std::move(where)) {}

    const GgufValue* find(std::string_view key) const {
        const auto at = values_.find(key);
        return at == values_.end() ? nullptr : &at->second;
    }
    /// False if the key is there already.
    bool add(std::string key, GgufValue value) {
        return values_.emplace(std::move(key), std::move(value)).second;
    }
    std::int64_t integer(std::string_view key, std::int64_t least, std::int64_t most,
                         std::optional<std::int64_t> fallback = std::nullopt) const {
        const GgufValue* value = get(key, fallback.has_value());
        if (value == nullptr) return *fallback;
        require(value->is_integer(), ErrorCode::bad_file, where_, ": ", key, " is ", shown(*value),
                "; an integer is needed");
        const std::int64_t n = std::get<std::int64_t>(value->value);
        require(n >= least && n <= most, ErrorCode::bad_file, where_, ": ", key, " is ", n,
                ", not in ", least, "..", most);
        return n;
    }
    double number(std::string_view key, std::optional<double> fallback = std::nullopt) const {
        const GgufValue* value = get(key, fallback.has_value());
        if (value == nullptr) return *fallback;
        require(std::holds_alternative<double>(value->value), ErrorCode::bad_file, where_, ": ",
                key, " is ", shown(*value), "; a floating-point number is needed");
        const double n = std::get<double>(value->value);
        require(std::isfinite(n), ErrorCode::bad_file, where_, ": ", key, " is not finite");
        return n;
    }
    bool boolean(std::string_view key, bool fallback) const {
        const GgufValue* value = get(key, true);
        if (value == nullptr) return fallback;
        require(std::holds_alternative<bool>(value->value), ErrorCode::bad_file, where_, ": ", key,
                " is ", shown(*value), "; a bool is needed");
        return std::get<bool>(value->value);
    }
    std::string string(std::string_view key,
                       std::optional<std::string> fallback = std::nullopt) const {
        const GgufValue* value = get(key, fallback.has_value());
        if (value == nullptr) return *fallback;
        require(std::holds_alternative<std::string>(value->value), ErrorCode::bad_file, where_,
                ": ", key, " is ", shown(*value), "; a string is needed");
        return std::get<std::string>(value->value);
    }
    /// An array whose elements are of this type, or null where the key is missing.
    const GgufArray* array(std::string_view key, GgufType type) const {
        const GgufValue* value = get(key, true);
        if (value == nullptr) return nullptr;
        const auto* array = std::get_if<GgufArray>(&value->value);
        require(array != nullptr && array->type == type, ErrorCode::bad_file, where_, ": ", key,
                " is ", shown(*value), "; an array of ",
                gguf_type_names[static_cast<std::size_t>(type)], " is needed");
        return array;
    }
    /// An array of integers of any type, or of truths (0 and 1).
    std::vector<std::int64_t> integers(std::string_view key) const {
        const GgufValue* value = get(key, false);
        const auto* array = std::get_if<GgufArray>(&value->value);
        const bool whole = array != nullptr && array->strings.empty() && array->numbers.empty();
        require(whole, ErrorCode::bad_file, where_, ": ", key, " is ", shown(*value),
                "; an array of integers is needed");
        return array->integers;
    }
    const std::string& where() const noexcept { return where_; }
    const std::map<std::string, GgufValue, std::less<>>& values() const noexcept { return values_; }

    /// A value's type as an error shows it.
    static std::string shown(const GgufValue& value) {
        const auto* array = std::get_if<GgufArray>(&value.value);
        if (array != nullptr)
            return "an array of " +
                   std::string(gguf_type_names[static_cast<std::size_t>(array->type)]);
        return std::string(gguf_type_names[static_cast<std::size_t>(value.type)]);
    }

  private:
    const GgufValue* get(std::string_view key, bool optional) const {
        const GgufValue* value = find(key);
        require(value != nullptr || optional, ErrorCode::bad_file, where_, ": ", key,
                " is missing");
        return value;
    }
    std::string where_;
    std::map<std::string, GgufValue, std::less<>> values_;
};

}}  // namespace cairn
