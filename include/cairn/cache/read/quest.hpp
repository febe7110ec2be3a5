// Read little, forget nothing: Quest (Tang et al. 2024, arXiv 2406.10774). A page is known by the
// least and the greatest of its keys in every channel, which bound what any of its rows can score:
//
//   q . k <= sum over channels of max(q least, q greatest)    for every key k of the page
//
// The pages with the highest bounds are read, a budget of rows of them. With q cut into its
// positive part q+ and its negative part q- the bound is q+ . greatest + q- . least: one product
// with a row of 2 dims numbers, [greatest | least].
//
// The heads of a group share keys, so they read the same pages: those with the highest sum of their
// bounds. The sum is linear in q+ and q-, so a group costs one product a page however wide it is
// (the greatest of the bounds would cost one a head), and no head is left out: each adds its bound.
#pragma once

#include <algorithm>

#include "cairn/cache/seam/read_policy.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Every query reads the best pages, up to `rows` rows in all. Counted among them are the page it
/// stands in, the pages of the first `sinks` rows and of the last `window` ones, which are always
/// read, if need be beyond the budget. Of pages with equal bounds the first are read. The first
/// `full_layers` layers read all rows: their attention is spread out (section 3.3 of the paper).
struct Quest {
    int rows = 512;
    int page = 16;
    int recent = 32;
    int sinks = 4;
    int full_layers = 2;

    static constexpr std::string_view word = "quest";
    static constexpr std::string_view help =
        "pages whose least and greatest keys promise most, N rows of them";
    static constexpr ReadFacts facts{.few = true};
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "the rows that a query reads", 1, Given::always}, self.rows);
        visit(Option{"page", "rows a page", 1}, self.page);
        visit(Option{"recent", "the last rows, always read"}, self.recent);
        visit(Option{"sinks", "the first rows, always read"}, self.sinks);
        visit(Option{"full", "the first layers, which read all rows"}, self.full_layers);
    }
    std::string_view wrong() const noexcept {
        if (rows < 1 || page < 1 || page > 1 << 16)
            return "pages have 1 to 65536 rows, and some are read";
        return recent < 0 || sinks < 0 || full_layers < 0 ? "no number is below 0" : "";
    }
    std::shared_ptr<const PageReader> reader(const HeadLayout& layout, int layer) const;
};

namespace internal {

class QuestReader final : public PageReader {
  public:
    explicit QuestReader(const Quest& settings) : settings_(settings) {}
    int page_rows() const override { return settings_.page; }
    int summary_width(int dims) const override { return 2 * dims; }
    void summarise(const float* keys, int dims, float* to) const override {
        std::copy_n(keys, dims, to);
        std::copy_n(keys, dims, to + dims);
        for (int row = 1; row < settings_.page; ++row) {
            keys += dims;
            for (int d = 0; d < dims; ++d) to[d] = std::max(to[d], keys[d]);
            for (int d = 0; d < dims; ++d) to[dims + d] = std::min(to[dims + d], keys[d]);
        }
    }
    void choose(const PageQuery& query, PageSet& to) const override {
        const int page = settings_.page;
        const int window = query.query.position - settings_.recent + 1;
        to.add(query.first, std::min((settings_.sinks + page - 1) / page, query.pages));
        to.add(std::max(window / page, query.first), query.pages);
        // Of the budget the query's own page takes one.
        const int left = settings_.rows / page - 1 - to.count(query.first, query.pages);
        if (left >= query.pages - query.first) {
            to.add(query.first, query.pages);
        } else if (left > 0) {
            split_queries(query);
            query.weigh_pages();
            query.add_best(left, to);
        }
    }

  private:
    // The positive and negative parts of the group's queries, summed.
    static void split_queries(const PageQuery& query) {
        const int dims = query.dims;
        float* positive = query.probe.data();
        float* negative = positive + dims;
        std::fill_n(positive, 2 * dims, 0.0F);
        for (int h = 0; h < query.query.heads; ++h) {
            const float* q = query.query.q + std::ptrdiff_t{h} * dims;
            for (int d = 0; d < dims; ++d) positive[d] += std::max(q[d], 0.0F);
            for (int d = 0; d < dims; ++d) negative[d] += std::min(q[d], 0.0F);
        }
    }
    Quest settings_;
};

}  // namespace internal

inline std::shared_ptr<const PageReader> Quest::reader(const HeadLayout&, int layer) const {
    if (layer < full_layers) return nullptr;
    return std::make_shared<internal::QuestReader>(*this);
}

}}  // namespace cairn
