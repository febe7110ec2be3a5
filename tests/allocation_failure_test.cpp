// Every allocation of every operation fails once: the operation throws, nothing has changed, the
// same operation then succeeds with the same bits, and in the end nothing is left behind. It
// replaces operator new, so it is a program of its own.
#include "failing_memory.hpp"

#include <cairn/cache/cache_spec.hpp>
#include <cairn/io/output_file.hpp>
#include <cairn/models/tiny_gpt.hpp>

namespace {

using namespace cairn;

// What a cache holds, as one number.
class Hash final : public CacheArchive {
  public:
    bool loading() const noexcept override { return false; }
    void number(std::string_view, std::int64_t& value, std::int64_t, std::int64_t) override {
        hash_.add(static_cast<std::uint64_t>(value));
    }
    void bytes(void* data, std::size_t size) override { hash_.add(data, size); }
    std::uint64_t value() const { return hash_.value(); }

  private:
    Fingerprint hash_;
};
std::uint64_t content(AnyCache& cache) {
    Hash hash;
    cache.archive(hash);
    hash.number("length", *std::make_unique<std::int64_t>(cache.length()), 0, 0);
    return hash.value();
}
int blocks_used(const AnyCache& cache) { return cache.pool_use().used; }

int caches(const char* text) {
    const CacheSpec spec = CacheSpec::parse(text);
    const HeadLayout layout{4, 2, 16, 16};
    Random random(5);
    std::vector<float> x(static_cast<std::size_t>(400 * 32));
    for (float& v : x) v = static_cast<float>(random.normal());
    const auto rows = [&](int from, int n) {
        return TokenRows{x.data() + std::ptrdiff_t{from} * 32, 32, n};
    };
    int failed = 0;
    std::optional<AnyCache> cache;
    failed += each_failure([&] { cache.emplace(spec.make(layout, 380)); },
                           [&] { check(!cache, "construct: half a cache", text); });
    std::optional<AnyCache> twin(spec.make(layout, 380));
    for (int at = 0; at < 330;) {
        const int n = std::min({1 + static_cast<int>(random.below(2) * random.below(70)), 330 - at,
                                cache->max_rows()});
        const std::uint64_t before = content(*cache);
        const int used = blocks_used(*cache);
        failed += each_failure([&] { cache->stage(rows(at, n), rows(at, n)); },
                               [&] {
                                   check(cache->length() == at && cache->committed() == at,
                                         "stage: rows", text);
                                   check(blocks_used(*cache) == used, "stage: blocks", text);
                                   check(content(*cache) == before, "stage: content", text);
                               });
        cache->commit(n);
        twin->stage(rows(at, n), rows(at, n));
        twin->commit(n);
        at += n;
        if (at > 200 && random.below(4) == 0) {
            // A branch, a write into what is shared, and a deep copy.
            const std::uint64_t now = content(*cache);
            std::optional<AnyCache> branch;
            const int blocks = blocks_used(*cache);
            const auto same = [&] {
                check(content(*cache) == now, "fork: content", text);
                check(!branch && blocks_used(*cache) == blocks, "fork: half a branch", text);
            };
            failed += each_failure([&] { branch.emplace(cache->fork()); }, same);
            const int more = std::min(3, branch->max_rows());
            const int shared = blocks_used(*cache);
            failed += each_failure([&] { branch->stage(rows(at, more), rows(at, more)); },
                                   [&] {
                                       check(content(*branch) == now && content(*cache) == now,
                                             "write into a branch: content", text);
                                       // The copy of the block it was about to write may stay.
                                       check(blocks_used(*cache) <= shared + 8,
                                             "write into a branch: blocks", text);
                                   });
            branch.reset();
            check(blocks_used(*cache) == blocks, "a branch gone: blocks", text);
            failed += each_failure([&] { branch.emplace(cache->copy()); }, same);
            check(content(*branch) == now, "copy: content", text);
        }
    }
    check(content(*cache) == content(*twin), "after all failures: content", text);
    if (cache->can_shift(4, 20)) {
        failed += each_failure([&] { cache->shift(4, 20); }, [] {});
        twin->shift(4, 20);
        check(content(*cache) == content(*twin), "shift: content", text);
    }
    failed += each_failure([&] { cache->clear(); }, [] {});
    check(cache->committed() == 0 && blocks_used(*cache) == 0, "clear", text);
    return failed;
}

// A forward through a model: the session is as it was, and goes on with the same bits.
int sessions(const char* text) {
    const CacheSpec spec = CacheSpec::parse(text);
    const TinyGpt gpt = TinyGpt::random({.layers = 2, .heads = 2, .width = 32, .vocab = 40}, 3);
    const auto make = [&](int layer, const HeadLayout& layout, int rows) {
        return spec.make(layout, rows, layer);
    };
    using Any = Session<Gpt2, AnyCache>;
    int failed = 0;
    std::optional<Any> session;
    failed += each_failure([&] { session.emplace(gpt.model(), 64, Serial::instance(), make); },
                           [&] { check(!session, "session: half of one", text); });
    Any twin(gpt.model(), 64, Serial::instance(), make);
    Random random(8);
    for (const std::size_t count : {std::size_t{20}, std::size_t{1}, std::size_t{30}}) {
        std::vector<Token> tokens(count);
        for (Token& token : tokens) token = static_cast<Token>(random.below(40));
        const int before = session->position();
        failed +=
            each_failure([&] { session->prefill(tokens); },
                         [&] { check(session->position() == before, "prefill: position", text); });
        const auto wanted = twin.prefill(tokens);
        check(std::equal(wanted.begin(), wanted.end(), session->logits().begin(),
                         session->logits().end()),
              "prefill after failures: logits", text);
        // The same of tokens of which some stay; what keeps them has no memory to ask for.
        if (session->layer_cache(0).commits_part()) {
            std::vector<float> logits(3 * 40);
            const Tokens draft = Tokens(tokens).first(std::min<std::size_t>(3, count));
            std::optional<Forward> open;
            failed += each_failure(
                [&] { open.emplace(session->propose(draft, logits.data())); },
                [&] {
                    check(!open && session->position() == before + static_cast<int>(count) &&
                              session->layer_cache(1).length() == session->position(),
                          "propose: position", text);
                });
            countdown = 0;
            open->accept(1);
            open.reset();
            check(countdown == 0, "accept allocates", text);
            countdown = -1;
            twin.decode(tokens[0]);
            check(session->position() == twin.position(), "propose: accepted", text);
        }
        std::optional<Any> branch;
        failed += each_failure([&] { branch.emplace(session->fork()); },
                               [&] { check(!branch, "fork: half a session", text); });
    }
    return failed;
}

// A file written in a folder that holds others: the old one is there or the new one, nothing else,
// and no descriptor stays open.
int files() {
    char folder[] = "/tmp/cairn-allocation-XXXXXX";
    if (::mkdtemp(folder) == nullptr) return 0;
    const std::string path = std::string(folder) + "/a file with a name too long for small strings";
    const auto count = [&] {
        int n = 0;
        DIR* list = ::opendir(folder);
        while (const dirent* entry = ::readdir(list)) n += entry->d_name[0] != '.' ? 1 : 0;
        ::closedir(list);
        return n;
    };
    const auto next_descriptor = [] {
        const int descriptor = ::dup(0);
        ::close(descriptor);
        return descriptor;
    };
    const auto write = [&](const std::string& to) {
        OutputFile file(to);
        file.write(std::as_bytes(std::span("bytes", 5)));
        file.finish();
    };
    for (const char* other : {"/1", "/2", "/3"}) write(folder + std::string(other));
    const int descriptor = next_descriptor();
    const int failed = each_failure(
        [&] {
            errno = ENOTDIR;  // a stale one, with a long text
            write(path);
        },
        [&] { check(count() == 3, "a temporary file was left", "files"); });
    check(count() == 4, "the file is not there", "files");
    check(next_descriptor() == descriptor, "a descriptor was left open", "files");
    for (const char* other : {"/1", "/2", "/3"}) ::unlink((folder + std::string(other)).c_str());
    ::unlink(path.c_str());
    ::rmdir(folder);
    return failed;
}

}  // namespace

int main() {
    int failed = files();
    check(failed > 2, "hardly any allocation failed", "files");
    for (const char* text :
         {"contiguous:f32", "mapped:f16", "mapped:q4_0+rot", "paged=16:f16", "paged=32:kivi4",
          "contiguous:kivi2", "tiered=40:q8_0", "tiered=40,disk=32:q8_0",
          "paged=16:q8_0:window=60,sinks=4", "contiguous:f16:window=60,sinks=4",
          "paged=16:f16:h2o=80,recent=20", "contiguous:q8_0:h2o=80,recent=20",
          "contiguous:f16:snapkv=64", "paged=16:f16:hashevict=64", "paged=16:f16:keydiff=64",
          "contiguous:q8_0:expected=64,future=20", "paged=16:f16:all:quest=48,full=0",
          "contiguous,disk=32:f16:all:quest=48,full=1"}) {
        caches(text);  // first use of anything static
        sessions(text);
        const long before = live;
        const int n = caches(text) + sessions(text);
        check(live == before, "memory was left behind", text);
        check(n > 5, "hardly any allocation failed", text);
        failed += n;
    }
    std::printf("%d allocations failed, %d checks with them\n", failed, failures);
    return failures == 0 ? 0 : 1;
}
