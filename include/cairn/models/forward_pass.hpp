// The computation of a forward, for all rows of a batch: embedding, blocks, final norm, logits. It
// stages rows in the caches and commits none.
#pragma once

#include <cstring>
#include <new>
#include <span>
#include <string>

#include "cairn/models/decoder.hpp"
#include "cairn/models/slice.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// One pass over slices that were checked and whose sessions are held. Everything lies in a frame
/// of the context's workspace, which ends with the pass.
template <class Model>
class ForwardPass {
  public:
    ForwardPass(const Model& model, std::span<const Slice> slices, Context& context)
        : model_(model), slices_(slices), context_(context), frame_(context.workspace()) {
        std::ptrdiff_t rows = 0;
        for (const Slice& slice : slices) rows += slice.count(), wanted_ += slice.wanted();
        x_ = room(rows, model.width());
    }
    /// Writes what the slices want when everything has succeeded; otherwise throws.
    void run() {
        embed();
        batch_ = frame_.array<BatchSlice>(slices_.size());
        for (int layer = 0; layer < model_.layers(); ++layer) pass(layer);
        finish();
        write();
    }

  private:
    Activations room(std::ptrdiff_t rows, std::ptrdiff_t width) {
        return {frame_.floats(static_cast<std::size_t>(rows) * static_cast<std::size_t>(width)),
                width, rows};
    }
    void embed() {
        float* scratch = frame_.floats(static_cast<std::size_t>(x_.stride));
        std::ptrdiff_t row = 0;
        for (const Slice& slice : slices_)
            for (int i = 0; i < slice.count(); ++i)
                model_.embed(slice.tokens[static_cast<std::size_t>(i)],
                             slice.session->position() + i, x_.row(row++), scratch);
    }
    void pass(int layer) {
        require(!context_.cancel.stop_requested(), ErrorCode::cancelled, "cancelled before layer ",
                layer);
        int first = 0;
        for (std::size_t i = 0; i < slices_.size(); ++i) {
            const Slice& slice = slices_[i];
            new (batch_ + i) BatchSlice{slice.session->cache(layer), first, slice.count(),
                                        slice.session->position(), slice.session->made_for()};
            first += slice.count();
        }
        try {
            model_.block(layer).forward(x_, {batch_, slices_.size()}, x_.stride, context_);
        } catch (const Error& error) {
            if (error.code() != ErrorCode::non_finite) throw;
            fail(ErrorCode::non_finite, "layer ", layer, ": ", error.what());
        }
        const std::ptrdiff_t bad = first_not_finite(x_, x_.stride, context_);
        require(bad == x_.rows, ErrorCode::non_finite, "NaN or infinity after layer ", layer,
                ", row ", bad, " of ", x_.rows);
        if (context_.after_layer) context_.after_layer(layer);
    }
    // The final norm, of rows only that somebody reads, and the logits.
    void finish() {
        finished_ = room(x_.rows, x_.stride);
        logits_ = room(wanted_, model_.vocabulary());
        const Activations selected = room(wanted_, x_.stride);
        std::ptrdiff_t first = 0;
        std::ptrdiff_t out = 0;
        for (const Slice& slice : slices_) {
            const std::ptrdiff_t end = first + slice.count();
            const std::ptrdiff_t last = end - slice.wanted();
            const std::ptrdiff_t from = slice.hidden != nullptr ? first : last;
            model_.finish({x_.row(from), x_.stride, end - from},
                          {finished_.row(from), x_.stride, end - from}, context_);
            if (slice.hidden != nullptr)
                require_finite_rows({finished_.row(first), x_.stride, slice.count()}, x_.stride,
                                    "hidden states", context_);
            copy(finished_, last, end - last, selected.row(out));
            out += end - last;
            first = end;
        }
        if (wanted_ == 0) return;
        model_.project(selected, logits_, context_);
        require_finite_rows(logits_, logits_.stride, "the logits", context_);
    }
    void write() const {
        std::ptrdiff_t first = 0;
        std::ptrdiff_t out = 0;
        for (const Slice& slice : slices_) {
            copy(logits_, out, slice.wanted(), slice.logits);
            if (slice.hidden != nullptr) copy(finished_, first, slice.count(), slice.hidden);
            out += slice.wanted();
            first += slice.count();
        }
    }
    static void copy(const Activations& from, std::ptrdiff_t row, std::ptrdiff_t rows, float* to) {
        if (rows > 0)
            std::memcpy(to, from.row(row),
                        static_cast<std::size_t>(rows) * static_cast<std::size_t>(from.stride) *
                            sizeof(float));
    }

    const Model& model_;
    std::span<const Slice> slices_;
    Context& context_;
    Workspace::Frame frame_;
    BatchSlice* batch_ = nullptr;
    std::ptrdiff_t wanted_ = 0;  // rows of logits
    Activations x_;              // [rows][width]
    Activations finished_;
    Activations logits_;  // [wanted][vocabulary]
};

}}}  // namespace cairn::internal
