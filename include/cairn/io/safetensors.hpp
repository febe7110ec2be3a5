// The safetensors format: u64 header length, a JSON header, then the bytes of all tensors without a
// gap. Source: the format's README and the rules of its reference reader; stricter where that lets
// ambiguous files pass (repeated keys).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "cairn/io/file.hpp"
#include "cairn/io/json.hpp"
#include "cairn/models/tensor_source.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// One tensor of a header.
struct SafetensorsEntry {
    std::string dtype;
    std::vector<std::size_t> shape;
    std::size_t begin = 0;  ///< byte offsets in the data section
    std::size_t end = 0;
};

/// Tensors by name.
using SafetensorsHeader = std::map<std::string, SafetensorsEntry, std::less<>>;

namespace internal {

struct SafetensorsType {
    std::string_view name;
    std::size_t bytes;
};
inline constexpr SafetensorsType safetensors_types[] = {
    {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"F8_E8M0", 1},
    {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},     {"U32", 4},
    {"F32", 4},  {"F64", 8}, {"I64", 8}, {"U64", 8},
};

// Fills a header directly from the parser's events: memory stays a small multiple of the text.
class SafetensorsParser final : public nlohmann::json_sax<Json> {
  public:
    SafetensorsParser(std::string where, const FileLimits& limits)
        : where_(std::move(where)), limits_(limits) {}

    bool null() override {
        if (depth_ == 1 && metadata_) return true;
        return skip("null");
    }
    bool boolean(bool) override { return skip("a boolean"); }
    bool number_integer(number_integer_t) override { return skip("a negative number"); }
    bool number_unsigned(number_unsigned_t value) override {
        if (depth_ == 3 && key_ == Key::shape) {
            if (entry_->shape.size() >= limits_.tensor_rank)
                check_limit(entry_->shape.size() + 1, limits_.tensor_rank, "tensor_rank",
                            where_ + ": tensor \"" + shown() + "\"", "dimensions",
                            ErrorCode::bad_file);
            entry_->shape.push_back(value);
            return true;
        }
        if (depth_ == 3 && key_ == Key::offsets) {
            if (offsets_ == 0) entry_->begin = value;
            if (offsets_ == 1) entry_->end = value;
            ++offsets_;
            return true;
        }
        return skip("a number");
    }
    bool number_float(number_float_t, const string_t&) override { return skip("a fraction"); }
    bool string(string_t& value) override {
        if (metadata_ && depth_ == 2) return true;
        if (depth_ == 2 && key_ == Key::dtype) {
            entry_->dtype = std::move(value);
            return true;
        }
        return skip("a string");
    }
    bool binary(binary_t&) override { return false; }
    bool start_object(std::size_t) override {
        if (depth_ == 0 || depth_ == 1) {
            seen_ = 0;
            names_.clear();
        } else {
            skip("an object");
        }
        return deeper();
    }
    bool end_object() override {
        --depth_;
        if (depth_ == 1 && !metadata_)
            require(seen_ == 7, ErrorCode::bad_file, where_, ": tensor \"", shown(),
                    "\" lacks dtype, shape or data_offsets");
        return true;
    }
    bool start_array(std::size_t) override {
        if (depth_ == 2 && !metadata_ && (key_ == Key::shape || key_ == Key::offsets))
            offsets_ = 0;
        else
            skip("an array");
        return deeper();
    }
    bool end_array() override {
        --depth_;
        if (depth_ == 2 && !metadata_ && key_ == Key::offsets)
            require(offsets_ == 2, ErrorCode::bad_file, where_, ": tensor \"", shown(),
                    "\": ", offsets_, " data_offsets, not 2");
        return true;
    }
    bool key(string_t& name) override {
        if (depth_ == 1) {
            metadata_ = name == "__metadata__";
            bool fresh = !had_metadata_;
            if (metadata_) {
                had_metadata_ = true;
            } else {
                const auto [at, inserted] = header_.try_emplace(name);
                fresh = inserted;
                check_limit(header_.size(), limits_.tensors, "tensors", where_, "tensors");
                name_ = &at->first;
                entry_ = &at->second;
            }
            require(fresh, ErrorCode::bad_file, where_, ": \"", name.substr(0, 100),
                    "\" is repeated");
        } else if (depth_ == 2) {
            require(names_.insert(name).second, ErrorCode::bad_file, where_, ": key \"",
                    name.substr(0, 100), "\" is repeated in \"",
                    metadata_ ? "__metadata__" : shown(), "\"");
            key_ = metadata_                ? Key::other
                   : name == "dtype"        ? Key::dtype
                   : name == "shape"        ? Key::shape
                   : name == "data_offsets" ? Key::offsets
                                            : Key::other;
            if (key_ != Key::other) seen_ |= 1U << static_cast<unsigned>(key_);
        }
        return true;
    }
    bool parse_error(std::size_t position, const std::string&,
                     const nlohmann::detail::exception& error) override {
        fail(ErrorCode::bad_file, where_, ": header is not JSON at byte ", position, ": ",
             std::string(error.what()).substr(0, 200));
    }
    SafetensorsHeader take() { return std::move(header_); }

  private:
    enum class Key : std::uint8_t { dtype, shape, offsets, other };
    std::string shown() const { return name_ != nullptr ? name_->substr(0, 100) : std::string(); }
    bool deeper() {
        check_limit(static_cast<std::size_t>(++depth_),
                    static_cast<std::size_t>(limits_.json_depth), "json_depth", where_,
                    "levels of nested values in the header", ErrorCode::bad_file);
        return true;
    }
    // A value in a place where nothing known stands: fine inside unknown keys, an error elsewhere.
    bool skip(const char* what) const {
        const bool unknown = depth_ >= 2 && !metadata_ && key_ == Key::other;
        if (unknown) return true;
        if (depth_ == 0)
            fail(ErrorCode::bad_file, where_, ": the header is ", what, ", not an object");
        fail(ErrorCode::bad_file, where_, ": ", what, " in \"",
             metadata_ ? "__metadata__" : shown(), "\" where another type belongs");
    }
    std::string where_;
    const FileLimits& limits_;
    SafetensorsHeader header_;
    const std::string* name_ = nullptr;
    SafetensorsEntry* entry_ = nullptr;
    std::unordered_set<std::string> names_;
    Key key_ = Key::other;
    unsigned seen_ = 0;
    int offsets_ = 0;
    int depth_ = 0;
    bool metadata_ = false;
    bool had_metadata_ = false;
};

}  // namespace internal

/// Parses and validates a header against the size of the data section behind it. Every tensor has a
/// known dtype, its bytes are its shape times that, and all of them fill the data without gap or
/// overlap. Throws Error{bad_file, unsupported}.
inline SafetensorsHeader parse_safetensors_header(std::string_view json, std::size_t data_bytes,
                                                  const std::string& where,
                                                  const FileLimits& limits = {}) {
    require(!json.starts_with("\xEF\xBB\xBF"), ErrorCode::bad_file, where,
            ": header starts with a byte-order mark");
    internal::SafetensorsParser parser(where, limits);
    internal::read_json(json, parser, ErrorCode::bad_file, where);
    SafetensorsHeader header = parser.take();

    std::vector<const SafetensorsHeader::value_type*> order;
    for (const auto& item : header) {
        const SafetensorsEntry& entry = item.second;
        const std::string name = item.first.substr(0, 100);
        const auto* type = std::find_if(std::begin(internal::safetensors_types),
                                        std::end(internal::safetensors_types),
                                        [&](const auto& t) { return t.name == entry.dtype; });
        require(type != std::end(internal::safetensors_types), ErrorCode::unsupported, where,
                ": tensor \"", name, "\" has the unknown dtype \"", entry.dtype.substr(0, 40),
                "\"");
        std::size_t bytes = type->bytes;
        std::size_t count = 1;
        for (const std::size_t n : entry.shape)
            require(!__builtin_mul_overflow(count, n, &count), ErrorCode::bad_file, where,
                    ": tensor \"", name, "\": its shape overflows");
        require(!__builtin_mul_overflow(bytes, count, &bytes), ErrorCode::bad_file, where,
                ": tensor \"", name, "\": its bytes overflow");
        require(entry.begin <= entry.end && entry.end - entry.begin == bytes, ErrorCode::bad_file,
                where, ": tensor \"", name, "\": data_offsets ", entry.begin, "..", entry.end,
                " for ", bytes, " bytes");
        order.push_back(&item);
    }
    std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
        return std::pair(a->second.begin, a->second.end) <
               std::pair(b->second.begin, b->second.end);
    });
    std::size_t at = 0;
    for (const auto* item : order) {
        require(item->second.begin == at, ErrorCode::bad_file, where, ": tensor \"",
                item->first.substr(0, 100), "\" starts at ", item->second.begin,
                ", the one before it ends at ", at);
        at = item->second.end;
    }
    require(at == data_bytes, ErrorCode::bad_file, where, ": tensors end at ", at, ", the data at ",
            data_bytes);
    return header;
}

/// An open safetensors file with a validated header. Values are not checked; NaN is found later.
class SafetensorsFile {
  public:
    /// Throws Error{io, bad_file, unsupported}.
    explicit SafetensorsFile(const std::string& path, const FileLimits& limits = {}) : file_(path) {
        require(file_.size() >= 8, ErrorCode::bad_file, path, ": ", file_.size(),
                " bytes; a header length takes 8");
        std::uint64_t length = 0;
        file_.read(0, std::as_writable_bytes(std::span(&length, 1)));
        require(length > 0, ErrorCode::bad_file, path, ": header of 0 bytes");
        internal::check_limit(length, limits.safetensors_header, "safetensors_header", path,
                              "bytes of header", ErrorCode::bad_file);
        require(length <= file_.size() - 8, ErrorCode::bad_file, path, ": header of ", length,
                " bytes in a file of ", file_.size());
        std::string json(length, '\0');
        file_.read(8, std::as_writable_bytes(std::span(json)));
        data_ = 8 + length;
        header_ = parse_safetensors_header(json, file_.size() - data_, path, limits);
    }
    const SafetensorsHeader& header() const noexcept { return header_; }
    /// Raw bytes [first, first + to.size()) of a tensor.
    void read(const SafetensorsEntry& entry, std::size_t first, std::span<std::byte> to) const {
        require(first <= entry.end - entry.begin && to.size() <= entry.end - entry.begin - first,
                ErrorCode::invalid_argument, file_.path(), ": reading past a tensor");
        file_.read(data_ + entry.begin + first, to);
    }
    const std::string& path() const noexcept { return file_.path(); }

  private:
    InputFile file_;
    std::size_t data_ = 0;
    SafetensorsHeader header_;
};

}}  // namespace cairn
