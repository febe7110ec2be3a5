// KVQuant (Hooper et al. 2024, arXiv 2401.18079): keys before rotation with the range of each
// channel known beforehand, values with a range a token, levels that are not evenly spaced, 1 %
// outliers apart, the first token in f16.
#pragma once

#include <memory>
#include <string>

#include "cairn/cache/codec/kvquant_tables.hpp"
#include "cairn/cache/codec/nuq.hpp"
#include "cairn/cache/codec/plain.hpp"
#include "cairn/cache/seam/codec_policy.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// KVQuant with `bits` of 2, 3 or 4; what a calibration of this model found comes with it
/// (kvquant_calibration.hpp, the program `calibrate`). A word of a SPEC names its file.
template <int bits>
struct KvQuant {
    static_assert(bits >= KvQuantTables::least_bits && bits <= KvQuantTables::most_bits,
                  "KvQuant<bits>: 2, 3 and 4 bits exist.");
    std::shared_ptr<const KvQuantTables> tables{};
    std::string file{};  ///< it came from
    int first = 1;       ///< tokens that stay in f16

    static constexpr std::string_view word = bits == 2   ? "kvquant2"
                                             : bits == 3 ? "kvquant3"
                                                         : "kvquant4";
    static constexpr CodecFacts facts{.movable = false, .kind = RowKind::bare_key};
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "a file that the program calibrate wrote", 0, Given::always}, self.file);
        visit(Option{"first", "tokens that stay in f16"}, self.first);
    }
    /// Reads the file. Throws Error{io, bad_file}.
    void settle() { tables = KvQuantTables::load(file); }

    /// Throws Error{invalid_argument} without a calibration, Error{model_mismatch} for a stream of
    /// another model than that was calibrated.
    StreamPlan plan(const StreamShape& shape) const {
        require(tables != nullptr && first >= 0, ErrorCode::invalid_argument, word, " with ", first,
                " first tokens", tables == nullptr ? ", without a calibration" : "");
        const KvQuantTables::Shape& known = tables->shape();
        require(shape.layer < known.layers && shape.heads == known.kv_heads &&
                    shape.dims == (shape.keys ? known.key_dim : known.value_dim),
                ErrorCode::model_mismatch, word, ": calibrated for ", known.layers, " layers of ",
                known.kv_heads, " heads of ", known.key_dim, "/", known.value_dim, ", not layer ",
                shape.layer, " of ", shape.heads, " heads of ", shape.dims);
        const auto levels = tables->levels(shape.layer, bits, shape.keys);
        StreamPlan plan;
        if (shape.keys) {
            plan = StreamPlan(std::make_shared<internal::NuqKeys>(
                word, bits, shape.dims, tables->low(shape.layer), tables->high(shape.layer),
                levels));
            plan.kind = RowKind::bare_key;
            plan.made = &internal::float_rows();
        } else {
            plan = StreamPlan(std::make_shared<internal::NuqValues>(word, bits, levels));
        }
        plan.pinned = first;
        if (first > 0) plan.pinned_codec = lasting(F16::values());
        return plan;
    }
};

}}  // namespace cairn
