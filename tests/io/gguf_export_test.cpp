// Where a model may be read from, links included, and what an export never writes over.
#include <cmath>
#include <cstring>
#include <fstream>
#include <tuple>

#include <cairn/io/gguf_config.hpp>
#include <cairn/io/gguf_export.hpp>
#include <cairn/io/safetensors_source.hpp>
#include <cairn/models/llama.hpp>

#include "session_support.hpp"
using namespace support;

namespace {

namespace fs = std::filesystem;

const fs::path models = fs::path(CAIRN_TEST_DATA) / "models";

std::string read_all(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}
// The files of a model as Hugging Face's cache has them; returns the snapshot's folder.
fs::path hugging_face_cache(const fs::path& root, const fs::path& model) {
    fs::create_directories(root / "blobs");
    fs::create_directories(root / "snapshots" / "5f1a");
    int number = 0;
    for (const auto& entry : fs::directory_iterator(model)) {
        const std::string blob = "b10b" + std::to_string(number++);
        fs::copy_file(entry.path(), root / "blobs" / blob);
        fs::create_symlink(fs::path("../../blobs") / blob,
                           root / "snapshots" / "5f1a" / entry.path().filename());
    }
    return root / "snapshots" / "5f1a";
}
ErrorCode export_error(const fs::path& from, const fs::path& to) {
    return code_of([&] { export_gguf(from.string(), to.string(), ElementType::f16); });
}

}  // namespace

TEST_CASE("a model of links is read wherever they lead", "[model_file]") {
    const Folder folder;
    const fs::path snapshot = hugging_face_cache(folder.path, models / "llama-mha");
    const std::uint64_t print = load_model((models / "llama-mha").string()).model.fingerprint();
    CHECK(load_model(snapshot.string()).model.fingerprint() == print);
    // The same with an index of shards.
    fs::rename(snapshot / "model.safetensors", snapshot / "part.safetensors");
    const SafetensorsFile tensors((snapshot / "part.safetensors").string());
    std::string map;
    for (const auto& [name, entry] : tensors.header())
        map += (map.empty() ? "\"" : ",\"") + name + "\":\"part.safetensors\"";
    std::ofstream(folder.path / "blobs" / "index") << "{\"weight_map\":{" << map << "}}";
    fs::create_symlink("../../blobs/index", snapshot / "model.safetensors.index.json");
    CHECK(load_model(snapshot.string()).model.fingerprint() == print);
    // The folder itself, and a GGUF file.
    fs::create_directory_symlink(snapshot, folder.path / "linked");
    CHECK(load_model((folder.path / "linked").string()).model.fingerprint() == print);
    fs::create_symlink(models / "llama-mha.gguf", folder.path / "linked.gguf");
    load_model((folder.path / "linked.gguf").string());
}

TEST_CASE("a link that leads nowhere is an error of the system, and not an absent file",
          "[model_file]") {
    const Folder folder;
    const fs::path model = folder.path / "model";
    const auto error = [](const fs::path& path) {
        return code_of([&] { load_model(path.string()); });
    };
    fs::create_symlink("loop", folder.path / "loop");
    CHECK(error(folder.path / "loop") == ErrorCode::io);
    CHECK(error(folder.path / "loop" / "x.gguf") == ErrorCode::io);
    CHECK(export_error(folder.path / "loop", folder.path / "x.gguf") == ErrorCode::io);
    for (const char* name : {"config.json", "model.safetensors", "model.safetensors.index.json",
                             "tokenizer.json", "tokenizer_config.json"})
        for (const char* target : {"", "nowhere"}) {
            INFO(name << " -> " << target);
            fs::remove_all(model);
            fs::copy(models / "llama-mha", model);
            if (std::string(name) == "model.safetensors.index.json")
                fs::remove(model / "model.safetensors");
            fs::remove(model / name);
            fs::create_symlink(*target != '\0' ? target : name, model / name);
            CHECK(error(model) == ErrorCode::io);
        }
}

TEST_CASE("an export never takes the place of the model it reads", "[gguf_export]") {
    const Folder folder;
    const fs::path model = folder.path / "model";
    fs::copy(models / "llama-mha", model);
    const std::string weights = read_all(model / "model.safetensors");
    const std::string config = read_all(model / "config.json");
    fs::create_symlink("model/model.safetensors", folder.path / "link.gguf");
    fs::create_hard_link(model / "config.json", folder.path / "hard.gguf");
    fs::create_directory_symlink("model", folder.path / "other");
    for (const fs::path& to :
         {model / "model.safetensors", model / "config.json", model / "tokenizer.json",
          model / "model.safetensors.index.json", folder.path / "link.gguf",
          folder.path / "hard.gguf", folder.path / "other" / "model.safetensors",
          model / ".." / "model" / "model.safetensors"}) {
        INFO(to);
        CHECK(export_error(model, to) == ErrorCode::invalid_argument);
        CHECK(export_error(folder.path / "other", to) == ErrorCode::invalid_argument);
        CHECK(read_all(model / "model.safetensors") == weights);
        CHECK(read_all(model / "config.json") == config);
        CHECK(!fs::exists(model / "tokenizer.json"));
    }
    const fs::path snapshot = hugging_face_cache(folder.path / "cache", model);
    for (const auto& blob : fs::directory_iterator(folder.path / "cache" / "blobs"))
        CHECK(export_error(snapshot, blob.path()) == ErrorCode::invalid_argument);
    // Beside the model's files, as often as one likes.
    for (int again = 0; again < 2; ++again)
        export_gguf(model.string(), (model / "model.f16.gguf").string(), ElementType::f16);
    const fs::path file = model / "model.f16.gguf";
    fs::create_symlink(file, folder.path / "again.gguf");
    CHECK(export_error(file, file) == ErrorCode::invalid_argument);
    CHECK(export_error(file, folder.path / "again.gguf") == ErrorCode::invalid_argument);
    CHECK(export_error(folder.path / "again.gguf", file) == ErrorCode::invalid_argument);
    // The other parts of a split file are the model's too.
    for (const char* part : {"m-00001-of-00002.gguf", "m-00002-of-00002.gguf"})
        fs::copy_file(file, folder.path / part);
    CHECK_THROWS_AS(
        check_not_model(folder.file("m-00001-of-00002.gguf"), folder.file("m-00002-of-00002.gguf")),
        Error);
    check_not_model(folder.file("m-00001-of-00002.gguf"), folder.file("again.gguf"));
    check_not_model(folder.file("m-00001-of-00002.gguf"), folder.file("m-00003-of-00003.gguf"));
}

namespace {

// A copy of a small model's folder, in which numbers can be put.
struct Copy {
    fs::path path = fs::temp_directory_path() / "cairn_export_test";
    Copy() {
        fs::remove_all(path);
        fs::copy(fs::path(CAIRN_TEST_DATA) / "gpt2-a", path);
    }
    Copy(const Copy&) = delete;
    Copy& operator=(const Copy&) = delete;
    ~Copy() { fs::remove_all(path); }
    void set(const std::string& tensor, std::size_t index, float value) const {
        const std::string file = (path / "model.safetensors").string();
        std::uint64_t length = 0;
        std::size_t begin = 0;
        {
            const SafetensorsFile source(file);
            const SafetensorsEntry& entry = source.header().at(tensor);
            REQUIRE(entry.dtype == "F32");
            begin = entry.begin;
        }
        std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
        stream.read(reinterpret_cast<char*>(&length), 8);
        stream.seekp(static_cast<std::streamoff>(8 + length + begin + index * sizeof(float)));
        stream.write(reinterpret_cast<const char*>(&value), sizeof value);
    }
    ErrorCode exported(ElementType type) const {
        const fs::path to = path / "out.gguf";
        const ErrorCode code = code_of([&] { export_gguf(path.string(), to.string(), type); });
        CHECK_FALSE(fs::exists(to));
        return code;
    }
};

}  // namespace

TEST_CASE("an export refuses what would be no model", "[gguf_export]") {
    const Copy copy;
    const fs::path to = copy.path / "good.gguf";
    export_gguf(copy.path.string(), to.string(), ElementType::f16);
    CHECK(load_model(to.string()).unread.empty());
    const bool prefixed = SafetensorsSource(copy.path).shape("transformer.wte.weight") != nullptr;
    const std::string name = std::string(prefixed ? "transformer." : "") + "h.0.mlp.c_fc.weight";
    copy.set(name, 7, 70000.0F);
    CHECK(copy.exported(ElementType::f16) == ErrorCode::non_finite);
    export_gguf(copy.path.string(), to.string(), ElementType::bf16);
    copy.set(name, 7, std::nanf(""));
    for (const ElementType type : {ElementType::f32, ElementType::f16, ElementType::q8_0})
        CHECK(copy.exported(type) == ErrorCode::non_finite);
    copy.set(name, 7, 0.0F);
    // Fewer layers in the configuration than in the file.
    const std::string config = (copy.path / "config.json").string();
    std::string text = read_json_file(config);
    const std::string key = "\"n_layer\": ";
    char& layers = text[text.find(key) + key.size()];
    REQUIRE(layers > '1');
    --layers;
    std::ofstream(config) << text;
    CHECK(copy.exported(ElementType::f32) == ErrorCode::bad_config);
    ++layers;
    std::ofstream(config) << text;
    export_gguf(copy.path.string(), to.string(), ElementType::f32);
    // More tokens than the model has rows for: their numbers would be written beyond the table.
    fs::copy_file(fs::path(CAIRN_MODELS) / "shakespeare" / "tokenizer.json",
                  copy.path / "tokenizer.json", fs::copy_options::overwrite_existing);
    CHECK(copy.exported(ElementType::f32) == ErrorCode::bad_tokenizer);
}

namespace {

// What an export makes of a Llama whose config.json scales its rotation so.
LlamaConfig exported_scaling(const std::string& scaling, const fs::path& folder) {
    const fs::path from = folder / "yarn";
    const fs::path to = folder / "yarn.gguf";
    fs::remove_all(from);
    fs::copy(models / "llama-yarn", from);
    std::string text = read_all(from / "config.json");
    const std::size_t begin = text.find('{', text.find("\"rope_scaling\""));
    REQUIRE(begin != std::string::npos);
    text.replace(begin, text.find('}', begin) + 1 - begin, scaling);
    std::ofstream(from / "config.json") << text;
    export_gguf(from.string(), to.string(), ElementType::f32);
    load_model(to.string());
    const GgufSource source(to.string());
    GgufNumbers numbers(source.metadata(), source);
    return read_llama_config(numbers);
}
// Puts a number of 32 bits in the place of one that has this key.
void put_number(const fs::path& file, const std::string& key, float value) {
    std::string bytes = read_all(file);
    const std::size_t at = bytes.find(key);
    REQUIRE(at != std::string::npos);
    std::memcpy(bytes.data() + at + key.size() + 4, &value, sizeof value);
    std::ofstream(file, std::ios::binary) << bytes;
}
std::string load_error(const fs::path& file) {
    try {
        load_model(file.string());
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::bad_config);
        return error.what();
    }
    return "";
}

}  // namespace

TEST_CASE("a factor without a type of scaling is linear", "[gguf_export]") {
    const Folder folder;
    const fs::path typed = models / "llama-linear.gguf";
    const fs::path untyped = folder.path / "untyped.gguf";
    std::string bytes = read_all(typed);
    const std::string key = "llama.rope.scaling.type";
    const std::size_t at = bytes.find(key);
    REQUIRE(at != std::string::npos);
    bytes[at + key.size() - 1] = 'o';
    std::ofstream(untyped, std::ios::binary) << bytes;
    CHECK(load_model(untyped).model.fingerprint() == load_model(typed).model.fingerprint());
    bytes.replace(bytes.find("llama.rope.scaling.factor"), 25, "llama.rope.scaling.factos");
    std::ofstream(untyped, std::ios::binary) << bytes;
    CHECK(load_model(untyped).model.fingerprint() != load_model(typed).model.fingerprint());
}

TEST_CASE("an exported model turns its rows as before, whatever its scaling", "[gguf_export]") {
    const Folder folder;
    const std::string usual = R"("type": "yarn", "factor": 4.0,
        "original_max_position_embeddings": 32)";
    const LlamaConfig plain = exported_scaling("{" + usual + "}", folder.path);
    CHECK(plain.scaling.beta_fast == 32.0);
    CHECK(plain.scaling.beta_slow == 1.0);
    CHECK(plain.scaling.attention_factor == 0.0);
    const LlamaConfig own = exported_scaling(
        "{" + usual + R"(, "beta_fast": 16.0, "beta_slow": 2.0, "attention_factor": 1.5})",
        folder.path);
    CHECK(own.scaling.kind == RotaryScaling::Kind::yarn);
    CHECK(own.scaling.factor == 4.0);
    CHECK(own.scaling.original_context == 32.0);
    CHECK(own.scaling.beta_fast == 16.0);
    CHECK(own.scaling.beta_slow == 2.0);
    CHECK(own.scaling.attention_factor == Approx(1.5).epsilon(1e-7));
    // Numbers that no rotation has are errors that name them.
    const fs::path file = folder.path / "yarn.gguf";
    for (const auto& [key, good, bad] : {std::tuple{"rope.scaling.yarn_beta_fast", 16.0F, -1.0F},
                                         {"rope.scaling.yarn_beta_slow", 2.0F, 0.0F},
                                         {"rope.scaling.attn_factor", 1.25F, 1e30F},
                                         {"rope.scaling.factor", 4.0F, 1e-30F}}) {
        put_number(file, key, bad);
        CHECK(load_error(file).find(key) != std::string::npos);
        put_number(file, key, good);
        CHECK(load_error(file).empty());
    }
    const fs::path divided = folder.path / "divided.gguf";
    fs::copy_file(models / "llama-llama3.gguf", divided);
    CHECK(load_error(divided).empty());
    std::string bytes = read_all(divided);
    const GgufHeader header = parse_gguf(std::as_bytes(std::span(bytes)), divided.string());
    const float tiny = 1e-30F;
    std::memcpy(bytes.data() + header.tensors.at("rope_freqs.weight").begin + 4, &tiny, 4);
    std::ofstream(divided, std::ios::binary) << bytes;
    CHECK(load_error(divided).find("rope_freqs.weight: number 1 is") != std::string::npos);
}
