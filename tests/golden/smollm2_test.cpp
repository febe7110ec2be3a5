// The real model: SmolLM2-135M-Instruct (Q4_1). Needs the file that cmake/fetch_model.sh fetches;
// CAIRN_SMOLLM2 names it. Continuous integration fetches it; elsewhere these tests say that they
// were left out.
#include <cstdlib>
#include <fstream>
#include <iostream>

#include <unistd.h>

#include <cairn/io/gguf_source.hpp>
#include <cairn/io/io.hpp>
#include <cairn/io/json.hpp>
#include <cairn/io/tokenizer_gguf.hpp>

#include "support.hpp"
using namespace support;

namespace {

std::string smollm2() {
    const char* path = std::getenv("CAIRN_SMOLLM2");
    std::error_code error;
    if (path != nullptr && std::filesystem::exists(path, error)) return path;
    std::cerr << "LEFT OUT: SmolLM2 is not here (cmake/fetch_model.sh fetches it)\n";
    return {};
}

}  // namespace

TEST_CASE("SmolLM2: greedy text in accurate mode is llama.cpp's on the same weights as f32",
          "[smollm2]") {
    const std::string path = smollm2();
    if (path.empty()) return;
    const Json golden =
        Json::parse(read_text(std::string(CAIRN_TEST_DATA) + "/smollm2.json", 1 << 24));
    ThreadPool pool;
    const LoadedModel loaded = load_model(path, {{}, {}, &pool});
    CHECK(loaded.model.parameters() == 134515008);
    int cases = 0;
    for (const Json& item : golden["cases"]) {
        auto session = loaded.model.session<KvCache<>>(256, pool);
        session.context().compute = Compute::accurate;
        Greedy greedy;
        const Generation g =
            generate(session, loaded.prompt(item["prompt"].get<std::string>()), greedy,
                     loaded.limits({.max_tokens = golden["tokens"].get<int>()}));
        CHECK(loaded.tokenizer->decode(g.tokens) == item["text"].get<std::string>());
        CHECK((g.reason == StopReason::eos) == item["ended"].get<bool>());
        ++cases;
    }
    CHECK(cases == 6);
}

TEST_CASE("SmolLM2: token ids are llama.cpp's", "[smollm2]") {
    const std::string path = smollm2();
    if (path.empty()) return;
    const Json golden =
        Json::parse(read_text(std::string(CAIRN_TEST_DATA) + "/tokenizers.json", 1 << 26));
    const GgufSource source(path);
    const auto tokenizer = gguf_tokenizer(source.metadata());
    for (std::size_t i = 0; i < golden["strings"].size(); ++i) {
        INFO(golden["strings"][i].dump());
        CHECK(tokenizer->encode(golden["strings"][i].get<std::string>()) ==
              golden["smollm2"][i].get<std::vector<Token>>());
    }
}

TEST_CASE("SmolLM2: the same bits for any cut, thread count and instruction set", "[smollm2]") {
    const std::string path = smollm2();
    if (path.empty()) return;
    ThreadPool pool(2);
    const LoadedModel loaded = load_model(path, {{}, {}, &pool});
    Random random(1);
    const auto tokens = random_tokens(random, 40, loaded.model.vocabulary());
    for (const Compute compute : {Compute::fast, Compute::accurate}) {
        std::vector<float> wanted;
        for (const kernels::Table* table : kernels::available()) {
            if (std::string_view(table->name) == "portable") continue;  // minutes
            INFO(table->name);
            const kernels::Override use(*table);
            for (const int piece : {40, 1, 7}) {
                auto session = loaded.model.session<KvCache<Contiguous<F16>>>(64, pool);
                session.context().compute = compute;
                std::span<const float> logits;
                for (std::size_t at = 0; at < tokens.size(); at += static_cast<std::size_t>(piece))
                    logits = session.prefill(Tokens(tokens).subspan(
                        at, std::min(static_cast<std::size_t>(piece), tokens.size() - at)));
                if (wanted.empty()) wanted.assign(logits.begin(), logits.end());
                REQUIRE(same_bits(logits, wanted));
            }
        }
    }
}

#if !defined(CAIRN_TESTS_SANITIZED)
namespace {

std::size_t resident_bytes() {
    std::ifstream file("/proc/self/statm");
    std::size_t total = 0, resident = 0;
    file >> total >> resident;
    return resident * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

}  // namespace

TEST_CASE("SmolLM2: memory holds the weights once", "[smollm2]") {
    const std::string path = smollm2();
    if (path.empty()) return;
    const std::size_t before = resident_bytes();
    const LoadedModel loaded = load_model(path);
    const auto file = static_cast<double>(std::filesystem::file_size(path));
    const auto grown = static_cast<double>(resident_bytes()) - static_cast<double>(before);
    INFO(grown << " bytes for a file of " << file);
    CHECK(grown <= 1.10 * file + 32.0 * 1048576.0);
    CHECK(static_cast<double>(loaded.model.bytes()) <= 1.05 * file);
}
#endif
