// The summaries of a cache's complete pages, and what a query chooses by them. They lie in memory,
// wherever the rows are, and are made while rows are staged: of the keys as they are read back.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "cairn/cache/codec/plain.hpp"
#include "cairn/cache/internal/streams.hpp"
#include "cairn/cache/seam/read_policy.hpp"
#include "cairn/cache/seam/row_source.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

// Of a policy R: a template, so that programs compile none for policies that they only include.
template <class R>
class PageBook final : public PageSummaries {
  public:
    /// Throws Error{invalid_argument} for pages or summaries of nothing, Error{out_of_memory}.
    [[gnu::cold]] PageBook(std::shared_ptr<const PageReader> reader, const HeadLayout& layout,
                           int capacity)
        : reader_(std::move(reader)),
          heads_(layout.kv_heads),
          dims_(layout.key_dim),
          page_(reader_->page_rows()),
          width_(reader_->summary_width(dims_)) {
        require(page_ > 0 && width_ > 0 && std::int64_t{page_} * dims_ <= row_limit &&
                    width_ <= row_limit / heads_,
                ErrorCode::invalid_argument, "pages of ", page_, " rows, summaries of ", width_,
                " numbers");
        rows_ = std::make_unique<ContiguousRows>(float_rows(), heads_, width_,
                                                 extent_of(page_, capacity), Commit::on_touch);
    }
    /// What bytes() says once rows below `rows` are staged.
    [[gnu::cold]] static std::size_t bytes_for(const PageReader& reader, const HeadLayout& layout,
                                               int capacity, int rows) {
        const int page = reader.page_rows();
        return ContiguousRows::bytes_for(float_rows(), layout.kv_heads,
                                         reader.summary_width(layout.key_dim),
                                         extent_of(page, capacity), rows / page);
    }

    void reserve(const AgedRows& keys, int begin, int end) override {
        if (begin / page_ == end / page_) return;
        const Codec& codec = keys.plan().codec(0);
        room_.resize(static_cast<std::size_t>(page_ * dims_ + width_));
        scratch_.with(codec.scratch_floats(dims_));
        rows_->reserve(begin / page_, end / page_);
    }
    void update(const AgedRows& keys, int begin, int end) override {
        if (begin / page_ == end / page_) return;  // no room was made
        RowReader reader;
        float* summary = room_.data() + page_ * dims_;
        for (int h = 0; h < heads_; ++h)
            for (int page = begin / page_; page < end / page_; ++page) {
                read(keys.rows(), reader, h, page * page_);
                reader_->summarise(room_.data(), dims_, summary);
                rows_->each(h, page, page + 1, [&](const Codec& codec, const Rows& to, int) {
                    codec.encode(summary, width_, width_, to);
                });
            }
    }
    void cut(int length) noexcept override { rows_->cut(length / page_); }
    [[gnu::cold]] void trim() noexcept override { rows_->trim(0); }
    std::size_t bytes() const noexcept override { return rows_->bytes(); }

    [[gnu::cold]] std::unique_ptr<PageSummaries> share() const override {
        return std::unique_ptr<PageBook>(new PageBook(*this, rows_->share()));
    }
    [[gnu::cold]] std::unique_ptr<PageSummaries> copy(int length) const override {
        return std::unique_ptr<PageBook>(new PageBook(*this, rows_->copy(length / page_)));
    }

    int page_rows() const noexcept override { return page_; }
    std::size_t scratch_floats(int pages) const noexcept override {
        const auto count = static_cast<std::size_t>(pages);
        return Scratch::round(static_cast<std::size_t>(width_)) + Scratch::round(count) +
               Scratch::round(2 * count);
    }
    void choose(const GroupQuery& query, PageSet to, Scratch scratch) const override {
        const int pages = query.position / page_;
        const int first = query.first_row / page_;
        if (first >= pages) return;
        const auto count = static_cast<std::size_t>(pages);
        float* probe = scratch.take(static_cast<std::size_t>(width_));
        float* worth = scratch.take(count);
        auto* order = reinterpret_cast<std::uint64_t*>(scratch.take(2 * count));
        reader_->choose({query,
                         dims_,
                         first,
                         pages,
                         page_,
                         width_,
                         *rows_,
                         {probe, static_cast<std::size_t>(width_)},
                         {worth, count},
                         {order, count}},
                        to);
    }

  private:
    [[gnu::cold]] PageBook(const PageBook& other, std::unique_ptr<RowStore> rows)
        : reader_(other.reader_),
          heads_(other.heads_),
          dims_(other.dims_),
          page_(other.page_),
          width_(other.width_),
          rows_(std::move(rows)) {}
    static Extent extent_of(int page, int capacity) noexcept {
        return {std::max(capacity / page, 1), 0, 0, 0};
    }
    // The rows of a page as floats, into the room.
    void read(const RowStore& rows, RowReader& reader, int head, int begin) {
        const int end = begin + page_;
        for (int row = begin; row < end;) {
            Run run;
            rows.locate(head, row, run);
            run.base = rows.base();
            Rows from{};
            if (run.source != nullptr) {
                run.end = rows.front();
                from = reader.at(run, row);
            } else {
                from = run.rows(row, row < rows.front() ? std::min(end, rows.front()) : end);
            }
            run.codec->decode(from, dims_, room_.data() + (row - begin) * dims_, dims_,
                              scratch_.with(run.codec->scratch_floats(dims_)));
            row += from.count;
        }
    }

    std::shared_ptr<const PageReader> reader_;
    int heads_;
    int dims_;
    int page_;
    int width_;
    std::unique_ptr<RowStore> rows_;  // a page's summary is a row
    std::vector<float> room_;         // a page of keys, and a summary
    OwnScratch scratch_;
};

template <class R>
std::unique_ptr<PageSummaries> page_summaries(std::shared_ptr<const PageReader> reader,
                                              const HeadLayout& layout, int capacity) {
    return std::make_unique<PageBook<R>>(std::move(reader), layout, capacity);
}

}}}  // namespace cairn::internal
