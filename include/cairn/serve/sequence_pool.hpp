// Many sequences over one pool of blocks: created, branched, edited and freed by number, fed in
// ragged batches. Beyond the pool's blocks the sequences that were used longest ago go to disk,
// whole, and come back when they are fed again: the bits are those of an endless pool.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/io/session_file.hpp"
#include "cairn/models/session.hpp"

namespace cairn::inline CAIRN_ABI {

/// Tokens to feed to one sequence of a pool.
struct PoolSlice {
    int sequence = -1;
    Tokens tokens;
    LogitRows rows = LogitRows::last;
    float* logits = nullptr;  ///< [wanted rows][vocabulary]
};

/// What a pool may use.
struct PoolLimits {
    int sequences = 64;         ///< that live at once
    int tokens = 0;             ///< of one sequence, at most
    std::string swap_folder{};  ///< where sequences go that do not fit memory; empty: nowhere
};

/// Sequences of one model. S is a Session over caches that fork, paged ones to share blocks. Not
/// thread-safe: one owner. Every operation succeeds or leaves all sequences as they were.
template <class S>
class SequencePool {
  public:
    /// The end of a sequence, for ranges of tokens.
    static constexpr int to_the_end = row_limit;

    /// `root` is an empty session: sequences are branches of it, so its pool of blocks is theirs.
    /// Throws Error{invalid_argument}.
    SequencePool(S root, PoolLimits limits) : root_(std::move(root)), limits_(std::move(limits)) {
        require(root_.position() == 0 && limits_.sequences > 0, ErrorCode::invalid_argument,
                "pool of ", limits_.sequences, " sequences from a session that holds ",
                root_.position(), " tokens");
        if (limits_.tokens == 0) limits_.tokens = root_.capacity();
    }
    SequencePool(SequencePool&&) noexcept = default;
    SequencePool& operator=(SequencePool&&) noexcept = default;
    ~SequencePool() {
        for (auto& entry : entries_)
            if (entry) forget_file(*entry);
    }

    /// A new, empty sequence. Error{capacity} if there are too many.
    int create() { return add(Entry{root_.fork(), {}}); }
    /// A branch that shares all blocks until one of the two goes on.
    int fork(int sequence) {
        const S& from = resident(sequence);
        return add(Entry{from.fork(), entry(sequence).tokens});
    }
    void free(int sequence) {
        forget_file(entry(sequence));
        entries_[static_cast<std::size_t>(sequence)].reset();
    }

    /// Forgets tokens [begin, end) of a sequence: to its end as truncate does, in its middle as
    /// drop does (later tokens keep their distances; see seq_add). Error{bad_state} if the cache
    /// cannot.
    void seq_rm(int sequence, int begin, int end) {
        S& session = resident(sequence);
        end = std::min(end, session.position());
        require(begin >= 0 && begin <= end, ErrorCode::invalid_argument, "seq_rm: tokens ", begin,
                " to ", end);
        if (begin == end) return;
        if (end == session.position()) {
            session.truncate(begin);
            entry(sequence).tokens.resize(static_cast<std::size_t>(begin));
        } else {
            session.drop(begin, end);
        }
    }
    /// Gives the empty sequence `to` tokens [begin, end) of `from`; blocks are shared.
    void seq_cp(int from, int to, int begin, int end) {
        const S& source = resident(from);
        require(entry(to).session && entry(to).session->position() == 0, ErrorCode::bad_state,
                "seq_cp: sequence ", to, " holds tokens");
        end = std::min(end, source.position());
        require(begin >= 0 && begin < end, ErrorCode::invalid_argument, "seq_cp: tokens ", begin,
                " to ", end, " of ", source.position());
        S branch = source.fork();
        branch.truncate(end);
        if (begin > 0) branch.drop(0, begin);
        std::vector<Token> tokens(entry(from).tokens.begin(), entry(from).tokens.begin() + end);
        entry(to).session.emplace(std::move(branch));
        entry(to).tokens = std::move(tokens);
    }
    /// Frees all other sequences.
    void seq_keep(int sequence) {
        entry(sequence);
        for (int other = 0; other < static_cast<int>(entries_.size()); ++other)
            if (other != sequence && entries_[static_cast<std::size_t>(other)]) free(other);
    }
    /// Moves the tokens behind a hole that seq_rm left `-delta` places nearer to the front, as far
    /// as the hole is wide: [begin, end) must be all of them. The sequence can then grow by as many
    /// tokens. Error{bad_state, invalid_argument}.
    void seq_add(int sequence, int begin, int end, int delta) {
        S& session = resident(sequence);
        require(delta < 0 && delta > -row_limit && end >= session.position() && begin >= 0 &&
                    begin < session.position() && session.can_drop(begin, begin + 1),
                ErrorCode::invalid_argument, "seq_add: tokens ", begin, " to ", end, " by ", delta,
                "; only all tokens behind what seq_rm forgot can move, and only to the front");
        session.close(-delta);
    }

    /// Feeds tokens to different sequences in one forward. Sequences on disk come back first; where
    /// blocks are missing, others go there. Throws what forward and load_session throw, and
    /// Error{capacity} if the batch itself does not fit; then no sequence holds more or less than
    /// before.
    void forward(std::span<const PoolSlice> slices, Context& context) {
        struct Clear {  // what a batch needs stays in memory only while it runs
            std::vector<Slice>& batch;
            ~Clear() { batch.clear(); }
        } clear{batch_};
        ++clock_;
        for (const PoolSlice& slice : slices) entry(slice.sequence).used = clock_;
        for (const PoolSlice& slice : slices) {
            S& session = resident(slice.sequence);
            require(static_cast<int>(slice.tokens.size()) <= session.max_rows(),
                    ErrorCode::capacity, "sequence ", slice.sequence, " cannot take ",
                    slice.tokens.size(), " tokens at once at position ", session.position());
            require(session.position() + static_cast<int>(slice.tokens.size()) -
                            (session.capacity() - root_.capacity()) <=
                        limits_.tokens,
                    ErrorCode::capacity, "sequence ", slice.sequence, ": ", slice.tokens.size(),
                    " tokens at position ", session.position(), " are more than ", limits_.tokens);
            entry(slice.sequence)
                .tokens.reserve(entry(slice.sequence).tokens.size() + slice.tokens.size());
            batch_.push_back({&session, slice.tokens, slice.rows, slice.logits, nullptr});
        }
        detail::check_slices(root_.model(), batch_);
        with_room([&] { cairn::forward(root_.model(), batch_, context); });
        for (const PoolSlice& slice : slices) {
            auto& tokens = entry(slice.sequence).tokens;
            tokens.insert(tokens.end(), slice.tokens.begin(), slice.tokens.end());
        }
    }
    void forward(std::span<const PoolSlice> slices) { forward(slices, root_.context()); }

    /// Begins to bring a sequence back from disk, on another thread; changes nothing but the time
    /// that the next use of it takes.
    void prefetch(int sequence) {
        Entry& e = entry(sequence);
        if (e.session || e.coming.valid()) return;
        e.coming = std::async(std::launch::async, [branch = root_.fork(), path = e.file]() mutable {
            load_session(path, branch, SessionOwner{});
            return std::move(branch);
        });
    }
    /// Sends a sequence to disk. Error{bad_state} without a folder, io.
    void swap_out(int sequence) {
        Entry& e = entry(sequence);
        settle(e);
        if (!e.session) return;
        require(!limits_.swap_folder.empty(), ErrorCode::bad_state,
                "swap_out: no folder was given");
        std::string file = (std::filesystem::path(limits_.swap_folder) /
                            ("sequence-" + std::to_string(::getpid()) + "-" +
                             std::to_string(sequence) + "-" + std::to_string(++files_)))
                               .string();
        SessionText text;
        text.tokens = e.tokens;
        save_session(file, *e.session, text, SessionOwner{}, OutputFile::Durability::program);
        e.file = std::move(file);
        e.session.reset();
    }

    bool contains(int sequence) const noexcept {
        return sequence >= 0 && sequence < static_cast<int>(entries_.size()) &&
               entries_[static_cast<std::size_t>(sequence)].has_value();
    }
    /// Whether a sequence is in memory.
    bool in_memory(int sequence) { return entry(sequence).session.has_value(); }
    /// Tokens fed to a sequence; those that seq_rm forgot in its middle are among them.
    Tokens tokens(int sequence) { return entry(sequence).tokens; }
    /// The session of a sequence, brought back if it is on disk. Feed it through the pool.
    const S& session(int sequence) { return resident(sequence); }
    int live() const noexcept {
        return static_cast<int>(
            std::count_if(entries_.begin(), entries_.end(), [](const auto& e) { return !!e; }));
    }
    const S& root() const noexcept { return root_; }

  private:
    struct Entry {
        std::optional<S> session;  // empty: on disk, or coming from there
        std::vector<Token> tokens;
        std::string file{};
        std::future<S> coming{};
        std::uint64_t used = 0;
    };

    int add(Entry entry) {
        entry.used = ++clock_;
        for (std::size_t i = 0; i < entries_.size(); ++i)
            if (!entries_[i]) {
                entries_[i].emplace(std::move(entry));
                return static_cast<int>(i);
            }
        require(static_cast<int>(entries_.size()) < limits_.sequences, ErrorCode::capacity,
                "the pool is full: all ", limits_.sequences, " sequences are in use");
        entries_.emplace_back(std::move(entry));
        return static_cast<int>(entries_.size()) - 1;
    }
    Entry& entry(int sequence) {
        require(contains(sequence), ErrorCode::invalid_argument, "no sequence ", sequence,
                " in the pool");
        return *entries_[static_cast<std::size_t>(sequence)];
    }
    // What was being brought back is there, or is still on disk.
    void settle(Entry& e) {
        if (!e.coming.valid()) return;
        try {
            e.session.emplace(e.coming.get());
        } catch (const Error& error) {
            if (error.code() != ErrorCode::capacity) throw;
            return;
        }
        forget_file(e);
    }
    S& resident(int sequence) {
        Entry& e = entry(sequence);
        e.used = ++clock_;
        settle(e);
        if (!e.session) {
            S branch = root_.fork();
            with_room([&] { load_session(e.file, branch, SessionOwner{}); });
            e.session.emplace(std::move(branch));
            forget_file(e);
        }
        return *e.session;
    }
    // Sends sequences away, the one used longest ago first, until `action` finds its blocks.
    template <class Action>
    void with_room(const Action& action) {
        for (;;) {
            try {
                return action();
            } catch (const Error& error) {
                if (error.code() != ErrorCode::capacity || limits_.swap_folder.empty()) throw;
                const int oldest = victim();
                if (oldest >= 0)
                    swap_out(oldest);
                else if (!settle_all())
                    throw;
            }
        }
    }
    // Waits for what is being brought back: it holds blocks. Returns whether there was anything.
    bool settle_all() {
        bool any = false;
        for (auto& e : entries_)
            if (e && e->coming.valid()) {
                any = true;
                settle(*e);
            }
        return any;
    }
    int victim() {
        int oldest = -1;
        for (int i = 0; i < static_cast<int>(entries_.size()); ++i) {
            const auto& e = entries_[static_cast<std::size_t>(i)];
            if (!e || !e->session || e->session->position() == 0) continue;
            const bool needed = std::any_of(batch_.begin(), batch_.end(), [&](const Slice& slice) {
                return slice.session == &*e->session;
            });
            if (!needed &&
                (oldest < 0 || e->used < entries_[static_cast<std::size_t>(oldest)]->used))
                oldest = i;
        }
        return oldest;
    }
    static void forget_file(Entry& e) noexcept {
        if (e.coming.valid()) e.coming.wait();
        std::error_code ignored;
        if (!e.file.empty()) std::filesystem::remove(e.file, ignored);
        e.file.clear();
    }

    S root_;
    PoolLimits limits_;
    std::vector<std::optional<Entry>> entries_;
    std::vector<Slice> batch_;
    std::uint64_t clock_ = 0;
    std::uint64_t files_ = 0;
};

}  // namespace cairn::inline CAIRN_ABI
