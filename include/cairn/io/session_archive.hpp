// Sessions on disk: the text, every layer's cache, the sampler and its random state, bound to the
// model that made them. Loading gives the same bits as never having stopped, into any capacity,
// store, block size and thread count. session_stream.hpp says what the bytes are. Version 3 names
// the parts of a model that a session is bound to; files of version 2 still load.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/cache/seam/archive.hpp"
#include "cairn/core/fingerprint.hpp"
#include "cairn/generate/limits.hpp"
#include "cairn/generate/sampler_steps.hpp"
#include "cairn/io/session_owner.hpp"
#include "cairn/io/session_stream.hpp"
#include "cairn/models/session.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What a session is besides its caches.
struct SessionText {
    std::vector<Token> tokens;  ///< fed and sampled; those past the position wait to be fed
    SamplingSettings sampling{};
    /// Of the sampler's generator. All zeros stand for that of the settings' seed.
    std::array<std::uint64_t, 4> random = Random().state();

    /// What a session at `position` was not fed yet: its prompt when it goes on.
    /// Error{invalid_argument} if the text ends before.
    Tokens waiting(int position) const { return Tokens(tokens).subspan(fed(position)); }
    /// The limits for going on: samplers see the text, and what waits is no prompt of its own.
    /// Error as of waiting().
    Limits limits(int position, Limits own = {}) const {
        const auto end = tokens.begin() + static_cast<std::ptrdiff_t>(fed(position));
        own.history.assign(tokens.begin(), end);
        own.resumed = static_cast<std::size_t>(tokens.end() - end);
        return own;
    }

  private:
    std::size_t fed(int position) const {
        require(position >= 0 && static_cast<std::size_t>(position) <= tokens.size(),
                ErrorCode::invalid_argument, "a text of ", tokens.size(),
                " tokens for a session that holds ", position);
        return static_cast<std::size_t>(position);
    }
};

namespace internal {

inline std::uint64_t word(std::string_view text) {
    Fingerprint f;
    f.add(text);
    return f.value();
}
template <class Number>
void plain(CacheArchive& a, Number& value) {
    a.bytes(&value, sizeof value);
}

// The model: everything must be equal.
template <class Model>
void archive_owner(CacheArchive& a, const Model& model, int capacity, const SessionOwner& owner,
                   bool parts) {
    bound(a, "numerics version of the library", numerics_version);
    bound(a, "architecture", word(model.architecture()));
    bound(a, "number of layers", static_cast<std::uint64_t>(model.layers()));
    bound(a, "width", static_cast<std::uint64_t>(model.width()));
    bound(a, "vocabulary", static_cast<std::uint64_t>(model.vocabulary()));
    for (int layer = 0; layer < model.layers(); ++layer) {
        const HeadLayout& l = model.layout(layer);
        for (const int n : {l.heads, l.kv_heads, l.key_dim, l.value_dim})
            bound(a, "head layout", static_cast<std::uint64_t>(n));
        // Of two rotations the rows know one.
        if (l.near > 0)
            bound(a, "side of its rotation's two capacities", capacity > l.near ? 1 : 0);
    }
    // One number for both modes: files from before there was a choice for attention are accurate.
    bound(a, "compute mode",
          static_cast<std::uint64_t>(owner.compute) +
              (owner.attention == Compute::fast ? std::uint64_t{2} : 0));
    if (parts) bound_parts(a, owner.parts);
    bound(a, "tokenizer", owner.tokenizer);
    bound(a, "set of weights", owner.weights);
}

inline void archive_sampling(CacheArchive& a, SessionText& text, int vocabulary,
                             std::int64_t bytes_left) {
    SamplingSettings& s = text.sampling;
    plain(a, s.temperature);
    plain(a, s.top_k);
    plain(a, s.top_p);
    plain(a, s.min_p);
    plain(a, s.typical_p);
    plain(a, s.repetition_penalty);
    plain(a, s.presence_penalty);
    plain(a, s.frequency_penalty);
    plain(a, s.seed);
    auto biases = static_cast<std::int64_t>(s.logit_bias.size());
    a.number("number of logit biases", biases, 0, a.loading() ? bytes_left / 8 : biases);
    s.logit_bias.resize(static_cast<std::size_t>(biases));
    for (auto& [id, bias] : s.logit_bias) {
        a.number("biased token", id, 0, vocabulary - 1);
        plain(a, bias);
    }
    plain(a, text.random);
}
inline bool no_random(const SessionText& text) {
    return text.random == std::array<std::uint64_t, 4>{};
}
// What a sampler would refuse is refused with the code of whoever brings it.
inline void check_sampling(const SamplingSettings& s, ErrorCode code, std::string_view where) {
    try {
        temperature(s.temperature);
        top_k(s.top_k);
        top_p(s.top_p);
        min_p(s.min_p);
        typical_p(s.typical_p);
        penalties(s.repetition_penalty, s.presence_penalty, s.frequency_penalty);
        logit_bias(s.logit_bias);
    } catch (const Error& error) {
        fail(code, where, ": ", error.what());
    }
}

// Everything of a session but its caches. `session` is only read.
template <class S>
void archive_text(CacheArchive& a, const S& session, SessionText& text, std::int64_t& position,
                  std::vector<float>& row, std::int64_t bytes_left) {
    const auto& model = session.model();
    auto count = static_cast<std::int64_t>(text.tokens.size());
    auto logits = static_cast<std::int64_t>(row.size());
    a.number("number of tokens", count, 0, a.loading() ? bytes_left / 4 : count);
    a.number("position", position, 0, count);
    a.number("number of logits", logits, 0, a.loading() ? model.vocabulary() : logits);
    require(logits == 0 || logits == model.vocabulary(), ErrorCode::bad_file, "session: ", logits,
            " logits for a vocabulary of ", model.vocabulary());
    text.tokens.resize(static_cast<std::size_t>(count));
    a.bytes(text.tokens.data(), text.tokens.size() * sizeof(Token));
    for (const Token token : text.tokens)
        require(token >= 0 && token < model.vocabulary(), ErrorCode::bad_file, "session: token ",
                token, " is not in 0..", model.vocabulary() - 1);
    row.resize(static_cast<std::size_t>(logits));
    a.bytes(row.data(), row.size() * sizeof(float));
    require(kernels::active().all_finite(row.data(), static_cast<std::ptrdiff_t>(row.size())),
            ErrorCode::bad_file, "session: a logit is not finite");
    archive_sampling(a, text, model.vocabulary(), bytes_left);
}

// Every layer's cache, or the layer that it follows: the same in all sessions of a model.
template <class Cache>
void archive_layer(CacheArchive& a, CacheSet<Cache>& caches, int layer) {
    const int leader = caches.leader(layer);
    if (leader == layer)
        caches[layer].archive(a);
    else
        bound(a, "layer whose cache another one attends", static_cast<std::uint64_t>(leader));
}

// Caches to load into, with nothing in them: what fails has not touched those of the session. A
// cache that cannot be copied is loaded into where it is, and emptied again if that fails.
template <class S>
class FreshCaches {
    using Cache = typename S::CacheType;
    static constexpr bool copies = requires(const Cache& cache) { Cache(cache.copy()); } &&
                                   std::is_nothrow_move_assignable_v<Cache>;

  public:
    explicit FreshCaches(S& session) : session_(session) {
        if constexpr (copies)
            fresh_ = session.caches().branch([](const Cache& cache) { return cache.copy(); });
    }
    FreshCaches(const FreshCaches&) = delete;
    FreshCaches& operator=(const FreshCaches&) = delete;
    ~FreshCaches() {
        if constexpr (!copies)
            if (!kept_)
                for (Cache& cache : session_.caches()) cache.clear();
    }
    CacheSet<Cache>& caches() {
        if constexpr (copies)
            return fresh_;
        else
            return session_.caches();
    }
    // Puts them in the place of the session's.
    void keep() noexcept {
        kept_ = true;
        if constexpr (copies) std::move(fresh_.begin(), fresh_.end(), session_.caches().begin());
    }

  private:
    S& session_;
    CacheSet<Cache> fresh_;
    bool kept_ = false;
};

}  // namespace internal

/// Writes a session, whose context computes in the owner's modes: atomically and durably. Throws
/// Error{io, unsupported, bad_state}, and Error{invalid_argument} for settings that no sampler
/// takes; an old file of that name is then untouched.
template <class S>
void save_session(const std::string& path, S& session, const SessionText& text,
                  const SessionOwner& owner,
                  OutputFile::Durability durability = OutputFile::Durability::machine) {
    const auto hold = session.exclusive();
    require(text.tokens.size() >= static_cast<std::size_t>(session.position()),
            ErrorCode::invalid_argument, "save_session: ", text.tokens.size(),
            " tokens of text, but the session holds ", session.position());
    internal::check_sampling(text.sampling, ErrorCode::invalid_argument, "save_session");
    SessionText copy = text;
    if (internal::no_random(copy)) copy.random = Random(copy.sampling.seed).state();
    auto position = static_cast<std::int64_t>(session.position());
    std::vector<float> logits(session.logits().begin(), session.logits().end());
    internal::SessionWriter writer(path);
    internal::archive_owner(writer, session.model(), session.made_for(), owner, true);
    internal::archive_text(writer, session, copy, position, logits, 0);
    for (int layer = 0; layer < session.model().layers(); ++layer)
        internal::archive_layer(writer, session.caches(), layer);
    writer.finish(durability);
}

/// Fills an empty session from a file and returns its text. Throws Error{io, bad_file,
/// model_mismatch, capacity, bad_state}; the session is then as it was. Load into a new session and
/// put it in the place of a live one afterwards: what fails never touches the live one.
template <class S>
SessionText load_session(const std::string& path, S& session, const SessionOwner& owner) {
    const auto hold = session.exclusive();
    require(session.position() == 0, ErrorCode::bad_state, "load_session: the session holds ",
            session.position(), " tokens; load into an empty one");
    internal::SessionReader reader(path);
    SessionText text;
    std::int64_t position = 0;
    std::vector<float> logits;
    internal::archive_owner(reader, session.model(), session.made_for(), owner,
                            reader.version() >= 3);
    internal::archive_text(reader, session, text, position, logits, reader.left());
    internal::check_sampling(text.sampling, ErrorCode::bad_file, path);
    require(reader.version() < 3 || !internal::no_random(text), ErrorCode::bad_file, path,
            ": the random state is all zeros");
    // Files of old versions hold zeros where there was no sampler.
    if (internal::no_random(text)) text.random = Random(text.sampling.seed).state();
    internal::FreshCaches fresh(session);
    for (int layer = 0; layer < session.model().layers(); ++layer) {
        internal::archive_layer(reader, fresh.caches(), layer);
        const auto& cache = fresh.caches()[layer];
        require(cache.committed() == position && cache.length() == position, ErrorCode::bad_file,
                "session: layer ", layer, " holds ", cache.committed(), " tokens of ", position);
    }
    reader.finish();
    const int room =
        internal::capacity_with(session.model(), session.capacity(), *fresh.caches().begin());
    require(position <= room, ErrorCode::capacity, "session: ", position, " tokens; ", room,
            " fit");
    fresh.keep();
    session.restore(static_cast<int>(position), std::move(logits));
    return text;
}

}}  // namespace cairn
