// A codec: how rows of keys or values are written, and multiplied as they are written. One virtual
// call works on a stretch of rows, so the engine is compiled once whatever codecs exist.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "cairn/cache/seam/scratch.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace kernels {

struct Table;
namespace cached {
struct QueryBlock;
}

}}}  // namespace cairn::kernels

namespace cairn { inline namespace CAIRN_ABI {

class RowStore;

/// Consecutive encoded rows of one KV head, inside one block: what a codec works on. Codecs work on
/// units: one row, a tile of 16 positions, or a group of 32 that share scales.
struct Rows {
    std::byte* unit;        ///< the unit that holds the first row
    std::ptrdiff_t stride;  ///< bytes from unit to unit
    int lane;               ///< place of the first row in its unit
    int count;              ///< rows
    int head;               ///< KV head
    int row;                ///< number of the first row
    /// The unit of a row that is read soon after these: products may ask for as many bytes from
    /// there on. Null where there is none.
    const std::byte* ahead = nullptr;
    /// What values may ask for beside, so many bytes a row: keys that are multiplied next.
    const std::byte* beside = nullptr;
    std::ptrdiff_t beside_bytes = 0;
    /// The rows of the layer before in the same form, for codecs that are `based`; else null.
    const RowStore* base = nullptr;
};

/// Makes one query of floats into blocks of bytes.
using QuantiseQuery = void(const kernels::Table& kernel, const float* q, int dims,
                           kernels::cached::QueryBlock* to);

/// What a codec is, in data: the hot path reads these fields.
struct CodecTraits {
    std::string_view name;     ///< as in a cache SPEC: f32, f16, ...
    int rows_per_unit = 1;     ///< positions that share a unit
    bool movable = true;       ///< copy_row works; false: a unit's rows share scales
    bool whole_units = false;  ///< units are written only whole, from their first row to their last
    bool based = false;        ///< rows are written and read with those of the layer before
    bool finite_only = false;  ///< NaN and infinity cannot be written: a stage with one is refused
    /// How a query is made into `kernels::cached::query_blocks(dims)` blocks of bytes; not null:
    /// quantised_scores works. Null in a codec that hands its other calls on to one that has it. It
    /// stands here so that programs without such codecs compile none of it.
    QuantiseQuery* quantise_query = nullptr;
    /// Another codec that reads the same units, to fewer bits and at less cost: what drafts of
    /// speculation see of the rows. Null: there is none.
    const class Codec* coarse = nullptr;
    /// How rows lie that `unpack` wrote: products with them have the same bits, at less cost where
    /// many queries read a row. Null: unpack does not work.
    const class Codec* unpacked = nullptr;
    bool rounds = false;  ///< rounded_scores works, or, of values, rounded_weigh
};

/// One way to write rows. Immutable once made, shared by caches, forks and threads: it may hold
/// constants (calibrated scales, directions), and everything that belongs to rows lies in their
/// units. Rows of f32 are [count][stride]; `dims` is the width of a row. What a row's unit holds
/// may depend on the row, its head and its number, never on rows staged with it.
class Codec : public CodecTraits {
  public:
    constexpr explicit Codec(const CodecTraits& traits) : CodecTraits(traits) {}
    Codec(const Codec&) = delete;
    Codec& operator=(const Codec&) = delete;
    constexpr virtual ~Codec() = default;

    /// Bytes of a unit of rows `dims` wide. Error{limit} for rows it cannot hold.
    virtual std::size_t unit_bytes(int dims) const = 0;
    /// Textbook bytes of one row: what the format itself needs, without rounding. A fraction of a
    /// byte is rounded up.
    constexpr virtual std::size_t row_bytes(int dims) const {
        const auto rows = static_cast<std::size_t>(rows_per_unit);
        return (unit_bytes(dims) + rows - 1) / rows;
    }
    /// Writes rows. Finite values beyond the range of the type saturate; NaN and infinity stay
    /// where the codec takes them (see finite_only). Touches no byte of other rows.
    virtual void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                        Scratch scratch = {}) const = 0;
    /// The rows as f32, as attention sees them.
    virtual void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                        Scratch scratch = {}) const = 0;
    /// s[i][j] = q[i] . row j, in the summation order of this codec's layout. As it stands here it
    /// refuses: rows of values alone have no products with queries.
    virtual void scores(const Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride,
                        int queries, float* s, std::ptrdiff_t s_stride,
                        Scratch scratch = {}) const {
        (void)keys, (void)dims, (void)q, (void)q_stride, (void)queries, (void)s, (void)s_stride;
        (void)scratch;
        fail(ErrorCode::unsupported, "rows of ", name, " cannot serve as keys");
    }
    /// The same with queries as bytes, `kernels::cached::query_blocks(dims)` blocks each, for
    /// attention in its fast mode. Called only where `quantise_query`.
    virtual void quantised_scores(const Rows& keys, int dims, const kernels::cached::QueryBlock* q,
                                  int queries, float* s, std::ptrdiff_t s_stride) const {
        (void)keys, (void)dims, (void)q, (void)queries, (void)s, (void)s_stride;
        fail(ErrorCode::unsupported, "rows of ", name, " have no scores in integers");
    }
    /// o[i] += sum over j ascending of p[i][j] * (the first `lead` numbers of row j). As it stands
    /// here it refuses: keys alone are not weighed.
    virtual void weigh(const Rows& values, int dims, int lead, const float* p,
                       std::ptrdiff_t p_stride, int queries, float* o, std::ptrdiff_t o_stride,
                       Scratch scratch = {}) const {
        (void)values, (void)dims, (void)lead, (void)p, (void)p_stride, (void)queries, (void)o;
        (void)o_stride, (void)scratch;
        fail(ErrorCode::unsupported, "rows of ", name, " cannot serve as values");
    }
    /// scores and weigh with queries and weights rounded to bf16, for attention in its fast mode: q
    /// as `kernels::Table::pack_rounded` leaves it. Called only where `rounds`.
    virtual void rounded_scores(const Rows& keys, int dims, const float* q, std::ptrdiff_t q_stride,
                                int queries, float* s, std::ptrdiff_t s_stride) const {
        (void)keys, (void)dims, (void)q, (void)q_stride, (void)queries, (void)s, (void)s_stride;
        fail(ErrorCode::unsupported, "rows of ", name, " have no scores with rounded queries");
    }
    virtual void rounded_weigh(const Rows& values, int lead, const float* p,
                               std::ptrdiff_t p_stride, int queries, float* o,
                               std::ptrdiff_t o_stride) const {
        (void)values, (void)lead, (void)p, (void)p_stride, (void)queries, (void)o, (void)o_stride;
        fail(ErrorCode::unsupported, "rows of ", name, " have no sums with rounded weights");
    }
    /// Writes rows as floats, as `unpacked` reads them: `to` is the unit of the first one, whole
    /// units are written. Called only where `unpacked`.
    virtual void unpack(const Rows& from, int dims, float* to) const {
        (void)from, (void)dims, (void)to;
        fail(ErrorCode::unsupported, "rows of ", name, " are not unpacked");
    }
    /// Copies the first row of `from` over the first row of `to`, byte for byte. Called only where
    /// `movable`; as it stands here for units of one row.
    virtual void copy_row(const Rows& from, const Rows& to, int dims) const {
        std::memcpy(to.unit, from.unit, unit_bytes(dims));
    }
    /// Floats of scratch that decode, scores and weigh need at most.
    virtual std::size_t scratch_floats(int dims) const {
        (void)dims;
        return 0;
    }
    /// Whether `before` may write the rows of the layer before; asked only of codecs that are
    /// `based`.
    virtual bool follows(const Codec& before) const {
        (void)before;
        return true;
    }
    /// A number that stands for the constants it was made with; a saved cache must find it again.
    virtual std::uint64_t fingerprint() const { return 0; }

    /// Units that hold `rows` rows.
    std::size_t units(int rows) const noexcept {
        return (static_cast<std::size_t>(rows) + static_cast<std::size_t>(rows_per_unit) - 1) /
               static_cast<std::size_t>(rows_per_unit);
    }
};

}}  // namespace cairn
