// f32 products over panels of weights that are decoded first: the bits of the same product with f32
// weights, for any way to store them.
#pragma once

#include <algorithm>

#include "cairn/layers/linear.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

struct DecodedProduct {
    PlainProduct plain;  // weights are set panel by panel
    const WeightMatrix* weights;
    // Decodes a panel, to[in][16]; `row` holds a row of numbers.
    void (*decode)(const DecodedProduct& product, std::ptrdiff_t panel, float* to, float* row);
    const void* how;  // the decoder's own
    float* scratch;
    std::ptrdiff_t group;  // panels decoded at once
};
inline void run_decoded(const void* state, std::ptrdiff_t begin, std::ptrdiff_t end, int worker) {
    const auto* product = static_cast<const DecodedProduct*>(state);
    const std::ptrdiff_t in = product->plain.call.in;
    const std::ptrdiff_t panel_floats = in * kernels::panel;
    float* scratch = product->scratch + worker * (product->group * panel_floats + in);
    for (std::ptrdiff_t p = begin; p < end; p += product->group) {
        const std::ptrdiff_t count = std::min(product->group, end - p);
        for (std::ptrdiff_t i = 0; i < count; ++i)
            product->decode(*product, p + i, scratch + i * panel_floats,
                            scratch + product->group * panel_floats);
        kernels::FloatProduct part = product->plain.call;
        part.weights = reinterpret_cast<const std::byte*>(scratch);
        if (part.bias != nullptr) part.bias += p * kernels::panel;
        part.y += p * kernels::panel;
        part.out -= p * kernels::panel;
        part.panel_begin = 0;
        part.panel_end = count;
        product->plain.kernel(*product->plain.table, part);
    }
}

inline PreparedProduct prepare_decoded(const Product& product, const Activations& x,
                                       SharedActivations& shared, Context& context,
                                       Workspace::Frame& frame,
                                       decltype(DecodedProduct::decode) decode, const void* how) {
    const PreparedProduct plain =
        prepare_plain(product, x, shared, context, frame, plain_weights<ElementType::f32>);
    constexpr std::ptrdiff_t group = kernels::plain_group;
    const std::ptrdiff_t in = product.weights->in();
    const std::ptrdiff_t floats = context.executor().workers() * (group * in * kernels::panel + in);
    auto* state = frame.array<DecodedProduct>(1);
    *state = {*static_cast<const PlainProduct*>(plain.state),
              product.weights,
              decode,
              how,
              frame.floats(static_cast<std::size_t>(floats)),
              group};
    return {state, run_decoded, plain.panels, group};
}

}  // namespace internal

}}  // namespace cairn
