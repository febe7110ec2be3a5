// What stands in a session file below its checksums: a byte that chooses the kind of cache, then
// the cache's archive. What loads must be usable. CAIRN_FUZZ_SEEDS=FOLDER writes the seeds.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include <cairn/attention/engine.hpp>
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
                                 "contiguous:int8:hashevict=20"};
constexpr std::size_t kinds = sizeof specs / sizeof *specs;
const HeadLayout layout{2, 1, 4, 4};
constexpr int capacity = 200;

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

void append(AnyCache& cache, int rows) {
    static const std::vector<float> x(4, 0.5F);
    for (int i = 0; i < rows && cache.length() < cache.capacity(); ++i) {
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
        AnyCache cache = CacheSpec::parse(specs[kind]).make(layout, capacity);
        for (int i = 0; i < (kind == 3 || kind == 4 ? 150 : 24); ++i) {
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
        AnyCache cache = CacheSpec::parse(specs[kind]).make(layout, capacity);
        Reader reader(text.substr(1));
        try {
            cache.archive(reader);
        } catch (const Error& error) {
            cache.clear();
            append(cache, 3);
            if (cache.committed() != 3) std::abort();
            if (error.code() == ErrorCode::capacity) return;
            throw;
        }
        const int loaded = cache.committed();
        append(cache, 3);
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
        AnyCache branch = cache.fork();
        append(branch, 40);
        for (const int n : {loaded, loaded / 2, 1})
            if (branch.can_truncate(n)) branch.truncate(n);
        append(branch, 20);
        branch.clear();
        append(branch, 5);
        if (branch.committed() != 5) std::abort();
    });
}
