// ExpectedAttention (Devoto et al. 2025, arXiv 2510.00636): once, when the prompt is complete, the
// rows stay that queries to come are expected to attend. Queries before rotation are taken for
// normal, N(m, C) of each head over the prompt; R is the rotation averaged over the positions to
// come. The expectation of exp(s q.k) over such queries is exp(s k.Rm + s^2/2 k.(R C R^T)k); a
// row's score is that, normalised over the rows, averaged over the heads of a group, times |v|.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cairn/cache/seam/keep_policy.hpp"
#include "cairn/numeric/elementary.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What ExpectedRows is set to.
struct ExpectedSettings {
    int sinks = 4;     ///< first rows that always stay, and whose queries are not counted
    int future = 512;  ///< positions behind the prompt that the rotation is averaged over
    int queries = 0;   ///< of the prompt's last queries that are counted; 0: all
};

/// Of `budget` rows the first ones stay, the others by expected attention. Later rows all stay.
class ExpectedRows final : public Scorer {
  public:
    explicit ExpectedRows(Budget budget, ExpectedSettings settings = {})
        : budget_(std::move(budget)), s_(settings) {
        require(s_.sinks >= 0 && s_.future > 0 && s_.queries >= 0, ErrorCode::invalid_argument,
                "expected: ", s_.sinks, " sinks, ", s_.future, " positions to come, ", s_.queries,
                " queries");
    }
    int budget(int kv_head) const override { return budget_.of(kv_head); }
    Evicts when() const override { return Evicts::at_prompt_end; }
    bool listens(int query, int prompt_end) const override {
        return query < prompt_end && query >= s_.sinks &&
               (s_.queries == 0 || query >= prompt_end - s_.queries);
    }
    bool reads_rows() const override { return true; }

    // Of each head of the group: a count, d sums, and d (d + 1) / 2 sums of products; when the
    // prompt's last query was noted, 0, Rm and R C R^T (twice beside its diagonal), scaled.
    std::size_t notes(const HeadLayout& layout) const override {
        return static_cast<std::size_t>(layout.group()) * stride(layout.key_dim);
    }
    void note(const NotedQueries& queries, std::span<double> notes) const override {
        const int d = queries.dims;
        for (int g = 0; g < queries.group; ++g) {
            const float* q = queries.q + std::ptrdiff_t{g} * d;
            double* at = notes.data() + static_cast<std::size_t>(g) * stride(d);
            *at++ += 1.0;
            for (int i = 0; i < d; ++i) at[i] += static_cast<double>(q[i]);
            at += d;
            for (int i = 0; i < d; at += d - i, ++i) internal::exact_add(q[i], q + i, d - i, at);
        }
        if (queries.position + 1 == queries.prompt_end) finish(queries, notes);
    }

    std::size_t room(const HeadLayout& layout, std::size_t slots) const override {
        return slots + static_cast<std::size_t>(layout.key_dim);
    }
    void score(HeadRows& rows, std::span<float> scores) const override {
        const int d = rows.layout.key_dim;
        const int group = rows.layout.group();
        const std::size_t n = rows.positions.size();
        const auto counted = [&](std::size_t i) { return rows.positions[i] >= s_.sinks; };
        const std::span<double> expected = rows.room.first(n);
        double* const product = rows.room.data() + n;
        std::fill(scores.begin(), scores.end(), 0.0F);
        for (int g = 0; g < group; ++g) {
            const auto notes = rows.notes.subspan(static_cast<std::size_t>(g) * stride(d));
            const bool finished = notes[0] == 0.0;
            double most = -1e300;
            for (std::size_t i = 0; i < n; ++i) {
                if (!counted(i)) continue;
                // Where the last query was not seen, nothing is expected of any.
                expected[i] = finished ? logarithm(rows.keys[static_cast<int>(i)], notes.data() + 1,
                                                   d, product)
                                       : 0.0;
                most = std::max(most, expected[i]);
            }
            double sum = 0.0;
            for (std::size_t i = 0; i < n; ++i) {
                if (!counted(i)) continue;
                expected[i] = elementary::exp(expected[i] - most);
                sum += expected[i];
            }
            for (std::size_t i = 0; i < n; ++i)
                if (counted(i))
                    scores[i] =
                        static_cast<float>(static_cast<double>(scores[i]) + expected[i] / sum);
        }
        for (std::size_t i = 0; i < n; ++i) {
            if (!counted(i)) continue;
            const float* value = rows.values[static_cast<int>(i)];
            const double length =
                std::sqrt(internal::exact_dot(value, value, rows.layout.value_dim));
            scores[i] = static_cast<float>(static_cast<double>(scores[i]) / group * length);
        }
    }
    void choose(const HeldRows& rows, std::span<std::uint8_t> keep,
                std::span<int> order) const override {
        const auto position = [&](int i) { return rows.positions[static_cast<std::size_t>(i)]; };
        const int first = std::min(s_.sinks, rows.budget);
        keep_best(
            rows, first, [&](int i) { return position(i) < s_.sinks; }, position, keep, order);
        keep_best(
            rows, rows.budget - first, [](int) { return true; },
            [&](int i) { return rows.scores[static_cast<std::size_t>(i)]; }, keep, order);
    }
    double worth(const HeldRows& rows, int i) const override {
        return rows.positions[static_cast<std::size_t>(i)] < s_.sinks
                   ? std::numeric_limits<double>::infinity()
                   : static_cast<double>(rows.scores[static_cast<std::size_t>(i)]);
    }
    std::string name() const override {
        std::string text = "expected=" + std::to_string(budget_.of(0));
        text.append(",sinks=").append(std::to_string(s_.sinks));
        text.append(",future=").append(std::to_string(s_.future));
        if (s_.queries != 0) text.append(",queries=").append(std::to_string(s_.queries));
        return text;
    }

  private:
    static std::size_t stride(int dims) noexcept {
        const auto d = static_cast<std::size_t>(dims);
        return 1 + d + d * (d + 1) / 2;
    }
    static double rounded(double x) noexcept { return static_cast<double>(static_cast<float>(x)); }

    // ln of what a row may expect: the mean's share and half the variance's.
    static double logarithm(const float* key, const double* mean, int d, double* product) noexcept {
        const double linear = internal::exact_dot(key, mean, d);
        std::fill_n(product, d, 0.0);
        const double* row = mean + d;
        for (int i = 0; i < d; row += d - i, ++i)
            for (int j = i; j < d; ++j) product[j] += static_cast<double>(key[i]) * row[j - i];
        for (int j = 0; j < d; ++j) product[j] = rounded(product[j]);
        return linear + internal::exact_dot(key, product, d) / 2;
    }

    // The rotation averaged over the positions to come, [d][d] by rows; nothing where there is
    // none.
    std::vector<float> averaged(const NotedQueries& queries) const {
        if (queries.turn == nullptr) return {};
        const auto d = static_cast<std::size_t>(queries.dims);
        const int begin = std::min(queries.prompt_end, queries.positions - 1);
        const int end = static_cast<int>(
            std::min<std::int64_t>(std::int64_t{begin} + s_.future, queries.positions));
        std::vector<float> average(d * d);
        std::vector<float> turned(d);
        std::vector<double> sum(d);
        for (std::size_t j = 0; j < d; ++j) {
            std::fill(sum.begin(), sum.end(), 0.0);
            for (int position = begin; position < end; ++position) {
                std::fill(turned.begin(), turned.end(), 0.0F);
                turned[j] = 1.0F;
                queries.turn(queries.rotation, turned.data(), position);
                for (std::size_t i = 0; i < d; ++i) sum[i] += static_cast<double>(turned[i]);
            }
            for (std::size_t i = 0; i < d; ++i)
                average[i * d + j] = static_cast<float>(sum[i] / (end - begin));
        }
        return average;
    }
    // a b^T of [d][d] matrices of floats; a itself where b is nothing.
    static std::vector<float> times(const std::vector<float>& a, const std::vector<float>& b,
                                    std::size_t d) {
        if (b.empty()) return a;
        std::vector<float> c(d * d);
        for (std::size_t i = 0; i < d; ++i)
            for (std::size_t j = 0; j < d; ++j)
                c[i * d + j] = static_cast<float>(
                    internal::exact_dot(a.data() + i * d, b.data() + j * d, static_cast<int>(d)));
        return c;
    }
    // Sums of the prompt's queries become what `score` reads.
    void finish(const NotedQueries& queries, std::span<double> notes) const {
        const auto d = static_cast<std::size_t>(queries.dims);
        const std::vector<float> turn = averaged(queries);
        const auto scale = static_cast<double>(queries.scale);
        std::vector<float> mean(d);
        std::vector<float> covariance(d * d);
        for (int g = 0; g < queries.group; ++g) {
            double* const at = notes.data() + static_cast<std::size_t>(g) * stride(queries.dims);
            double* const products = at + 1 + d;
            const double count = std::exchange(at[0], 0.0);
            for (std::size_t i = 0; i < d; ++i) mean[i] = static_cast<float>(at[1 + i] / count);
            const double* from = products;
            for (std::size_t i = 0; i < d; ++i)
                for (std::size_t j = i; j < d; ++j) {
                    const double apart = *from++ / count - static_cast<double>(mean[i]) *
                                                               static_cast<double>(mean[j]);
                    covariance[i * d + j] = covariance[j * d + i] = static_cast<float>(apart);
                }
            // R C R^T = ((R C^T) R^T), C being its own transpose.
            const std::vector<float> turned =
                turn.empty() ? covariance : times(times(turn, covariance, d), turn, d);
            for (std::size_t i = 0; i < d; ++i) {
                const double now = turn.empty() ? static_cast<double>(mean[i])
                                                : internal::exact_dot(turn.data() + i * d,
                                                                      mean.data(), queries.dims);
                at[1 + i] = rounded(now * scale);
            }
            double* to = products;
            for (std::size_t i = 0; i < d; ++i)
                for (std::size_t j = i; j < d; ++j) {
                    const double entry = static_cast<double>(turned[i * d + j]) * scale * scale;
                    *to++ = rounded(i == j ? entry : 2 * entry);
                }
        }
    }

    Budget budget_;
    ExpectedSettings s_;
};

/// ExpectedAttention as the second argument of KvCache. The template's number is the setting's
/// default.
template <int rows>
struct ExpectedAttention : ExpectedSettings {
    static_assert(rows > 0, "ExpectedAttention<budget>: at least one row stays.");
    int budget = rows;

    static constexpr std::string_view word = "expected";
    static constexpr std::string_view help =
        "once, at the prompt's end: what queries to come are expected to attend";
    static constexpr KeepFacts facts{.by_score = true, .forgets = true};
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "the rows that stay", 1, Given::always}, self.budget);
        visit(Option{"sinks", "the first rows that always stay"}, self.sinks);
        visit(Option{"future", "positions to come that rotations are averaged over", 1},
              self.future);
        visit(Option{"queries", "the prompt's last queries that count; 0: all", 0,
                     Given::unless_zero},
              self.queries);
    }
    std::shared_ptr<const Scorer> scorer(const HeadLayout&) const {
        return std::make_shared<ExpectedRows>(budget, *this);
    }
};

}}  // namespace cairn
