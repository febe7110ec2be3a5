// Sessions on disk: the text, every layer's cache, the sampler and its random state, bound to the
// model that made them. Loading gives the same bits as never having stopped, into any capacity,
// store, block size and thread count.
//
//   "CAIRNSES", version u32, checksum of the twelve bytes u32; then blocks [size u32][bytes]
//   [checksum u64] until a block of size 0; nothing may follow. All numbers little-endian. Every
//   checksum covers what came before it: a changed bit, a missing or a moved block is found.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/cache/archive.hpp"
#include "cairn/core/fingerprint.hpp"
#include "cairn/generate/sampler_steps.hpp"
#include "cairn/io/file.hpp"
#include "cairn/io/model_file.hpp"
#include "cairn/models/session.hpp"

namespace cairn::inline CAIRN_ABI {

/// What a session is besides its caches.
struct SessionText {
    std::vector<Token> tokens;  ///< fed and sampled; those past the position wait to be fed
    SamplingSettings sampling{};
    std::array<std::uint64_t, 4> random{};
};

/// What a session file is bound to. Everything must be equal to load it.
struct SessionOwner {
    std::uint64_t weights = 0;
    std::uint64_t tokenizer = 0;
    Compute compute = Compute::fast;

    /// Of a loaded model: one pass over weights and vocabulary.
    static SessionOwner of(const LoadedModel& loaded, Compute compute) {
        Fingerprint words;
        if (loaded.tokenizer)
            for (std::size_t id = 0; id < loaded.tokenizer->size(); ++id) {
                const Token token = static_cast<Token>(id);
                words.add(loaded.tokenizer->decode({&token, 1}, SpecialTokens::recognised));
            }
        return {loaded.model.fingerprint(), words.value(), compute};
    }
};

namespace detail {

inline constexpr std::string_view session_magic = "CAIRNSES";
inline constexpr std::uint32_t session_version = 2;

class SessionWriter final : public CacheArchive {
  public:
    explicit SessionWriter(const std::string& path) : file_(path) {
        std::array<std::byte, 16> head{};
        std::memcpy(head.data(), session_magic.data(), 8);
        std::memcpy(head.data() + 8, &session_version, 4);
        hash_.add(head.data(), 12);
        const auto check = static_cast<std::uint32_t>(hash_.value());
        std::memcpy(head.data() + 12, &check, 4);
        file_.write(head);
        block_.reserve(most);
    }
    bool loading() const noexcept override { return false; }
    using CacheArchive::number;
    void number(std::string_view, std::int64_t& value, std::int64_t, std::int64_t) override {
        bytes(&value, 8);
    }
    void bytes(void* data, std::size_t size) override {
        const auto* at = static_cast<const std::byte*>(data);
        while (size > 0) {
            const std::size_t n = std::min(size, most - block_.size());
            block_.insert(block_.end(), at, at + n);
            at += n;
            size -= n;
            if (block_.size() == most) flush();
        }
    }
    void finish(OutputFile::Durability durability) {
        if (!block_.empty()) flush();
        flush();
        file_.finish(durability);
    }

  private:
    static constexpr std::size_t most = std::size_t{1} << 16;
    void flush() {
        const auto size = static_cast<std::uint32_t>(block_.size());
        hash_.add(size);
        hash_.add(block_.data(), block_.size());
        const std::uint64_t check = hash_.value();
        const auto* s = reinterpret_cast<const std::byte*>(&size);
        const auto* c = reinterpret_cast<const std::byte*>(&check);
        block_.insert(block_.begin(), s, s + 4);
        block_.insert(block_.end(), c, c + 8);
        file_.write(block_);
        block_.clear();
    }
    OutputFile file_;
    Fingerprint hash_;
    std::vector<std::byte> block_;
};

class SessionReader final : public CacheArchive {
  public:
    explicit SessionReader(const std::string& path) : file_(path) {
        std::array<std::byte, 16> head{};
        require(file_.size() >= head.size(), ErrorCode::bad_file, path, ": ", file_.size(),
                " bytes are no session file");
        file_.read(0, head);
        at_ = head.size();
        require(std::memcmp(head.data(), session_magic.data(), 8) == 0, ErrorCode::bad_file, path,
                ": not a session file");
        std::uint32_t version = 0;
        std::uint32_t check = 0;
        std::memcpy(&version, head.data() + 8, 4);
        std::memcpy(&check, head.data() + 12, 4);
        hash_.add(head.data(), 12);
        require(check == static_cast<std::uint32_t>(hash_.value()), ErrorCode::bad_file, path,
                ": the header's checksum is wrong");
        require(version == session_version, ErrorCode::bad_file, path, ": version ", version,
                "; this library reads ", session_version);
    }
    bool loading() const noexcept override { return true; }
    using CacheArchive::number;
    void number(std::string_view what, std::int64_t& value, std::int64_t least,
                std::int64_t most) override {
        bytes(&value, 8);
        require(value >= least && value <= most, ErrorCode::bad_file, file_.path(), ": ", what, " ",
                value, " is not in ", least, "..", most);
    }
    void bytes(void* data, std::size_t size) override {
        auto* to = static_cast<std::byte*>(data);
        while (size > 0) {
            if (used_ == block_.size()) next();
            const std::size_t n = std::min(size, block_.size() - used_);
            std::memcpy(to, block_.data() + used_, n);
            used_ += n;
            to += n;
            size -= n;
        }
    }
    /// The file must end here.
    void finish() {
        require(used_ == block_.size() && !ended_, ErrorCode::bad_file, file_.path(),
                ": holds more than a session");
        read_block();
        require(ended_ && at_ == file_.size(), ErrorCode::bad_file, file_.path(), ": ",
                file_.size() - at_, " bytes behind the end");
    }
    const std::string& path() const noexcept { return file_.path(); }
    /// Bytes that are left: no count in the file may ask for more.
    std::int64_t left() const noexcept {
        return static_cast<std::int64_t>(file_.size() - at_ + block_.size() - used_);
    }

  private:
    void next() {
        read_block();
        require(!ended_, ErrorCode::bad_file, file_.path(), ": ends early");
    }
    void read_block() {
        std::uint32_t size = 0;
        std::uint64_t check = 0;
        read(&size, 4);
        require(size <= 1U << 16, ErrorCode::bad_file, file_.path(), ": a block of ", size,
                " bytes at ", at_ - 4);
        block_.resize(size);
        read(block_.data(), size);
        read(&check, 8);
        hash_.add(size);
        hash_.add(block_.data(), block_.size());
        require(check == hash_.value(), ErrorCode::bad_file, file_.path(),
                ": wrong checksum before byte ", at_);
        used_ = 0;
        ended_ = size == 0;
    }
    void read(void* to, std::size_t size) {
        require(size <= file_.size() - at_, ErrorCode::bad_file, file_.path(), ": ends at byte ",
                file_.size(), ", inside a block");
        file_.read(at_, {static_cast<std::byte*>(to), size});
        at_ += size;
    }
    InputFile file_;
    Fingerprint hash_;
    std::size_t at_ = 0;
    std::vector<std::byte> block_;
    std::size_t used_ = 0;
    bool ended_ = false;
};

// A number that must be equal on both sides; the error names it.
inline void bound(CacheArchive& a, std::string_view what, std::uint64_t mine) {
    auto value = static_cast<std::int64_t>(mine);
    a.number(what, value, std::numeric_limits<std::int64_t>::min(),
             std::numeric_limits<std::int64_t>::max());
    require(value == static_cast<std::int64_t>(mine), ErrorCode::model_mismatch,
            "the session belongs to another ", what);
}
inline std::uint64_t word(std::string_view text) {
    Fingerprint f;
    f.add(text);
    return f.value();
}
template <class Number>
void plain(CacheArchive& a, Number& value) {
    a.bytes(&value, sizeof value);
}

template <class S>
void archive_session(CacheArchive& a, S& session, SessionText& text, const SessionOwner& owner,
                     std::int64_t bytes_left) {
    const auto& model = session.model();
    bound(a, "numerics version of the library", numerics_version);
    bound(a, "architecture", word(model.architecture()));
    bound(a, "number of layers", static_cast<std::uint64_t>(model.layers()));
    bound(a, "width", static_cast<std::uint64_t>(model.width()));
    bound(a, "vocabulary", static_cast<std::uint64_t>(model.vocabulary()));
    for (int layer = 0; layer < model.layers(); ++layer) {
        const HeadLayout& l = model.layout(layer);
        for (const int n : {l.heads, l.kv_heads, l.key_dim, l.value_dim})
            bound(a, "head layout", static_cast<std::uint64_t>(n));
    }
    bound(a, "compute mode", static_cast<std::uint64_t>(owner.compute));
    bound(a, "tokenizer", owner.tokenizer);
    bound(a, "set of weights", owner.weights);

    auto count = static_cast<std::int64_t>(text.tokens.size());
    auto position = static_cast<std::int64_t>(session.position());
    auto logits = static_cast<std::int64_t>(session.logits().size());
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
    std::vector<float> row(session.logits().begin(), session.logits().end());
    row.resize(static_cast<std::size_t>(logits));
    a.bytes(row.data(), row.size() * sizeof(float));
    require(kernels::active().all_finite(row.data(), static_cast<std::ptrdiff_t>(row.size())),
            ErrorCode::bad_file, "session: a logit is not finite");
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
        a.number("biased token", id, 0, model.vocabulary() - 1);
        plain(a, bias);
    }
    plain(a, text.random);
    for (int layer = 0; layer < model.layers(); ++layer) {
        auto& cache = session.layer_cache(layer);
        cache.archive(a);
        require(!a.loading() || cache.committed() == position, ErrorCode::bad_file,
                "session: layer ", layer, " holds ", cache.committed(), " tokens of ", position);
    }
    if (a.loading()) session.restore(static_cast<int>(position), std::move(row));
}

}  // namespace detail

/// Writes a session: atomically and durably. Throws Error{io, unsupported, bad_state}; an old file
/// of that name is then untouched.
template <class S>
void save_session(const std::string& path, S& session, const SessionText& text,
                  const SessionOwner& owner,
                  OutputFile::Durability durability = OutputFile::Durability::machine) {
    const auto hold = session.exclusive();
    require(text.tokens.size() >= static_cast<std::size_t>(session.position()),
            ErrorCode::invalid_argument, "save_session: ", text.tokens.size(),
            " tokens of text, but the session holds ", session.position());
    detail::SessionWriter writer(path);
    SessionText copy = text;
    detail::archive_session(writer, session, copy, owner, 0);
    writer.finish(durability);
}

/// Fills an empty session from a file and returns its text. Throws Error{io, bad_file,
/// model_mismatch, capacity, bad_state}; the session is then empty. Load into a new session and put
/// it in the place of a live one afterwards: what fails never touches the live one.
template <class S>
SessionText load_session(const std::string& path, S& session, const SessionOwner& owner) {
    const auto hold = session.exclusive();
    require(session.position() == 0, ErrorCode::bad_state, "load_session: the session holds ",
            session.position(), " tokens; load into an empty one");
    SessionText text;
    try {
        detail::SessionReader reader(path);
        detail::archive_session(reader, session, text, owner, reader.left());
        reader.finish();
    } catch (...) {
        for (int layer = 0; layer < session.model().layers(); ++layer)
            session.layer_cache(layer).clear();
        session.restore(0, {});
        throw;
    }
    return text;
}

}  // namespace cairn::inline CAIRN_ABI
