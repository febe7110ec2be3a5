// A scorer that changes another one's budgets, and nothing else of it.
#pragma once

#include "cairn/cache/seam/keep_policy.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Hands everything on to the scorer it stands over.
class ScorerOver : public Scorer {
  public:
    /// Error{invalid_argument} for none.
    explicit ScorerOver(std::shared_ptr<const Scorer> inner) : inner_(std::move(inner)) {
        require(inner_ != nullptr, ErrorCode::invalid_argument, "a scorer over none");
    }
    const Scorer& over() const noexcept { return *inner_; }
    int budget(int kv_head) const override { return over().budget(kv_head); }
    int budget_of(int kv_head, int layer, int prompt_end) const override {
        return over().budget_of(kv_head, layer, prompt_end);
    }
    Evicts when() const override { return over().when(); }
    bool listens(int query, int prompt_end) const override {
        return over().listens(query, prompt_end);
    }
    void choose(const HeldRows& rows, std::span<std::uint8_t> keep,
                std::span<int> order) const override {
        over().choose(rows, keep, order);
    }
    double worth(const HeldRows& rows, int i) const override { return over().worth(rows, i); }
    std::uint32_t signature(const float* row, int dims) const override {
        return over().signature(row, dims);
    }
    bool key_is_query() const override { return over().key_is_query(); }
    bool reads_rows() const override { return over().reads_rows(); }
    void score(HeadRows& rows, std::span<float> scores) const override {
        over().score(rows, scores);
    }
    std::size_t room(const HeadLayout& layout, std::size_t slots) const override {
        return over().room(layout, slots);
    }
    std::size_t notes(const HeadLayout& layout) const override { return over().notes(layout); }
    void note(const NotedQueries& queries, std::span<double> notes) const override {
        over().note(queries, notes);
    }
    bool spreads() const override { return over().spreads(); }
    void spread(std::span<const HeldRows> heads, std::span<int> budgets,
                std::span<RankedRow> room) const override {
        over().spread(heads, budgets, room);
    }
    std::string name() const override { return over().name(); }

  private:
    std::shared_ptr<const Scorer> inner_;
};

}}  // namespace cairn
