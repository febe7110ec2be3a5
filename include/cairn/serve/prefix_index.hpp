// Prompts that were computed before: a session that begins with the tokens of an earlier one takes
// over its rows instead of computing them. Found by a chain of block hashes, each with its
// parent's, and believed only after the tokens themselves were compared. Over paged caches the rows
// are shared; any cache that forks and truncates works. A hit gives the same bits as no hit.
#pragma once

#include <algorithm>
#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "cairn/core/fingerprint.hpp"
#include "cairn/models/session.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Why a lookup found less than the whole prompt.
enum class MissReason : std::uint8_t {
    none,         ///< everything but the last token was found
    empty,        ///< nothing is stored under this salt
    no_prefix,    ///< no stored text begins with the same block
    diverged,     ///< the tokens part at `first_difference`
    stored_ends,  ///< the stored text ends there
};

/// The word of a reason.
constexpr std::string_view miss_reason_name(MissReason reason) noexcept {
    switch (reason) {
        case MissReason::none: return "none";
        case MissReason::empty: return "empty";
        case MissReason::no_prefix: return "no_prefix";
        case MissReason::diverged: return "diverged";
        case MissReason::stored_ends: return "stored_ends";
    }
    return "unknown";
}

/// What a lookup found.
struct PrefixMatch {
    int tokens = 0;  ///< of the prompt that need not be computed; always leaves at least one
    MissReason miss_reason = MissReason::none;
    int first_difference = -1;  ///< index in the prompt; -1: none known
    Token wanted = -1;          ///< the prompt's token there ...
    Token stored = -1;          ///< ... and the stored one
};

/// Stored prompts of one model and cache type. One thread at a time: a second one gets
/// Error{concurrent_use}. Every operation succeeds or leaves the index as it was.
template <class S>
class PrefixIndex {
  public:
    /// Hashes a block of tokens behind its parent's hash. Replaceable in tests: collisions must do
    /// no harm.
    using Hash = std::uint64_t (*)(std::uint64_t parent, Tokens block);

    /// At most `entries` prompts are kept; `block` tokens a hash.
    explicit PrefixIndex(std::size_t entries, int block = 16, Hash hash = chain)
        : most_(entries), block_(block), hash_(hash) {
        require(entries > 0 && block > 0, ErrorCode::invalid_argument, "prefix index: ", entries,
                " entries of blocks of ", block);
    }

    PrefixIndex(PrefixIndex&&) noexcept = default;
    PrefixIndex& operator=(PrefixIndex&& other) noexcept {
        if (this == &other) return *this;
        most_ = other.most_;
        block_ = other.block_;
        hash_ = other.hash_;
        entries_ = std::move(other.entries_);
        blocks_ = std::move(other.blocks_);
        return *this;
    }

    /// The longest stored prefix of `prompt` under `salt`. Touches the entry it found.
    PrefixMatch match(Tokens prompt, std::string_view salt = {}) {
        const BusyFlag::Hold hold(busy_, in_use);
        return find(prompt, salt).match;
    }
    /// Takes the longest stored prefix over into an empty session of the same kind: its caches are
    /// replaced by a branch, its context (executor, hooks) stays. What is left of the prompt must
    /// still be fed. Error{bad_state} if it holds tokens, model_mismatch if it is of another model
    /// or computes in another mode.
    PrefixMatch take(Tokens prompt, S& session, std::string_view salt = {}) {
        const BusyFlag::Hold hold(busy_, in_use);
        const auto target = session.exclusive();
        require(session.position() == 0, ErrorCode::bad_state, "prefix index: the session holds ",
                session.position(), " tokens");
        check_kind(session);
        Found found = find(prompt, salt);
        if (found.match.tokens == 0) return found.match;
        S& stored = found.entry->session;
        require(stored.context().compute == session.context().compute &&
                    stored.context().attention == session.context().attention,
                ErrorCode::model_mismatch,
                "prefix index: the prompt was computed in another mode (fast, accurate) than the "
                "session's");
        S branch = stored.fork();
        branch.truncate(found.match.tokens);
        Context context = std::move(session.context());
        session = std::move(branch);
        session.context() = std::move(context);
        return found.match;
    }
    /// Stores a branch of the session under its tokens: all that it holds. A stored text that this
    /// one begins with is replaced; one that begins with this one is enough. The least recently
    /// used entry that is not pinned makes room. Error{capacity} if all are pinned,
    /// model_mismatch, bad_state if the session forgot tokens in its middle (drop, shift): it
    /// answers otherwise than its tokens would, invalid_argument.
    void insert(const S& session, Tokens tokens, std::string_view salt = {}) {
        const BusyFlag::Hold hold(busy_, in_use);
        require(static_cast<int>(tokens.size()) == session.position() && !tokens.empty(),
                ErrorCode::invalid_argument, "prefix index: ", tokens.size(),
                " tokens for a session that holds ", session.position());
        require(!session.edited(), ErrorCode::bad_state,
                "prefix index: the session forgot tokens in its middle");
        check_kind(session);
        const std::uint64_t root = root_of(salt);
        const auto same = [&](const Entry& e) { return e.root == root && e.salt == salt; };
        const auto begins = [&](const Entry& e) {  // this text begins with that one
            return same(e) && e.pins == 0 && common(e.tokens, tokens) == e.tokens.size();
        };
        for (auto it = entries_.begin(); it != entries_.end(); ++it)
            if (same(*it) && common(it->tokens, tokens) == tokens.size()) {
                entries_.splice(entries_.begin(), entries_, it);
                return;
            }
        const auto replaced =
            static_cast<std::size_t>(std::count_if(entries_.begin(), entries_.end(), begins));
        auto oldest = entries_.end();  // who makes room, if somebody must
        if (entries_.size() - replaced == most_) {
            for (auto it = entries_.begin(); it != entries_.end(); ++it)
                if (it->pins == 0) oldest = it;
            require(oldest != entries_.end(), ErrorCode::capacity, "prefix index: all ", most_,
                    " entries are pinned");
        }
        Entries fresh;
        fresh.push_front(
            {session.fork(), {tokens.begin(), tokens.end()}, std::string(salt), root, 0});
        add_blocks(fresh.begin());
        // Nothing fails from here on.
        if (oldest != entries_.end()) erase(oldest);
        for (auto it = entries_.begin(); it != entries_.end();)
            it = begins(*it) ? erase(it) : std::next(it);
        entries_.splice(entries_.begin(), fresh);
    }
    /// Keeps the entry that holds `tokens` exactly from being evicted, or lets it go again. False
    /// if there is none.
    bool pin(Tokens tokens, std::string_view salt = {}) { return change_pins(tokens, salt, 1); }
    /// Undoes one `pin`.
    bool unpin(Tokens tokens, std::string_view salt = {}) { return change_pins(tokens, salt, -1); }
    /// Evicts the least recently used entry that is not pinned; false if there is none. For
    /// budgets.
    bool evict() {
        const BusyFlag::Hold hold(busy_, in_use);
        for (auto it = entries_.end(); it != entries_.begin();)
            if ((--it)->pins == 0) {
                erase(it);
                return true;
            }
        return false;
    }
    std::size_t size() const {
        const BusyFlag::Share share(busy_, in_use);
        return entries_.size();
    }

    /// The default hash: the parent, the count and the tokens.
    static std::uint64_t chain(std::uint64_t parent, Tokens block) {
        Fingerprint f;
        f.add(parent);
        f.add(block.data(), block.size_bytes());
        return f.value();
    }

  private:
    struct Entry {
        S session;
        std::vector<Token> tokens;
        std::string salt;
        std::uint64_t root;
        int pins;
    };
    using Entries = std::list<Entry>;  // most recently used first
    struct Place {
        typename Entries::iterator entry;
        std::size_t at;  // of the block in its text
    };
    struct Found {
        PrefixMatch match;
        typename Entries::iterator entry;
    };

    static constexpr const char* in_use = "the prefix index";
    void check_kind(const S& session) const {
        require(entries_.empty() ||
                    entries_.front().session.model_identity() == session.model_identity(),
                ErrorCode::model_mismatch, "prefix index: the session belongs to another model");
    }
    std::size_t block() const noexcept { return static_cast<std::size_t>(block_); }
    std::uint64_t root_of(std::string_view salt) const {
        Fingerprint f;
        f.add(salt);
        return f.value();
    }
    static std::size_t common(Tokens a, Tokens b) noexcept {
        const std::size_t n = std::min(a.size(), b.size());
        return static_cast<std::size_t>(
            std::mismatch(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n), b.begin()).first -
            a.begin());
    }
    Found find(Tokens prompt, std::string_view salt) {
        Found best{{}, entries_.end()};
        std::size_t most = 0;
        const auto consider = [&](typename Entries::iterator entry) {
            if (entry->salt != salt) return;
            const std::size_t shared = common(entry->tokens, prompt);  // never the hash alone
            if (shared > most || best.entry == entries_.end()) {
                most = shared;
                best.entry = entry;
            }
        };
        // The deepest block whose chain is known leads to the entries worth comparing.
        const std::uint64_t root = root_of(salt);
        std::vector<std::uint64_t> hashes;
        std::uint64_t hash = root;
        for (std::size_t at = 0; at + block() <= prompt.size(); at += block()) {
            hash = hash_(hash, prompt.subspan(at, block()));
            if (blocks_.find(hash) == blocks_.end()) break;
            hashes.push_back(hash);
        }
        // An entry that shares less than its chain claims is a collision: shorter chains are asked
        // too.
        for (; !hashes.empty() && most < hashes.size() * block(); hashes.pop_back()) {
            const auto [begin, end] = blocks_.equal_range(hashes.back());
            for (auto it = begin; it != end; ++it) consider(it->second.entry);
        }
        // A hit inside the first block has no hash.
        if (most < block())
            for (auto it = entries_.begin(); it != entries_.end(); ++it) consider(it);
        PrefixMatch& match = best.match;
        const bool any = best.entry != entries_.end() && best.entry->salt == salt;
        if (!any) {
            match.miss_reason = MissReason::empty;
            return best;
        }
        match.tokens = static_cast<int>(std::min(most, prompt.empty() ? 0 : prompt.size() - 1));
        if (most + 1 >= prompt.size()) return touch(best);
        match.first_difference = static_cast<int>(most);
        match.wanted = prompt[most];
        if (most == best.entry->tokens.size()) {
            match.miss_reason = MissReason::stored_ends;
        } else {
            match.stored = best.entry->tokens[most];
            match.miss_reason = most == 0 ? MissReason::no_prefix : MissReason::diverged;
        }
        return touch(best);
    }
    Found touch(const Found& found) {
        if (found.match.tokens > 0) entries_.splice(entries_.begin(), entries_, found.entry);
        return found;
    }
    // The hashes of an entry's blocks; all of them or, if that fails, none.
    void add_blocks(typename Entries::iterator entry) {
        try {
            const Tokens tokens = entry->tokens;
            std::uint64_t hash = entry->root;
            for (std::size_t at = 0; at + block() <= tokens.size(); at += block()) {
                hash = hash_(hash, tokens.subspan(at, block()));
                blocks_.emplace(hash, Place{entry, at});
            }
        } catch (...) {
            erase_blocks(entry);
            throw;
        }
    }
    void erase_blocks(typename Entries::iterator entry) noexcept {
        for (auto it = blocks_.begin(); it != blocks_.end();)
            it = it->second.entry == entry ? blocks_.erase(it) : std::next(it);
    }
    typename Entries::iterator erase(typename Entries::iterator entry) noexcept {
        erase_blocks(entry);
        return entries_.erase(entry);
    }
    bool change_pins(Tokens tokens, std::string_view salt, int by) {
        const BusyFlag::Hold hold(busy_, in_use);
        for (Entry& entry : entries_)
            if (entry.salt == salt && entry.tokens.size() == tokens.size() &&
                common(entry.tokens, tokens) == tokens.size()) {
                entry.pins = std::max(0, entry.pins + by);
                return true;
            }
        return false;
    }

    std::size_t most_;
    int block_;
    Hash hash_;
    Entries entries_;
    std::unordered_multimap<std::uint64_t, Place> blocks_;
    mutable BusyFlag busy_;
};

}}  // namespace cairn
