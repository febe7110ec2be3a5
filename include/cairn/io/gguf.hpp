// The GGUF container, versions 2 and 3, little-endian: magic, counts, metadata, tensor list, then
// tensor data at aligned offsets. Source: the format's specification; what a file may ask for is
// checked before anything is allocated for it.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/core/checked.hpp"
#include "cairn/io/file.hpp"
#include "cairn/io/gguf_value.hpp"
#include "cairn/io/limits.hpp"
#include "cairn/io/utf8.hpp"
#include "cairn/numeric/element_type.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// One tensor of a file.
struct GgufTensor {
    ElementType type = ElementType::f32;
    std::vector<std::size_t> shape;  ///< slowest first, as Hugging Face writes it: [out, in]
    std::size_t begin = 0;           ///< byte offset in the file
    std::size_t bytes = 0;
    std::size_t elements = 0;
};

/// A parsed header.
struct GgufHeader {
    GgufMetadata metadata;
    std::map<std::string, GgufTensor, std::less<>> tensors;
    std::size_t data_begin = 0;
};

namespace internal {

struct GgufTypeName {
    std::int64_t id;
    std::string_view name;
    bool known;
    ElementType type;
};
// Numbers missing here were removed from the format or never given out.
inline constexpr GgufTypeName gguf_tensor_types[] = {
    {0, "F32", true, ElementType::f32},
    {1, "F16", true, ElementType::f16},
    {2, "Q4_0", true, ElementType::q4_0},
    {3, "Q4_1", true, ElementType::q4_1},
    {6, "Q5_0", true, ElementType::q5_0},
    {7, "Q5_1", true, ElementType::q5_1},
    {8, "Q8_0", true, ElementType::q8_0},
    {9, "Q8_1", false, {}},
    {10, "Q2_K", true, ElementType::q2_k},
    {11, "Q3_K", true, ElementType::q3_k},
    {12, "Q4_K", true, ElementType::q4_k},
    {13, "Q5_K", true, ElementType::q5_k},
    {14, "Q6_K", true, ElementType::q6_k},
    {15, "Q8_K", false, {}},
    {16, "IQ2_XXS", false, {}},
    {17, "IQ2_XS", false, {}},
    {18, "IQ3_XXS", false, {}},
    {19, "IQ1_S", false, {}},
    {20, "IQ4_NL", true, ElementType::iq4_nl},
    {21, "IQ3_S", false, {}},
    {22, "IQ2_S", false, {}},
    {23, "IQ4_XS", true, ElementType::iq4_xs},
    {24, "I8", false, {}},
    {25, "I16", false, {}},
    {26, "I32", false, {}},
    {27, "I64", false, {}},
    {28, "F64", false, {}},
    {29, "IQ1_M", false, {}},
    {30, "BF16", true, ElementType::bf16},
    {34, "TQ1_0", false, {}},
    {35, "TQ2_0", false, {}},
    {39, "MXFP4", true, ElementType::mxfp4},
};
/// The number of a type in the format.
constexpr std::uint32_t gguf_type_id(ElementType type) {
    for (const GgufTypeName& entry : gguf_tensor_types)
        if (entry.known && entry.type == type) return static_cast<std::uint32_t>(entry.id);
    return 0;
}

class GgufParser {
  public:
    using Read = std::function<void(std::size_t offset, std::span<std::byte> to)>;

    GgufParser(Read read, std::size_t size, std::string where, const FileLimits& limits)
        : read_(std::move(read)), size_(size), where_(std::move(where)), limits_(limits) {}

    GgufHeader parse() {
        GgufHeader header{GgufMetadata(where_), {}, 0};
        char magic[4];
        bytes(std::as_writable_bytes(std::span(magic)));
        require(std::memcmp(magic, "GGUF", 4) == 0, ErrorCode::bad_file, where_,
                ": does not begin with GGUF");
        const auto version = number<std::uint32_t>();
        require(version == 2 || version == 3, ErrorCode::bad_file, where_, ": version ", version,
                (version & 0xFFFFU) == 0 ? " (a big-endian file?)" : "", "; 2 and 3 are known");
        const auto tensors = number<std::uint64_t>();
        const auto values = number<std::uint64_t>();
        // The shortest value takes 13 bytes, the shortest tensor 25.
        require(values <= left() / 13 && tensors <= left() / 25, ErrorCode::bad_file, where_, ": ",
                values, " metadata values and ", tensors, " tensors do not fit ", left(), " bytes");
        check_limit(values, limits_.gguf_values, "gguf_values", where_, "metadata values");
        check_limit(tensors, limits_.tensors, "tensors", where_, "tensors");
        for (std::uint64_t i = 0; i < values; ++i) {
            std::string key = string(limits_.gguf_key, "gguf_key", "a key", ErrorCode::bad_file);
            require(!key.empty() && valid_utf8(key), ErrorCode::bad_file, where_, ": metadata key ",
                    i, " is empty or no UTF-8");
            GgufValue value = this->value(key);
            require(header.metadata.add(key, std::move(value)), ErrorCode::bad_file, where_,
                    ": metadata key ", key, " is there twice");
        }
        alignment_ = static_cast<std::size_t>(alignment(header.metadata));
        std::size_t offset = 0;
        std::vector<GgufTensor*> order;
        for (std::uint64_t i = 0; i < tensors; ++i) {
            std::string name = string(63, {}, "a tensor name", ErrorCode::bad_file);
            require(!name.empty() && name.find('\0') == std::string::npos, ErrorCode::bad_file,
                    where_, ": tensor ", i, " has a bad name");
            GgufTensor tensor = this->tensor(name, offset);
            const auto [at, is_new] = header.tensors.emplace(std::move(name), std::move(tensor));
            require(is_new, ErrorCode::bad_file, where_, ": tensor ", at->first, " is there twice");
            order.push_back(&at->second);
        }
        header.data_begin = tensors > 0 ? aligned(at_, "the data") : at_;
        for (GgufTensor* tensor : order) {
            tensor->begin = checked_add(tensor->begin, header.data_begin, "tensor offset");
            require(tensor->begin <= size_ && tensor->bytes <= size_ - tensor->begin,
                    ErrorCode::bad_file, where_, ": a tensor of ", tensor->bytes, " bytes at ",
                    tensor->begin, " ends past the file's ", size_);
        }
        const std::size_t end = order.empty() ? at_ : order.back()->begin + order.back()->bytes;
        check_padding(end);
        return header;
    }

  private:
    std::size_t left() const noexcept { return size_ - at_; }
    void bytes(std::span<std::byte> to) {
        require(to.size() <= left(), ErrorCode::bad_file, where_, ": ends at byte ", size_, ", ",
                to.size() - left(), " bytes early");
        std::size_t done = 0;
        while (done < to.size()) {
            if (at_ < buffer_begin_ || at_ >= buffer_begin_ + buffer_.size()) {
                buffer_.resize(std::min<std::size_t>(left(), std::size_t{1} << 18));
                buffer_begin_ = at_;
                read_(at_, buffer_);
            }
            const std::size_t from = at_ - buffer_begin_;
            const std::size_t n = std::min(to.size() - done, buffer_.size() - from);
            std::memcpy(to.data() + done, buffer_.data() + from, n);
            done += n;
            at_ += n;
        }
    }
    template <class T>
    T number() {
        T value{};
        bytes(std::as_writable_bytes(std::span(&value, 1)));
        return value;
    }
    // A string of at most `most` bytes, which is the limit of that name or the format's.
    std::string string(std::size_t most, std::string_view limit, std::string_view what,
                       ErrorCode code = ErrorCode::limit) {
        const auto length = number<std::uint64_t>();
        require(length <= left(), ErrorCode::bad_file, where_, ": ", what, " of ", length,
                " bytes at ", at_, ", with ", left(), " bytes left");
        if (length > most) {
            const std::string place = where_ + ": " + std::string(what);
            require(!limit.empty(), code, place, " of ", length, " bytes; at most ", most);
            check_limit(length, most, limit, place, "bytes", code);
        }
        std::string text(static_cast<std::size_t>(length), '\0');
        bytes(std::as_writable_bytes(std::span(text)));
        return text;
    }
    static bool valid_utf8(std::string_view text) {
        while (!text.empty()) {
            const Utf8Char c = utf8_char(text);
            if (c.state != Utf8Char::State::complete) return false;
            text.remove_prefix(c.bytes);
        }
        return true;
    }
    GgufType type(const std::string& key) {
        const auto id = number<std::uint32_t>();
        require(id < 13, ErrorCode::bad_file, where_, ": ", key, " has value type ", id,
                "; 0 to 12 are known");
        return static_cast<GgufType>(id);
    }
    GgufValue value(const std::string& key) {
        GgufValue result;
        result.type = type(key);
        switch (result.type) {
            case GgufType::boolean: result.value = boolean(key); break;
            case GgufType::string:
                result.value = string(limits_.gguf_string, "gguf_string", key);
                break;
            case GgufType::array: result.value = array(key); break;
            case GgufType::f32: result.value = double{number<float>()}; break;
            case GgufType::f64: result.value = number<double>(); break;
            default: result.value = integer(result.type, key);
        }
        return result;
    }
    bool boolean(const std::string& key) {
        const auto b = number<std::uint8_t>();
        require(b <= 1, ErrorCode::bad_file, where_, ": ", key, " is a bool of ", int{b});
        return b == 1;
    }
    std::int64_t integer(GgufType type, const std::string& key) {
        switch (type) {
            case GgufType::u8: return number<std::uint8_t>();
            case GgufType::i8: return number<std::int8_t>();
            case GgufType::u16: return number<std::uint16_t>();
            case GgufType::i16: return number<std::int16_t>();
            case GgufType::u32: return number<std::uint32_t>();
            case GgufType::i32: return number<std::int32_t>();
            case GgufType::i64: return number<std::int64_t>();
            default: break;
        }
        const auto value = number<std::uint64_t>();
        require(value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()),
                ErrorCode::bad_file, where_, ": ", key, " is ", value, ", beyond 2^63 - 1");
        return static_cast<std::int64_t>(value);
    }
    GgufArray array(const std::string& key) {
        GgufArray result;
        result.type = type(key);
        require(result.type != GgufType::array, ErrorCode::unsupported, where_, ": ", key,
                " is an array of arrays");
        const auto count = number<std::uint64_t>();
        constexpr std::size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8};
        const std::size_t size = sizes[static_cast<std::size_t>(result.type)];
        require(count <= left() / size, ErrorCode::bad_file, where_, ": ", key, " is an array of ",
                count, " with ", left(), " bytes left");
        if (count > limits_.gguf_array)
            check_limit(count, limits_.gguf_array, "gguf_array", where_ + ": " + key, "elements");
        // Exactly what is needed: at most 8 times the bytes that are there.
        const auto elements = static_cast<std::size_t>(count);
        if (result.type == GgufType::string) {
            result.strings.reserve(elements);
            for (std::size_t i = 0; i < elements; ++i)
                result.strings.push_back(string(limits_.gguf_string, "gguf_string", key));
        } else if (result.type == GgufType::f32 || result.type == GgufType::f64) {
            result.numbers.reserve(elements);
            for (std::size_t i = 0; i < elements; ++i)
                result.numbers.push_back(result.type == GgufType::f32 ? double{number<float>()}
                                                                      : number<double>());
        } else {
            result.integers.reserve(elements);
            for (std::size_t i = 0; i < elements; ++i)
                result.integers.push_back(result.type == GgufType::boolean
                                              ? std::int64_t{boolean(key)}
                                              : integer(result.type, key));
        }
        return result;
    }
    std::int64_t alignment(const GgufMetadata& metadata) const {
        const GgufValue* value = metadata.find("general.alignment");
        require(value == nullptr || value->type == GgufType::u32, ErrorCode::bad_file, where_,
                ": general.alignment is ",
                value == nullptr ? std::string() : GgufMetadata::shown(*value), "; u32 is needed");
        constexpr std::int64_t most = std::numeric_limits<std::uint32_t>::max();
        const std::int64_t result = metadata.integer("general.alignment", 1, most, 32);
        check_limit(static_cast<std::size_t>(result), limits_.gguf_alignment, "gguf_alignment",
                    where_, "bytes of general.alignment", ErrorCode::bad_file);
        require((result & (result - 1)) == 0, ErrorCode::bad_file, where_, ": general.alignment ",
                result, " is no power of two");
        return result;
    }
    std::size_t aligned(std::size_t n, const char* what) const {
        return checked_add(n, alignment_ - 1, what) / alignment_ * alignment_;
    }
    GgufTensor tensor(const std::string& name, std::size_t& offset) {
        GgufTensor result;
        const auto rank = number<std::uint32_t>();
        require(rank <= 4, ErrorCode::bad_file, where_, ": tensor ", name, " has ", rank,
                " dimensions; at most 4");
        result.elements = 1;
        for (std::uint32_t i = 0; i < rank; ++i) {
            const auto n = number<std::uint64_t>();
            require(
                n >= 1 && n <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()),
                ErrorCode::bad_file, where_, ": tensor ", name, " has a dimension of ", n);
            result.elements = checked_mul(result.elements, static_cast<std::size_t>(n), name);
            result.shape.insert(result.shape.begin(), static_cast<std::size_t>(n));
        }
        const auto id = number<std::uint32_t>();
        const auto* entry =
            std::find_if(std::begin(gguf_tensor_types), std::end(gguf_tensor_types),
                         [&](const GgufTypeName& t) { return t.id == std::int64_t{id}; });
        require(entry != std::end(gguf_tensor_types), ErrorCode::bad_file, where_, ": tensor ",
                name, " has type ", id, ", which does not exist");
        require(entry->known, ErrorCode::unsupported, where_, ": tensor ", name, " has type ",
                entry->name, ", which is not supported");
        result.type = entry->type;
        const BlockSize& block = block_size(result.type);
        require((rank == 0 ? 1 : result.shape.back()) % block.values == 0, ErrorCode::bad_file,
                where_, ": tensor ", name, ": ", rank == 0 ? 1 : result.shape.back(),
                " columns are no multiple of the ", block.values, " of ", entry->name);
        result.bytes = block.size_of(result.elements);
        const auto begin = number<std::uint64_t>();
        require(begin == offset, ErrorCode::bad_file, where_, ": tensor ", name, " is at offset ",
                begin, "; ", offset, " is next");
        result.begin = offset;
        offset = aligned(checked_add(offset, result.bytes, name), name.c_str());
        return result;
    }
    // After the last tensor only the zeros that complete its alignment.
    void check_padding(std::size_t end) {
        require(size_ - end < std::max<std::size_t>(alignment_, 1), ErrorCode::bad_file, where_,
                ": ", size_ - end, " bytes after the last tensor");
        std::vector<std::byte> rest(size_ - end);
        if (!rest.empty()) read_(end, rest);
        for (const std::byte b : rest)
            require(b == std::byte{0}, ErrorCode::bad_file, where_,
                    ": bytes after the last tensor");
    }

    Read read_;
    std::size_t size_;
    std::string where_;
    const FileLimits& limits_;
    std::size_t at_ = 0;
    std::size_t alignment_ = 32;
    std::vector<std::byte> buffer_;
    std::size_t buffer_begin_ = 0;
};

}  // namespace internal

/// Parses a header from anything that can be read at an offset. Throws Error{bad_file, unsupported,
/// limit} and what `read` throws.
inline GgufHeader parse_gguf(internal::GgufParser::Read read, std::size_t size,
                             const std::string& where, const FileLimits& limits = {}) {
    return internal::GgufParser(std::move(read), size, where, limits).parse();
}
/// The same from memory.
inline GgufHeader parse_gguf(std::span<const std::byte> bytes, const std::string& where,
                             const FileLimits& limits = {}) {
    return parse_gguf(
        [&](std::size_t offset, std::span<std::byte> to) {
            std::memcpy(to.data(), bytes.data() + offset, to.size());
        },
        bytes.size(), where, limits);
}

}}  // namespace cairn
