// DeepSeek V2 against Hugging Face transformers, from safetensors and from GGUF as llama.cpp wrote
// and writes it; every way of feeding and of caching by bits. make_deepseek.py made the files.
#include <cairn/io/folder_tensors.hpp>
#include <cairn/io/gguf_export.hpp>
#include <cairn/io/hf_config.hpp>
#include <cairn/io/io.hpp>
#include <cairn/io/json.hpp>
#include <cairn/io/safetensors_source.hpp>
#include <cairn/models/deepseek.hpp>
#include <cairn/cache/planner.hpp>
#include <cairn/models/verify.hpp>

#include "golden/golden_support.hpp"
#include "session_support.hpp"
using namespace support;

namespace {

const std::string deepseek_files = std::string(CAIRN_TEST_DATA) + "/deepseek/";

const Json& deepseek_golden() {
    static const Json golden =
        Json::parse(read_text(std::string(CAIRN_TEST_DATA) + "/deepseek.json", 1'000'000));
    return golden["models"];
}
auto caches_of(const CacheSpec& spec) {
    return [spec](int layer, const HeadLayout& layout, int rows) {
        return spec.make(layout, rows, layer);
    };
}
std::vector<float> all_logits(const AnyModel& model, Tokens tokens, const char* cache) {
    auto session =
        model.session(model.context(), Serial::instance(), caches_of(CacheSpec::parse(cache)));
    std::vector<float> logits(tokens.size() * static_cast<std::size_t>(model.vocabulary()));
    session.score(tokens, logits.data());
    return logits;
}
// The largest difference from the golden rows, as a part of their largest number.
double off_golden(const Json& item, const std::vector<float>& logits) {
    double worst = 0.0;
    const std::size_t vocabulary = item["logits"][0].size();
    for (const GoldenRow& golden : golden_rows(item, logits, vocabulary))
        worst = std::max(worst, double(golden.worst / golden.largest));
    return worst;
}
// A model of the folder in the form that rebuilds keys and values.
AnyModel direct_model(const std::string& folder) {
    const FolderTensors source(folder);
    const JsonDocument json(parse_json(read_text(folder + "/config.json", 1'000'000),
                                       ErrorCode::bad_config, "config.json"));
    const JsonObject root(*json, ErrorCode::bad_config, "config.json");
    HfNumbers numbers(root, root.string("model_type"));
    const DeepSeekConfig config = read_deepseek_config(numbers, source);
    const TensorTable table = deepseek_tensors(config);
    const LoadOptions options;
    WeightReader reader(table, source, ModelFormat::hugging_face, options);
    return load_deepseek<Direct>(config, reader);
}

}  // namespace

TEST_CASE("DeepSeek V2 agrees with Hugging Face, in both forms, from all kinds of file",
          "[golden][deepseek]") {
    for (const auto& [name, item] : deepseek_golden().items()) {
        INFO(name);
        const auto tokens = item["tokens"].get<std::vector<Token>>();
        const LoadedModel loaded = load_model(deepseek_files + name);
        CHECK(loaded.model.layout(0) == HeadLayout{3, 1, 14, 10});
        const auto logits = all_logits(loaded.model, tokens, "contiguous:f32+latent");
        CHECK(off_golden(item, logits) < 1e-4);
        CHECK(same_bits(all_logits(loaded.model, tokens, "contiguous:f32"), logits));

        const AnyModel direct = direct_model(deepseek_files + name);
        CHECK(direct.layout(0) == HeadLayout{3, 3, 10, 7});
        const auto rebuilt = all_logits(direct, tokens, "contiguous:f32");
        CHECK(off_golden(item, rebuilt) < 1e-4);
        CHECK(same_bits(all_logits(direct, tokens, "paged=16:f32+inputs"), rebuilt));

        for (const char* ending : {".gguf", "-old.gguf"}) {
            const std::string gguf = deepseek_files + name + ending;
            if (!std::filesystem::exists(gguf)) continue;
            INFO(ending);
            const LoadedModel same = load_model(gguf);
            const auto from_gguf = all_logits(same.model, tokens, "contiguous:f32+latent");
            CHECK(off_golden(item, from_gguf) < 1e-4);
            if (name == "groups") CHECK(same_bits(from_gguf, logits));
        }
    }
    CHECK(deepseek_golden().size() == 6);
}

TEST_CASE("DeepSeek V2: one by one, in any cut, on every store, codec and keep: the same bits",
          "[deepseek]") {
    for (const auto& [name, item] : deepseek_golden().items()) {
        const AnyModel model = load_model(deepseek_files + name).model;
        const auto tokens = item["tokens"].get<std::vector<Token>>();
        for (const char* cache :
             {"contiguous:f32+latent", "mapped:f16+latent", "paged=16:f32+latent",
              "paged=8:q8_0+latent", "contiguous:q4_0+latent", "contiguous,disk=16:f16+latent",
              "paged=16:bf16+latent:window=20,sinks=3", "contiguous:f16:window=20,sinks=3",
              "paged=16:f16+bare", "contiguous:k=q8_0,v=f16", "tiered=16:q8_0",
              "contiguous:q4_0+rot"}) {
            INFO(name << " " << cache);
            const CacheSpec spec = CacheSpec::parse(cache);
            CHECK(verify_equivalence(model, tokens, caches_of(spec), 3).exact);
        }
        // Keeps by score: exact for every cut of an announced prompt.
        for (const char* cache :
             {"paged=16:f16+latent:snapkv=20", "contiguous:f32+latent:h2o=24"}) {
            INFO(name << " " << cache);
            std::vector<float> wanted;
            for (const int piece : {40, 7, 1}) {
                auto session =
                    model.session(90, Serial::instance(), caches_of(CacheSpec::parse(cache)));
                session.expect_prompt(40);
                for (int at = 0; at < 40; at += piece)
                    session.prefill(std::span(tokens).subspan(
                        std::size_t(at), std::size_t(std::min(piece, 40 - at))));
                std::vector<float> got;
                for (std::size_t i = 40; i < tokens.size(); ++i) {
                    const auto row = session.decode(tokens[i]);
                    got.insert(got.end(), row.begin(), row.end());
                }
                if (wanted.empty()) wanted = got;
                CHECK(same_bits(got, wanted));
            }
        }
    }
}

TEST_CASE("DeepSeek V2: batches, threads, forks and saved sessions give the same bits",
          "[deepseek]") {
    const LoadedModel loaded = load_model(deepseek_files + "groups");
    const AnyModel& model = loaded.model;
    const auto tokens = deepseek_golden()["groups"]["tokens"].get<std::vector<Token>>();
    const auto vocabulary = static_cast<std::size_t>(model.vocabulary());
    const auto wanted = all_logits(model, tokens, "paged=16:f16+latent");
    const auto row = [&](std::size_t i) {
        return std::span(wanted).subspan(i * vocabulary, vocabulary);
    };
    const CacheSpec spec = CacheSpec::parse("paged=16:f16+latent");
    ThreadPool pool(3);
    auto first = model.session(80, pool, caches_of(spec));
    first.prefill(std::span(tokens).first(30));
    auto second = first.fork();
    auto third = model.session(80, pool, caches_of(spec));
    // One of each, and a whole prompt beside them.
    std::vector<float> out(3 * vocabulary);
    const Tokens one = std::span(tokens).subspan(30, 1);
    const Slice batch[]{{&first, one, LogitRows::last, out.data()},
                        {&third, std::span(tokens).first(41), LogitRows::last, &out[vocabulary]},
                        {&second, one, LogitRows::last, &out[2 * vocabulary]}};
    Context context(pool);
    forward(model, std::span<const Slice>(batch), context).accept_all();
    CHECK(same_bits(std::span(out).first(vocabulary), row(30)));
    CHECK(same_bits(std::span(out).subspan(vocabulary, vocabulary), row(40)));
    CHECK(same_bits(std::span(out).subspan(2 * vocabulary), row(30)));

    const Folder folder("-deepseek");
    SessionText text;
    text.tokens.assign(tokens.begin(), tokens.begin() + 31);
    const SessionOwner owner = SessionOwner::of(loaded, Compute::fast);
    const std::string path = folder.file("a.cairn");
    save_session(path, first, text, owner);
    auto after =
        model.session(70, Serial::instance(), caches_of(CacheSpec::parse("contiguous:f16+latent")));
    CHECK(load_session(path, after, owner).tokens == text.tokens);
    for (std::size_t i = 31; i < tokens.size(); ++i)
        REQUIRE(same_bits(after.decode(tokens[i]), row(i)));
    // A cache that keeps values apart holds other rows: it is refused, and stays as it was.
    auto other =
        model.session(70, Serial::instance(), caches_of(CacheSpec::parse("contiguous:f16")));
    code_of([&] { load_session(path, other, owner); });
    CHECK(other.position() == 0);
}

TEST_CASE("DeepSeek V2: an export is the model, or is refused", "[deepseek]") {
    const Folder folder("-deepseek-export");
    for (const char* name : {"lite", "groups"}) {
        INFO(name);
        const Json& item = deepseek_golden()[name];
        const auto tokens = item["tokens"].get<std::vector<Token>>();
        const std::string path = folder.file("a.gguf");
        CHECK(export_gguf(deepseek_files + name, path, ElementType::f32).fallbacks.empty());
        const auto logits = all_logits(load_model(path).model, tokens, "contiguous:f32+latent");
        CHECK(off_golden(item, logits) < 1e-4);
        // Once more from GGUF, stacks of experts as halves.
        const std::string again = folder.file("b.gguf");
        export_gguf(path, again, ElementType::f16);
        CHECK(off_golden(item, all_logits(load_model(again).model, tokens, "f32+latent")) < 2e-2);
    }
    CHECK(code_of([&] {
              export_gguf(deepseek_files + "bias", folder.file("c.gguf"), ElementType::f32);
          }) == ErrorCode::unsupported);
}

TEST_CASE("DeepSeek V2: configurations that cannot be are refused", "[deepseek]") {
    const std::string text = read_text(deepseek_files + "groups/config.json", 1'000'000);
    const auto refusal = [&](const char* key, const Json& value) {
        Json config = Json::parse(text);
        config[key] = value;
        INFO(key << " = " << value.dump());
        return code_of([&] { parse_hf_config(config.dump(), "config.json"); });
    };
    CHECK(parse_hf_config(text, "config.json").recipe.shape.heads.key_dim == 14);
    for (const char* key :
         {"num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads",
          "kv_lora_rank", "qk_rope_head_dim", "qk_nope_head_dim", "v_head_dim", "n_routed_experts",
          "num_experts_per_tok", "moe_intermediate_size", "n_group", "topk_group", "vocab_size",
          "max_position_embeddings"})
        for (const Json& value : {Json(0), Json(-1), Json("x"), Json(1e300), Json(1.5),
                                  Json(std::int64_t{1} << 40), Json::array({1})})
            CHECK(refusal(key, value) == ErrorCode::bad_config);
    for (const char* key : {"num_experts_per_tok", "kv_lora_rank", "moe_intermediate_size"})
        CHECK(refusal(key, nullptr) == ErrorCode::bad_config);
    CHECK(refusal("qk_rope_head_dim", 5) == ErrorCode::bad_config);
    CHECK(refusal("q_lora_rank", 0) == ErrorCode::bad_config);
    CHECK(refusal("n_group", 3) == ErrorCode::bad_config);              // of 8 experts
    CHECK(refusal("topk_group", 5) == ErrorCode::bad_config);           // of 4
    CHECK(refusal("num_experts_per_tok", 5) == ErrorCode::bad_config);  // of two groups of 2
    CHECK(refusal("n_shared_experts", -1) == ErrorCode::bad_config);
    CHECK(refusal("first_k_dense_replace", 3) == ErrorCode::bad_config);
    CHECK(refusal("routed_scaling_factor", 0) == ErrorCode::bad_config);
    CHECK(refusal("rms_norm_eps", 0) == ErrorCode::bad_config);
    CHECK(refusal("topk_method", "noaux_tc") == ErrorCode::unsupported);
    CHECK(refusal("scoring_func", "sigmoid") == ErrorCode::unsupported);
    CHECK(refusal("norm_topk_prob", true) == ErrorCode::unsupported);
    CHECK(refusal("moe_layer_freq", 2) == ErrorCode::unsupported);
    CHECK(refusal("hidden_act", "gelu") == ErrorCode::unsupported);
    CHECK(refusal("mlp_bias", true) == ErrorCode::unsupported);
    CHECK(refusal("rope_parameters",
                  {{"rope_type", "yarn"}, {"factor", 4.0}, {"mscale_all_dim", -1}}) ==
          ErrorCode::bad_config);
    // V3: other words, and a class default where the folder is silent.
    Json third = Json::parse(read_text(deepseek_files + "v3/config.json", 100'000));
    const auto of_third = [&](const char* key, const Json& value) {
        Json other = third;
        other[key] = value;
        INFO(key << " = " << value.dump());
        return code_of([&] { parse_hf_config(other.dump(), "config.json"); });
    };
    CHECK(of_third("topk_method", "greedy") == ErrorCode::unsupported);
    CHECK(of_third("scoring_func", "softmax") == ErrorCode::unsupported);
    CHECK(of_third("rope_interleave", false) == ErrorCode::unsupported);
    CHECK(of_third("n_group", 3) == ErrorCode::bad_config);
    CHECK(of_third("num_experts_per_tok", 5) == ErrorCode::bad_config);
    CHECK(of_third("norm_topk_prob", 2) == ErrorCode::bad_config);
    CHECK(of_third("num_nextn_predict_layers", -1) == ErrorCode::bad_config);
    third["n_routed_experts"] = 16;  // in the class's 8 groups, of which it takes 4
    for (const char* key : {"n_group", "topk_group", "first_k_dense_replace"}) third.erase(key);
    third["num_experts_per_tok"] = 8;
    const HfConfig silent = parse_hf_config(third.dump(), "config.json");
    const auto said = [&](std::string_view key) {
        for (const auto& [name, number] : silent.numbers)
            if (name == key) return std::get<std::int64_t>(number);
        return std::int64_t{-1};
    };
    CHECK(said("leading_dense_block_count") == 3);
    third["first_k_dense_replace"] = 1;
    parse_hf_config(third.dump(), "config.json");
    CHECK(of_third("num_experts_per_tok", 9) == ErrorCode::bad_config);
    CHECK(of_third("topk_group", 9) == ErrorCode::bad_config);
    const auto shared_rows = [](Json of, const char* null) {
        of.erase("n_shared_experts");
        if (null != nullptr) of[null] = nullptr;
        const HfConfig read = parse_hf_config(of.dump(), "config.json");
        const TensorEntry* line =
            read.recipe.tensors.find("model.layers.1.mlp.shared_experts.up_proj.weight");
        return line->need == Need::never ? std::ptrdiff_t{0} : line->shape.front();
    };
    CHECK(shared_rows(third, nullptr) == 6);
    CHECK(shared_rows(third, "n_shared_experts") == 0);
    CHECK(shared_rows(Json::parse(text), nullptr) == 12);
    // A tensor of another shape than the numbers say.
    const SafetensorsSource source(deepseek_files + "groups");
    Json config = Json::parse(text);
    config["n_routed_experts"] = 12;
    config["kv_lora_rank"] = 12;
    const HfConfig wrong = parse_hf_config(config.dump(), "config.json", {}, source);
    CHECK(code_of([&] { wrong.recipe.tensors.check(source, ModelFormat::hugging_face).done(); }) ==
          ErrorCode::bad_config);
}

TEST_CASE("latent rows are for layers whose values are the leading numbers of keys",
          "[deepseek][session]") {
    CHECK(code_of([] { session_of(tiny_llama(), CacheSpec::parse("f16+latent"), 50); }) ==
          ErrorCode::unsupported);
    const AnyModel model = load_model(deepseek_files + "groups").model;
    CHECK(code_of([&] {
              model.session(50, Serial::instance(), caches_of(CacheSpec::parse("f16+inputs")));
          }) == ErrorCode::unsupported);
}

TEST_CASE("the cache of DeepSeek V2 in bytes, from the planner", "[deepseek][planner]") {
    const auto bytes = [](const char* spec, int heads, int layers) {
        const bool latent = std::string(spec).ends_with("+latent");
        const HeadLayout layout =
            latent ? HeadLayout{heads, 1, 576, 512} : HeadLayout{heads, heads, 128, 128};
        const std::size_t planned =
            plan_model(CacheSpec::parse(spec), layout, layers, 1, {10, 10, 10}).payload;
        CHECK(planned == CacheSpec::parse(spec).make(layout, 10).payload_bytes(10) *
                             static_cast<std::size_t>(layers));
        return planned / 10;
    };
    // V2: 69,120 bytes a token; V2-Lite: 31,104.
    CHECK(bytes("f16+latent", 128, 60) == 69'120);
    CHECK(bytes("f16+latent", 16, 27) == 31'104);
    // The paper's ablation, in elements: 34.6K against 860.2K, 15.6K against 110.6K.
    CHECK(bytes("f16+latent", 56, 60) / 2 == 34'560);
    CHECK(bytes("f16", 56, 60) / 2 == 860'160);
    CHECK(bytes("f16+latent", 16, 27) / 2 == 15'552);
    CHECK(bytes("f16", 16, 27) / 2 == 110'592);
    // Against multi-head attention of the same heads: 7.1 times (V2-Lite), 56.9 times (V2).
    CHECK(double(bytes("f16", 16, 27)) / double(bytes("f16+latent", 16, 27)) == Approx(64.0 / 9));
    CHECK(double(bytes("f16", 128, 60)) / double(bytes("f16+latent", 128, 60)) ==
          Approx(512.0 / 9));
}
