// For an export: the rows of a tensor that a folder holds in another one, output by output between
// those of its neighbour, or turned round.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "cairn/models/tensor_table.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Rows [first, first + count) of what an export picks: every `step`th output from a tensor of more
/// of them (`TensorLine::step`).
inline std::function<void(std::size_t, std::size_t, float*)> picked_rows(const TensorSource& source,
                                                                         const std::string& name,
                                                                         const TensorEntry& line) {
    const auto columns = static_cast<std::size_t>(line.shape.back());
    const auto start = static_cast<std::size_t>(line.first);
    const auto step = static_cast<std::size_t>(line.step);
    const bool stack = line.shape.size() == 3;
    const std::size_t out = stack ? static_cast<std::size_t>(line.shape[1]) : columns;
    if (stack && !line.transposed)
        return [=, &source](std::size_t first, std::size_t count, float* to) {
            for (std::size_t r = first; r < first + count; ++r, to += columns)
                source.read(name, (r * step + start) * columns, {to, columns});
        };
    // Of a row of outputs one number each; a bias is a matrix with one input.
    const std::size_t in = stack ? columns : 1;
    return [=, &source](std::size_t first, std::size_t count, float* to) {
        std::vector<float> outputs(out * step);
        const std::size_t begin = stack ? first : first * out;
        const std::size_t end = stack ? first + count : (first + count) * out;
        for (std::size_t r = begin; r < end;) {
            const std::size_t next = std::min(end, (r / out + 1) * out);
            for (std::size_t k = 0; k < in; ++k) {
                source.read(name, (r / out * in + k) * outputs.size(), outputs);
                for (std::size_t i = r; i < next; ++i)
                    to[(i - begin) * in + k] = outputs[i % out * step + start];
            }
            r = next;
        }
    };
}

}}}  // namespace cairn::internal
