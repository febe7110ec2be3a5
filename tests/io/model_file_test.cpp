// Models from a path: what a program asks of one, and vocabularies that are padded.
#include <cairn/cache/cache_spec.hpp>
#include <cairn/io/generation_config.hpp>
#include <cairn/io/gguf_end_of_text.hpp>
#include <cairn/io/gguf_export.hpp>
#include <cairn/io/gguf_source.hpp>
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

TEST_CASE("a model loads whatever its makers say of sampling; who asks for it is told",
          "[model_file]") {
    const Folder folder("-odd-sampling");
    copy_model(folder, shipped_tokenizer());
    const std::uint64_t print = load_model(folder.path.string()).model.fingerprint();
    const auto write = [&](const std::string& text) {
        std::filesystem::remove(folder.path / "generation_config.json");
        OutputFile file(folder.file("generation_config.json"));
        file.write(std::as_bytes(std::span(text)));
        file.finish();
    };
    const std::vector<Token> ends{0, 5};
    // Fine for everybody: null is what is not said, 0 is greedy, other keys are others' own.
    for (const char* said :
         {R"("temperature": null, "top_p": null, "top_k": null, "do_sample": null)",
          R"("do_sample": true, "temperature": 0.0)", R"("do_sample": true, "temperature": 0)",
          R"("do_sample": true, "top_k": 0, "min_p": 0, "typical_p": 1)",
          R"("cache_implementation": "hybrid", "trust": {"a": [1, null]}, "max_length": "x")"}) {
        INFO(said);
        write(std::string(R"({"eos_token_id": [0, 5], )") + said + "}");
        const LoadedModel loaded = load_model(folder.path.string());
        CHECK(loaded.end_of_text == ends);
        CHECK(loaded.model.fingerprint() == print);
        CHECK(read_generation_config(folder.path).end_of_text == ends);
    }
    // Refused only where it is asked for.
    for (const char* said :
         {R"("do_sample": "true")", R"("do_sample": true, "temperature": "0.7")",
          R"("do_sample": true, "temperature": -1)", R"("do_sample": true, "top_p": 7)",
          R"("do_sample": true, "top_k": -1)", R"("do_sample": true, "top_k": 1.5)",
          R"("do_sample": true, "min_p": [])", R"("repetition_penalty": 0)",
          R"("repetition_penalty": "1.1")"}) {
        INFO(said);
        write(std::string(R"({"eos_token_id": [0, 5], )") + said + "}");
        CHECK(load_model(folder.path.string()).end_of_text == ends);
        CHECK(code_of([&] { read_generation_config(folder.path); }) == ErrorCode::bad_config);
    }
    // What ends a text is asked for by loading.
    for (const char* text :
         {R"({"eos_token_id": "a"})", R"({"eos_token_id": [0, 1.5]})", "[]", "{"}) {
        INFO(text);
        write(text);
        CHECK(code_of([&] { load_model(folder.path.string()); }) == ErrorCode::bad_config);
    }
}

TEST_CASE("an export ends texts where its folder does", "[model_file][gguf_export]") {
    const Folder folder("-ends");
    Json tokenizer = shipped_tokenizer();
    const Json common = tokenizer["added_tokens"][0];
    const auto mark = [&](Token id, const char* text) {
        Json token = common;
        token["id"] = id;
        token["content"] = text;
        tokenizer["added_tokens"].push_back(token);
    };
    // Two of the vocabulary's last rows are control tokens, one of them known by its name.
    Json& words = tokenizer["model"]["vocab"];
    for (const Token gone : {1022, 1023})
        for (auto at = words.begin(); at != words.end(); ++at)
            if (*at == gone) {
                const std::string word = at.key();
                words.erase(word);
                Json merges = Json::array();
                for (const Json& merge : tokenizer["model"]["merges"]) {
                    std::string text = merge.is_string() ? merge.get<std::string>()
                                                         : merge[0].get<std::string>() + " " +
                                                               merge[1].get<std::string>();
                    text.erase(text.find(' '), 1);
                    if (text != word) merges.push_back(merge);
                }
                tokenizer["model"]["merges"] = merges;
                break;
            }
    mark(1022, "<|eom_id|>");
    mark(1023, "<|im_end|>");
    copy_model(folder, tokenizer);
    const auto said = [&](const char* file, const Json& ids) {
        Json json = Json::parse(read_text(folder.file(file), 1 << 20));
        json["eos_token_id"] = ids;
        std::filesystem::remove(folder.path / file);
        OutputFile out(folder.file(file));
        const std::string text = json.dump();
        out.write(std::as_bytes(std::span(text)));
        out.finish();
    };
    const std::string to = folder.file("a.gguf"), again = folder.file("b.gguf");
    struct Case {
        Json config, generation;
        std::vector<Token> all;
        std::int64_t eos, eot, eom;
    };
    for (const Case& c : {Case{0, nullptr, {0}, 0, -1, -1}, Case{7, Json{7, 3}, {7, 3}, 7, 3, -1},
                          Case{Json{7, 1022, 9}, 7, {7, 1022, 9}, 7, 9, 1022},
                          Case{Json{1022, 7}, nullptr, {1022, 7}, 1022, 7, -1},
                          Case{Json{0, 1022}, Json{1022, 0}, {0, 1022}, 0, -1, 1022},
                          Case{Json{4, 3, 2}, Json{1, 1023, 2}, {4, 3, 2, 1, 1023}, 4, 3, 2}}) {
        INFO(c.config.dump() << " and " << c.generation.dump());
        said("config.json", c.config);
        said("generation_config.json", c.generation);
        CHECK(load_model(folder.path.string()).end_of_text == c.all);
        export_gguf(folder.path.string(), to, ElementType::f16);
        export_gguf(to, again, ElementType::q8_0);
        for (const std::string& file : {to, again}) {
            CHECK(load_model(file).end_of_text == c.all);
            const GgufSource source(file);
            const auto key = [&](const char* name) {
                return source.metadata().integer(name, -1, 1 << 30, -1);
            };
            CHECK(key("tokenizer.ggml.eos_token_id") == c.eos);
            CHECK(key("tokenizer.ggml.eot_token_id") == c.eot);
            CHECK(key("tokenizer.ggml.eom_token_id") == c.eom);
        }
    }
    // Nothing in the folder: names that llama.cpp knows are all there is to go by.
    said("config.json", nullptr);
    said("generation_config.json", nullptr);
    export_gguf(folder.path.string(), to, ElementType::f16);
    CHECK(load_model(to).end_of_text == std::vector<Token>{0, 1023});
    // Ids beyond the vocabulary are notes; without a tokenizer the list is all there is.
    said("config.json", Json{4, 70000, 6});
    std::filesystem::remove(folder.path / "tokenizer.json");
    const LoadedModel loaded = load_model(folder.path.string());
    CHECK(loaded.end_of_text == std::vector<Token>{4, 6});
    CHECK(loaded.notes.size() == 1);
    export_gguf(folder.path.string(), to, ElementType::f16);
    CHECK(load_model(to).end_of_text == std::vector<Token>{4, 6});
}

TEST_CASE("a list of ends in GGUF metadata is held to its bounds", "[model_file]") {
    const auto list = [](GgufType type, std::vector<std::int64_t> ids, FileLimits limits = {}) {
        GgufMetadata metadata("a.gguf");
        metadata.add("cairn.end_of_text_ids",
                     {GgufType::array, GgufArray{type, {}, std::move(ids), {}}});
        metadata.add("tokenizer.ggml.eos_token_id", {GgufType::u32, std::int64_t{9}});
        return gguf_end_of_text(metadata, std::nullopt, limits);
    };
    // A key that was set by another program counts too.
    CHECK(list(GgufType::u32, {3, 3, 5}) == std::vector<Token>{3, 5, 9});
    CHECK(list(GgufType::i64, {9}) == std::vector<Token>{9});
    const auto refused = [&](std::vector<std::int64_t> ids, FileLimits limits = {}) {
        return code_of([&] { list(GgufType::i64, ids, limits); });
    };
    CHECK(refused({-1}) == ErrorCode::bad_file);
    CHECK(refused({std::int64_t{1} << 31}) == ErrorCode::bad_file);
    CHECK(refused({1, 2, 3}, {.end_of_text_tokens = 2}) == ErrorCode::limit);
    GgufMetadata word("a.gguf");
    word.add("cairn.end_of_text_ids", {GgufType::string, std::string("7")});
    CHECK(code_of([&] { gguf_end_of_text(word, std::nullopt); }) == ErrorCode::bad_file);
}
