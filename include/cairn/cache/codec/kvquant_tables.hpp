// What a calibration of KVQuant found (ranges of key channels, levels of each layer), and the small
// file it is kept in.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cairn/core/checked.hpp"
#include "cairn/core/fingerprint.hpp"
#include "cairn/core/small_file.hpp"
#include "cairn/core/types.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Per layer: the range of each key channel, and 2^b levels of keys and of values for b = 2, 3, 4.
/// A file is "CAIRNKVQ", five u32 (version 1, layers, KV heads, width of a key, of a value), f32
/// numbers layer after layer (lows, highs, key and value levels for 2, 3 and 4 bits), and the u64
/// fingerprint of all before it; little-endian.
class KvQuantTables {
  public:
    static constexpr int least_bits = 2;
    static constexpr int most_bits = 4;
    /// Which model's caches it is for.
    struct Shape {
        int layers = 0;
        int kv_heads = 0;
        int key_dim = 0;
        int value_dim = 0;
        std::size_t channels() const noexcept {
            return static_cast<std::size_t>(kv_heads) * static_cast<std::size_t>(key_dim);
        }
        /// Numbers of a layer: two for a channel, and 2 * (4 + 8 + 16) levels.
        std::size_t numbers() const noexcept { return 2 * channels() + 56; }
    };

    /// Throws Error{bad_file} for shapes beyond all models, another count of numbers, numbers that
    /// are not finite, ranges that end below their beginning, levels that do not ascend.
    KvQuantTables(const Shape& shape, std::vector<float> numbers)
        : shape_(shape), numbers_(std::move(numbers)) {
        require(shape.layers > 0 && shape.layers <= 1 << 12 && shape.kv_heads > 0 &&
                    shape.kv_heads <= 1 << 12 && shape.key_dim > 0 && shape.key_dim <= 1 << 12 &&
                    shape.value_dim > 0 && shape.value_dim <= 1 << 12,
                ErrorCode::bad_file, "calibration of ", shape.layers, " layers of ", shape.kv_heads,
                " heads of ", shape.key_dim, "/", shape.value_dim);
        require(numbers_.size() == static_cast<std::size_t>(shape.layers) * shape.numbers(),
                ErrorCode::bad_file, "calibration of ", shape.layers, " layers: ", numbers_.size(),
                " numbers, ", shape.numbers(), " a layer");
        for (const float x : numbers_)
            require(std::fabs(x) <= 1e30F, ErrorCode::bad_file,
                    "calibration: a number is not finite, or beyond 1e30");
        for (int layer = 0; layer < shape.layers; ++layer) {
            for (std::size_t c = 0; c < shape.channels(); ++c)
                require(low(layer)[c] <= high(layer)[c], ErrorCode::bad_file,
                        "calibration: the range of channel ", c, " of layer ", layer, " is empty");
            for (int bits = least_bits; bits <= most_bits; ++bits)
                for (const bool keys : {true, false}) {
                    const std::span<const float> found = levels(layer, bits, keys);
                    require(found.empty() || (found.front() >= -1.0F && found.back() <= 1.0F),
                            ErrorCode::bad_file, "calibration: levels of layer ", layer,
                            " are not within -1..1");
                    for (std::size_t i = 1; i < found.size(); ++i)
                        require(found[i - 1] <= found[i], ErrorCode::bad_file,
                                "calibration: levels of layer ", layer, " do not ascend");
                }
        }
    }

    const Shape& shape() const noexcept { return shape_; }
    /// Least and greatest number of each channel of keys that is no outlier: [kv_heads][key_dim].
    std::span<const float> low(int layer) const noexcept {
        return part(layer, 0, shape_.channels());
    }
    std::span<const float> high(int layer) const noexcept {
        return part(layer, shape_.channels(), shape_.channels());
    }
    /// 2^bits levels in [-1, 1], ascending.
    std::span<const float> levels(int layer, int bits, bool keys) const noexcept {
        const std::size_t count = std::size_t{1} << bits;
        const std::size_t before = 2 * (count - 4);  // of fewer bits, keys and values
        return part(layer, 2 * shape_.channels() + before + (keys ? 0 : count), count);
    }

    /// As in a file.
    std::vector<std::byte> bytes() const {
        const std::uint32_t head[5] = {version, static_cast<std::uint32_t>(shape_.layers),
                                       static_cast<std::uint32_t>(shape_.kv_heads),
                                       static_cast<std::uint32_t>(shape_.key_dim),
                                       static_cast<std::uint32_t>(shape_.value_dim)};
        std::vector<std::byte> result;
        result.reserve(head_bytes + numbers_.size() * sizeof(float) + 8);
        const auto put = [&](const void* data, std::size_t size) {
            const auto* at = static_cast<const std::byte*>(data);
            result.insert(result.end(), at, at + size);
        };
        put(magic, 8);
        put(head, sizeof head);
        put(numbers_.data(), numbers_.size() * sizeof(float));
        const std::uint64_t sum = print(result);
        put(&sum, sizeof sum);
        return result;
    }
    /// Reads a file's bytes. Error{bad_file} for all that is not one.
    static KvQuantTables parse(std::span<const std::byte> file) {
        require(file.size() >= head_bytes + 8 && std::memcmp(file.data(), magic, 8) == 0,
                ErrorCode::bad_file, "no calibration of KVQuant: ", file.size(),
                " bytes that do not begin as one does");
        std::uint32_t head[5];
        std::memcpy(head, file.data() + 8, sizeof head);
        require(head[0] == version, ErrorCode::bad_file, "calibration of version ", head[0],
                ", this is ", version);
        for (int i = 1; i < 5; ++i)
            require(head[i] > 0 && head[i] <= 1U << 12, ErrorCode::bad_file,
                    "calibration: a shape of ", head[i]);
        const Shape shape{static_cast<int>(head[1]), static_cast<int>(head[2]),
                          static_cast<int>(head[3]), static_cast<int>(head[4])};
        const std::size_t count =
            checked_mul(static_cast<std::size_t>(shape.layers), shape.numbers(), "calibration");
        const std::size_t size = file.size() - head_bytes - 8;
        require(size / sizeof(float) == count && size % sizeof(float) == 0, ErrorCode::bad_file,
                "calibration of ", file.size(), " bytes, ", count, " numbers are wanted");
        std::uint64_t sum = 0;
        std::memcpy(&sum, file.data() + file.size() - 8, 8);
        require(sum == print(file.first(file.size() - 8)), ErrorCode::bad_file,
                "calibration: the bytes are not those that were written");
        std::vector<float> numbers(count);
        std::memcpy(numbers.data(), file.data() + head_bytes, size);
        return {shape, std::move(numbers)};
    }
    /// Reads a file. Throws Error{io} and what parse() throws.
    static std::shared_ptr<const KvQuantTables> load(const std::string& path) {
        constexpr std::size_t most = std::size_t{1} << 28;
        const std::vector<std::byte> bytes = read_small_file(path, most);
        require(bytes.size() <= most, ErrorCode::limit, path, ": more than ", most, " bytes");
        return std::make_shared<const KvQuantTables>(parse(bytes));
    }

  private:
    static constexpr char magic[9] = "CAIRNKVQ";
    static constexpr std::uint32_t version = 1;
    static constexpr std::size_t head_bytes = 8 + 5 * 4;
    static std::uint64_t print(std::span<const std::byte> bytes) {
        Fingerprint print;
        print.add(bytes.data(), bytes.size());
        return print.value();
    }
    std::span<const float> part(int layer, std::size_t at, std::size_t count) const noexcept {
        return std::span<const float>(numbers_).subspan(
            static_cast<std::size_t>(layer) * shape_.numbers() + at, count);
    }
    Shape shape_;
    std::vector<float> numbers_;
};

}}  // namespace cairn
