// A stream: the keys, or the values, of one layer, in the forms that rows take as they age.
//
// Rows change form by age (KIVI, hot and cold tiers): the newest form is written from what comes
// in, each older one from the decoded rows of the form before it. One boundary, computed from the
// newest query, both writes the colder form and frees the hotter one:
//
//   row numbers  0 ......... b1 ............ b0 ........ committed ... length
//   coldest form [==========]
//   warm form               [==============]            a ring
//   hot form                                [=====================]  a ring: age + chunk - 1 rows
//
// b(q) = (q / age_unit - age_to + 1) * age_unit: query q reads rows below it in the colder form. In
// a chunk, rows between b(first query) and b(last query) stand in both forms, and every query reads
// the one it would read alone; so the cut of a prompt changes no bit.
#pragma once

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "cairn/cache/seam/facts.hpp"
#include "cairn/cache/store/contiguous.hpp"
#include "cairn/core/fixed_vector.hpp"
#include "cairn/core/types.hpp"
#include "cairn/kernels/hadamard.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Keys or values of one layer.
class AgedRows {
  public:
    /// The last form lives in the store, the others in small rings of memory. Throws what the store
    /// throws.
    [[gnu::cold]] AgedRows(const AnyStore& store, StreamPlan plan, int heads, int dims,
                           const Extent& extent)
        : plan_(std::move(plan)),
          heads_(heads),
          dims_(dims),
          parts_(plan_.forms.size()),
          scratch_floats_(encode_floats()),
          based_(facts_of(plan_).based) {
        for (int f = 0; f < plan_.count(); ++f) parts_.emplace_back();
        for (int f = 0; f + 1 < plan_.count(); ++f)
            part(f).rows = std::make_unique<ContiguousRows>(
                plan_.codec(f), heads, dims, hot_extent(plan_.form(f), extent), Commit::on_touch);
        if (plan_.pinned > 0)
            pinned_ = std::make_unique<ContiguousRows>(*plan_.pinned_codec, heads, dims,
                                                       pinned_extent(plan_), Commit::on_touch);
        parts_.back().rows = store.make({plan_.forms.back().codec, heads, dims}, extent);
        require(parts_.back().rows != nullptr, ErrorCode::invalid_argument, "store ", store.spec(),
                " made no rows");
    }
    /// Rows of the ring of a form that is not the last.
    static Extent hot_extent(const Form& form, const Extent& extent) noexcept {
        return {extent.capacity, 0, form.age_to * form.age_unit, extent.chunk};
    }
    /// Rows of the form that the first rows are read in.
    static Extent pinned_extent(const StreamPlan& plan) noexcept { return {plan.pinned, 0, 0, 0}; }

    /// Rows of forms that are written with those of the layer before lie beside these from now on,
    /// if they can: until then a reserve is refused.
    [[gnu::cold]] void bind(const AgedRows& before) noexcept {
        for (int f = 0; f < plan_.count(); ++f) {
            if (!plan_.codec(f).based) continue;
            const bool alike = f < before.plan_.count() && before.heads_ == heads_ &&
                               before.dims_ == dims_ && before.plan_.kind == plan_.kind &&
                               before.plan_.rotated == plan_.rotated && same_ages(before.plan_) &&
                               plan_.codec(f).follows(before.plan_.codec(f));
            part(f).rows->set_base(alike ? before.part(f).rows.get() : nullptr);
        }
    }
    /// Makes room for rows [begin, end). Only adds room: if it throws, nothing has changed.
    /// Error{bad_state} for rows that want those of a layer before, and have none.
    void reserve(int begin, int end) {
        if (based_) require_bases();
        scratch_.with(scratch_floats_);
        if (plan_.rotated)
            turned_.resize(std::size_t{piece} * static_cast<std::size_t>(heads_ * dims_));
        parts_[0].rows->reserve(begin, end);
        if (begin < plan_.pinned) pinned_->reserve(begin, std::min(end, plan_.pinned));
        for (int f = 1; f < plan_.count(); ++f) {
            const int to = written_after(plan_, f, end);
            const int from = part(f).end;
            if (to > from) part(f).rows->reserve(from, to);
            if (decoded_.size() < static_cast<std::size_t>(piece * dims_))
                decoded_.resize(static_cast<std::size_t>(piece * dims_));
        }
    }
    /// Encodes rows [begin, begin + count) and whatever grows old by them. Room was made.
    void write(int begin, int count, const float* x, std::ptrdiff_t stride) {
        const int end = begin + count;
        // Before the new rows overwrite a ring, what leaves it is written colder: coldest first.
        for (int f = plan_.count() - 1; f > 0; --f)
            age(f, std::min(written_after(plan_, f, end), part(f - 1).end));
        if (plan_.rotated)
            for (int row = begin; row < end; row += piece) {
                const int n = std::min(piece, end - row);
                const int width = heads_ * dims_;
                for (int r = 0; r < n; ++r) {
                    float* to = turned_.data() + r * width;
                    std::copy_n(x + (row - begin + r) * stride, width, to);
                    for (int h = 0; h < heads_; ++h) kernels::hadamard(to + h * dims_, dims_);
                }
                write_newest(row, n, turned_.data(), width);
            }
        else
            write_newest(begin, count, x, stride);
        parts_[0].end = end;
        for (int f = 1; f < plan_.count(); ++f) age(f, written_after(plan_, f, end));
    }
    /// Makes rows [begin, end) writable among rows that stay; one form only.
    void rewrite(int begin, int end) {
        scratch_.with(scratch_floats_);
        if (plan_.rotated)
            turned_.resize(std::size_t{piece} * static_cast<std::size_t>(heads_ * dims_));
        parts_[0].rows->rewrite(begin, end);
        parts_[0].end = std::max(parts_[0].end, end);
    }
    /// Encodes one head's row at a slot that its keep chose. Room was made; one form only.
    void put(int head, int slot, const float* x) {
        if (plan_.rotated) {
            std::copy_n(x, dims_, turned_.data());
            kernels::hadamard(turned_.data(), dims_);
            x = turned_.data();
        }
        parts_[0].rows->each(head, slot, slot + 1, [&](const Codec& codec, const Rows& rows, int) {
            codec.encode(x, dims_, dims_, rows, scratch());
        });
    }
    /// Forgets rows from `length` on (a rollback, or a truncation that was allowed).
    void settle(int length) noexcept {
        if (length == 0)
            for (Part& part : parts_) part.begin = 0;
        parts_[0].end = std::min(parts_[0].end, length);
        for (int f = 1; f < plan_.count(); ++f)
            part(f).end = std::min(part(f).end, boundary(f - 1, length));
    }
    /// Gives memory of rows from `length` on back where the store can.
    void cut(int length) noexcept {
        settle(length);
        for (int f = 0; f < plan_.count(); ++f) part(f).rows->cut(f == 0 ? length : part(f).end);
    }
    /// As cut, and memory that waits for new rows goes back to the system.
    [[gnu::cold]] void trim(int length) noexcept {
        settle(length);
        for (int f = 0; f < plan_.count(); ++f) part(f).rows->trim(f == 0 ? length : part(f).end);
    }
    /// Rows [front, oldest) will not be read again.
    void release(int front, int oldest) noexcept {
        part(plan_.count() - 1).rows->release(front, oldest);
    }

    /// Whether rows [oldest, length) are all there in the forms that a query at `length` reads.
    [[gnu::cold]] bool intact(int oldest, int length) const noexcept {
        for (int f = 0; f < plan_.count(); ++f) {
            const int first = std::max(oldest, f + 1 < plan_.count() ? boundary(f, length) : 0);
            const int last = f == 0 ? length : boundary(f - 1, length);
            if (first < last && std::max(part(f).begin, part(f).rows->oldest()) > first)
                return false;
        }
        return true;
    }

    /// Appends the runs of rows [begin, end), a range that one keep sees alike; `like` carries the
    /// keep's fields. `committed`: the first query that will come.
    void runs(int head, int begin, int end, int committed, const Run& like, RunList& to) const {
        head = std::min(head, heads_ - 1);  // all heads are made of one row of input
        if (const int pinned = std::min({end, plan_.pinned, part(0).end}); begin < pinned) {
            to.push(run_of(*pinned_, head, begin, pinned, like));
            begin = pinned;
        }
        for (int f = plan_.count() - 1; f >= 0; --f) {
            const int low = f + 1 < plan_.count() ? boundary(f, committed) : 0;
            int first = std::max(begin, low);
            const int last = std::min(end, part(f).end);
            const int front = part(f).rows->front();
            while (first < last) {
                const int stop = first < front ? std::min(front, last) : last;
                Run run = run_of(*part(f).rows, head, first, stop, like);
                const Form& form = plan_.form(f);
                run.age_unit = form.age_unit;
                run.age_to = form.age_to;
                if (f > 0) {
                    const Form& hotter = plan_.form(f - 1);
                    run.hot_unit = hotter.age_unit;
                    run.hot_to = hotter.age_to;
                }
                to.push(run);
                first = stop;
            }
        }
    }

    [[gnu::cold]] AgedRows share() const {
        return AgedRows(*this, [](const RowStore& rows, int) { return rows.share(); });
    }
    [[gnu::cold]] AgedRows copy() const {
        return AgedRows(*this, [](const RowStore& rows, int end) { return rows.copy(end); });
    }

    /// Bytes of memory in use.
    [[gnu::cold]] std::size_t bytes() const noexcept {
        std::size_t sum = 0;
        for (int f = 0; f < plan_.count(); ++f) sum += part(f).rows->bytes();
        return pinned_ != nullptr ? sum + pinned_->bytes() : sum;
    }
    /// The textbook formula: rows x heads x bytes of a row, each row in the form that the next
    /// query reads it in; `held` of the first `rows` rows are there.
    std::size_t payload_bytes(int rows, int held) const {
        return payload_bytes(plan_, heads_, dims_, rows, held);
    }
    /// The same without a stream.
    [[gnu::cold]] static std::size_t payload_bytes(const StreamPlan& plan, int heads, int dims,
                                                   int rows, int held) {
        std::size_t sum = 0;
        if (plan.pinned > 0)
            sum = static_cast<std::size_t>(std::min(rows, plan.pinned)) *
                  plan.pinned_codec->row_bytes(dims);
        int end = rows;
        for (int f = 0; f < plan.count(); ++f) {
            const Form& form = plan.form(f);
            const int begin = f + 1 < plan.count()
                                  ? std::min(end, age_boundary(rows, form.age_unit, form.age_to))
                                  : 0;
            const int count = std::min(end - begin, held);
            sum = checked_add(sum,
                              checked_mul(static_cast<std::size_t>(std::max(count, 0)),
                                          form.codec->row_bytes(dims), "cache bytes"),
                              "cache bytes");
            held -= count;
            end = begin;
        }
        return checked_mul(sum, static_cast<std::size_t>(heads), "cache bytes");
    }
    /// Rows that form f holds once rows below `end` are staged.
    static int written_after(const StreamPlan& plan, int f, int end) noexcept {
        if (f == 0) return end;
        const Form& hotter = plan.form(f - 1);
        const int rows = end > 0 ? age_boundary(end - 1, hotter.age_unit, hotter.age_to) : 0;
        const Codec& codec = *plan.form(f).codec;
        return codec.whole_units ? rows / codec.rows_per_unit * codec.rows_per_unit : rows;
    }
    const StreamPlan& plan() const noexcept { return plan_; }
    int heads() const noexcept { return heads_; }
    int dims() const noexcept { return dims_; }
    bool valid() const noexcept { return !parts_.empty(); }
    /// Whether rows may be numbered beyond the capacity.
    bool unbounded() const noexcept { return plan_.count() == 1 && parts_[0].rows->unbounded(); }
    bool finite_only() const noexcept {
        for (int f = 0; f < plan_.count(); ++f)
            if (plan_.form(f).codec->finite_only) return true;
        return false;
    }
    /// Whether a stage may bring no more than a chunk of rows.
    bool chunked() const noexcept { return part(plan_.count() - 1).rows->chunked(); }
    /// The rows of a form: 0 is the newest, plan().count() that of the pinned rows.
    RowStore& rows(int form = 0) noexcept {
        return form < plan_.count() ? *part(form).rows : *pinned_;
    }
    const RowStore& rows(int form = 0) const noexcept {
        return form < plan_.count() ? *part(form).rows : *pinned_;
    }
    /// The first row that a query reads in form f, which is not the last.
    int boundary(int f, int query) const noexcept {
        const Form& form = plan_.form(f);
        return age_boundary(query, form.age_unit, form.age_to);
    }
    /// Rows of a form that are written.
    int written(int form) const noexcept { return part(form).end; }
    /// For loading: the rows of a form that are written, besides a pinned front.
    void set_written(int form, int begin, int end) noexcept {
        part(form).begin = begin;
        part(form).end = end;
    }

  private:
    [[gnu::cold]] std::size_t encode_floats() const {
        std::size_t most = 0;
        for (const Form& form : plan_.forms)
            most = std::max(most, form.codec->scratch_floats(dims_));
        return most;
    }
    // Set aside by reserve and rewrite.
    Scratch scratch() { return scratch_.with(scratch_floats_); }
    struct Part {
        std::unique_ptr<RowStore> rows;
        int begin = 0;  // rows below, and behind a pinned front, did not come with the file
        int end = 0;    // rows below are written in this form
    };
    template <class Branch>
    [[gnu::cold]] AgedRows(const AgedRows& other, Branch branch)
        : plan_(other.plan_),
          heads_(other.heads_),
          dims_(other.dims_),
          parts_(other.parts_.size()),
          scratch_floats_(other.scratch_floats_),
          based_(other.based_) {
        for (int f = 0; f < plan_.count(); ++f) {
            const Part& from = other.part(f);
            parts_.emplace_back(branch(*from.rows, from.end), from.begin, from.end);
            part(f).rows->set_base(nullptr);  // a branch lies beside another one
        }
        if (other.pinned_ != nullptr)
            pinned_ = branch(*other.pinned_, std::min(plan_.pinned, other.part(0).end));
    }
    Part& part(int f) noexcept { return parts_[static_cast<std::size_t>(f)]; }
    const Part& part(int f) const noexcept { return parts_[static_cast<std::size_t>(f)]; }
    bool same_ages(const StreamPlan& other) const noexcept {
        bool same = other.count() == plan_.count();
        for (int f = 0; same && f < plan_.count(); ++f)
            same = other.form(f).age_unit == plan_.form(f).age_unit &&
                   other.form(f).age_to == plan_.form(f).age_to;
        return same;
    }
    [[gnu::cold]] void require_bases() const {
        for (int f = 0; f < plan_.count(); ++f)
            require(!plan_.codec(f).based || part(f).rows->base() != nullptr, ErrorCode::bad_state,
                    "rows of ", plan_.codec(f).name,
                    " are kept with those of the layer before, and no such cache is before this "
                    "one");
    }
    void write_newest(int begin, int count, const float* x, std::ptrdiff_t stride) {
        parts_[0].rows->write(begin, count, x, stride, heads_, dims_, scratch());
        if (begin < plan_.pinned)
            pinned_->write(begin, std::min(count, plan_.pinned - begin), x, stride, heads_, dims_,
                           scratch());
    }
    // Rows [begin, end), which lie in `rows`, as attention reads them.
    Run run_of(const RowStore& rows, int head, int begin, int end, const Run& like) const {
        Run run = like;
        run.begin = begin;
        run.end = end;
        run.rotated = plan_.rotated;
        run.kind = plan_.kind;
        run.made = plan_.made;
        if (run.kind == RowKind::input) run.dims = dims_;
        rows.locate(head, begin, run);
        run.base = rows.base();
        return run;
    }
    // Writes rows up to `to` of form f from those of the form before.
    void age(int f, int to) {
        const Codec& codec = *plan_.form(f).codec;
        if (codec.whole_units) to = to / codec.rows_per_unit * codec.rows_per_unit;
        Part& target = part(f);
        if (to <= target.end) return;
        const RowStore& source = *part(f - 1).rows;
        for (int h = 0; h < heads_; ++h)
            for (int row = target.end; row < to; row += piece) {
                const int end = std::min(to, row + piece);
                source.each(h, row, end, [&](const Codec& from, const Rows& rows, int first) {
                    from.decode(rows, dims_, decoded_.data() + (first - row) * dims_, dims_,
                                scratch());
                });
                target.rows->each(h, row, end, [&](const Codec& into, const Rows& rows, int first) {
                    into.encode(decoded_.data() + (first - row) * dims_, dims_, dims_, rows,
                                scratch());
                });
            }
        target.end = to;
    }

    static constexpr int piece = 128;  // rows decoded at once: a multiple of every whole unit
    StreamPlan plan_;
    int heads_;
    int dims_;
    FixedVector<Part> parts_;
    std::unique_ptr<RowStore> pinned_;
    std::size_t scratch_floats_;  // what encoding and decoding may want
    bool based_;
    std::vector<float> decoded_;
    std::vector<float> turned_;
    OwnScratch scratch_;
};

}}}  // namespace cairn::internal
