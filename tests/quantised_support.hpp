// Random matrices of block types, and their product by definition.
#pragma once

#include <cairn/layers/quantised.hpp>
#include <optional>

#include "support.hpp"

namespace support {

/// How many block types there are, and the one of a number.
inline constexpr int block_types = static_cast<int>(quantised::formats.size());
inline ElementType block_type(int i) { return static_cast<ElementType>(3 + i); }

/// Random blocks of `rows` x `columns`, as a file holds them; scales are f16 of sane size. With a
/// `fill`, every other byte is that one.
inline std::vector<std::byte> random_blocks(Random& random, int rows, int columns, ElementType type,
                                            std::optional<std::byte> fill = std::nullopt) {
    const BlockSize& size = block_size(type);
    const std::size_t blocks =
        static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns) / size.values;
    std::vector<std::byte> bytes(blocks * size.bytes);
    for (std::byte& b : bytes) b = fill.value_or(static_cast<std::byte>(random.below(256)));
    std::vector<std::size_t> scales{0};
    if (type == ElementType::q4_1 || type == ElementType::q5_1 || type == ElementType::q4_k ||
        type == ElementType::q5_k)
        scales = {0, 2};
    if (type == ElementType::q2_k) scales = {80, 82};
    if (type == ElementType::q3_k) scales = {108};
    if (type == ElementType::q6_k) scales = {208};
    for (std::size_t b = 0; b < blocks; ++b)
        for (const std::size_t at : scales) {
            if (type == ElementType::mxfp4) {  // the exponent of a power of two
                bytes[b * size.bytes] = static_cast<std::byte>(115 + random.below(12));
                continue;
            }
            const std::uint16_t f16 = f32_to_f16(static_cast<float>(random.normal() * 0.01));
            std::memcpy(bytes.data() + b * size.bytes + at, &f16, 2);
        }
    return bytes;
}
inline WeightMatrix packed(std::span<const std::byte> blocks, int out, int in, ElementType type) {
    WeightMatrix result = quantised_matrix(out, in, type);
    result.put_rows(0, out, blocks.data());
    return result;
}
/// One row of activations to bytes, by the definition.
struct QuantisedRow {
    std::vector<int> q;
    std::vector<float> d;
};
inline QuantisedRow quantise_row(std::span<const float> x) {
    QuantisedRow result;
    for (std::size_t at = 0; at < x.size(); at += 32) {
        float most = 0.0F;
        for (std::size_t i = 0; i < 32; ++i) most = std::max(most, std::fabs(x[at + i]));
        result.d.push_back(most / 127.0F);
        for (std::size_t i = 0; i < 32; ++i)
            result.q.push_back(
                most > 0.0F ? static_cast<int>(std::nearbyint(double{x[at + i]} * (127.0F / most)))
                            : 0);
    }
    return result;
}
/// y = sum of w x + bias for one output, group by group, from the blocks of its row.
inline float product_by_definition(const quantised::Format& format, const std::byte* row,
                                   const QuantisedRow& x, float bias) {
    const quantised::BlockLayout& layout = format.layout;
    float y = bias;
    std::size_t k = 0;
    for (; k < x.q.size(); row += block_size(format.type).bytes) {
        quantised::Fields fields{};
        format.parse(row, fields);
        for (int g = 0; g < layout.groups(); ++g) {
            int dots = 0;
            int sum = 0;
            const float d = x.d[k / 32];
            for (int i = 0; i < layout.group; ++i, ++k) {
                int code = fields.codes[static_cast<std::size_t>(g * layout.group + i)];
                if (layout.lookup)
                    code = quantised::table_of(layout)[static_cast<std::size_t>(code)];
                dots += (code - layout.zero) * x.q[k];
                sum += x.q[k];
            }
            y = std::fma(static_cast<float>(dots), scale_of(layout, fields, g) * d, y);
            if (layout.minimum)
                y = std::fma(minimum_of(layout, fields, g), d * static_cast<float>(sum), y);
        }
    }
    return y;
}

}  // namespace support
