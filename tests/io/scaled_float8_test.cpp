// Folders whose matrices are eight-bit floats with scales: the model of the numbers they stand for,
// to the bit, and one typed error for what does not fit together.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include <cairn/io/folder_tensors.hpp>
#include <cairn/io/gguf_export.hpp>
#include <cairn/io/io.hpp>
#include <cairn/io/json.hpp>
#include <cairn/io/safetensors_source.hpp>

#include "environment_support.hpp"
#include "session_support.hpp"
using namespace support;

namespace {

struct StoredTensor {
    std::string dtype;
    std::vector<std::size_t> shape;
    std::string bytes;
};
using StoredTensors = std::map<std::string, StoredTensor>;

template <class T>
std::string bytes_of(const std::vector<T>& numbers) {
    return {reinterpret_cast<const char*>(numbers.data()), numbers.size() * sizeof(T)};
}
void write_folder(const Folder& to, const StoredTensors& tensors, const Json& config) {
    Json header = Json::object();
    std::string data;
    for (const auto& [name, tensor] : tensors) {
        header[name] = {{"dtype", tensor.dtype},
                        {"shape", tensor.shape},
                        {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
        data += tensor.bytes;
    }
    const std::string text = header.dump();
    const std::uint64_t size = text.size();
    std::ofstream file(to.file("model.safetensors"), std::ios::binary);
    file.write(reinterpret_cast<const char*>(&size), sizeof size);
    file << text << data;
    std::ofstream(to.file("config.json")) << config.dump();
}

// How a folder says its scales: a block's rows and columns (0: all of them), the ending of their
// names, their type, whether a single one is a number without a shape, and what config.json holds.
struct Spelling {
    std::size_t rows, columns;
    const char *ending, *dtype;
    bool shapeless;
    const char* config;
};
const Spelling spellings[]{
    {128, 128, "_scale_inv", "F32", false, R"({"quant_method": "fp8", "fmt": "e4m3"})"},
    {8, 5, "_scale_inv", "F32", false, R"({"quant_method": "fp8", "weight_block_size": [8, 5]})"},
    {7, 16, "_scale_inv", "F8_E8M0", false,
     R"({"quant_method": "fp8", "weight_block_size": [7, 16], "scale_fmt": "ue8m0"})"},
    {0, 0, "_scale_inv", "BF16", true, R"({"quant_method": "fp8", "weight_block_size": null})"},
    {0, 0, "_scale", "F32", false,
     R"({"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups":
         {"group_0": {"weights": {"num_bits": 8, "type": "float", "strategy": "tensor"}}}})"},
    {1, 0, "_scale", "BF16", false,
     R"({"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups":
         {"group_0": {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}}}})"},
    {4, 6, "_scale", "F32", false,
     R"({"quant_method": "compressed-tensors", "format": "float-quantized", "config_groups":
         {"group_0": {"weights": {"num_bits": 8, "type": "float", "block_structure": [4, 6]}}}})"}};

// A scale as it is stored, and the number that this stands for.
float store_scale(float scale, const char* dtype, std::string& to) {
    if (std::string(dtype) == "F32") {
        to += bytes_of(std::vector<float>{scale});
        return scale;
    }
    if (std::string(dtype) == "BF16") {
        to += bytes_of(std::vector<bf16_bits>{f32_to_bf16(scale)});
        return bf16_to_f32(f32_to_bf16(scale));
    }
    const int power = static_cast<int>(std::floor(std::log2(scale)));
    to += static_cast<char>(power + 127);
    return std::ldexp(1.0F, power);
}
// A matrix as floats and scales; `numbers` become what those stand for.
void split_matrix(const Spelling& spelling, std::size_t rows, std::size_t columns,
                  std::vector<float>& numbers, StoredTensor& floats, StoredTensor& scales) {
    const std::size_t high = spelling.rows == 0 ? rows : spelling.rows;
    const std::size_t wide = spelling.columns == 0 ? columns : spelling.columns;
    floats = {"F8_E4M3", {rows, columns}, std::string(rows * columns, '\0')};
    scales = {spelling.dtype, {(rows + high - 1) / high, (columns + wide - 1) / wide}, {}};
    for (std::size_t top = 0; top < rows; top += high)
        for (std::size_t left = 0; left < columns; left += wide) {
            float largest = 1e-3F;
            const auto each = [&](const auto& what) {
                for (std::size_t r = top; r < std::min(top + high, rows); ++r)
                    for (std::size_t c = left; c < std::min(left + wide, columns); ++c)
                        what(r * columns + c);
            };
            each([&](std::size_t i) { largest = std::max(largest, std::abs(numbers[i])); });
            const float scale = store_scale(largest / 401.7F, spelling.dtype, scales.bytes);
            each([&](std::size_t i) {
                const std::uint8_t code = f32_to_e4m3(numbers[i] / scale);
                floats.bytes[i] = static_cast<char>(code);
                numbers[i] = e4m3_to_f32(code) * scale;
            });
        }
    if (spelling.shapeless) scales.shape.clear();
}
Json config_of(const std::string& folder, const char* said) {
    Json config = Json::parse(read_text(folder + "/config.json", 1 << 20));
    if (said != nullptr) config["quantization_config"] = Json::parse(said);
    return config;
}
// A folder's tensors twice: with every matrix as floats and scales, and as the numbers they are.
void split_folder(const std::string& folder, const Spelling& spelling, StoredTensors& small,
                  StoredTensors& plain) {
    const SafetensorsSource source(folder);
    for (const std::string& name : source.names()) {
        const std::vector<std::size_t> shape = *source.shape(name);
        std::vector<float> numbers = load_vector(source, name);
        if (shape.size() == 2)
            split_matrix(spelling, shape[0], shape[1], numbers, small[name],
                         small[name + spelling.ending]);
        plain[name] = {"F32", shape, bytes_of(numbers)};
        if (shape.size() != 2) small[name] = plain[name];
    }
}
std::vector<float> float8_logits(const AnyModel& model) {
    std::vector<Token> tokens;
    for (Token t = 0; t < 20; ++t) tokens.push_back((7 * t + 3) % model.vocabulary());
    auto session = model.session<KvCache<>>(32);
    std::vector<float> logits(tokens.size() * static_cast<std::size_t>(model.vocabulary()));
    session.score(tokens, logits.data());
    return logits;
}

}  // namespace

TEST_CASE("eight-bit floats with scales are the bits of the numbers they stand for",
          "[io][float8]") {
    const std::string data = CAIRN_TEST_DATA;
    for (const std::string& folder :
         {data + "/architectures/qwen3", data + "/deepseek/v3", data + "/models/llama-gqa-tied"})
        for (const Spelling& spelling : spellings) {
            INFO(folder << " " << spelling.config);
            StoredTensors small, plain;
            split_folder(folder, spelling, small, plain);
            const Folder a("-float8"), b("-float32");
            write_folder(a, small, config_of(folder, spelling.config));
            write_folder(b, plain, config_of(folder, nullptr));
            const LoadedModel one = load_model(a.path.string());
            const LoadedModel other = load_model(b.path.string(), {.validate = Validate::full});
            CHECK(one.unread == other.unread);
            CHECK(one.model.fingerprint() == other.model.fingerprint());
            CHECK(same_bits(float8_logits(one.model), float8_logits(other.model)));
            const LoadOptions halves{.store_as = ElementType::bf16, .validate = Validate::full};
            CHECK(load_model(a.path.string(), halves).model.fingerprint() ==
                  load_model(b.path.string(), halves).model.fingerprint());
            if (&spelling != &spellings[1]) continue;
            export_gguf(a.path.string(), a.file("a.gguf"), ElementType::f32);
            export_gguf(b.path.string(), b.file("b.gguf"), ElementType::f32);
            CHECK(read_text(a.file("a.gguf"), 1 << 24) == read_text(b.file("b.gguf"), 1 << 24));
        }
}

TEST_CASE("eight-bit floats: any part of a matrix, in any cut", "[io][float8]") {
    StoredTensors tensors;
    std::vector<float> numbers(11 * 13);
    Random random(5);
    for (float& x : numbers) x = static_cast<float>(random.normal());
    split_matrix(spellings[1], 11, 13, numbers, tensors["a"], tensors["a_scale_inv"]);
    const Folder folder("-float8-part");
    write_folder(folder, tensors, {{"quantization_config", Json::parse(spellings[1].config)}});
    const FolderTensors source(folder.path);
    CHECK(source.names() == std::vector<std::string>{"a"});
    CHECK(source.type("a") == ElementType::f32);
    CHECK(*source.shape("a") == std::vector<std::size_t>{11, 13});
    for (std::size_t first = 0; first <= numbers.size(); ++first)
        for (std::size_t count = 0; first + count <= numbers.size(); count += 1 + count / 3) {
            std::vector<float> part(count);
            const auto wanted = std::span(numbers).subspan(first, count);
            source.read("a", first, part);
            REQUIRE(same_bits(part, wanted));
            std::vector<float> stored(count);
            source.read_stored("a", first, std::as_writable_bytes(std::span(stored)));
            REQUIRE(same_bits(stored, wanted));
        }
}

TEST_CASE("eight-bit floats do not depend on how the host rounds", "[io][float8]") {
    // Products of which some are denormal, all are rounded.
    std::vector<float> scales(6);
    Random random(6);
    for (float& x : scales) x = static_cast<float>(random.normal()) * 1e-37F;
    StoredTensors tensors;
    std::string codes(11 * 13, '\0');
    for (std::size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<char>(i % 127);
    tensors["a"] = {"F8_E4M3", {11, 13}, codes};
    tensors["a_scale_inv"] = {"F32", {2, 3}, bytes_of(scales)};
    const Folder folder("-float8-host");
    write_folder(folder, tensors, {{"quantization_config", Json::parse(spellings[1].config)}});
    const FolderTensors source(folder.path);
    const std::vector<float> wanted = load_vector(source, "a");
    for (const int mode : {HostEnvironment::flushing, FE_UPWARD, FE_TOWARDZERO}) {
        std::vector<float> got(wanted.size());
        {
            const HostEnvironment host(mode);
            source.read("a", 0, got);
        }
        CHECK(same_bits(got, wanted));
    }
}

TEST_CASE("eight-bit floats: what does not fit together is refused by name", "[io][float8]") {
    const Folder folder("-float8-bad");
    StoredTensors good;
    std::vector<float> numbers(11 * 13, 1.0F);
    split_matrix(spellings[1], 11, 13, numbers, good["a"], good["a_scale_inv"]);
    const auto open = [&](const StoredTensors& tensors, const char* config) {
        write_folder(folder, tensors, {{"quantization_config", Json::parse(config)}});
        return FolderTensors(folder.path);
    };
    const auto refusal = [&](const StoredTensors& tensors, ErrorCode code,
                             const char* config = spellings[1].config) {
        try {
            const FolderTensors source = open(tensors, config);
            load_vector(source, "a");
        } catch (const Error& error) {
            CHECK(error.code() == code);
            return std::string(error.what());
        }
        FAIL("not refused");
        return std::string();
    };
    const auto says = [](const std::string& text, std::initializer_list<const char*> words) {
        INFO(text);
        for (const char* word : words) CHECK(text.find(word) != std::string::npos);
    };
    const auto changed = [&](const auto& change) {
        StoredTensors tensors = good;
        change(tensors);
        return tensors;
    };
    CHECK(load_vector(open(good, spellings[1].config), "a").size() == 143);
    // Scales: none, of another shape, of another type, of no number.
    says(refusal(changed([](auto& t) { t.erase("a_scale_inv"); }), ErrorCode::bad_file),
         {"\"a\"", "_scale_inv"});
    for (const std::vector<std::size_t>& shape :
         {std::vector<std::size_t>{3, 2}, {6}, {1, 6}, {2, 3, 1}, {6, 1}})
        says(
            refusal(changed([&](auto& t) { t["a_scale_inv"].shape = shape; }), ErrorCode::bad_file),
            {"a_scale_inv", "[2, 3]", "[11, 13]", "[8, 5]"});
    says(refusal(changed([](auto& t) { t["a_scale_inv"] = {"F32", {}, std::string(4, '\0')}; }),
                 ErrorCode::bad_file),
         {"a_scale_inv", "[]"});
    says(refusal(changed([](auto& t) { t["a_scale_inv"].dtype = "I32"; }), ErrorCode::unsupported),
         {"a_scale_inv", "I32"});
    for (const float scale : {INFINITY, -INFINITY, NAN})
        says(refusal(changed([&](auto& t) { std::memcpy(&t["a_scale_inv"].bytes[16], &scale, 4); }),
                     ErrorCode::non_finite),
             {"a_scale_inv", "row 1, column 1"});
    says(refusal(changed([](auto& t) {
                     t["a_scale_inv"] = {"F8_E8M0", {2, 3}, std::string("\1\1\1\1\1\xFF", 6)};
                 }),
                 ErrorCode::non_finite),
         {"a_scale_inv", "row 1, column 2"});
    // Floats: NaN in both spellings, a product beyond f32, no matrix, no float of this kind.
    for (const char code : {'\x7F', '\xFF'})
        says(refusal(changed([&](auto& t) { t["a"].bytes[40] = code; }), ErrorCode::non_finite),
             {"tensor a", "index 40"});
    const float big = 1e37F;
    says(refusal(changed([&](auto& t) { std::memcpy(t["a_scale_inv"].bytes.data(), &big, 4); }),
                 ErrorCode::non_finite),
         {"tensor a"});
    for (const std::vector<std::size_t>& shape : {std::vector<std::size_t>{143}, {1, 11, 13}})
        says(refusal(changed([&](auto& t) { t["a"].shape = shape; }), ErrorCode::unsupported),
             {"\"a\"", "dimensions"});
    // Scales that somebody else's reader would look for.
    says(refusal(changed([](auto& t) {
                     t["a_scale"] = t["a_scale_inv"];
                     t.erase("a_scale_inv");
                 }),
                 ErrorCode::unsupported),
         {"\"a\"", "\"_scale\"", "\"_scale_inv\""});
    says(refusal(changed([](auto& t) { t["a"].dtype = "U8"; }), ErrorCode::bad_file),
         {"a_scale_inv", "F8_E4M3"});
    says(refusal(changed([](auto& t) { t["a"].dtype = "F8_E5M2"; }), ErrorCode::bad_file),
         {"a_scale_inv", "F8_E4M3"});
    // Scales that are another pair's tensors.
    says(refusal(changed([](auto& t) {
                     t.erase("a_scale_inv");
                     t["a_scale_inv_blocks"] = {"U8", {1, 1, 1, 16}, std::string(16, '\0')};
                     t["a_scale_inv_scales"] = {"U8", {1, 1, 1}, std::string(1, '\0')};
                 }),
                 ErrorCode::bad_file),
         {"\"a\"", "_scale_inv"});
    says(refusal(changed([](auto& t) {
                     t["a_scale_inv"] = {"F8_E4M3", {2, 3}, std::string(6, '\1')};
                     t["a_scale_inv_scale_inv"] = {"F32", {1, 1}, std::string(4, '\0')};
                 }),
                 ErrorCode::unsupported),
         {"a_scale_inv", "F8_E4M3"});
    // What config.json says.
    for (const char* config :
         {R"({"quant_method": "fp8", "weight_block_size": [8]})",
          R"({"quant_method": "fp8", "weight_block_size": [8, 0]})",
          R"({"quant_method": "fp8", "weight_block_size": [8, 1.5]})",
          R"({"quant_method": "fp8", "weight_block_size": 8})", R"({"quant_method": 8})", "{}",
          "[]", R"({"quant_method": "compressed-tensors", "format": "float-quantized"})"})
        refusal(good, ErrorCode::bad_config, config);
    for (const char* method : {"gptq", "awq", "bitsandbytes", "modelopt"}) {
        const std::string config = std::string(R"({"quant_method": ")").append(method) + "\"}";
        says(refusal(good, ErrorCode::unsupported, config.c_str()),
             {method, "fp8, mxfp4, compressed-tensors"});
    }
    refusal(good, ErrorCode::unsupported, R"({"quant_method": "fp8", "fmt": "e5m2"})");
    for (const char* config :
         {R"({"quant_method": "compressed-tensors", "format": "pack-quantized"})",
          R"({"quant_method": "compressed-tensors", "format": "float-quantized",
              "config_groups": {"a": {"weights": {"num_bits": 4, "type": "float"}}}})",
          R"({"quant_method": "compressed-tensors", "format": "float-quantized",
              "config_groups": {"a": {"weights": {"num_bits": 8, "type": "int"}}}})",
          R"({"quant_method": "compressed-tensors", "format": "float-quantized",
              "config_groups": {"a": {"weights": {"num_bits": 8}}, "b": {"weights": {
              "num_bits": 8, "block_structure": [4, 4]}}}})",
          R"({"quant_method": "compressed-tensors", "format": "float-quantized",
              "transform_config": {"config_groups": {"turned": {}}},
              "config_groups": {"a": {"weights": {"num_bits": 8}}}})",
          R"({"quant_method": "compressed-tensors", "format": "float-quantized",
              "config_groups": {"a": {"weights": {"num_bits": 8, "symmetric": false}}}})"})
        refusal(good, ErrorCode::unsupported, config);
    // Without a word of it the floats are a type that no weight has.
    write_folder(folder, good, Json::object());
    const FolderTensors silent(folder.path);
    CHECK(code_of([&] { load_vector(silent, "a"); }) == ErrorCode::unsupported);
}
