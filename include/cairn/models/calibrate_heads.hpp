// Which heads of a model look far back: measured on text, for keeps that give heads budgets of
// their own (DuoAttention). A piece of text is read twice in a row; what the last tokens of the
// second reading look up lies at the same place of the first one. A head's score is the share of
// attention that it pays rows which are neither among the first nor among the last.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "cairn/cache/any_cache.hpp"
#include "cairn/cache/seam/head_scores.hpp"
#include "cairn/models/session.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// How heads are measured.
struct HeadCalibration {
    int piece = 256;   ///< tokens that are read twice
    int queries = 32;  ///< last ones that are listened to
    int sinks = 4;     ///< first rows that do not count as far
    int recent = 64;   ///< nor do the last rows before the queries that listen
    int pieces = 8;    ///< of the text, at most
};

namespace internal {

// Adds up each head's share of far attention where a prompt ends; keeps the last row.
class FarAttention final : public Scorer {
  public:
    FarAttention(const HeadCalibration& settings, int kv_heads, std::vector<double>& shares)
        : s_(settings), kv_heads_(kv_heads), shares_(&shares) {}
    int budget(int) const override { return 1; }
    Evicts when() const override { return Evicts::at_prompt_end; }
    bool listens(int query, int prompt_end) const override {
        return query < prompt_end && query >= prompt_end - s_.queries;
    }
    void choose(const HeldRows& rows, std::span<std::uint8_t> keep, std::span<int>) const override {
        double far = 0.0;
        double all = 0.0;
        for (std::size_t i = 0; i < rows.positions.size(); ++i) {
            const int position = rows.positions[i];
            const auto score = static_cast<double>(rows.scores[i]);
            all += score;
            if (position >= s_.sinks && position < rows.prompt_end - s_.queries - s_.recent)
                far += score;
        }
        keep[keep.size() - 1] = 1;
        (*shares_)[static_cast<std::size_t>(rows.layer * kv_heads_ + rows.kv_head)] += far / all;
    }
    std::string name() const override { return "far attention"; }

  private:
    HeadCalibration s_;
    int kv_heads_;
    std::vector<double>* shares_;
};
struct ByFarAttention {
    std::shared_ptr<const Scorer> chosen;
    std::shared_ptr<const Scorer> scorer(const HeadLayout&) const { return chosen; }
};

}  // namespace internal

/// Scores of every KV head of a model whose layers have as many each, from 0 (never looks far) to
/// 1, over caches of this store. Throws Error{invalid_argument} for settings that cannot be, a text
/// shorter than a piece, or layers of different heads; what sessions throw.
template <class Model>
HeadScores calibrate_heads(const Model& model, Tokens text, const AnyStore& store,
                           const HeadCalibration& settings, Executor& executor) {
    const HeadCalibration& s = settings;
    require(s.queries > 0 && s.sinks >= 0 && s.recent >= 0 && s.pieces > 0 &&
                2 * std::int64_t{s.piece} > std::int64_t{s.queries} + s.sinks + s.recent,
            ErrorCode::invalid_argument, "calibrate_heads: pieces of ", s.piece, " tokens, ",
            s.queries, " queries, ", s.sinks, " sinks, ", s.recent, " recent rows");
    require(std::cmp_less_equal(s.piece, text.size()), ErrorCode::invalid_argument,
            "calibrate_heads: a text of ", text.size(), " tokens, pieces of ", s.piece);
    const int kv_heads = model.layout(0).kv_heads;
    for (int layer = 0; layer < model.layers(); ++layer)
        require(model.layout(layer).kv_heads == kv_heads, ErrorCode::invalid_argument,
                "calibrate_heads: layer ", layer, " has ", model.layout(layer).kv_heads,
                " KV heads, the first ", kv_heads);
    std::vector<double> shares(static_cast<std::size_t>(model.layers() * kv_heads));
    const auto watching = std::make_shared<internal::FarAttention>(s, kv_heads, shares);
    const auto step = static_cast<std::size_t>(s.piece);
    int read = 0;
    for (std::size_t at = 0; at + step <= text.size() && read < s.pieces; at += step, ++read) {
        std::vector<Token> twice(text.begin() + static_cast<std::ptrdiff_t>(at),
                                 text.begin() + static_cast<std::ptrdiff_t>(at + step));
        twice.insert(twice.end(), twice.begin(), twice.begin() + s.piece);
        Session<Model, AnyCache> session(
            model, 2 * s.piece, executor, [&](int layer, const HeadLayout& layout, int rows) {
                return AnyCache(layout, rows, store, internal::ByFarAttention{watching}, layer);
            });
        session.expect_prompt(twice.size());
        session.prefill(twice);
    }
    HeadScores result;
    result.layers = model.layers();
    for (const double share : shares) result.scores.push_back(static_cast<float>(share / read));
    return result;
}

}}  // namespace cairn
