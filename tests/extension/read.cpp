// A read from outside: pages are known by the mean of their keys, and the best N of them are read
// by that. One file, settings of its own, reached by type and by the word `means`.
#include <numeric>

#include <cairn/cache/cache_spec.hpp>

#include "naive.hpp"

namespace {

class MeanReader final : public cairn::PageReader {
  public:
    MeanReader(int pages, int page) : pages_(pages), page_(page) {}
    int page_rows() const override { return page_; }
    int summary_width(int dims) const override { return dims; }
    void summarise(const float* keys, int dims, float* to) const override {
        std::fill_n(to, dims, 0.0F);
        for (int r = 0; r < page_; ++r)
            for (int d = 0; d < dims; ++d) to[d] += keys[r * dims + d];
    }
    void choose(const cairn::PageQuery& ask, cairn::PageSet& to) const override {
        // The group chooses by its first head.
        std::copy_n(ask.query.q, ask.dims, ask.probe.data());
        ask.weigh_pages();
        ask.add_best(pages_, to);
    }

  private:
    int pages_;
    int page_;
};

struct Means {
    int pages = 4;
    int page = 10;

    static constexpr std::string_view word = "means";
    static constexpr std::string_view help = "N pages, by the mean of their keys";
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(cairn::Option{"", "pages that are read", 1}, self.pages);
        visit(cairn::Option{"page", "rows a page", 1}, self.page);
    }
    std::shared_ptr<const cairn::PageReader> reader(const cairn::HeadLayout&, int) const {
        return std::make_shared<MeanReader>(pages, page);
    }
};

// The pages that query q of a text reads, by the definition.
std::vector<int> best_pages(const extension::Text& text, int q, int kv,
                            const cairn::HeadLayout& layout, float scale, const Means& means) {
    std::vector<float> query(text.q.row(q).data() + kv * layout.group() * layout.key_dim,
                             text.q.row(q).data() + (kv * layout.group() + 1) * layout.key_dim);
    cairn::kernels::active().scale(scale, layout.key_dim, query.data());
    std::vector<float> worth;
    for (int p = 0; p < q / means.page; ++p) {
        std::vector<float> sum(query.size());
        for (int r = p * means.page; r < (p + 1) * means.page; ++r)
            for (std::size_t d = 0; d < sum.size(); ++d)
                sum[d] += text.k.row(r).data()[kv * layout.key_dim + static_cast<int>(d)];
        worth.push_back(0.0F);
        cairn::kernels::active().scores_rows<cairn::ElementType::f32>(
            {reinterpret_cast<const std::byte*>(sum.data()), 0, 0, 1, layout.key_dim}, query.data(),
            0, 1, &worth.back(), 0);
    }
    std::vector<int> order(worth.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
        return worth[static_cast<std::size_t>(a)] > worth[static_cast<std::size_t>(b)];
    });
    order.resize(std::min(order.size(), static_cast<std::size_t>(means.pages)));
    order.push_back(q / means.page);  // the page it stands in
    return order;
}

}  // namespace

int main() {
    const cairn::HeadLayout layout{4, 2, 16, 16};
    const extension::Text text(layout, 600, 4);
    const float scale = 0.5F;
    const Means means{.pages = 7, .page = 12};
    std::vector<std::vector<int>> read;
    for (int q = 0; q < 600; ++q)
        for (int kv = 0; kv < 2; ++kv)
            read.push_back(best_pages(text, q, kv, layout, scale, means));
    const auto wanted =
        extension::naive(text.q, text.k, text.v, layout, scale, [&](int kv, int q, int j) {
            const std::vector<int>& pages = read[static_cast<std::size_t>(2 * q + kv)];
            return std::find(pages.begin(), pages.end(), j / means.page) != pages.end();
        });
    // A fork of everywhere() goes on with other rows: it must choose by those.
    const bool by_type = extension::everywhere(
        [&] {
            return cairn::KvCache<cairn::Paged<>, cairn::KeepAll, Means>(layout, 700, {}, {},
                                                                         means);
        },
        text, layout, scale, wanted);
    cairn::cache_words().read(Means{});
    const cairn::CacheSpec spec = cairn::CacheSpec::parse("mapped:f32:all:means=7,page=12");
    const bool by_word =
        extension::everywhere([&] { return spec.make(layout, 700); }, text, layout, scale, wanted);
    return extension::verdict("a read", by_type && by_word);
}
