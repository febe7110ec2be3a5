// Queries that choose the rows they read (Quest), against the definition: bounds of all pages, the
// best of them, and attention over a plain cache cut to these pages, row by row.
#include <numeric>

#include <cairn/cache/cache_spec.hpp>
#include <cairn/cache/planner.hpp>

#include "cache_support.hpp"
#include "read_rows.hpp"
#include "session_support.hpp"
#include "support.hpp"
using namespace support;

namespace {

const HeadLayout quest_heads{6, 2, 24, 16};

struct QuestText {
    RowMatrix q, k, v;
    explicit QuestText(int rows, const HeadLayout& l = quest_heads, std::uint64_t seed = 5) {
        Random random(seed);
        q = random_matrix(random, rows, l.heads * l.key_dim);
        k = random_matrix(random, rows, l.kv_heads * l.key_dim);
        v = random_matrix(random, rows, l.kv_heads * l.value_dim);
    }
};

void quest_feed(AnyCache& cache, const QuestText& text, RowMatrix& out, int begin, int end,
                int piece, const AttentionParameters& parameters, Context& context) {
    for (int at = begin; at < end;) {
        const int n = std::min(piece, end - at);
        prefill(text.q.middleRows(at, n), text.k.middleRows(at, n), text.v.middleRows(at, n), cache,
                parameters, out.middleRows(at, n), context);
        at += n;
    }
}

// A plain cache of which each KV head shows the pages it is told, one run a page.
class NaivePages {
  public:
    explicit NaivePages(AnyCache plain, int page) : plain_(std::move(plain)), page_(page) {}
    void stage(TokenRows k, TokenRows v) { plain_.stage(k, v); }
    void commit(int rows) noexcept { plain_.commit(rows); }
    void rollback() noexcept { commit(0); }
    void clear() { plain_.clear(); }
    void runs(int head, RunList& keys, RunList& values) const {
        RunList all[2];
        plain_.runs(head, all[0], all[1]);
        RunList* to[2] = {&keys, &values};
        for (int s = 0; s < 2; ++s) {
            to[s]->clear();
            for (Run run : all[s])
                for (const int page : pages[static_cast<std::size_t>(head)]) {
                    Run part = run;
                    part.begin = std::max(run.begin, page * page_);
                    part.end = std::min(run.end, (page + 1) * page_);
                    if (part.begin < part.end) to[s]->push(part);
                }
        }
    }
    int most_runs() const { return 4 * (length() / page_ + 1); }
    int committed() const { return plain_.committed(); }
    int length() const { return plain_.length(); }
    int capacity() const { return plain_.capacity(); }
    int max_rows() const { return plain_.max_rows(); }
    HeadLayout layout() const { return plain_.layout(); }
    std::size_t bytes() const { return plain_.bytes(); }
    std::size_t payload_bytes(int rows) const { return plain_.payload_bytes(rows); }
    const AnyCache& plain() const { return plain_; }

    std::vector<std::vector<int>> pages{16};

  private:
    AnyCache plain_;
    int page_;
};

// The decoded keys of a KV head, [rows][key_dim].
std::vector<float> keys_of(const AnyCache& cache, int head, int rows) {
    RunList keys, values;
    cache.runs(head, keys, values);
    const int dims = cache.layout().key_dim;
    std::vector<float> all(static_cast<std::size_t>(rows * dims));
    RowReader reader;
    OwnScratch scratch;
    for (const Run& run : keys)
        for (int j = run.begin; j < std::min(run.end, rows); ++j)
            run.codec->decode(reader.at(run, j), dims, all.data() + j * dims, dims,
                              scratch.with(run.codec->scratch_floats(dims)));
    return all;
}

// The pages that the query at `position` reads, by the definition: bounds of all complete pages
// before its own, sorted.
std::vector<int> pages_by_definition(const Quest& quest, const AnyCache& cache, int head,
                                     const float* row, int position,
                                     const AttentionParameters& parameters) {
    const auto& kernel = kernels::active();
    const HeadLayout layout = cache.layout();
    const int dims = layout.key_dim;
    RunList runs, values;
    cache.runs(head, runs, values);
    std::vector<float> probe(static_cast<std::size_t>(2 * dims));
    float slope = 0.0F;
    for (int h = head * layout.group(); h < (head + 1) * layout.group(); ++h) {
        std::vector<float> q(row + h * dims, row + (h + 1) * dims);
        if (parameters.rotation != nullptr) parameters.rotation->rotate(q.data(), position);
        kernel.scale(parameters.scale, dims, q.data());
        if (runs[0].turned()) kernels::hadamard(q.data(), dims);
        const std::size_t n = q.size();
        for (std::size_t d = 0; d < n; ++d) probe[q[d] > 0 ? d : n + d] += q[d];
        if (!parameters.alibi.empty()) slope += parameters.alibi[static_cast<std::size_t>(h)];
    }
    const int own = position / quest.page;
    const int window = parameters.mask.window();
    const int first = window > position ? 0 : (position - window + 1) / quest.page;
    const std::vector<float> keys = keys_of(cache, head, own * quest.page);
    std::vector<float> bound(static_cast<std::size_t>(own));
    for (int p = 0; p < own; ++p) {
        std::vector<float> summary(static_cast<std::size_t>(2 * dims));
        for (int d = 0; d < dims; ++d) {
            float least = keys[static_cast<std::size_t>(p * quest.page * dims + d)];
            float greatest = least;
            for (int r = 0; r < quest.page; ++r) {
                const float x = keys[static_cast<std::size_t>((p * quest.page + r) * dims + d)];
                least = std::min(least, x);
                greatest = std::max(greatest, x);
            }
            summary[static_cast<std::size_t>(d)] = greatest;
            summary[static_cast<std::size_t>(dims + d)] = least;
        }
        float& at = bound[static_cast<std::size_t>(p)];
        kernel.scores_rows<ElementType::f32>(
            {reinterpret_cast<const std::byte*>(summary.data()), 0, 0, 1, 2 * dims}, probe.data(),
            0, 1, &at, 0);
        const auto distance = static_cast<float>((p + 1) * quest.page - 1 - position);
        if (slope != 0.0F) kernel.axpy(slope, &distance, 1, &at);
    }
    std::vector<int> read, others;
    for (int p = first; p <= own; ++p) {
        const bool always = p == own || p * quest.page < quest.sinks ||
                            (p + 1) * quest.page > position - quest.recent + 1;
        (always ? read : others).push_back(p);
    }
    std::stable_sort(others.begin(), others.end(), [&](int a, int b) {
        return bound[static_cast<std::size_t>(a)] > bound[static_cast<std::size_t>(b)];
    });
    for (const int p : others)
        if (static_cast<int>(read.size()) < quest.rows / quest.page) read.push_back(p);
    std::sort(read.begin(), read.end());
    return read;
}

RowMatrix by_definition(const Quest& quest, AnyCache plain, const QuestText& text,
                        const AttentionParameters& parameters, std::size_t* rows_read = nullptr) {
    NaivePages cache(std::move(plain), quest.page);
    const HeadLayout l = cache.layout();
    RowMatrix out(text.q.rows(), l.heads * l.value_dim);
    Context context;
    for (int p = 0; p < static_cast<int>(out.rows()); ++p) {
        cache.stage(token_rows(text.k.middleRows(p, 1)), token_rows(text.v.middleRows(p, 1)));
        for (int h = 0; h < l.kv_heads; ++h) {
            auto& pages = cache.pages[static_cast<std::size_t>(h)];
            pages =
                pages_by_definition(quest, cache.plain(), h, text.q.row(p).data(), p, parameters);
            if (rows_read != nullptr) *rows_read += pages.size();
        }
        attend(cache, {text.q.row(p).data(), 0, 1, p}, parameters, l.heads, out.row(p).data(), 0,
               context);
        cache.commit(1);
    }
    return out;
}

std::string spec_with(const std::string& cache, const Quest& quest) {
    return cache + ":all:" + spec_of(quest);
}

}  // namespace

TEST_CASE("a set of pages is a set", "[quest]") {
    Random random(3);
    for (int round = 0; round < 200; ++round) {
        const int pages = draw(random, 1, 200);
        std::vector<std::uint64_t> words(PageSet::words(pages));
        PageSet set(words.data(), pages);
        std::vector<bool> wanted(static_cast<std::size_t>(pages));
        for (int i = draw(random, 0, 40); i > 0; --i) {
            const int begin = draw(random, -3, pages + 3);
            const int end = begin + draw(random, 0, 9);
            set.add(begin, end);
            for (int p = std::max(begin, 0); p < std::min(end, pages); ++p)
                wanted[static_cast<std::size_t>(p)] = true;
        }
        const int low = draw(random, 0, pages);
        const int high = draw(random, low, pages);
        CHECK(set.count(low, high) ==
              std::count(wanted.begin() + low, wanted.begin() + high, true));
        std::vector<bool> seen(wanted.size());
        int after = -1;
        set.each_stretch([&](int begin, int end) {
            REQUIRE((begin > after && begin < end));
            for (int p = begin; p < end; ++p) seen[static_cast<std::size_t>(p)] = true;
            after = end;
        });
        CHECK(seen == wanted);
        for (int p = 0; p < pages; ++p) CHECK(set.has(p) == wanted[static_cast<std::size_t>(p)]);
        set.clear();
        CHECK(set.count(0, pages) == 0);
    }
}

TEST_CASE("the best pages by the definition, whatever store, codec and cut", "[quest]") {
    constexpr int rows = 330;
    const QuestText text(rows);
    const AttentionParameters parameters{.scale = 0.4F};
    const Quest settings[] = {
        {.rows = 80, .page = 16, .recent = 20, .sinks = 4, .full_layers = 0},
        {.rows = 50, .page = 7, .recent = 0, .sinks = 0, .full_layers = 0},
        {.rows = 40, .page = 32, .recent = 100, .sinks = 40, .full_layers = 0}};
    const char* caches[] = {
        "contiguous:f32",        "paged=32:f16",           "mapped:q8_0",
        "contiguous:q4_0+rot",   "paged=16:k=bf16,v=q5_1", "paged=32:k=fp8_e4m3,v=kivi4",
        "contiguous,disk=64:f16"};
    int i = 0;
    for (const char* name : caches) {
        const Quest& quest = settings[i++ % 3];
        INFO(name << " " << spec_of(quest));
        std::size_t read = 0;
        const RowMatrix wanted = by_definition(quest, CacheSpec::parse(name).make(quest_heads, 400),
                                               text, parameters, &read);
        CHECK(read < rows * 2 * (330 / static_cast<std::size_t>(quest.page)) * 2 / 3);
        const CacheSpec spec = CacheSpec::parse(spec_with(name, quest));
        CHECK(CacheSpec::parse(spec.canonical()).canonical() == spec.canonical());
        same_however_fed(
            [&] { return spec.make(quest_heads, 400); }, text.k, text.v, wanted,
            [&](AnyCache& cache, RowMatrix& out, int begin, int end, int piece, Context& context) {
                quest_feed(cache, text, out, begin, end, piece, parameters, context);
            });
    }
}

TEST_CASE("the choice knows rotation, ALiBi, a window and wide groups", "[quest]") {
    constexpr int rows = 260;
    const RotaryHalf rotary(RotarySettings{20, 1e4, 2000, {}, {}});
    const HeadLayout wide{40, 2, 24, 16};
    const Quest quest{.rows = 64, .page = 8, .recent = 10, .sinks = 3, .full_layers = 0};
    std::vector<float> slopes(40);
    for (int h = 0; h < 40; ++h) slopes[static_cast<std::size_t>(h)] = 0.01F * float(h % 7);
    const AttentionParameters cases[] = {
        {.scale = 0.3F, .rotation = &rotary},
        {.scale = 0.3F, .alibi = slopes},
        {.scale = 0.3F, .mask = Mask::sliding_window(100), .soft_cap = 2.0F, .rotation = &rotary}};
    const QuestText text(rows, wide, 9);
    for (const AttentionParameters& parameters : cases) {
        const RowMatrix wanted = by_definition(
            quest, CacheSpec::parse("paged=32:f16").make(wide, 300), text, parameters);
        for (const int piece : {1, 41, rows}) {
            KvCache<Paged<F16>, KeepAll, Quest> cache(wide, 300, {}, {}, quest);
            RowMatrix got(rows, wanted.cols());
            Context context;
            quest_feed(cache, text, got, 0, rows, piece, parameters, context);
            REQUIRE(same_bits(got, wanted));
        }
    }
}

TEST_CASE("a page's bound is above what any of its rows scores", "[quest]") {
    Random random(8);
    const int dims = 19;
    for (int round = 0; round < 100; ++round) {
        const Quest quest{.rows = 64, .page = draw(random, 1, 20), .full_layers = 0};
        const auto reader = quest.reader(quest_heads, 0);
        const auto keys = random_vector(random, static_cast<std::size_t>(quest.page * dims), 2.0);
        const auto q = random_vector(random, dims);
        std::vector<float> summary(static_cast<std::size_t>(reader->summary_width(dims)));
        REQUIRE(summary.size() == 2 * dims);
        reader->summarise(keys.data(), dims, summary.data());
        double bound = 0.0;
        double most = -1e30;
        for (std::size_t d = 0; d < dims; ++d)
            bound += std::max(double{q[d]} * double{summary[d]},
                              double{q[d]} * double{summary[dims + d]});
        for (int r = 0; r < quest.page; ++r) {
            double score = 0.0;
            for (std::size_t d = 0; d < dims; ++d)
                score += double{q[d]} * double{keys[static_cast<std::size_t>(r * dims) + d]};
            most = std::max(most, score);
        }
        CHECK(bound >= most - 1e-9);
        if (quest.page == 1) CHECK(bound == Approx(most));
    }
}

TEST_CASE("of pages that promise the same the first are read, and the page of a query is",
          "[quest]") {
    QuestText text(200);
    for (int r = 1; r < 200; ++r) text.k.row(r) = text.k.row(0);
    const Quest quest{.rows = 60, .page = 10, .recent = 0, .sinks = 0, .full_layers = 0};
    KvCache<Contiguous<F16>, KeepAll, Quest> cache(quest_heads, 200, {}, {}, quest);
    cache.append(token_rows(text.k), token_rows(text.v));
    const RowsRead& read = *cache.rows_read();
    CHECK(read.page_rows() == 10);
    std::vector<std::uint64_t> words(PageSet::words(16));
    PageSet pages(words.data(), 16);
    OwnScratch scratch;
    read.choose({0, 155, 0, text.q.data(), 3}, pages, scratch.with(read.scratch_floats(16)));
    for (int p = 0; p < 16; ++p) CHECK(pages.has(p) == (p < 5));
    // A window leaves pages out before any is chosen.
    pages.clear();
    read.choose({1, 155, 47, text.q.data(), 3}, pages, scratch.with(read.scratch_floats(16)));
    for (int p = 0; p < 16; ++p) CHECK(pages.has(p) == (p >= 4 && p < 9));
    const AttentionParameters parameters{.scale = 0.4F};
    const RowMatrix wanted =
        by_definition(quest, CacheSpec::parse("f16").make(quest_heads, 200), text, parameters);
    KvCache<Contiguous<F16>, KeepAll, Quest> again(quest_heads, 200, {}, {}, quest);
    RowMatrix got(200, 96);
    Context context;
    quest_feed(again, text, got, 0, 200, 200, parameters, context);
    CHECK(same_bits(got, wanted));
}

TEST_CASE("a budget of all pages is the plain cache, by bits", "[quest]") {
    constexpr int rows = 300;
    const QuestText text(rows);
    const AttentionParameters parameters{.scale = 0.3F};
    Context context;
    for (const char* name :
         {"contiguous:f32", "contiguous:f16", "paged=16:q8_0", "mapped:bf16", "paged=32:q4_0+rot",
          "contiguous,disk=40:f16", "contiguous:k=f16,v=kivi2", "paged=16:int4"}) {
        INFO(name);
        RowMatrix out[2];
        int i = 0;
        for (const std::string& spec :
             {std::string(name), spec_with(name, {.rows = 400, .full_layers = 0})}) {
            AnyCache cache = CacheSpec::parse(spec).make(quest_heads, 400);
            CHECK((cache.rows_read() != nullptr) == (i == 1));
            out[i] = RowMatrix(rows, 96);
            quest_feed(cache, text, out[i], 0, 200, 200, parameters, context);
            quest_feed(cache, text, out[i++], 200, rows, 1, parameters, context);
        }
        REQUIRE(same_bits(out[0], out[1]));
    }
}

TEST_CASE("random scripts: what was taken back, branched, saved and refused leaves no trace",
          "[quest]") {
    constexpr int rows = 300;
    const QuestText text(rows);
    const AttentionParameters parameters{.scale = 0.4F};
    Random random(77);
    Context context;
    const Quest quest{.rows = 60, .page = 12, .recent = 15, .sinks = 2, .full_layers = 0};
    for (const char* name : {"contiguous:f32", "paged=16:f16", "mapped:q8_0",
                             "contiguous,disk=40:f16", "paged=32:k=f16,v=kivi4"}) {
        INFO(name);
        const CacheSpec spec = CacheSpec::parse(spec_with(name, quest));
        const RowMatrix wanted =
            by_definition(quest, CacheSpec::parse(name).make(quest_heads, 400), text, parameters);
        for (int round = 0; round < 4; ++round) {
            AnyCache cache = spec.make(quest_heads, 400);
            RowMatrix got = RowMatrix::Zero(rows, wanted.cols());
            int deepest = 0;
            for (int step = 0; step < 60; ++step) {
                const int at = cache.committed();
                const int most = std::min(rows - at, cache.max_rows());
                switch (random.below(8)) {
                    case 0: {  // other rows, taken back
                        const int n = std::min(draw(random, 1, 60), most);
                        const int from = draw(random, 0, rows - std::max(n, 1));
                        cache.stage(token_rows(text.k.middleRows(from, n)),
                                    token_rows(text.v.middleRows(from, n)));
                        cache.rollback();
                        break;
                    }
                    case 1: {  // a branch goes on with other rows
                        AnyCache fork = cache.fork();
                        const int n = std::min(draw(random, 1, 60), fork.max_rows());
                        if (n <= fork.capacity() - fork.length())
                            fork.append(token_rows(text.k.topRows(n)),
                                        token_rows(text.v.topRows(n)));
                        if (random.below(2) == 0)
                            fork.truncate(fork.can_truncate(at / 2) ? at / 2 : 0);
                        break;
                    }
                    case 2: cache = random.below(2) == 0 ? cache.fork() : cache.copy(); break;
                    case 3: {  // saved, refused half read, and read
                        const auto bytes = archived(cache);
                        AnyCache loaded = spec.make(quest_heads, 400);
                        if (at > 0) {
                            MemoryArchive broken(std::vector<std::byte>(
                                bytes.begin(),
                                bytes.begin() + draw(random, 0, int(bytes.size()) - 1)));
                            CHECK(code_of([&] { loaded.archive(broken); }) == ErrorCode::bad_file);
                            CHECK(loaded.length() == 0);
                        }
                        MemoryArchive whole(bytes);
                        loaded.archive(whole);
                        cache = std::move(loaded);
                        break;
                    }
                    case 4: {
                        const int to = draw(random, 0, at);
                        if (cache.can_truncate(to)) cache.truncate(to);
                        break;
                    }
                    case 5: {  // some rows of a stage stay
                        const int n = std::min(draw(random, 1, 40), most);
                        if (n < 1) break;
                        cache.stage(token_rows(text.k.middleRows(at, n)),
                                    token_rows(text.v.middleRows(at, n)));
                        attend(cache.ref(), {text.q.row(at).data(), text.q.outerStride(), n, at},
                               parameters, 6, got.row(at).data(), got.outerStride(), context);
                        const int kept = draw(random, 0, n);
                        cache.commit(kept);
                        REQUIRE(same_bits(RowMatrix(got.middleRows(at, n)),
                                          RowMatrix(wanted.middleRows(at, n))));
                        break;
                    }
                    default: {
                        const int n = std::min(draw(random, 1, 50), most);
                        if (n > 0) quest_feed(cache, text, got, at, at + n, n, parameters, context);
                        REQUIRE(same_bits(RowMatrix(got.middleRows(at, n)),
                                          RowMatrix(wanted.middleRows(at, n))));
                        deepest = std::max(deepest, at + n);
                    }
                }
            }
            CHECK(deepest > 60);
        }
    }
}

TEST_CASE("files know nothing of reading: a plain cache's loads, and gives the same answers",
          "[quest]") {
    const QuestText text(280);
    const AttentionParameters parameters{.scale = 0.4F};
    Context context;
    const Quest quest{.rows = 60, .page = 12, .full_layers = 0};
    AnyCache plain = CacheSpec::parse("paged=16:f16").make(quest_heads, 300);
    AnyCache chosen = CacheSpec::parse(spec_with("contiguous:f16", quest)).make(quest_heads, 300);
    RowMatrix out(280, 96);
    quest_feed(plain, text, out, 0, 250, 250, parameters, context);
    quest_feed(chosen, text, out, 0, 250, 250, parameters, context);
    const auto bytes = archived(plain);
    REQUIRE(bytes == archived(chosen));
    AnyCache loaded = CacheSpec::parse(spec_with("paged=32:f16", quest)).make(quest_heads, 400);
    MemoryArchive archive(bytes);
    loaded.archive(archive);
    RowMatrix wanted(280, 96);
    quest_feed(chosen, text, wanted, 250, 280, 30, parameters, context);
    quest_feed(loaded, text, out, 250, 280, 1, parameters, context);
    CHECK(same_bits(RowMatrix(out.bottomRows(30)), RowMatrix(wanted.bottomRows(30))));
}

TEST_CASE("sequences side by side choose as each does alone", "[quest]") {
    const AttentionParameters parameters{.scale = 0.4F};
    Random random(4);
    ThreadPool pool(3);
    Context alone;
    Context threads(pool);
    for (const int mixed : {0, 1}) {
        std::vector<AnyCache> caches;
        std::vector<RowMatrix> queries;
        RowMatrix wanted(7, 96);
        RowMatrix got(7, 96);
        for (int s = 0; s < 7; ++s) {
            const QuestText text(120 + 40 * s, quest_heads, std::uint64_t(s));
            caches.push_back(CacheSpec::parse(s % 2 == mixed && mixed == 1
                                                  ? "paged=16:f16"
                                                  : "paged=16:f16:all:quest=64,full=0")
                                 .make(quest_heads, 400));
            caches.back().append(token_rows(text.k), token_rows(text.v));
            queries.push_back(text.q.bottomRows(1));
        }
        std::vector<BatchQuery> batch;
        for (std::size_t s = 0; s < 7; ++s) {
            const int position = caches[s].length() - 1;
            const auto row = static_cast<Eigen::Index>(s);
            attend(caches[s].ref(), {queries[s].data(), 0, 1, position}, parameters, 6,
                   wanted.row(row).data(), 0, alone);
            batch.push_back({caches[s].ref(), queries[s].data(), position, got.row(row).data()});
        }
        for (Context* context : {&alone, &threads}) {
            got.setZero();
            attend_batch(batch, parameters, 6, *context);
            REQUIRE(same_bits(got, wanted));
        }
    }
}

TEST_CASE("summaries are planned to the byte, by layer", "[quest][planner]") {
    Random random(6);
    for (int round = 0; round < 60; ++round) {
        const char* stores[] = {"contiguous", "mapped", "paged=32", "contiguous,disk=32"};
        const char* codecs[] = {"f32", "f16", "q8_0", "q4_0+rot", "k=q5_1,v=kivi4"};
        const CacheSpec spec =
            CacheSpec::parse(std::string(stores[random.below(4)]) + ":" + codecs[random.below(5)] +
                             ":all:quest=" + std::to_string(draw(random, 1, 90)) +
                             ",page=" + std::to_string(draw(random, 1, 40)) + ",full=1");
        const HeadLayout layout{4, 2, draw(random, 1, 70), draw(random, 1, 70)};
        const int tokens = draw(random, 1, 500);
        const int capacity = tokens + draw(random, 0, 100);
        CachePlan sum;
        for (int layer = 0; layer < 3; ++layer) {
            AnyCache cache = spec.make(layout, capacity, layer);
            CHECK((cache.rows_read() != nullptr) == (layer > 0));
            for (int at = 0; at < tokens;) {
                const int n = std::min({tokens - at, draw(random, 1, 128), cache.max_rows()});
                cache.append(token_rows(random_matrix(random, n, 2 * layout.key_dim)),
                             token_rows(random_matrix(random, n, 2 * layout.value_dim)));
                at += n;
            }
            const CachePlan plan = plan_cache(spec, layout, {capacity, tokens, tokens}, layer);
            CHECK(plan.committed == cache.bytes());
            CHECK(plan.payload == cache.payload_bytes(tokens));
            sum += plan;
        }
        const CachePlan model = plan_model(spec, layout, 3, 2, {capacity, tokens, tokens});
        CHECK(model.committed == 2 * sum.committed);
        CHECK(model.peak == 2 * sum.peak);
    }
    CHECK(plan_model(CacheSpec::parse("f16:all:quest=64"), quest_heads, 0, 2, {9, 9, 9}).peak == 0);
}

TEST_CASE("what cannot choose says so", "[quest]") {
    const auto refused = [](const char* text) {
        try {
            CacheSpec::parse(text);
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::usage);
            return std::string(error.what());
        }
        return std::string();
    };
    const auto says = [](const std::string& text, const char* part) {
        INFO(text);
        CHECK(text.find(part) != std::string::npos);
    };
    for (const char* keep : {"window=20,sinks=4", "h2o=24", "snapkv=40"})
        says(refused(("paged=16:f16:" + std::string(keep) + ":quest=64").c_str()),
             "has chosen before it");
    says(refused("paged=32:kivi4:all:quest=64"), "change form with age");
    says(refused("tiered=24:q8_0:all:quest=64"), "change form with age");
    says(refused("paged=16:f16+bare:all:quest=64"), "as queries meet them");
    says(refused("paged=16:f16:all:quest=0"), "number from 1");
    says(refused("paged=16:f16:all:quest"), "needs =N");
    says(refused("paged=16:f16:all:quest=64,size=3"), "no option");
    says(refused("paged=16:f16:all:quest=64,page=70000"), "65536");
    says(refused("paged=16:f16:all:guess=64"), "unknown read");
    CHECK(CacheSpec::parse("paged=16:f16:all:every").canonical() == "paged=16:f16");
    CHECK(CacheSpec::parse("q8_0::quest=64").canonical() ==
          "contiguous:q8_0:all:quest=64,page=16,recent=32,sinks=4,full=2");
    CHECK(code_of([] {
              KvCache<Contiguous<F16>, KeepAll, Quest>(quest_heads, 64, {}, {}, {.page = 0});
          }) == ErrorCode::invalid_argument);
    // Rows in the middle of a page cannot go.
    KvCache<Paged<F16>, KeepAll, Quest> cache(quest_heads, 64, {}, {}, 3);
    cache.append(token_rows(QuestText(40).k), token_rows(QuestText(40).v));
    CHECK_FALSE(cache.ref().rows_read() == nullptr);
    CHECK_FALSE(static_cast<AnyCache&>(cache).can_drop(3, 9));
    CHECK(code_of([&] { static_cast<AnyCache&>(cache).drop(3, 9); }) == ErrorCode::bad_state);
    CHECK_FALSE(Shiftable<KvCache<Paged<F16>, KeepAll, Quest>>);
}
