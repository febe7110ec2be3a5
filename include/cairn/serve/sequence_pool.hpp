// Many sequences over one pool of blocks: created, branched, edited and freed by number, fed in
// ragged batches. Beyond the pool's blocks the sequences that were used longest ago go to disk,
// whole, and come back when they are fed again: the bits are those of an endless pool.
#pragma once

#include <algorithm>
#include <cstdint>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "cairn/io/session_archive.hpp"
#include "cairn/models/session.hpp"
#include "cairn/serve/prefix_index.hpp"
#include "cairn/serve/swapped.hpp"

namespace cairn { inline namespace CAIRN_ABI {

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

/// Sequences of one model. S is a Session over caches that fork, paged ones to share blocks. One
/// thread at a time: a second one gets Error{concurrent_use}, and what a call returns a reference
/// to lasts until the next call. Every operation succeeds or leaves all sequences as they were.
/// What was moved from throws Error{bad_state}.
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
    SequencePool& operator=(SequencePool&& other) noexcept {
        if (this == &other) return *this;
        root_ = std::move(other.root_);
        limits_ = std::move(other.limits_);
        entries_ = std::move(other.entries_);
        batch_ = std::move(other.batch_);
        kept_ = std::move(other.kept_);
        clock_ = other.clock_;
        return *this;
    }

    /// A new, empty sequence. Error{capacity} if there are too many.
    int create() {
        const Exclusive hold(*this);
        return add(Entry{root_.fork(), {}});
    }
    /// Gives an empty sequence the longest prefix of `prompt` that `index` holds; blocks are
    /// shared. What is left of the prompt must still be fed. To fill the index:
    /// `index.insert(pool.session(sequence), pool.tokens(sequence))`. Its entries hold blocks:
    /// where the pool has too few, `index.evict()` gives some back. Error{bad_state} if the
    /// sequence holds tokens, model_mismatch.
    PrefixMatch take(PrefixIndex<S>& index, int sequence, Tokens prompt,
                     std::string_view salt = {}) {
        const Exclusive hold(*this);
        S& session = resident(sequence);
        std::vector<Token> tokens(prompt.begin(), prompt.end());
        const PrefixMatch match = index.take(prompt, session, salt);
        tokens.resize(static_cast<std::size_t>(match.tokens));
        entry(sequence).tokens = std::move(tokens);
        return match;
    }
    /// A branch that shares all blocks until one of the two goes on.
    int fork(int sequence) {
        const Exclusive hold(*this);
        const S& from = resident(sequence);
        return add(Entry{from.fork(), entry(sequence).tokens});
    }
    void free(int sequence) {
        const Exclusive hold(*this);
        entry(sequence);
        entries_[static_cast<std::size_t>(sequence)].reset();
    }

    /// Forgets tokens [begin, end) of a sequence: to its end as truncate does, in its middle as
    /// drop does (later tokens keep their distances; see seq_add). Error{bad_state} if the cache
    /// cannot.
    void seq_rm(int sequence, int begin, int end) {
        const Exclusive hold(*this);
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
        const Exclusive hold(*this);
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
        const Exclusive hold(*this);
        entry(sequence);
        for (std::size_t other = 0; other < entries_.size(); ++other)
            if (other != static_cast<std::size_t>(sequence)) entries_[other].reset();
    }
    /// Moves the tokens behind a hole that seq_rm left `-delta` places nearer to the front, as far
    /// as the hole is wide: [begin, end) must be all of them. The sequence can then grow by as many
    /// tokens. Error{bad_state, invalid_argument}.
    void seq_add(int sequence, int begin, int end, int delta) {
        const Exclusive hold(*this);
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
        feed(slices, Acceptance::whole, context,
             [&](std::size_t i) { return static_cast<int>(slices[i].tokens.size()); });
    }
    void forward(std::span<const PoolSlice> slices) { forward(slices, root_.context()); }
    /// For speculation: the same, but of slice i only the first `keep(i)` tokens stay, which is
    /// asked once for every slice when the logits of all are written; the pool is in use then.
    /// Throws what forward throws, Error{invalid_argument} for a number that a slice has not,
    /// Error{unsupported} where the cache chooses rows by score, and what `keep` throws; then no
    /// sequence has changed.
    template <class Keep>
    void propose(std::span<const PoolSlice> slices, const Keep& keep, Context& context) {
        feed(slices, Acceptance::in_part, context, keep);
    }
    template <class Keep>
    void propose(std::span<const PoolSlice> slices, const Keep& keep) {
        propose(slices, keep, root_.context());
    }

    /// Begins to bring a sequence back from disk, on another thread where the system gives one;
    /// changes nothing but the time that the next use of it takes. A child that is forked meanwhile
    /// reads it anew; blocks that the thread had taken by then stay taken there.
    void prefetch(int sequence) {
        const Exclusive hold(*this);
        Entry& e = entry(sequence);
        if (e.session || e.coming.valid()) return;
        try {
            e.coming = internal::Coming<S>([branch = root_.fork(), path = e.file.path()]() mutable {
                load_session(path, branch, SessionOwner{});
                return std::move(branch);
            });
        } catch (const std::system_error&) {
        } catch (const std::bad_alloc&) {
        }
    }
    /// Sends a sequence to disk. Error{bad_state} without a folder, io.
    void swap_out(int sequence) {
        const Exclusive hold(*this);
        send_away(entry(sequence));
    }

    bool contains(int sequence) const {
        const BusyFlag::Share share(busy_, in_use);
        return has(sequence);
    }
    /// Whether a sequence is in memory.
    bool in_memory(int sequence) const {
        const BusyFlag::Share share(busy_, in_use);
        return entry(sequence).session.has_value();
    }
    /// Tokens fed to a sequence; those that seq_rm forgot in its middle are among them.
    Tokens tokens(int sequence) const {
        const BusyFlag::Share share(busy_, in_use);
        return entry(sequence).tokens;
    }
    /// The session of a sequence, brought back if it is on disk. Feed it through the pool.
    const S& session(int sequence) {
        const Exclusive hold(*this);
        return resident(sequence);
    }
    int live() const {
        const BusyFlag::Share share(busy_, in_use);
        return static_cast<int>(
            std::count_if(entries_.begin(), entries_.end(), [](const auto& e) { return !!e; }));
    }
    const S& root() const noexcept { return root_; }

  private:
    static constexpr const char* in_use = "the pool of sequences";
    // What every call that changes the pool begins with.
    class Exclusive {
      public:
        explicit Exclusive(SequencePool& pool) : hold_(pool.busy_, in_use) {
            require(pool.root_.model_identity() != nullptr, ErrorCode::bad_state,
                    "the pool of sequences was moved from");
        }

      private:
        BusyFlag::Hold hold_;
    };
    struct Entry {
        std::optional<S> session;  // empty: on disk, or coming from there
        std::vector<Token> tokens;
        internal::SwapFile file{};
        internal::Coming<S> coming{};  // reads that file: gone before it
        std::uint64_t used = 0;
    };

    template <class Keep>
    void feed(std::span<const PoolSlice> slices, Acceptance acceptance, Context& context,
              const Keep& keep) {
        const Exclusive hold(*this);
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
            batch_.push_back(
                {&session, slice.tokens, slice.rows, slice.logits, nullptr, acceptance});
        }
        internal::check_slices(root_.model(), batch_);
        Forward open = with_room([&] { return cairn::forward(root_.model(), batch_, context); });
        kept_.clear();
        for (std::size_t i = 0; i < slices.size(); ++i) {
            kept_.push_back(keep(i));
            require(kept_[i] >= 0 && kept_[i] <= static_cast<int>(slices[i].tokens.size()),
                    ErrorCode::invalid_argument, "propose: ", kept_[i], " of ",
                    slices[i].tokens.size(), " tokens of sequence ", slices[i].sequence);
        }
        for (std::size_t i = 0; i < slices.size(); ++i) {
            open.accept(i, kept_[i]);
            auto& tokens = entry(slices[i].sequence).tokens;
            tokens.insert(tokens.end(), slices[i].tokens.begin(),
                          slices[i].tokens.begin() + kept_[i]);
        }
    }
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
    bool has(int sequence) const noexcept {
        return sequence >= 0 && sequence < static_cast<int>(entries_.size()) &&
               entries_[static_cast<std::size_t>(sequence)].has_value();
    }
    const Entry& entry(int sequence) const {
        require(has(sequence), ErrorCode::invalid_argument, "no sequence ", sequence,
                " in the pool");
        return *entries_[static_cast<std::size_t>(sequence)];
    }
    Entry& entry(int sequence) { return const_cast<Entry&>(std::as_const(*this).entry(sequence)); }
    void send_away(Entry& e) {
        settle(e);
        if (!e.session) return;
        require(!limits_.swap_folder.empty(), ErrorCode::bad_state,
                "swap_out: no folder was given");
        internal::SwapFile file(limits_.swap_folder);
        SessionText text;
        text.tokens = e.tokens;
        save_session(file.path(), *e.session, text, SessionOwner{},
                     OutputFile::Durability::program);
        e.file = std::move(file);
        e.session.reset();
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
        e.file.remove();
    }
    S& resident(int sequence) {
        Entry& e = entry(sequence);
        e.used = ++clock_;
        settle(e);
        if (!e.session) {
            S branch = root_.fork();
            with_room([&] { load_session(e.file.path(), branch, SessionOwner{}); });
            e.session.emplace(std::move(branch));
            e.file.remove();
        }
        return *e.session;
    }
    // Sends sequences away, the one used longest ago first, until `action` finds its blocks.
    template <class Action>
    auto with_room(const Action& action) {
        for (;;) {
            try {
                return action();
            } catch (const Error& error) {
                if (error.code() != ErrorCode::capacity || limits_.swap_folder.empty()) throw;
                const int oldest = victim();
                if (oldest >= 0)
                    send_away(entry(oldest));
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
    S root_;
    PoolLimits limits_;
    std::vector<std::optional<Entry>> entries_;
    std::vector<Slice> batch_;
    std::vector<int> kept_;  // tokens of each slice of a batch
    std::uint64_t clock_ = 0;
    mutable BusyFlag busy_;
};

}}  // namespace cairn
