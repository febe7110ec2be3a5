// A codec that only says how a row is written and read back: products are made of decoded rows. The
// short way to a new codec; a kernel of its own can come later, beside it.
#pragma once

#include "cairn/cache/seam/codec.hpp"
#include "cairn/kernels/dispatch.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Derive from it and write unit_bytes, encode and decode. Rows are decoded up to 32 at once into
/// the worker's scratch and multiplied in the summation order of f32 rows, so a cache of such rows
/// gives the bits that a f32 cache of the decoded rows gives.
class DecodedCodec : public Codec {
  public:
    /// Rows that are decoded at once.
    static constexpr int piece = 32;
    constexpr explicit DecodedCodec(const CodecTraits& traits) : Codec(traits) {}

    void scores(const Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride, int queries,
                float* s, std::ptrdiff_t s_stride, Scratch scratch = {}) const override {
        each_piece(keys, dims, scratch, [&](int first, const kernels::RowsIn& rows) {
            kernels::active().scores_rows<ElementType::f32>(rows, q, q_stride, queries, s + first,
                                                            s_stride);
        });
    }
    void weigh(const Rows& values, int dims, int lead, const float* p, std::ptrdiff_t p_stride,
               int queries, float* o, std::ptrdiff_t o_stride,
               Scratch scratch = {}) const override {
        each_piece(values, dims, scratch, [&](int first, kernels::RowsIn rows) {
            rows.dims = lead;
            kernels::active().weigh_rows<ElementType::f32>(rows, p + first, p_stride, queries, o,
                                                           o_stride);
        });
    }
    /// Floats for the decoded rows; a codec whose decode takes scratch too adds its own.
    std::size_t scratch_floats(int dims) const override {
        return Scratch::round(static_cast<std::size_t>(piece) * static_cast<std::size_t>(dims));
    }

  private:
    template <class Body>
    void each_piece(const Rows& rows, int dims, Scratch scratch, const Body& body) const {
        float* decoded =
            scratch.take(static_cast<std::size_t>(piece) * static_cast<std::size_t>(dims));
        for (int first = 0; first < rows.count; first += piece) {
            const int lane = rows.lane + first;
            Rows part = rows;
            part.unit += lane / rows_per_unit * rows.stride;
            part.lane = lane % rows_per_unit;
            part.row += first;
            part.count = rows.count - first < piece ? rows.count - first : piece;
            decode(part, dims, decoded, dims, scratch);
            const auto row_bytes = std::ptrdiff_t{dims} * std::ptrdiff_t{sizeof(float)};
            body(first,
                 {reinterpret_cast<const std::byte*>(decoded), row_bytes, 0, part.count, dims});
        }
    }
};

}}  // namespace cairn
