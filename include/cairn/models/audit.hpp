// What a cache costs in quality: any cache beside a plain f32 one, on a text. Logits are compared
// on two sessions; attention outputs layer by layer on the same queries, so that one layer's error
// does not hide in another's; rows by their age.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "cairn/cache/any_cache.hpp"
#include "cairn/core/fp_environment.hpp"
#include "cairn/models/session.hpp"
#include "cairn/numeric/elementary.hpp"
#include "cairn/numeric/log_probability.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Sums over rows of logits: how far `b` is from `a`.
struct Divergence {
    double kl = 0.0;  ///< sum of KL(a || b), nats
    double most = 0.0;
    std::size_t rows = 0;
    std::size_t same_best = 0;

    void add(std::span<const float> a, std::span<const float> b) {
        const FpEnvironment environment;
        const auto best = [](std::span<const float> x) {
            return static_cast<std::size_t>(std::max_element(x.begin(), x.end()) - x.begin());
        };
        const double a_most = a[best(a)];
        const double b_most = b[best(b)];
        same_best += best(a) == best(b) ? 1 : 0;
        double a_sum = 0.0;
        double b_sum = 0.0;
        for (std::size_t i = 0; i < a.size(); ++i) {
            a_sum += elementary::exp(double{a[i]} - a_most);
            b_sum += elementary::exp(double{b[i]} - b_most);
        }
        const double shift = elementary::log(b_sum / a_sum) + b_most - a_most;
        double row = 0.0;
        for (std::size_t i = 0; i < a.size(); ++i)
            row = std::fma(elementary::exp(double{a[i]} - a_most) / a_sum,
                           double{a[i]} - double{b[i]} + shift, row);
        kl += row;
        most = std::max(most, row);
        ++rows;
    }
    double mean_kl() const noexcept { return rows > 0 ? kl / static_cast<double>(rows) : 0.0; }
    double agreement() const noexcept {
        return rows > 0 ? static_cast<double>(same_best) / static_cast<double>(rows) : 1.0;
    }
};

/// Squared sums of differences and of what they differ from.
struct RelativeError {
    double difference = 0.0;
    double size = 0.0;
    void add(float wanted, float got) {
        const double d = double{wanted} - double{got};
        difference = std::fma(d, d, difference);
        size = std::fma(double{wanted}, double{wanted}, size);
    }
    /// |wanted - got| / |wanted|.
    double value() const noexcept { return size > 0.0 ? std::sqrt(difference / size) : 0.0; }
};

/// What an audit found.
struct Audit {
    static constexpr int ages = 8;  ///< below 16, 64, 256, 1024, 4096, 16384, 65536 tokens, older
    std::size_t tokens = 0;
    std::size_t scored = 0;  ///< tokens predicted
    double nll_plain = 0.0;  ///< mean, nats
    double nll = 0.0;
    Divergence logits;
    /// Outputs by layer, together with those of the layers that follow it.
    std::vector<RelativeError> attention;
    std::array<RelativeError, ages> keys{};  ///< by age of the row, all layers
    std::array<RelativeError, ages> values{};
    std::size_t bytes = 0;  ///< of the audited caches at the end

    double perplexity() const { return elementary::exp(nll); }
    double perplexity_plain() const { return elementary::exp(nll_plain); }
    static int age_class(int age) noexcept {
        int c = 0;
        for (int limit = 16; c + 1 < ages && age >= limit; limit *= 4) ++c;
        return c;
    }
};

namespace internal {

/// Rows of floats, of the kinds that another cache wants.
struct FloatRowsOf {
    RowsWanted wanted;
    StreamPlan plan(const StreamShape& shape) const {
        StreamPlan plan;
        const bool from_keys = !shape.keys && !wanted.values;
        if (!from_keys) plan = StreamPlan(float_rows());
        if (shape.keys || from_keys || wanted.factored != nullptr) plan.kind = wanted.keys;
        plan.factored = wanted.factored;
        plan.made = &float_rows();
        plan.leading = from_keys && wanted.keys == RowKind::ready;
        return plan;
    }
};
/// An exact cache of the rows that the candidate wants.
inline AnyCache plain_beside(const AnyCache& candidate) {
    const FloatRowsOf rows{candidate.rows_wanted()};
    return KvCache<Contiguous<FloatRowsOf>>(candidate.layout(), candidate.capacity(), {rows, rows});
}

/// A plain cache that attention reads, and a candidate beside it that attends with the same
/// queries.
class ShadowedCache {
  public:
    ShadowedCache(AnyCache candidate, RelativeError& error)
        : plain_(plain_beside(candidate)), candidate_(std::move(candidate)), error_(&error) {}

    void stage(TokenRows k, TokenRows v) {
        plain_.stage(k, v);
        try {
            candidate_.stage(k, v);
        } catch (...) {
            plain_.rollback();
            throw;
        }
    }
    void commit(int rows) noexcept {
        plain_.commit(rows);
        candidate_.commit(rows);
    }
    void rollback() noexcept { commit(0); }
    bool commits_part() const noexcept { return candidate_.commits_part(); }
    void clear() {
        plain_.clear();
        candidate_.clear();
    }
    bool can_truncate(int rows) const {
        return plain_.can_truncate(rows) && candidate_.can_truncate(rows);
    }
    void truncate(int rows) {
        candidate_.truncate(rows);
        plain_.truncate(rows);
    }
    void expect_prompt(int end) { candidate_.expect_prompt(end); }
    void runs(int head, RunList& keys, RunList& values) const { plain_.runs(head, keys, values); }
    RowsWanted rows_wanted() const { return candidate_.rows_wanted(); }
    void bind(const ShadowedCache& before) noexcept { candidate_.bind(before.candidate_); }
    int committed() const { return plain_.committed(); }
    int length() const { return plain_.length(); }
    int capacity() const { return plain_.capacity(); }
    int max_rows() const { return std::min(plain_.max_rows(), candidate_.max_rows()); }
    HeadLayout layout() const { return plain_.layout(); }
    std::size_t bytes() const { return candidate_.bytes(); }
    std::size_t payload_bytes(int rows) const { return candidate_.payload_bytes(rows); }

    void on_attended(const Attended& done) {
        const Queries& q = *done.queries;
        const int width = done.heads * layout().value_dim;
        std::vector<float> out(static_cast<std::size_t>(q.rows * width));
        attend(candidate_.ref(), q, *done.parameters, done.heads, out.data(), width, *done.context);
        for (int r = 0; r < q.rows; ++r)
            for (int i = 0; i < width; ++i)
                error_->add(done.out[r * done.out_stride + i],
                            out[static_cast<std::size_t>(r * width + i)]);
    }
    // Rows as the next query would read them, by age.
    void compare_rows(Audit& audit) const {
        const int next = committed();
        for (int h = 0; h < layout().kv_heads; ++h) {
            OwnRuns exact(plain_.most_runs());
            OwnRuns other(candidate_.most_runs());
            plain_.runs(h, exact.keys, exact.values);
            candidate_.runs(h, other.keys, other.values);
            for (int s = 0; s < 2; ++s) {
                const RunList& runs = s == 0 ? other.keys : other.values;
                int dims = s == 0 ? layout().key_dim : layout().value_dim;
                if (runs.size() > 0 && runs[0].kind == RowKind::input) dims = runs[0].dims;
                std::vector<float> wanted(static_cast<std::size_t>(dims));
                std::vector<float> got(wanted);
                RowReader reader;
                OwnScratch scratch;
                for (const Run& run : runs) {
                    const SeenRows seen = visible(run, Run::forever, next, run.begin, run.end);
                    for (int row = seen.begin; row < seen.end; ++row) {
                        const int position =
                            run.positions != nullptr ? run.positions[row] : row + run.offset;
                        if (position < 0) continue;  // evicted at the prompt's end just now
                        const Run& plain = (s == 0 ? exact.keys : exact.values)[0];
                        plain.codec->decode(plain.rows(position, position + 1), dims, wanted.data(),
                                            dims);
                        run.codec->decode(reader.at(run, row), dims, got.data(), dims,
                                          scratch.with(run.codec->scratch_floats(dims)));
                        if (run.rotated) kernels::hadamard(got.data(), dims);
                        auto& error = (s == 0 ? audit.keys : audit.values)[static_cast<std::size_t>(
                            Audit::age_class(next - 1 - position))];
                        for (int d = 0; d < dims; ++d)
                            error.add(wanted[static_cast<std::size_t>(d)],
                                      got[static_cast<std::size_t>(d)]);
                    }
                }
            }
        }
    }

  private:
    AnyCache plain_;
    AnyCache candidate_;
    RelativeError* error_;
};

}  // namespace internal

/// Runs `tokens` through caches from `make(layer, layout, capacity)` (AnyCache) and through plain
/// f32 ones and compares. The first `prompt` tokens are announced as a prompt (0: none). Progress
/// is called with tokens done. Throws what forward throws.
template <class Model, class Make, class Progress>
Audit audit_cache(const Model& model, Tokens tokens, const Make& make, int prompt,
                  Executor& executor, const Progress& progress) {
    const FpEnvironment environment;
    require(tokens.size() > 1, ErrorCode::empty_prompt, "audit: ", tokens.size(), " tokens");
    const int count = checked_cast<int>(tokens.size(), "tokens");
    Audit audit;
    audit.tokens = tokens.size();
    audit.attention.resize(static_cast<std::size_t>(model.layers()));
    Session<Model, AnyCache> candidate(model, count, executor, make);
    Session<Model, internal::ShadowedCache> plain(
        model, count, executor, [&](int layer, const HeadLayout& layout, int rows) {
            return internal::ShadowedCache(make(layer, layout, rows),
                                           audit.attention[static_cast<std::size_t>(layer)]);
        });
    if (prompt > 0) {
        candidate.expect_prompt(static_cast<std::size_t>(prompt));
        plain.expect_prompt(static_cast<std::size_t>(prompt));
    }
    constexpr std::size_t piece = 64;
    const auto vocabulary = static_cast<std::size_t>(model.vocabulary());
    std::vector<float> a(piece * vocabulary);
    std::vector<float> b(piece * vocabulary);
    for (std::size_t at = 0; at < tokens.size(); at += piece) {
        const Tokens part = tokens.subspan(at, std::min(piece, tokens.size() - at));
        plain.score(part, a.data());
        candidate.score(part, b.data());
        for (std::size_t r = 0; r < part.size(); ++r) {
            const std::span exact(a.data() + r * vocabulary, vocabulary);
            const std::span other(b.data() + r * vocabulary, vocabulary);
            // Tokens of an announced prompt see everything; what follows shows the cost.
            if (static_cast<int>(at + r) + 1 < prompt) continue;
            audit.logits.add(exact, other);
            if (at + r + 1 == tokens.size()) continue;
            audit.nll_plain -= log_probability(exact, tokens[at + r + 1]);
            audit.nll -= log_probability(other, tokens[at + r + 1]);
            ++audit.scored;
        }
        progress(static_cast<int>(at + part.size()), count);
    }
    if (audit.scored > 0) {
        audit.nll_plain /= static_cast<double>(audit.scored);
        audit.nll /= static_cast<double>(audit.scored);
    }
    for (const auto& cache : plain.caches()) cache.compare_rows(audit);
    audit.bytes = candidate.cache_bytes();
    return audit;
}

/// The same without a callback.
template <class Model, class Make>
Audit audit_cache(const Model& model, Tokens tokens, const Make& make, int prompt = 0,
                  Executor& executor = Serial::instance()) {
    return audit_cache(model, tokens, make, prompt, executor, [](int, int) {});
}

}}  // namespace cairn
