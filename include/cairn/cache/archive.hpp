// The form of a cache outside memory: numbers with their limits, and rows in canonical units that
// do not depend on store, capacity, block size or ring. One description serves writing and reading.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/cache/row_source.hpp"
#include "cairn/cache/stream.hpp"
#include "cairn/kernels/dispatch.hpp"

namespace cairn::inline CAIRN_ABI {

/// Where numbers and bytes go to, or come from.
class CacheArchive {
  public:
    virtual ~CacheArchive() = default;
    virtual bool loading() const noexcept = 0;
    /// Writes `value`, or reads it and refuses what is not in [least, most] (Error{bad_file}).
    virtual void number(std::string_view what, std::int64_t& value, std::int64_t least,
                        std::int64_t most) = 0;
    virtual void bytes(void* data, std::size_t size) = 0;

    void number(std::string_view what, int& value, int least, int most) {
        std::int64_t wide = value;
        number(what, wide, least, most);
        value = static_cast<int>(wide);
    }
    /// A word that must be the same on both sides. Error{model_mismatch} names both.
    void label(std::string_view what, const std::string& mine) {
        int size = static_cast<int>(mine.size());
        number(what, size, 0, 200);
        std::string word = mine;
        word.resize(static_cast<std::size_t>(size));
        bytes(word.data(), word.size());
        for (char& c : word) c = c >= ' ' && c <= '~' ? c : '?';
        require(word == mine, ErrorCode::model_mismatch, "the stored cache has ", what, " ", word,
                ", this one ", mine);
    }
    /// How a stream is written: codecs, ages and rotation.
    void label(std::string_view what, const StreamFormat& format) {
        std::string word;
        for (int f = 0; f < format.count; ++f) {
            const Form& form = format.forms[static_cast<std::size_t>(f)];
            if (f > 0) word += " after ";
            word += form.codec->name;
            if (f + 1 < format.count)
                word += " for " + std::to_string(form.age_to) + "x" + std::to_string(form.age_unit);
        }
        label(what, word + (format.rotated ? "+rot" : ""));
    }
    /// Rows [begin, end) of a form, of all heads, in whole canonical units, piece after piece, so
    /// that a store may put what was read elsewhere. Rows that `live(head, row)` denies are zeros.
    /// Loading makes room.
    template <class Live>
    void rows(Stream& stream, int form, int begin, int end, const Live& live) {
        for (int row = begin; row < end; row = (row / piece + 1) * piece)
            rows_of_piece(stream, form, row, std::min((row / piece + 1) * piece, end), live);
    }

  private:
    static constexpr int piece = 128;  // rows; no more than a store takes at once
    template <class Live>
    void rows_of_piece(Stream& stream, int form, int begin, int end, const Live& live) {
        RowStore& store = stream.rows(form);
        if (loading()) store.reserve(begin, end);
        const Codec& codec = *stream.format().forms[static_cast<std::size_t>(form)].codec;
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
                if (!loading()) {
                    std::fill(unit_.begin(), unit_.end(), std::byte{0});
                    each_row([&](const Rows& held, const Rows& place, bool whole) {
                        copy(held, place, whole);
                    });
                    bytes(unit_.data(), unit_bytes);
                    continue;
                }
                bytes(unit_.data(), unit_bytes);
                codec.decode(unit, stream.dims(), decoded_.data(), stream.dims());
                require(kernels::active().all_finite(decoded_.data(),
                                                     std::ptrdiff_t{unit_rows} * stream.dims()),
                        ErrorCode::bad_file, "NaN or infinity in the stored ", codec.name, " rows ",
                        from, " to ", to);
                each_row([&](const Rows& held, const Rows& place, bool whole) {
                    copy(place, held, whole);
                });
            }
    }

    RowReader reader_;
    std::vector<std::byte> unit_;
    std::vector<float> decoded_;
};

}  // namespace cairn::inline CAIRN_ABI
