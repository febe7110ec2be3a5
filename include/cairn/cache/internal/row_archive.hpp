// Rows of a cache outside memory, in canonical units that do not depend on store, capacity, block
// size or ring.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "cairn/cache/internal/streams.hpp"
#include "cairn/cache/seam/archive.hpp"
#include "cairn/cache/seam/row_source.hpp"
#include "cairn/kernels/dispatch.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Writes rows to an archive, or reads them from it.
class RowArchive {
  public:
    explicit RowArchive(CacheArchive& to) : to_(to) {}
    /// How the streams are written: codecs, the constants they hold, ages and rotation.
    [[gnu::cold]] void label(const Streams& streams) {
        to_.label("keys of", described(streams.keys().plan()));
        to_.label("values of",
                  streams.from_keys() ? "the keys" : described(streams.values().plan()));
    }
    /// Rows [begin, end) of a form, of all heads, in whole canonical units, piece after piece, so
    /// that a store may put what was read elsewhere. Rows that `live(head, row)` denies are zeros.
    /// Loading makes room.
    template <class Live>
    [[gnu::cold]] void rows(AgedRows& stream, int form, int begin, int end, const Live& live) {
        for (int row = begin; row < end; row = (row / piece + 1) * piece)
            rows_of_piece(stream, form, row, std::min((row / piece + 1) * piece, end), live);
    }

  private:
    [[gnu::cold]] static std::string described(const StreamPlan& plan) {
        std::string word;
        for (int f = 0; f < plan.count(); ++f) {
            const Form& form = plan.form(f);
            if (f > 0) word += " after ";
            word += form.codec->name;
            if (const std::uint64_t constants = form.codec->fingerprint(); constants != 0)
                word.append("#").append(std::to_string(constants));
            if (f + 1 < plan.count())
                word += " for " + std::to_string(form.age_to) + "x" + std::to_string(form.age_unit);
        }
        if (plan.pinned > 0)
            word.append(" behind ")
                .append(std::to_string(plan.pinned))
                .append(" of ")
                .append(plan.pinned_codec->name);
        if (plan.rotated) word += "+rot";
        if (plan.kind == RowKind::bare_key) word += "+bare";
        if (plan.kind == RowKind::input) word += plan.factored != nullptr ? "+svd" : "+inputs";
        return word;
    }
    static constexpr int piece = 128;  // rows; no more than a store takes at once
    template <class Live>
    [[gnu::cold]] void rows_of_piece(AgedRows& stream, int form, int begin, int end,
                                     const Live& live) {
        RowStore& store = stream.rows(form);
        if (to_.loading()) store.reserve(begin, end);
        const Codec& codec = stream.plan().codec(form);
        const int unit_rows = codec.rows_per_unit;
        const std::size_t unit_bytes = codec.unit_bytes(stream.dims());
        unit_.resize(unit_bytes);
        decoded_.resize(static_cast<std::size_t>(unit_rows * stream.dims()));
        const Rows unit{unit_.data(), static_cast<std::ptrdiff_t>(unit_bytes), 0, unit_rows, 0, 0};
        for (int h = 0; h < stream.heads(); ++h)
            for (int first = begin / unit_rows * unit_rows; first < end; first += unit_rows) {
                const int from = std::max(first, begin);
                const int to = std::min(first + unit_rows, end);
                const auto place_of = [&](int row) {
                    Run run;
                    store.locate(h, row, run);
                    run.end = run.source != nullptr ? store.front() : end;
                    return reader_.at(run, row);
                };
                const auto each_row = [&](auto body) {
                    if (codec.whole_units) {
                        body(Rows{place_of(first).unit, 0, 0, unit_rows, h, first}, unit, true);
                        return;
                    }
                    for (int row = from; row < to; ++row) {
                        if (!live(h, row)) continue;
                        Rows place = unit;
                        place.lane = row - first;
                        body(place_of(row), place, false);
                    }
                };
                const auto copy = [&](const Rows& source, const Rows& target, bool whole) {
                    if (whole || unit_rows == 1)
                        std::copy_n(source.unit, unit_bytes, target.unit);
                    else
                        codec.copy_row(source, target, stream.dims());
                };
                if (!to_.loading()) {
                    std::fill(unit_.begin(), unit_.end(), std::byte{0});
                    each_row([&](const Rows& held, const Rows& place, bool whole) {
                        copy(held, place, whole);
                    });
                    to_.bytes(unit_.data(), unit_bytes);
                    continue;
                }
                to_.bytes(unit_.data(), unit_bytes);
                Rows read = unit;
                read.head = h;
                read.row = first;
                read.base = store.base();
                read.count = codec.based ? to - first : unit_rows;
                require(!codec.based || (store.base() != nullptr && store.base()->holds(first, to)),
                        ErrorCode::bad_file, "archive: rows ", from, " to ", to,
                        " are kept with those of the layer before, which has fewer");
                codec.decode(read, stream.dims(), decoded_.data(), stream.dims(),
                             scratch_.with(codec.scratch_floats(stream.dims())));
                require(kernels::active().all_finite(decoded_.data(),
                                                     std::ptrdiff_t{unit_rows} * stream.dims()),
                        ErrorCode::bad_file, "NaN or infinity in the stored ", codec.name, " rows ",
                        from, " to ", to);
                each_row([&](const Rows& held, const Rows& place, bool whole) {
                    copy(place, held, whole);
                });
            }
    }

    CacheArchive& to_;
    RowReader reader_;
    std::vector<std::byte> unit_;
    std::vector<float> decoded_;
    OwnScratch scratch_;
};

}}}  // namespace cairn::internal
