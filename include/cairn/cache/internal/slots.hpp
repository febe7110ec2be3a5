// The slots of one head of a cache whose keep chooses rows by score: which position lies in which
// slot, with what score, and which slot is free. Staged rows can be taken back.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "cairn/cache/seam/archive.hpp"
#include "cairn/kernels/dispatch.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

struct Slots {
    std::vector<int> positions;             // by slot; -1: free
    std::vector<float> scores;              // committed
    std::vector<float> pending;             // with what staged rows added
    std::vector<std::uint32_t> signatures;  // Evicts::before_attending
    std::vector<double> notes;              // of the prompt's queries (Scorer::notes), committed
    std::vector<double> noted;              // with those of staged rows
    int used = 0;                           // slots in use, holes included
    int held = 0;                           // rows
    int staged = 0;
    int hole = -1;     // the one free slot, if any (and no slots wait to be compacted)
    int filled = -1;   // the hole that a staged row took
    int evicted = -1;  // evicted before attending, not committed yet
    int evicted_position = -1;

    std::size_t size() const noexcept { return static_cast<std::size_t>(used); }
    /// The slot that is skipped when rows are read.
    int gap() const noexcept { return evicted >= 0 ? evicted : hole; }
    /// The slot that the next row will take. Rows of a prompt whose end was announced lie one
    /// behind the other, however it is cut; the first one behind it `fills` the hole.
    int next(bool fills) const noexcept { return fills && hole >= 0 ? hole : used; }
    /// Slots in use after `rows` more rows.
    int used_after(int rows, bool fills) const noexcept {
        return used + rows - (fills && hole >= 0 && rows > 0 ? 1 : 0);
    }

    /// Room for `n` slots, so that what follows does not throw.
    void reserve(std::size_t n) {
        const auto grow = [n](auto& vector) {
            if (vector.capacity() < n) vector.reserve(2 * n);
        };
        grow(positions);
        grow(scores);
        grow(pending);
        grow(signatures);
    }
    /// Stages a row; room was made.
    int take(bool fills, int position, std::uint32_t signature) noexcept {
        const int slot = next(fills);
        if (slot == used) {
            ++used;
            positions.push_back(-1);
            pending.push_back(0.0F);
            signatures.push_back(0);
        } else {
            filled = std::exchange(hole, -1);
        }
        const auto s = static_cast<std::size_t>(slot);
        positions[s] = position;
        pending[s] = 0.0F;
        signatures[s] = signature;
        ++held;
        ++staged;
        return slot;
    }
    /// What staged rows began now holds.
    void commit() noexcept {
        staged = 0;
        filled = -1;
        scores.swap(pending);
        notes.swap(noted);
        if (evicted >= 0) hole = std::exchange(evicted, -1);
    }
    /// Takes staged rows back, and the row that went for them.
    void rollback() noexcept {
        if (evicted >= 0) {
            positions[static_cast<std::size_t>(evicted)] = evicted_position;
            ++held;
            evicted = -1;
        }
        int appended = staged;
        if (filled >= 0) {
            positions[static_cast<std::size_t>(filled)] = -1;
            hole = std::exchange(filled, -1);
            --appended;
        }
        used -= appended;
        positions.resize(size());
        signatures.resize(size());
        held -= std::exchange(staged, 0);
    }
    /// Frees the slots of rows that `keep` has no 1 for. Returns whether more than one slot is
    /// free.
    bool evict(const std::vector<std::uint8_t>& keep) noexcept {
        int holes = hole >= 0 ? 1 : 0;
        for (int s = 0; s < used; ++s) {
            int& position = positions[static_cast<std::size_t>(s)];
            if (position < 0 || keep[static_cast<std::size_t>(s)] != 0) continue;
            position = -1;
            --held;
            ++holes;
            hole = s;
        }
        return holes > 1;
    }
    /// The same for the first such row only, until the staged rows are committed.
    void evict_one(const std::vector<std::uint8_t>& keep) noexcept {
        for (int s = 0; s < used; ++s) {
            int& position = positions[static_cast<std::size_t>(s)];
            if (position < 0 || keep[static_cast<std::size_t>(s)] != 0) continue;
            evicted = s;
            evicted_position = std::exchange(position, -1);
            --held;
            return;
        }
    }
    /// Moves rows down over the holes, in order; `move(from, to)` moves what lies in the slots.
    template <class Move>
    void compact(const Move& move) {
        int to = 0;
        for (int from = 0; from < used; ++from) {
            const auto f = static_cast<std::size_t>(from);
            if (positions[f] < 0) continue;
            if (from != to) {
                const auto t = static_cast<std::size_t>(to);
                positions[t] = positions[f];
                scores[t] = scores[f];
                signatures[t] = signatures[f];
                move(from, to);
            }
            ++to;
        }
        used = to;
        hole = -1;
        positions.resize(size());
        scores.resize(size());
        signatures.resize(size());
    }

    /// Writes what is committed, or reads it: positions below `committed`, at most `most` slots,
    /// several of them free if `gaps`. Error{bad_file}.
    void archive(CacheArchive& a, int most, int committed, bool gaps) {
        a.number("slots of a head", used, 0, most);
        a.number("free slot", hole, -1, used - 1);
        reserve(size());
        positions.resize(size());
        scores.resize(size());
        signatures.resize(size());
        std::vector<std::uint8_t> seen(a.loading() ? static_cast<std::size_t>(committed) : 0);
        int rows = 0;
        for (std::size_t s = 0; s < size(); ++s) {
            a.number("position of a row", positions[s], -1, committed - 1);
            const int position = positions[s];
            rows += position >= 0 ? 1 : 0;
            if (a.loading() && position >= 0) {
                require(seen[static_cast<std::size_t>(position)] == 0, ErrorCode::bad_file,
                        "archive: position ", position, " is held twice");
                seen[static_cast<std::size_t>(position)] = 1;
            }
            std::int64_t code = signatures[s];
            a.number("signature", code, 0, 0xFFFFFFFFLL);
            signatures[s] = static_cast<std::uint32_t>(code);
        }
        a.bytes(scores.data(), size() * sizeof(float));
        if (!a.loading()) return;
        require(
            kernels::active().all_finite(scores.data(), static_cast<std::ptrdiff_t>(scores.size())),
            ErrorCode::bad_file, "archive: a score is not finite");
        const int free = used - rows;
        require((hole < 0 || positions[static_cast<std::size_t>(hole)] < 0) &&
                    (gaps || free == (hole >= 0 ? 1 : 0)),
                ErrorCode::bad_file, "archive: a head has ", free,
                " free slots that nothing explains");
        held = rows;
    }
    /// Once rows were chosen by them.
    void forget_notes() noexcept {
        std::vector<double>().swap(notes);
        std::vector<double>().swap(noted);
    }
    /// The same for the notes of queries, `count` numbers while a prompt is read, else none.
    void archive_notes(CacheArchive& a, std::size_t count) {
        const bool prompted = !notes.empty();
        int there = prompted ? 1 : 0;
        a.number("notes of queries", there, 0, count > 0 ? 1 : 0);
        notes.resize(there != 0 ? count : 0);
        a.bytes(notes.data(), notes.size() * sizeof(double));
        for (const double x : notes)
            require(std::isfinite(x), ErrorCode::bad_file, "archive: a note is not finite");
    }
};

}}}  // namespace cairn::internal
