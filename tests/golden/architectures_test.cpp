// Every architecture of the standard parts against Hugging Face transformers, from folders (weights
// in f16) and from GGUF files whose names come from llama.cpp's own package. make_architectures.py
// wrote them.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <cairn/io/folder_tensors.hpp>
#include <cairn/io/gguf_export.hpp>
#include <cairn/io/gguf_source.hpp>
#include <cairn/io/gguf_writer.hpp>
#include <cairn/io/hf_config.hpp>
#include <cairn/io/io.hpp>
#include <cairn/io/json.hpp>

#include "golden/golden_support.hpp"
#include "session_support.hpp"
using namespace support;

namespace {

std::vector<float> standard_logits(const LoadedModel& loaded, Tokens tokens, Compute compute) {
    auto session = loaded.model.session<KvCache<>>(64);
    session.context().compute = compute;
    std::vector<float> logits(tokens.size() * static_cast<std::size_t>(loaded.model.vocabulary()));
    session.score(tokens, logits.data());
    return logits;
}

void check_standard(const std::string& path, const Json& item) {
    INFO(path);
    const LoadedModel loaded = load_model(path);
    const auto tokens = item["tokens"].get<std::vector<Token>>();
    const auto vocabulary = static_cast<std::size_t>(loaded.model.vocabulary());
    check_golden(item, standard_logits(loaded, tokens, Compute::accurate), vocabulary);
    const std::vector<float> logits = standard_logits(loaded, tokens, Compute::fast);
    // One by one, and in chunks over pages, gives the same bits.
    auto single = loaded.model.session<KvCache<>>(64);
    for (std::size_t i = 0; i < tokens.size(); ++i)
        REQUIRE(same_bits(single.decode(tokens[i]),
                          std::span(logits).subspan(i * vocabulary, vocabulary)));
    auto paged = loaded.model.session<KvCache<Paged<F32>>>(64);
    paged.prefill(Tokens(tokens).first(7));
    REQUIRE(
        same_bits(paged.prefill(Tokens(tokens).subspan(7)), std::span(logits).last(vocabulary)));
}

// A Qwen3 of three layers whose last attends the keys and values of its first.
StandardConfig read_shared_qwen3(ModelNumbers& n) {
    StandardConfig c = read_qwen3_config(n);
    c.layers.back().reads = 0;
    return c;
}

}  // namespace

TEST_CASE("architectures of the standard parts agree with Hugging Face",
          "[golden][architectures]") {
    const std::string data = CAIRN_TEST_DATA;
    const Json golden = Json::parse(read_text(data + "/architectures.json", 100000000));
    int folders = 0, ggufs = 0;
    for (const auto& [name, item] : golden["models"].items()) {
        check_standard(data + "/architectures/" + name, item);
        ++folders;
        const std::string gguf = data + "/architectures/" + name + ".gguf";
        if (!std::filesystem::exists(gguf)) continue;
        check_standard(gguf, item);
        ++ggufs;
    }
    CHECK(folders == 43);
    CHECK(ggufs == 25);
}

TEST_CASE("architectures of the standard parts are exported, or the error says why not",
          "[golden][architectures]") {
    const std::string data = CAIRN_TEST_DATA;
    const Json golden = Json::parse(read_text(data + "/architectures.json", 100000000));
    const std::string to = (std::filesystem::temp_directory_path() /
                            ("cairn-architectures-" + std::to_string(::getpid()) + ".gguf"))
                               .string();
    int written = 0, refused = 0;
    for (const auto& [name, item] : golden["models"].items()) {
        INFO(name);
        const std::string from = data + "/architectures/" + name;
        try {
            export_gguf(from, to, ElementType::f16);
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::unsupported);
            CHECK_THAT(error.what(), has_text("GGUF files"));
            ++refused;
            continue;
        }
        check_standard(to, item);
        ++written;
    }
    std::filesystem::remove(to);
    CHECK(written == 28);
    CHECK(refused == 15);
}

TEST_CASE("hostile numbers of the standard parts end in one error that names them",
          "[golden][architectures]") {
    const std::string data = CAIRN_TEST_DATA;
    const auto with = [&](const std::string& model, const char* key, const char* value) {
        Json config =
            Json::parse(read_text(data + "/architectures/" + model + "/config.json", 1 << 20));
        config[key] = Json::parse(value);
        return code_of([&] { parse_hf_config(config.dump(), "config.json"); });
    };
    Json many =
        Json::parse(read_text(data + "/architectures/stablelm-parallel/config.json", 1 << 20));
    many["num_attention_heads"] = many["num_key_value_heads"] = 1 << 20;
    many["hidden_size"] = 1 << 21;
    CHECK(code_of([&] { parse_hf_config(many.dump(), "config.json"); }) == ErrorCode::bad_config);
    CHECK(with("qwen3", "rope_parameters", R"({"rope_type": "default", "rope_theta": 1e300})") ==
          ErrorCode::bad_config);
    CHECK(with("qwen3", "rope_scaling", R"({"rope_type": "yarn", "factor": 4.0})") ==
          ErrorCode::unsupported);
    CHECK(with("gpt-neox", "rope_parameters",
               R"({"rope_type": "default", "partial_rotary_factor": 0.01})") ==
          ErrorCode::unsupported);
    CHECK(with("gemma2", "layer_types", R"(["full_attention"])") == ErrorCode::bad_config);
    CHECK(with("gemma2", "layer_types", R"(["a", "b", "c"])") == ErrorCode::unsupported);
    CHECK(with("smollm3", "no_rope_layers", R"([1, "x"])") == ErrorCode::bad_config);
    CHECK(with("mixtral", "num_experts_per_tok", "6") == ErrorCode::bad_config);
    for (const char* limit : {"0.0", "-1.0", "1e300", "\"x\""})
        CHECK(with("gpt-oss", "swiglu_limit", limit) == ErrorCode::bad_config);
    CHECK(with("gpt-oss", "swiglu_alpha", "0.0") == ErrorCode::bad_config);
    CHECK(with("gpt-oss", "num_experts_per_tok", "6") == ErrorCode::bad_config);
    CHECK(with("gpt-oss", "num_local_experts", "-5") == ErrorCode::bad_config);
    const auto longrope = [&](const std::string& list) {
        const std::string text = R"({"rope_type": "longrope", "short_factor": [1, 1, 1], )" +
                                 (R"("long_factor": )" + list) + "}";
        return with("phi3-longrope", "rope_parameters", text.c_str());
    };
    for (const char* list : {"[1, 2]", "[1, 2, 0]", "[1, 2, \"x\"]", "[1, 2, 1e300]", "7"})
        CHECK(longrope(list) == ErrorCode::bad_config);
    CHECK(with("phi3-longrope", "rope_parameters",
               R"({"rope_type": "longrope", "short_factor": [1, 1, 1], "long_factor": [1, 1, 1],
                   "attention_factor": 0.0})") == ErrorCode::bad_config);
    CHECK(with("phi3-longrope", "original_max_position_embeddings", "0") == ErrorCode::bad_config);
    CHECK(with("phi3-longrope", "original_max_position_embeddings", "1") == ErrorCode::bad_config);
    CHECK(with("mpt-clip", "attn_config", R"({"clip_qkv": -2.0})") == ErrorCode::bad_config);
}

TEST_CASE("what differs in its activation alone has another fingerprint",
          "[golden][architectures]") {
    const std::string data = CAIRN_TEST_DATA;
    const std::string from = data + "/architectures/gpt-neox";
    const auto to =
        std::filesystem::temp_directory_path() / ("cairn-activation-" + std::to_string(::getpid()));
    std::filesystem::create_directories(to);
    std::filesystem::copy_file(from + "/model.safetensors", to / "model.safetensors",
                               std::filesystem::copy_options::overwrite_existing);
    Json config = Json::parse(read_text(from + "/config.json", 1 << 20));
    config["hidden_act"] = "gelu_new";
    std::ofstream(to / "config.json") << config.dump();
    CHECK(load_model(from).model.fingerprint() != load_model(to.string()).model.fingerprint());
    std::filesystem::remove_all(to);
}

TEST_CASE("of a model that sees pictures the text part is read", "[golden][architectures]") {
    const std::string data = CAIRN_TEST_DATA;
    const LoadedModel loaded = load_model(data + "/architectures/gemma3-pictures");
    CHECK(loaded.model.architecture() == "gemma3_text");
    CHECK(loaded.end_of_text == std::vector<Token>{2, 5});
    CHECK(loaded.unread == std::vector<std::string>{"vision_tower.post_layernorm.weight"});
    CHECK(loaded.model.context() == 131072);
}

TEST_CASE("a layer of a recipe attends another one's cache, and stages nothing",
          "[golden][architectures]") {
    const std::string from = std::string(CAIRN_TEST_DATA) + "/architectures/qwen3-window";
    const FolderTensors source(from);
    const JsonDocument json(parse_json(read_text(from + "/config.json", 1 << 20),
                                       ErrorCode::bad_config, "config.json"));
    const JsonObject root(*json, ErrorCode::bad_config, "config.json");
    HfNumbers numbers(root, "qwen3");
    const ModelRecipe recipe = standard_recipe(read_shared_qwen3(numbers));
    const LoadOptions options;
    WeightReader reader(recipe.tensors, source, ModelFormat::hugging_face, options);
    const LoadedModel loaded{recipe.build(reader), {}, {}, {}};
    CHECK(loaded.model.leader(2) == 0);
    // Its own keys, values and norm of keys.
    CHECK(recipe.tensors.check(source, ModelFormat::hugging_face).unread().size() == 3);
    std::vector<Token> tokens;
    for (Token t = 0; t < 40; ++t) tokens.push_back((7 * t + 3) % 41);
    const auto vocabulary = static_cast<std::size_t>(loaded.model.vocabulary());
    const auto logits = standard_logits(loaded, tokens, Compute::fast);
    CHECK_FALSE(same_bits(logits, standard_logits(load_model(from), tokens, Compute::fast)));
    auto single = loaded.model.session<KvCache<Paged<F32>>>(64);
    for (std::size_t i = 0; i < tokens.size(); ++i)
        REQUIRE(same_bits(single.decode(tokens[i]),
                          std::span(logits).subspan(i * vocabulary, vocabulary)));
    auto whole = load_model(from).model.session<KvCache<>>(64);
    auto shared = loaded.model.session<KvCache<>>(64);
    whole.prefill(tokens), shared.prefill(tokens);
    CHECK(3 * shared.payload_bytes() == 2 * whole.payload_bytes());
}

TEST_CASE("mxfp4 of a folder: what does not fit together is refused", "[golden][architectures]") {
    const Folder folder("-mxfp4");
    // Tensors of zeros: name, dtype, shape as text, bytes.
    struct Zeros {
        const char *name, *dtype, *shape;
        std::size_t bytes;
    };
    const auto open = [&](std::initializer_list<Zeros> tensors) {
        std::string header = "{";
        std::size_t at = 0;
        for (const Zeros& t : tensors) {
            const std::string end = std::to_string(at + t.bytes);
            header += (at > 0 ? ",\"" : "\"") + std::string(t.name) + "\":{\"dtype\":\"" + t.dtype +
                      "\",\"shape\":" + t.shape + ",\"data_offsets\":[" + std::to_string(at) + "," +
                      end + "]}";
            at += t.bytes;
        }
        header += "}";
        const std::uint64_t size = header.size();
        std::ofstream file(folder.file("model.safetensors"), std::ios::binary);
        file.write(reinterpret_cast<const char*>(&size), sizeof size);
        file << header << std::string(at, '\0');
        file.close();
        return FolderTensors(folder.path);
    };
    const FolderTensors good =
        open({{"a_blocks", "U8", "[2,3,2,16]", 192}, {"a_scales", "U8", "[2,3,2]", 12}});
    CHECK(good.names() == std::vector<std::string>{"a"});
    CHECK(*good.shape("a") == std::vector<std::size_t>{2, 3, 64});
    CHECK(good.type("a") == ElementType::mxfp4);
    // Blocks without scales are a tensor like any other.
    CHECK(open({{"a_blocks", "U8", "[2,3,2,16]", 192}}).shape("a") == nullptr);
    const auto refused = [&](std::initializer_list<Zeros> tensors) {
        return code_of([&] { open(tensors); });
    };
    const Zeros blocks{"a_blocks", "U8", "[2,3,2,16]", 192};
    CHECK(refused({blocks, {"a_scales", "U8", "[2,3,1]", 6}}) == ErrorCode::bad_file);
    CHECK(refused({blocks, {"a_scales", "F16", "[2,3,2]", 24}}) == ErrorCode::bad_file);
    CHECK(refused({{"a_blocks", "U8", "[2,3,4,8]", 192}, {"a_scales", "U8", "[2,3,4]", 24}}) ==
          ErrorCode::bad_file);
    CHECK(refused({{"a", "F32", "[1]", 4}, blocks, {"a_scales", "U8", "[2,3,2]", 12}}) ==
          ErrorCode::bad_file);
    CHECK(refused({{"language_model.model.b", "F32", "[1]", 4},
                   {"model.language_model.b", "F32", "[1]", 4}}) == ErrorCode::bad_file);
    // Two that are called alike only here, and a pair in the place of scales.
    CHECK(refused({{"language_model.model.a_blocks", "U8", "[2,3,2,16]", 192},
                   {"model.language_model.a_scales", "U8", "[2,3,2]", 12}}) == ErrorCode::bad_file);
    CHECK(refused({{"language_model.z_scales_blocks", "U8", "[2,3,2,16]", 192},
                   {"language_model.z_scales_scales", "U8", "[2,3,2]", 12},
                   {"z_blocks", "U8", "[2,3,2,16]", 192}}) == ErrorCode::bad_file);
}

TEST_CASE("gpt-oss: experts are in mxfp4 in all places or in none", "[golden][architectures]") {
    // One tensor of all is of another kind.
    struct Mixed final : TensorSource {
        std::vector<std::size_t> any{1};
        std::string odd;
        const std::vector<std::size_t>* shape(std::string_view) const override { return &any; }
        ElementType type(std::string_view name) const override {
            return name == odd ? ElementType::f16 : ElementType::mxfp4;
        }
        void read(std::string_view, std::size_t, std::span<float>) const override {}
        void read_stored(std::string_view, std::size_t, std::span<std::byte>) const override {}
    };
    const std::string text = read_text(
        std::string(CAIRN_TEST_DATA) + "/architectures/gpt-oss-mxfp4/config.json", 1 << 20);
    Mixed source;
    parse_hf_config(text, "config.json", {}, source);
    for (const char* odd : {"0.mlp.experts.gate_up_proj", "1.mlp.experts.down_proj"}) {
        source.odd = std::string("model.layers.") + odd;
        CHECK(code_of([&] { parse_hf_config(text, "config.json", {}, source); }) ==
              ErrorCode::unsupported);
    }
}

TEST_CASE("gpt-oss without biases or an output of its own: its export has what llama.cpp wants",
          "[golden][architectures]") {
    const std::string from = std::string(CAIRN_TEST_DATA) + "/architectures/gpt-oss-other";
    const Folder folder("-gpt-oss-plain");
    std::filesystem::copy_file(from + "/model.safetensors", folder.path / "model.safetensors");
    Json config = Json::parse(read_text(from + "/config.json", 1 << 20));
    REQUIRE(config["attention_bias"] == false);
    REQUIRE(config["tie_word_embeddings"] == true);
    for (const char* key : {"swiglu_limit", "swiglu_alpha"}) config.erase(key);
    config["layer_types"] = {"sliding_attention", "full_attention"};
    std::ofstream(folder.file("config.json")) << config.dump();
    const std::string to = folder.file("a.gguf");
    export_gguf(folder.path.string(), to, ElementType::f16);
    const GgufSource source(to);
    const auto layers = config["num_hidden_layers"].get<int>();
    const auto size = [&](const char* key) { return config[key].get<std::size_t>(); };
    const std::size_t head = size("head_dim");
    for (int i = 0; i < layers; ++i)
        for (const auto& [part, wanted] : {std::pair{"q", head * size("num_attention_heads")},
                                           {"k", head * size("num_key_value_heads")},
                                           {"v", head * size("num_key_value_heads")},
                                           {"output", size("hidden_size")}}) {
            const std::string name = "blk." + std::to_string(i) + ".attn_" + part + ".bias";
            INFO(name);
            REQUIRE(source.shape(name) != nullptr);
            CHECK(source.type(name) == ElementType::f32);
            CHECK(load_vector(source, name) == std::vector<float>(wanted));
        }
    REQUIRE(source.shape("output.weight") != nullptr);
    CHECK(
        same_bits(load_vector(source, "output.weight"), load_vector(source, "token_embd.weight")));
    std::vector<Token> tokens;
    for (Token t = 0; t < 30; ++t) tokens.push_back((7 * t + 3) % 41);
    const LoadedModel loaded = load_model(to);
    CHECK(loaded.unread.empty());
    CHECK(same_bits(standard_logits(loaded, tokens, Compute::accurate),
                    standard_logits(load_model(folder.path.string()), tokens, Compute::accurate)));
}

TEST_CASE("GGUF files: a period of windows counts, what stretches longrope is refused",
          "[golden][architectures]") {
    const std::string data = std::string(CAIRN_TEST_DATA) + "/architectures/";
    const Folder folder("-rewritten");
    const std::string to = folder.file("a.gguf");
    const auto rewrite = [&](const char* from, const char* key, const auto& add) {
        const GgufSource source(data + from);
        GgufWriter writer;
        for (const auto& [name, value] : source.metadata().values())
            if (name != "general.alignment" && name != key) writer.add(name, value);
        add(writer);
        for (const auto& [name, tensor] : source.tensors())
            if (name != key)
                writer.tensor(name, tensor->shape, ElementType::f32,
                              [&source, name = name](const GgufWriter::Sink& sink) {
                                  const std::vector<float> numbers = load_vector(source, name);
                                  sink(std::as_bytes(std::span(numbers)));
                              });
        writer.write(to);
    };
    const char* period = "gpt-oss.attention.sliding_window_pattern";
    const auto window = [](const std::string& path, int layer) {
        return load_model(path).model.window(layer);
    };
    CHECK(window(data + "gpt-oss.gguf", 0) == 6);
    CHECK(window(data + "gpt-oss.gguf", 1) > 6);
    rewrite("gpt-oss.gguf", period, [&](GgufWriter& w) { w.add_u32(period, 3); });
    CHECK(window(to, 1) == 6);
    rewrite("gpt-oss.gguf", period, [&](GgufWriter& w) { w.add_u32(period, 1); });
    CHECK(window(to, 0) > 6);
    const auto longrope = [&](const char* key, const auto& value) {
        rewrite("phi3-longrope.gguf", key, [&](GgufWriter& w) {
            if constexpr (std::is_same_v<decltype(value), const double&>)
                w.add_f32(key, value);
            else
                w.add(key, std::string(value));
        });
        return code_of([&] { load_model(to); });
    };
    CHECK(longrope("phi3.rope.scaling.factor", 4.0) == ErrorCode::unsupported);
    CHECK(longrope("phi3.rope.scaling.type", "yarn") == ErrorCode::unsupported);
    CHECK(longrope("phi3.rope.scaling.attn_factor", 0.0) == ErrorCode::bad_config);
    for (const char* one : {"rope_factors_short.weight", "rope_factors_long.weight"}) {
        rewrite("phi3-longrope.gguf", one, [](GgufWriter&) {});
        CHECK(code_of([&] { load_model(to); }) == ErrorCode::bad_config);
    }
    // A Llama without the near factors, and one that also predicts further tokens.
    rewrite("llama-longrope.gguf", "rope_factors_short.weight", [](GgufWriter&) {});
    CHECK(code_of([&] { load_model(to); }) == ErrorCode::bad_config);
    rewrite("llama-longrope.gguf", "llama.nextn_predict_layers",
            [](GgufWriter& w) { w.add_u32("llama.nextn_predict_layers", 1); });
    CHECK(code_of([&] { load_model(to); }) == ErrorCode::unsupported);
}

TEST_CASE("longrope: a shift makes room and turns no row otherwise", "[golden][architectures]") {
    const std::string from = std::string(CAIRN_TEST_DATA) + "/architectures/phi3-longrope";
    const Folder folder("-shifted");
    Json config = Json::parse(read_text(from + "/config.json", 1 << 20));
    config["rope_parameters"]["long_factor"] = config["rope_parameters"]["short_factor"];
    std::ofstream(folder.file("config.json")) << config.dump();
    std::filesystem::copy_file(from + "/model.safetensors", folder.path / "model.safetensors");
    const LoadedModel two = load_model(from);
    const LoadedModel one = load_model(folder.path.string());  // near and far are alike
    std::vector<Token> tokens;
    for (Token t = 3; t < 25; ++t) tokens.push_back(t);
    auto session = two.model.session<KvCache<Paged<F32>>>(24);
    auto wanted = one.model.session<KvCache<Paged<F32>>>(24);
    for (auto* s : {&session, &wanted}) {
        s->prefill(tokens);
        s->shift(2, 8);
        CHECK(s->capacity() == 32);
        CHECK(s->made_for() == 24);
    }
    const std::string path = folder.file("a.cairn");
    const SessionOwner owner = SessionOwner::of(two, Compute::fast);
    SessionText text;
    text.tokens = tokens;
    save_session(path, session, text, owner);
    auto loaded = two.model.session<KvCache<Paged<F32>>>(24);
    load_session(path, loaded, owner);
    auto branch = session.fork();
    for (Token t = 0; t < 8; ++t) {
        const auto logits = wanted.decode(t);
        REQUIRE(same_bits(session.decode(t), logits));
        REQUIRE(same_bits(branch.decode(t), logits));
        REQUIRE(same_bits(loaded.decode(t), logits));
    }
}

TEST_CASE("longrope: a session's capacity chooses how its rows are turned, for good",
          "[golden][architectures]") {
    const std::string data = CAIRN_TEST_DATA;
    const LoadedModel loaded = load_model(data + "/architectures/phi3-longrope");
    const auto vocabulary = static_cast<std::size_t>(loaded.model.vocabulary());
    std::vector<Token> tokens;
    for (Token t = 3; t < 23; ++t) tokens.push_back(t);
    CHECK(loaded.model.layout(0).near == 24);
    ThreadPool pool(2);
    auto near = loaded.model.session<KvCache<>>(24, pool);
    auto far = loaded.model.session<KvCache<>>(25, pool);
    near.prefill(tokens), far.prefill(tokens);
    CHECK_FALSE(same_bits(near.logits(), far.logits()));
    const auto at_64 = standard_logits(loaded, tokens, Compute::fast);
    CHECK(same_bits(std::span(at_64).last(vocabulary), far.logits()));

    // Side by side, in any order, as alone.
    auto near_too = near.fork();
    auto far_too = far.copy();
    const Token next[]{7};
    std::vector<float> out(4 * vocabulary);
    const Slice batch[]{{&far, next, LogitRows::last, &out[0]},
                        {&near, next, LogitRows::last, &out[vocabulary]},
                        {&near_too, next, LogitRows::last, &out[2 * vocabulary]},
                        {&far_too, next, LogitRows::last, &out[3 * vocabulary]}};
    Context context(pool);
    forward(loaded.model, std::span<const Slice>(batch), context).accept_all();
    for (const int capacity : {24, 25}) {
        auto alone = loaded.model.session<KvCache<>>(capacity);
        alone.prefill(tokens);
        const auto wanted = alone.decode(7);
        for (const std::size_t i :
             {std::size_t{capacity == 24 ? 1U : 0U}, std::size_t{capacity == 24 ? 2U : 3U}})
            CHECK(same_bits(std::span(out).subspan(i * vocabulary, vocabulary), wanted));
    }

    // A file goes on in sessions that turn alike, and in no other.
    const Folder folder("-longrope");
    const std::string path = folder.file("a.cairn");
    const SessionOwner owner = SessionOwner::of(loaded, Compute::fast);
    SessionText text;
    text.tokens = tokens;
    text.tokens.push_back(7);
    save_session(path, far, text, owner);
    auto longer = loaded.model.session<KvCache<>>(60);
    load_session(path, longer, owner);
    CHECK(same_bits(longer.decode(9), far.decode(9)));
    auto shorter = loaded.model.session<KvCache<>>(24);
    CHECK(code_of([&] { load_session(path, shorter, owner); }) == ErrorCode::model_mismatch);
    CHECK(shorter.position() == 0);
}
