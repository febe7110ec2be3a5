// reliability: every rule of the safetensors header as a case with its error.
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include <cairn/io/io.hpp>
#include <cairn/io/safetensors_source.hpp>

#include "support.hpp"
using namespace support;
namespace fs = std::filesystem;

namespace {

struct TempFolder {
    fs::path path;
    TempFolder() {
        std::string name = (fs::temp_directory_path() / "cairn-XXXXXX").string();
        REQUIRE(::mkdtemp(name.data()) != nullptr);
        path = name;
    }
    ~TempFolder() { fs::remove_all(path); }
    void write(const std::string& name, const std::string& bytes) const {
        std::ofstream(path / name, std::ios::binary) << bytes;
    }
};
std::string file_of(const std::string& header, const std::string& data) {
    const std::uint64_t n = header.size();
    return std::string(reinterpret_cast<const char*>(&n), 8) + header + data;
}
ErrorCode header_error(const std::string& json, std::size_t data) {
    return code_of([&] { parse_safetensors_header(json, data, "test"); });
}
const std::string good_header =
    R"({"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},"b":{"dtype":"F16","shape":[],"data_offsets":[16,18]}})";

}  // namespace

TEST_CASE("good headers are read", "[safetensors]") {
    const auto header = parse_safetensors_header(good_header, 18, "test");
    CHECK(header.at("a").shape == std::vector<std::size_t>{2, 2});
    CHECK(header.at("b").shape.empty());
    CHECK(parse_safetensors_header("  " + good_header + " \n", 18, "test").size() == 2);  // S3
    CHECK(
        parse_safetensors_header(
            R"({"__metadata__":null,"x":{"dtype":"U8","shape":[0,7],"data_offsets":[0,0],"extra":{"deep":[1,{"a":null}]}}})",
            0, "test")
            .size() == 1);
    CHECK(parse_safetensors_header(R"({"__metadata__":{"k":"v"}})", 0, "test").empty());
    for (const char* name : {"", "../x", "a/b", "nul\\u0000"}) {  // S8: names are data
        const std::string json =
            std::string(R"({")") + name + R"(":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})";
        CHECK(parse_safetensors_header(json, 1, "test").size() == 1);
    }
}

TEST_CASE("bad headers are typed errors", "[safetensors]") {
    const auto one = [](const std::string& inner) { return R"({"a":{)" + inner + "}}"; };
    const std::string dtype = R"("dtype":"U8",)", shape = R"("shape":[1],)",
                      offsets = R"("data_offsets":[0,1])";
    const std::string cases[] = {
        "",
        "[]",
        "null",
        "7",
        "\"x\"",
        "{",
        good_header.substr(0, good_header.size() - 1),
        good_header + "x",
        std::string(good_header + '\0'),
        "\xEF\xBB\xBF" + good_header,
        "{\"\xFF\":1}",
        R"({"\uD800":1})",
        "// c\n" + good_header,
        R"({"a":{},})",
        R"({"a":NaN})",
        R"({"a":1})",
        R"({"a":[]})",
        one(shape + offsets),
        one(dtype + offsets),
        one(R"("dtype":"U8","shape":[1])"),
        one(dtype + R"("shape":[-1],)" + offsets),
        one(dtype + R"("shape":[1.0],)" + offsets),
        one(dtype + R"("shape":[1e0],)" + offsets),
        one(dtype + R"("shape":["1"],)" + offsets),
        one(dtype + R"("shape":[18446744073709551616],)" + offsets),
        one(dtype + R"("shape":[1,1,1,1,1,1,1,1,1],)" + offsets),
        one(dtype + R"("shape":1,)" + offsets),
        one(dtype + R"("shape":[[1]],)" + offsets),
        one(dtype + R"("shape":[4294967296,4294967296,0],"data_offsets":[0,0])"),
        one(R"("dtype":"F64","shape":[2305843009213693952],"data_offsets":[0,0])"),
        one(dtype + shape + R"("data_offsets":[0])"),
        one(dtype + shape + R"("data_offsets":[0,1,1])"),
        one(dtype + shape + R"("data_offsets":[-1,1])"),
        one(dtype + shape + R"("data_offsets":[1,0])"),
        one(dtype + shape + R"("data_offsets":[0,2])"),
        one(dtype + shape + R"("data_offsets":[1,2])"),
        one(dtype + shape + R"("data_offsets":{})"),
        one(R"("dtype":3,)" + shape + offsets),
        one(dtype + dtype + shape + offsets),
        one(dtype + shape + offsets + R"(,"q":1,"q":2)"),
        R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
        R"({"__metadata__":{},"__metadata__":{},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
        R"({"__metadata__":{"k":1},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
        R"({"__metadata__":"x","a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
        R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
        one(dtype + shape + offsets + R"(,"z":)" + std::string(100, '[') + std::string(100, ']')),
    };
    for (const std::string& json : cases) {
        INFO(json.substr(0, 200));
        CHECK(header_error(json, 1) == ErrorCode::bad_file);
    }
    CHECK(header_error(good_header, 17) == ErrorCode::bad_file);
    CHECK(header_error(good_header, 19) == ErrorCode::bad_file);
    for (const char* type : {"F4", "F6_E2M3", "f32", ""})  // S11
        CHECK(header_error(R"({"a":{"dtype":")" + std::string(type) +
                               R"(","shape":[1],"data_offsets":[0,1]}})",
                           1) == ErrorCode::unsupported);
}

TEST_CASE("hostile headers end quickly", "[safetensors]") {
    std::string many = "{";
    for (int i = 0; i < 200000; ++i)
        many += (i ? ",\"" : "\"") + std::to_string(i) +
                R"(":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
    CHECK(parse_safetensors_header(many + "}", 0, "test").size() == 200000);
    CHECK(header_error(R"({"a":)" + std::string(5000000, '9') + "}", 0) == ErrorCode::bad_file);
    CHECK(header_error(std::string(1000000, '['), 0) == ErrorCode::bad_file);
    // What lies behind a NUL is not read by this parser, but it is by others.
    CHECK(header_error(good_header + std::string("\0", 1), 18) == ErrorCode::bad_file);
    CHECK(header_error(good_header + std::string("\0{}", 3), 18) == ErrorCode::bad_file);
    FileLimits limits;
    limits.tensors = 199999;
    try {
        parse_safetensors_header(many + "}", 0, "test", limits);
        FAIL("accepted");
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::limit);
        CHECK(std::string(error.what()) ==
              "test: 200000 tensors; the limit FileLimits::tensors is 199999");
    }
}

TEST_CASE("files: lengths, truncations and every one-bit flip", "[safetensors]") {
    const TempFolder folder;
    const auto open = [&](const std::string& bytes) {
        folder.write("t", bytes);
        return SafetensorsFile((folder.path / "t").string());
    };
    const std::string data(18, 'x');
    const std::string whole = file_of(good_header, data);
    CHECK(open(whole).header().size() == 2);
    for (std::size_t n = 0; n < whole.size(); ++n)
        CHECK(code_of([&] { open(whole.substr(0, n)); }) == ErrorCode::bad_file);
    CHECK(code_of([&] { open(whole + "y"); }) == ErrorCode::bad_file);
    for (const std::uint64_t n :
         {std::uint64_t{0}, std::uint64_t{100000001}, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
        std::string bad = whole;
        std::memcpy(bad.data(), &n, 8);
        CHECK(code_of([&] { open(bad); }) == ErrorCode::bad_file);
    }
    int accepted = 0;
    for (std::size_t bit = 0; bit < (8 + good_header.size()) * 8; ++bit) {
        std::string flipped = whole;
        flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
        try {
            open(flipped);
            ++accepted;  // a letter of a name, say
        } catch (const Error& error) {
            REQUIRE(
                (error.code() == ErrorCode::bad_file || error.code() == ErrorCode::unsupported));
        }
    }
    CHECK(accepted < 100);
    CHECK(code_of([&] { SafetensorsFile(folder.path.string()); }) == ErrorCode::io);
    CHECK(code_of([&] { SafetensorsFile((folder.path / "absent").string()); }) == ErrorCode::io);
    CHECK(code_of([&] { SafetensorsFile("/dev/zero"); }) == ErrorCode::io);
    CHECK(code_of([&] { SafetensorsFile(std::string("a\0b", 3)); }) == ErrorCode::io);
}

TEST_CASE("shards are named inside their folder and agree with the index", "[safetensors_source]") {
    const TempFolder folder, outside;
    const auto shard = [](const std::string& name) {
        return file_of(R"({")" + name + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
                       std::string("\0\0\x80\x3F", 4));
    };
    folder.write("1.safetensors", shard("a"));
    folder.write("2.safetensors", shard("b"));
    folder.write("3.safetensors", shard("a"));
    outside.write("out.safetensors", shard("b"));
    fs::create_symlink(outside.path / "out.safetensors", folder.path / "link.safetensors");
    const auto index = [&](const std::string& map) {
        folder.write("model.safetensors.index.json", R"({"metadata":{},"weight_map":)" + map + "}");
        return SafetensorsSource(folder.path);
    };
    const auto source = index(R"({"a":"1.safetensors","b":"2.safetensors"})");
    float value = 0.0F;
    source.read("b", 0, {&value, 1});
    CHECK(value == 1.0F);
    CHECK(source.shape("c") == nullptr);
    const auto error = [&](const std::string& map) { return code_of([&] { index(map); }); };
    CHECK(error(R"({"a":"1.safetensors","b":"absent.safetensors"})") == ErrorCode::io);
    CHECK(error(R"({"a":"../1.safetensors"})") == ErrorCode::bad_file);
    CHECK(error(R"({"a":")" + (folder.path / "1.safetensors").string() + R"("})") ==
          ErrorCode::bad_file);
    CHECK(error(R"({"a":".."})") == ErrorCode::bad_file);
    // A link leads where its owner wants, to a regular file.
    CHECK(index(R"({"a":"1.safetensors","b":"link.safetensors"})").shape("b") != nullptr);
    fs::create_symlink("loop.safetensors", folder.path / "loop.safetensors");
    fs::create_symlink("/dev/zero", folder.path / "zero.safetensors");
    fs::create_symlink("nowhere", folder.path / "nowhere.safetensors");
    for (const char* name : {"loop", "zero", "nowhere"})
        CHECK(error(R"({"b":")" + std::string(name) + R"(.safetensors"})") == ErrorCode::io);
    CHECK(error(R"({"a":"2.safetensors"})") == ErrorCode::bad_file);
    CHECK(error(R"({"a":7})") == ErrorCode::bad_file);
    CHECK(error("[]") == ErrorCode::bad_file);
    folder.write(
        "4.safetensors",
        file_of(
            R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"c":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}})",
            std::string(4, '\0')));
    CHECK(error(R"({"a":"1.safetensors","c":"4.safetensors"})") ==
          ErrorCode::bad_file);  // a in two shards
}

TEST_CASE("a tensor of another type is named", "[safetensors_source]") {
    const TempFolder folder;
    folder.write(
        "model.safetensors",
        file_of(R"({"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})", std::string(8, 'x')));
    CHECK(code_of([&] { (void)SafetensorsSource(folder.path).type("a"); }) ==
          ErrorCode::unsupported);
}

TEST_CASE("a folder that is none, or lacks parts", "[model_folder]") {
    const TempFolder folder;
    CHECK(code_of([&] { load_model(folder.path.string()); }) == ErrorCode::io);
    CHECK(code_of([&] { load_model((folder.path / "absent").string()); }) == ErrorCode::io);
    const fs::path model = fs::path(CAIRN_MODELS) / "shakespeare";
    for (const char* name : {"config.json", "model.safetensors"})
        fs::copy_file(model / name, folder.path / name);
    CHECK_FALSE(load_model(folder.path.string()).tokenizer.has_value());
    folder.write("tokenizer.json", "{}");
    CHECK(code_of([&] { load_model(folder.path.string()); }) == ErrorCode::bad_tokenizer);
    fs::remove(folder.path / "tokenizer.json");
    std::string config = read_text((folder.path / "config.json").string(), 100000);
    config.replace(config.find("\"n_layer\": 6"), 12, "\"n_layer\": 7");
    folder.write("config.json", config);
    CHECK(code_of([&] { load_model(folder.path.string()); }) == ErrorCode::bad_config);  // C5
    config.replace(config.find("\"n_layer\": 7"), 12, "\"n_layer\": 5");  // another model
    folder.write("config.json", config);
    CHECK(code_of([&] { load_model(folder.path.string()); }) == ErrorCode::bad_config);
}

TEST_CASE("what a folder's model does not read is listed, and so is what is ignored",
          "[model_folder]") {
    const TempFolder folder;
    const fs::path model = fs::path(CAIRN_TEST_DATA) / "models" / "llama-gqa-tied";
    fs::copy_file(model / "model.safetensors", folder.path / "model.safetensors");
    std::string config = read_text((model / "config.json").string(), 100000);
    const std::string layers = "\"num_hidden_layers\": ";
    const std::size_t at = config.find(layers) + layers.size();
    const int count = config[at] - '0';
    REQUIRE(count >= 2);
    CHECK(load_model(model.string()).unread.empty());
    CHECK(load_model(model.string()).notes.empty());
    config[at] = static_cast<char>('0' + count - 1);
    folder.write("config.json", config);
    try {
        load_model(folder.path.string());
        FAIL("accepted");
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::bad_config);
        CHECK(std::string(error.what())
                  .find("model.layers." + std::to_string(count - 1) + ".mlp.up_proj.weight") !=
              std::string::npos);
    }
    // Layers for multi-token prediction lie behind the others and are listed.
    const std::string rest = config.substr(config.find('{') + 1);
    folder.write("config.json", "{\"num_nextn_predict_layers\": 1, \"eos_token_id\": 1000000," +
                                    rest.substr(0, rest.find("\"eos_token_id\"")) + "\"unused\"" +
                                    rest.substr(rest.find("\"eos_token_id\"") + 14));
    const LoadedModel loaded = load_model(folder.path.string());
    CHECK(loaded.model.layers() == count - 1);
    CHECK(loaded.unread.size() == 9);
    CHECK(loaded.end_of_text.empty());
    CHECK(loaded.notes.size() == 1);
}
