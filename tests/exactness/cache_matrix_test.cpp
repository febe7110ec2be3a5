// Every store x codec x keep x {MHA, GQA, MQA} x {whole, in pieces, one by one}: the same bits for
// every cut, the same bits for every store, and the naive reference within rounding. What cannot
// work is one sentence, listed here and in tests/compile.
#include <optional>

#include <cairn/cache/cache_spec.hpp>
#include <cairn/kernels/hadamard.hpp>

#include "support.hpp"
using namespace support;

namespace {

const std::vector<std::string> stores = {
    "contiguous", "mapped", "paged=32", "tiered=24", "contiguous,disk=32", "tiered=24,disk=32"};
const std::vector<std::string> codec_names = {"f32",
                                              "f16",
                                              "bf16",
                                              "fp8_e4m3",
                                              "fp8_e5m2",
                                              "q8_0",
                                              "q5_1",
                                              "q5_0",
                                              "q4_1",
                                              "q4_0",
                                              "iq4_nl",
                                              "int8",
                                              "int4",
                                              "kivi4",
                                              "kivi2",
                                              "quantspec",
                                              "q4_0+rot",
                                              "k=q8_0,v=q4_0+rot",
                                              "k=f32,v=kivi2+rot"};
const std::vector<std::string> keeps = {"all",
                                        "window=20,sinks=4",
                                        "window=150,sinks=3",
                                        "window=33",
                                        "h2o=24,recent=8",
                                        "snapkv=40",
                                        "nacl=30",
                                        "hashevict=25",
                                        "hashevict=25,key=1",
                                        "keydiff=26",
                                        "expected=28,queries=40",
                                        "all:quest=1000,full=0",
                                        "all:quest=80,page=24,full=0",
                                        "all:quest=60,page=1,recent=1,sinks=0,full=0"};

// The pairs that cannot work.
bool impossible(const std::string& store, const std::string& codec, const std::string& keep) {
    const bool kivi = codec.find("kivi") != std::string::npos || codec == "quantspec";
    const bool scored = keep != "all" && !keep.starts_with("window");
    const bool disk = store.find("disk") != std::string::npos;
    if (keep.find("quest") != std::string::npos)
        return store.starts_with("tiered") || codec.starts_with("kivi") || codec == "quantspec";
    return (disk && keep != "all") || (store.starts_with("tiered") && kivi) ||
           (scored && (kivi || store.starts_with("tiered")));
}

struct Case {
    HeadLayout layout;
    RowMatrix q, k, v;
    int prompt;
};

enum class Feed { whole, pieces, single };

RowMatrix run(const CacheSpec& spec, const Case& c, Feed feed, Random& random) {
    AnyCache cache = spec.make(c.layout, static_cast<int>(c.k.rows()), 3);
    RowMatrix out(c.q.rows(), c.layout.heads * c.layout.value_dim);
    Context context;
    AttentionParameters parameters;
    parameters.scale = 1.0F / std::sqrt(static_cast<float>(c.layout.key_dim));
    cache.expect_prompt(c.prompt);
    const int rows = static_cast<int>(c.k.rows());
    for (int at = 0; at < rows;) {
        const int left = at < c.prompt ? c.prompt - at : rows - at;
        int n = feed == Feed::whole ? left : (feed == Feed::single ? 1 : draw(random, 1, 40));
        n = std::min(n, left);
        if (feed == Feed::pieces && random.below(3) == 0) {
            // A detour that leaves no trace.
            const int m = std::min(draw(random, 1, 20), std::min(cache.max_rows(), rows - at));
            cache.stage(token_rows(c.k.middleRows(at, m)), token_rows(c.v.middleRows(at, m)));
            cache.rollback();
            AnyCache fork = cache.fork();
            fork.stage(token_rows(c.k.topRows(1)), token_rows(c.v.topRows(1)));
            fork.commit(1);
        }
        prefill(c.q.middleRows(at, n), c.k.middleRows(at, n), c.v.middleRows(at, n), cache,
                parameters, out.middleRows(at, n), context);
        at += n;
    }
    return out;
}

// Attention by the definition, over what each query sees, on rows that went through the codec.
RowMatrix reference(const CacheSpec& spec, const Case& c) {
    const Extent keep = spec.keep().extent(1 << 20, 128);
    const int rows = static_cast<int>(c.k.rows());
    const auto through = [&](const StreamPlan& format, const RowMatrix& x, int dims, int form) {
        RowMatrix y(x.rows(), x.cols());
        const Codec& codec = format.codec(form);
        const int padded = (rows + 31) / 32 * 32;
        std::vector<std::byte> bytes(codec.units(padded) * codec.unit_bytes(dims));
        for (int h = 0; h < c.layout.kv_heads; ++h) {
            RowMatrix head = RowMatrix::Zero(padded, dims);
            head.topRows(rows) = x.middleCols(h * dims, dims);
            for (int r = 0; format.rotated && r < rows; ++r)
                kernels::hadamard(head.row(r).data(), dims);
            const auto pass = [&](const Codec& through_codec) {
                const Rows all{bytes.data(),
                               static_cast<std::ptrdiff_t>(through_codec.unit_bytes(dims)),
                               0,
                               padded,
                               h,
                               0};
                through_codec.encode(head.data(), dims, dims, all);
                through_codec.decode(all, dims, head.data(), dims);
            };
            bytes.resize(std::max(bytes.size(), format.forms[0].codec->units(padded) *
                                                    format.forms[0].codec->unit_bytes(dims)));
            if (form > 0) pass(*format.forms[0].codec);
            pass(codec);
            for (int r = 0; format.rotated && r < rows; ++r)
                kernels::hadamard(head.row(r).data(), dims);
            y.middleCols(h * dims, dims) = head.topRows(rows);
        }
        return y;
    };
    const StreamPlan kf =
        spec.store().keys.plan({.layer = 3, .heads = c.layout.kv_heads, .dims = c.layout.key_dim});
    const StreamPlan vf = spec.store().values.plan(
        {.layer = 3, .heads = c.layout.kv_heads, .dims = c.layout.value_dim, .keys = false});
    const RowMatrix k[2] = {through(kf, c.k, c.layout.key_dim, 0),
                            through(kf, c.k, c.layout.key_dim, kf.count() - 1)};
    const RowMatrix v[2] = {through(vf, c.v, c.layout.value_dim, 0),
                            through(vf, c.v, c.layout.value_dim, vf.count() - 1)};
    const auto form_of = [](const StreamPlan& f, int q, int j) {
        return f.ages() && q / f.forms[0].age_unit - j / f.forms[0].age_unit >= f.forms[0].age_to
                   ? 1
                   : 0;
    };
    RowMatrix out = RowMatrix::Zero(rows, c.layout.heads * c.layout.value_dim);
    for (int q = 0; q < rows; ++q)
        for (int h = 0; h < c.layout.heads; ++h) {
            const int g = h / c.layout.group();
            std::vector<double> p(static_cast<std::size_t>(q) + 1, 0.0);
            double sum = 0.0;
            for (int j = 0; j <= q; ++j) {
                if (keep.recent > 0 && j >= keep.pinned && q - j >= keep.recent) continue;
                const double s = c.q.row(q)
                                     .segment(h * c.layout.key_dim, c.layout.key_dim)
                                     .cast<double>()
                                     .dot(k[form_of(kf, q, j)]
                                              .row(j)
                                              .segment(g * c.layout.key_dim, c.layout.key_dim)
                                              .cast<double>());
                p[static_cast<std::size_t>(j)] = std::exp(s / std::sqrt(c.layout.key_dim));
                sum += p[static_cast<std::size_t>(j)];
            }
            for (int j = 0; j <= q; ++j)
                out.row(q).segment(h * c.layout.value_dim, c.layout.value_dim) +=
                    static_cast<float>(p[static_cast<std::size_t>(j)] / sum) *
                    v[form_of(vf, q, j)].row(j).segment(g * c.layout.value_dim, c.layout.value_dim);
        }
    return out;
}

}  // namespace

TEST_CASE("every store, codec, keep and head layout, however it is fed", "[exactness][matrix]") {
    Random random(11);
    std::vector<Case> cases;
    for (const HeadLayout& layout :
         {HeadLayout{3, 3, 32, 48}, HeadLayout{4, 2, 20, 12}, HeadLayout{5, 1, 64, 64}}) {
        const int rows = 310;
        cases.push_back({layout, random_matrix(random, rows, layout.heads * layout.key_dim),
                         random_matrix(random, rows, layout.kv_heads * layout.key_dim),
                         random_matrix(random, rows, layout.kv_heads * layout.value_dim), 270});
    }
    int refused = 0;
    int compared = 0;
    for (const std::string& codec : codec_names)
        for (const std::string& keep : keeps)
            for (const Case& c : cases) {
                std::optional<RowMatrix> firsts[2];
                for (const std::string& store : stores) {
                    const std::string text = store + ":" + codec + ":" + keep;
                    INFO(text << ", " << c.layout.kv_heads << " KV heads");
                    if (impossible(store, codec, keep)) {
                        REQUIRE(code_of([&] { CacheSpec::parse(text); }) == ErrorCode::usage);
                        ++refused;
                        continue;
                    }
                    const CacheSpec spec = CacheSpec::parse(text);
                    const RowMatrix whole = run(spec, c, Feed::whole, random);
                    REQUIRE(same_bits(whole, run(spec, c, Feed::pieces, random)));
                    REQUIRE(same_bits(whole, run(spec, c, Feed::single, random)));
                    ++compared;
                    std::optional<RowMatrix>& first = firsts[store.starts_with("tiered") ? 1 : 0];
                    if (first) REQUIRE(same_bits(*first, whole));
                    first = whole;
                    if (spec.facts().keep.by_score || keep.starts_with("all:quest=80") ||
                        keep.starts_with("all:quest=60")) {
                        CHECK(whole.allFinite());
                        continue;
                    }
                    if (keep == "all:quest=1000,full=0")  // all pages: the plain cache
                        REQUIRE(same_bits(whole, run(CacheSpec::parse(store + ":" + codec), c,
                                                     Feed::whole, random)));
                    const float error = (whole - reference(spec, c)).cwiseAbs().maxCoeff();
                    CHECK(error < 3e-5F);
                }
            }
    CHECK(refused > 0);
    CHECK(compared > 1000);
}
