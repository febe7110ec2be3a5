// Models from a path: what a program asks of one, and vocabularies that are padded.
#include <cairn/cache/cache_spec.hpp>
#include <cairn/io/generation_config.hpp>
#include <cairn/io/gguf_export.hpp>
#include <cairn/io/io.hpp>
#include <cairn/io/json.hpp>
#include <cairn/io/output_file.hpp>

#include "session_support.hpp"
using namespace support;

namespace {

const std::string shakespeare = std::string(CAIRN_MODELS) + "/shakespeare";

// The shipped model's folder with another tokenizer.json.
void copy_model(const Folder& folder, const Json& tokenizer) {
    for (const char* name : {"config.json", "generation_config.json", "model.safetensors"})
        std::filesystem::copy_file(std::filesystem::path(shakespeare) / name, folder.path / name);
    OutputFile file(folder.file("tokenizer.json"));
    const std::string text = tokenizer.dump();
    file.write(std::as_bytes(std::span(text)));
    file.finish();
}
Json shipped_tokenizer() {
    return Json::parse(read_text(shakespeare + "/tokenizer.json", 10000000));
}

}  // namespace

TEST_CASE("a prompt is what the tokenizer puts in front, and the text", "[model_file]") {
    const Folder folder;
    Json json = shipped_tokenizer();
    json["post_processor"] = {
        {"type", "TemplateProcessing"},
        {"single",
         {{{"SpecialToken", {{"id", "<|endoftext|>"}, {"type_id", 0}}}},
          {{"Sequence", {{"id", "A"}, {"type_id", 0}}}},
          {{"SpecialToken", {{"id", "<|endoftext|>"}, {"type_id", 0}}}}}},
        {"special_tokens",
         {{"<|endoftext|>",
           {{"id", "<|endoftext|>"}, {"ids", {0}}, {"tokens", {"<|endoftext|>"}}}}}}};
    copy_model(folder, json);
    const LoadedModel loaded = load_model(folder.path.string());
    REQUIRE(loaded.tokenizer->suffix() == std::vector<Token>{0});
    std::vector<Token> expected = loaded.tokenizer->encode("ROMEO:");
    expected.insert(expected.begin(), 0);
    CHECK(loaded.prompt("ROMEO:") == expected);
    CHECK(loaded.prompt("") == std::vector<Token>{0});
    CHECK(loaded.prompt("ROMEO:", SpecialTokens::as_text, expected.size()) == expected);
    for (const std::size_t most : {expected.size() - 1, std::size_t{0}})
        CHECK(code_of([&] { (void)loaded.prompt("ROMEO:", SpecialTokens::as_text, most); }) ==
              ErrorCode::capacity);
    CHECK(loaded.prompt("<|endoftext|>", SpecialTokens::recognised) == std::vector<Token>{0, 0});
    CHECK(loaded.limits().end_of_text == loaded.end_of_text);
    const Limits limits = loaded.limits({.max_tokens = 7, .end_of_text = {9}});
    CHECK(limits.max_tokens == 7);
    CHECK(limits.end_of_text.front() == 9);
    CHECK(limits.end_of_text.size() == 1 + loaded.end_of_text.size());
    LoadedModel mute = loaded;
    mute.tokenizer.reset();
    CHECK(code_of([&] { (void)mute.prompt("ROMEO:"); }) == ErrorCode::unsupported);
}

TEST_CASE("the program of README ends where the model ends its text", "[model_file]") {
    LoadedModel loaded = load_model(shakespeare);
    Greedy greedy;
    auto first = loaded.model.session<KvCache<Contiguous<F16>>>(256);
    const Generation all =
        generate(first, loaded.prompt("ROMEO:"), greedy, loaded.limits({.max_tokens = 48}));
    REQUIRE(all.tokens.size() == 48);
    // As if the model ended its text with what it writes after twenty tokens.
    loaded.end_of_text = {all.tokens[20]};
    const auto end = std::find(all.tokens.begin(), all.tokens.end(), all.tokens[20]);
    ThreadPool threads(1);
    auto session = loaded.model.session<KvCache<Contiguous<F16>>>(256, threads);
    TextStream text(*loaded.tokenizer);
    std::string shown;
    const auto g =
        generate(session, loaded.prompt("ROMEO:"), greedy, loaded.limits({.max_tokens = 48}),
                 [&](Token t) { shown += text.feed(t); });
    // The same calls as there.
    const std::string readme =
        read_text(std::string(CAIRN_MODELS) + "/../../README.md", std::size_t{1} << 20);
    CHECK(readme.find("loaded.prompt(\"The capital of France is\"), greedy, "
                      "loaded.limits({.max_tokens = 48})") != std::string::npos);
    CHECK(g.reason == StopReason::eos);
    CHECK(g.tokens == std::vector<Token>(all.tokens.begin(), end + 1));
    CHECK(loaded.tokenizer->decode(g.tokens).starts_with(shown));
}

TEST_CASE("ids that no token has are never sampled", "[model_file]") {
    const Folder folder;
    Json json = shipped_tokenizer();
    // A hole, and the end: two tokens that no merge needs, and the last one.
    Json& vocabulary = json["model"]["vocab"];
    std::vector<Token> gone;
    Json merges = Json::array();
    for (const Json& merge : json["model"]["merges"]) {
        const std::string text =
            merge.is_string() ? merge.get<std::string>()
                              : merge[0].get<std::string>() + " " + merge[1].get<std::string>();
        std::string joined = text;
        joined.erase(joined.find(' '), 1);
        const Token id = vocabulary[joined].get<Token>();
        if (id == 1023 || id == 1020) {
            gone.push_back(id);
            vocabulary.erase(joined);
        } else {
            merges.push_back(merge);
        }
    }
    json["model"]["merges"] = merges;
    REQUIRE(gone.size() == 2);
    copy_model(folder, json);
    const LoadedModel padded = load_model(folder.path.string());
    CHECK(padded.model.vocabulary() == 1024);
    CHECK(std::vector<Token>(padded.model.unused().begin(), padded.model.unused().end()) ==
          std::vector<Token>{1020, 1023});
    CHECK(load_model(shakespeare).model.unused().empty());
    auto session = padded.model.session<KvCache<>>(128);
    auto sampler = temperature(100.0F) | draw(1);  // anything goes
    TextStream text(*padded.tokenizer);
    Limits limits{.max_tokens = 60};
    limits.on_logits = [](std::span<float> logits, Tokens) { logits[1023] = logits[1020] = 1e9F; };
    const auto g = generate(session, padded.prompt("ROMEO:"), sampler, limits,
                            [&](Token t) { (void)text.feed(t); });
    CHECK(g.tokens.size() == 60);
    // The same model as a GGUF file, where such ids have a name.
    const std::string path = folder.file("model.gguf");
    export_gguf(folder.path.string(), path, ElementType::f32);
    const LoadedModel gguf = load_model(path);
    CHECK(std::vector<Token>(gguf.model.unused().begin(), gguf.model.unused().end()) ==
          std::vector<Token>{1020, 1023});
}

TEST_CASE("generation_config.json: ends of texts count, sampling is offered", "[model_file]") {
    const Folder folder("-generation");
    const auto write = [&](const std::string& text) {
        OutputFile file(folder.file("generation_config.json"));
        file.write(std::as_bytes(std::span(text)));
        file.finish();
        return read_generation_config(folder.path);
    };
    const auto refused = [&](const std::string& text) { return code_of([&] { write(text); }); };
    const GenerationConfig none = read_generation_config(folder.path);
    CHECK(none.end_of_text.empty());
    CHECK(none.sampling.temperature == 0.0F);
    const GenerationConfig greedy =
        write(R"({"eos_token_id": 7, "temperature": 0.3, "repetition_penalty": 1.25})");
    CHECK(greedy.end_of_text == std::vector<Token>{7});
    CHECK(greedy.sampling.temperature == 0.0F);
    CHECK(greedy.sampling.repetition_penalty == 1.25F);
    const GenerationConfig sampled = write(
        R"({"eos_token_id": [3, 9], "do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": null})");
    CHECK(sampled.end_of_text == std::vector<Token>{3, 9});
    CHECK(sampled.sampling.temperature == 0.6F);
    CHECK(sampled.sampling.top_p == 0.9F);
    CHECK(sampled.sampling.top_k == 50);
    for (const char* text :
         {"[]", "7", R"({"do_sample": 3})", R"({"do_sample": true, "temperature": -1})",
          R"({"do_sample": true, "top_p": 1e300})", R"({"do_sample": true, "top_k": 1.5})",
          R"({"eos_token_id": []})", R"({"eos_token_id": "a"})", R"({"repetition_penalty": 0})"})
        CHECK(refused(text) == ErrorCode::bad_config);
}
