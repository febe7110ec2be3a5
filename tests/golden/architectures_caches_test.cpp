// Every architecture of the library through the caches that people run, on the random models of
// this folder: one by one, in chunks, in a fork and in a session that was saved, the same bits.
#include <filesystem>
#include <set>

#include <cairn/io/io.hpp>
#include <cairn/io/json.hpp>
#include <cairn/io/session_file.hpp>
#include <cairn/models/library_architectures.hpp>

#include "session_support.hpp"
using namespace support;

namespace {

/// Folders with a model, wherever below this one they lie.
std::vector<std::string> golden_folders() {
    std::vector<std::string> folders;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(CAIRN_TEST_DATA))
        if (entry.path().filename() == "model.safetensors")
            folders.push_back(entry.path().parent_path().string());
    std::sort(folders.begin(), folders.end());
    return folders;
}

/// One model over one cache, and the logits that everything else is held against.
class ArchitectureCase {
  public:
    ArchitectureCase(const LoadedModel& loaded, const char* cache, int tokens, int room)
        : loaded_(loaded),
          spec_(CacheSpec::parse(cache)),
          capacity_(room),
          width_(static_cast<std::size_t>(loaded.model.vocabulary())) {
        Random random(7);
        tokens_ = random_tokens(random, tokens, loaded.model.vocabulary());
        logits_.resize(tokens_.size() * width_);
        auto whole = session();
        whole.score(tokens_, logits_.data());
    }

    void one_by_one() const {
        auto single = session();
        go_on(single, 0);
    }
    void in_chunks() const {
        auto chunked = session();
        std::size_t at = 0;
        for (std::size_t size = 1; at < tokens_.size(); size = size % 13 + 4) {
            const std::size_t n = std::min(size, tokens_.size() - at);
            const auto last = chunked.prefill(Tokens(tokens_).subspan(at, n));
            at += n;
            REQUIRE(same_bits(last, row(at - 1)));
        }
    }
    void in_a_fork() const {
        auto trunk = session();
        trunk.prefill(Tokens(tokens_).first(half()));
        auto fork = trunk.fork();
        // The trunk goes another way first.
        const std::vector<Token> elsewhere(9, 0);
        trunk.prefill(elsewhere);
        go_on(fork, half());
    }
    void restored(const Folder& to) const {
        const std::string path = to.file("session.cairn");
        const SessionOwner owner = SessionOwner::of(loaded_, Compute::fast, Compute::accurate);
        auto saved = session();
        saved.prefill(Tokens(tokens_).first(half()));
        save_session(path, saved, {.tokens = tokens_}, owner);
        auto again = session();
        load_session(path, again, owner);
        CHECK(same_bits(again.logits(), row(half() - 1)));
        go_on(again, half());
    }

  private:
    Session<AnyModel, AnyCache> session() const {
        return loaded_.model.session(capacity_, Serial::instance(),
                                     [this](int layer, const HeadLayout& layout, int rows) {
                                         return spec_.make(layout, rows, layer);
                                     });
    }
    void go_on(Session<AnyModel, AnyCache>& session, std::size_t at) const {
        for (; at < tokens_.size(); ++at) REQUIRE(same_bits(session.decode(tokens_[at]), row(at)));
    }
    std::size_t half() const { return tokens_.size() / 2 + 1; }
    std::span<const float> row(std::size_t i) const {
        return std::span(logits_).subspan(i * width_, width_);
    }

    const LoadedModel& loaded_;
    CacheSpec spec_;
    int capacity_;
    std::size_t width_;
    std::vector<Token> tokens_;
    std::vector<float> logits_;
};

void check_caches(const LoadedModel& loaded, const Folder& to) {
    const int context = loaded.model.context();
    const bool relative = loaded.model.relative_positions();
    const int kept = std::min(44, context);
    // A window goes on beyond the context where positions are relative.
    const int streamed = relative ? 110 : kept;
    struct Run {
        const char* cache;
        int tokens, capacity;
    };
    for (const Run& run :
         {Run{"paged=16:q8_0", kept, std::min(64, context)},
          Run{"paged=16:f16:window=20,sinks=3", streamed, relative ? 120 : context}}) {
        INFO(run.cache);
        const ArchitectureCase item(loaded, run.cache, run.tokens, run.capacity);
        item.one_by_one();
        item.in_chunks();
        item.in_a_fork();
        item.restored(to);
    }
    if (!relative)
        CHECK(code_of([&] {
                  ArchitectureCase(loaded, "paged=16:f16:window=20,sinks=3", 8, context + 1);
              }) == ErrorCode::invalid_argument);
}

}  // namespace

TEST_CASE("every architecture of the library gives the same bits on the caches that people run",
          "[golden][architectures]") {
    const Folder to("-architectures");
    std::set<std::string> seen;
    int relative = 0;
    const std::vector<std::string> folders = golden_folders();
    for (const std::string& folder : folders) {
        INFO(folder);
        const LoadedModel loaded = load_model(folder);
        seen.insert(loaded.model.architecture());
        relative += loaded.model.relative_positions() ? 1 : 0;
        check_caches(loaded, to);
    }
    for (const Architecture& known : library_architectures()) {
        INFO(known.hf);
        CHECK(seen.count(known.hf) == 1);
    }
    CHECK(folders.size() >= 49);
    CHECK(relative >= 44);
}
