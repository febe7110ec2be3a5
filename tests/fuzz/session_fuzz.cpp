// What stands in a session file below its checksums: a byte that chooses the kind of cache, then
// the cache's archive. What loads must be usable. Kinds whose rows lean on those of the layer
// before are a second layer behind a first one of some rows. CAIRN_FUZZ_SEEDS=FOLDER writes the
// seeds.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include <cairn/attention/engine.hpp>
#include <cairn/cache/cache_set.hpp>
#include <cairn/cache/cache_spec.hpp>
#include <cairn/numeric/random.hpp>

#include "fuzz.hpp"

namespace {

using namespace cairn;

constexpr const char* specs[] = {"contiguous:f32",
                                 "paged=16:f16",
                                 "mapped:k=q8_0,v=q4_0+rot",
                                 "contiguous:kivi2",
                                 "paged=32:kivi4",
                                 "tiered=8:q5_1",
                                 "contiguous:f16:window=20,sinks=2",
                                 "paged=16:f32:h2o=12,recent=4",
                                 "contiguous:int8:hashevict=20",
                                 "contiguous:uniform=4,across=1",
                                 "paged=32:xlayers,km=1,vm=1,group=32,recent=32",
                                 "paged=16:f16:expected=12,queries=8",
                                 "contiguous:uniform=3,across=1:all:quest=48,page=16,full=0"};
constexpr std::size_t kinds = sizeof specs / sizeof *specs;
const HeadLayout layout{2, 1, 4, 4};
constexpr int capacity = 200;
constexpr int leader_rows = 100;

/// The caches of a kind's layers; what is fuzzed is the last one.
CacheSet<AnyCache> caches_of(std::size_t kind) {
    const CacheSpec spec = CacheSpec::parse(specs[kind]);
    const bool based = std::strstr(specs[kind], "across") || std::strstr(specs[kind], "xlayers");
    CacheSet<AnyCache> set;
    for (int layer = 0; layer < (based ? 2 : 1); ++layer)
        set.add(spec.make(layout, capacity, layer));
    Random random(3);
    for (int i = 0; based && i < leader_rows; ++i) {
        float x[4];
        for (float& v : x) v = static_cast<float>(random.normal());
        set[0].stage({x, 4, 1}, {x, 4, 1});
        set[0].commit(1);
    }
    return set;
}

class Reader final : public CacheArchive {
  public:
    explicit Reader(std::string_view from) : from_(from) {}
    bool loading() const noexcept override { return true; }
    void number(std::string_view what, std::int64_t& value, std::int64_t least,
                std::int64_t most) override {
        bytes(&value, 8);
        require(value >= least && value <= most, ErrorCode::bad_file, what, " ", value);
    }
    void bytes(void* data, std::size_t size) override {
        require(size <= from_.size(), ErrorCode::bad_file, "ends early");
        if (size > 0) std::memcpy(data, from_.data(), size);
        from_.remove_prefix(size);
    }

  private:
    std::string_view from_;
};
class Writer final : public CacheArchive {
  public:
    explicit Writer(std::string& to) : to_(&to) {}
    bool loading() const noexcept override { return false; }
    void number(std::string_view, std::int64_t& value, std::int64_t, std::int64_t) override {
        bytes(&value, 8);
    }
    void bytes(void* data, std::size_t size) override {
        to_->append(static_cast<const char*>(data), size);
    }

  private:
    std::string* to_;
};

void append(CacheSet<AnyCache>& set, int rows) {
    static const std::vector<float> x(4, 0.5F);
    AnyCache& cache = set[set.layers() - 1];
    const int most = set.layers() > 1 ? leader_rows : cache.capacity();
    for (int i = 0; i < rows && cache.length() < most; ++i) {
        cache.stage({x.data(), 4, 1}, {x.data(), 4, 1});
        cache.commit(1);
    }
}

/// The largest magnitude among the rows that attention sees.
float largest(const AnyCache& cache) {
    float most = 0;
    RunList keys, values;
    cache.runs(0, keys, values);
    for (const RunList* runs : {&keys, &values})
        for (const Run& run : *runs)
            for (int r = run.begin; r < run.end; ++r) {
                float row[4];
                run.codec->decode(run.rows(r, r + 1), 4, row, 4);
                for (const float x : row) most = std::max(most, std::abs(x));
            }
    return most;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
    const char* folder = std::getenv("CAIRN_FUZZ_SEEDS");
    if (folder == nullptr) return 0;
    for (std::size_t kind = 0; kind < kinds; ++kind) {
        Random random(kind);
        CacheSet<AnyCache> set = caches_of(kind);
        AnyCache& cache = set[set.layers() - 1];
        if (kind == 11) cache.expect_prompt(40);  // its notes stand in a file before the end
        for (int i = 0; i < (kind == 3 || kind == 4 ? 150 : kind == 10 ? 80 : 24); ++i) {
            float x[4];
            for (float& v : x) v = static_cast<float>(random.normal());
            cache.stage({x, 4, 1}, {x, 4, 1});
            cache.commit(1);
        }
        std::string bytes(1, static_cast<char>(kind));
        Writer writer(bytes);
        cache.archive(writer);
        std::ofstream(std::string(folder) + "/" + std::to_string(kind), std::ios::binary) << bytes;
    }
    std::exit(0);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz(data, size, [](std::string_view text) {
        if (text.empty()) return;
        const std::size_t kind = static_cast<unsigned char>(text[0]) % kinds;
        CacheSet<AnyCache> set = caches_of(kind);
        AnyCache& cache = set[set.layers() - 1];
        Reader reader(text.substr(1));
        try {
            cache.archive(reader);
        } catch (const Error& error) {
            cache.clear();
            append(set, 3);
            if (cache.committed() != 3) std::abort();
            if (error.code() == ErrorCode::capacity) return;
            throw;
        }
        const int loaded = cache.committed();
        append(set, 3);
        if (cache.committed() > 0) {
            Context context;
            const float q[8] = {1, 0, 0, 0, 1, 1, 0, 0};
            float out[8];
            attend(cache.ref(), {q, 8, 1, cache.committed() - 1}, {.scale = 0.5F}, 2, out, 8,
                   context);
            // Finite rows may be too large for f32 sums: the forward that meets them says so.
            for (const float x : out)
                if (!(x - x == 0.0F) && largest(cache) < 1e30F) std::abort();
        }
        CacheSet<AnyCache> branches = set.branch([](const AnyCache& c) { return c.fork(); });
        AnyCache& branch = branches[branches.layers() - 1];
        append(branches, 40);
        for (const int n : {loaded, loaded / 2, 1})
            if (branch.can_truncate(n)) branch.truncate(n);
        append(branches, 20);
        branch.clear();
        append(branches, 5);
        if (branch.committed() != 5) std::abort();
    });
}
