// The rules for GGUF files: each hostile edit ends in the expected typed error.
#include <filesystem>
#include <fstream>

#include <cairn/io/gguf_source.hpp>
#include <cairn/io/model_file.hpp>
#include <cairn/io/tokenizer_gguf.hpp>

#include "support.hpp"
using namespace support;

namespace {

// Writes a file byte by byte, so that every field can be wrong.
struct Bytes {
    std::string text;
    template <class T>
    Bytes& number(T value) {
        text.append(reinterpret_cast<const char*>(&value), sizeof value);
        return *this;
    }
    [[gnu::noinline]] Bytes& string(std::string_view s) {
        number<std::uint64_t>(s.size());
        text.insert(text.end(), s.begin(), s.end());
        return *this;
    }
    [[gnu::noinline]] Bytes& begin(std::uint64_t tensors, std::uint64_t values,
                                   std::uint32_t version = 3) {
        text.insert(text.end(), {'G', 'G', 'U', 'F'});
        return number(version).number(tensors).number(values);
    }
    Bytes& key(std::string_view name, GgufType type) {
        return string(name).number(static_cast<std::uint32_t>(type));
    }
    Bytes& tensor(std::string_view name, std::vector<std::uint64_t> dims, std::uint32_t type,
                  std::uint64_t offset) {
        string(name).number(static_cast<std::uint32_t>(dims.size()));
        for (const std::uint64_t n : dims) number(n);
        return number(type).number(offset);
    }
    [[gnu::noinline]] Bytes& pad(std::size_t alignment = 32) {
        text.resize((text.size() + alignment - 1) / alignment * alignment, '\0');
        return *this;
    }
    [[gnu::noinline]] Bytes& zeros(std::size_t n) {
        text.append(n, '\0');
        return *this;
    }
};
GgufHeader parse(const Bytes& b) {
    return parse_gguf(std::as_bytes(std::span(b.text)), "test.gguf");
}
ErrorCode error(const Bytes& b) {
    return code_of([&] { parse(b); });
}
// Two tensors: 8 f32 and one block of q8_0.
Bytes good_file() {
    Bytes b;
    b.begin(2, 2).key("general.architecture", GgufType::string).string("llama");
    b.key("n", GgufType::u32).number<std::uint32_t>(7);
    b.tensor("a", {4, 2}, 0, 0).tensor("b", {32}, 8, 32).pad().zeros(32 + 34);
    return b;
}
Bytes with_value(GgufType type) {
    Bytes b;
    return b.begin(0, 1).key("k", type);
}

}  // namespace

TEST_CASE("a good file is read", "[gguf]") {
    const GgufHeader h = parse(good_file());
    CHECK(h.metadata.string("general.architecture") == "llama");
    CHECK(h.metadata.integer("n", 0, 10) == 7);
    REQUIRE(h.tensors.size() == 2);
    CHECK(h.tensors.at("a").shape == std::vector<std::size_t>{2, 4});
    CHECK(h.tensors.at("b").type == ElementType::q8_0);
    CHECK(h.tensors.at("b").begin == h.data_begin + 32);
    Bytes padded = good_file();
    padded.pad();
    CHECK(parse(padded).tensors.size() == 2);
    Bytes empty;
    CHECK(parse(empty.begin(0, 0)).tensors.empty());
    Bytes old = good_file();
    old.text[4] = 2;
    CHECK(parse(old).tensors.size() == 2);
    Bytes scalar;
    scalar.begin(1, 0).tensor("s", {}, 0, 0).pad().zeros(4);
    CHECK(parse(scalar).tensors.at("s").elements == 1);
}

TEST_CASE("G1 G2 beginnings", "[gguf]") {
    for (std::size_t n = 0; n < 24; ++n) {
        Bytes b = good_file();
        b.text.resize(n);
        CHECK(error(b) == ErrorCode::bad_file);
    }
    Bytes magic = good_file();
    magic.text[0] = 'g';
    CHECK(error(magic) == ErrorCode::bad_file);
    for (const std::uint32_t version : {0U, 1U, 4U, 0x80000000U, 0x03000000U}) {
        Bytes b;
        CHECK(error(b.begin(0, 0, version)) == ErrorCode::bad_file);
    }
    for (const std::uint64_t n : {~std::uint64_t{0}, std::uint64_t{1} << 63, std::uint64_t{1000}}) {
        Bytes tensors, values;
        CHECK(error(tensors.begin(n, 0)) == ErrorCode::bad_file);
        CHECK(error(values.begin(0, n)) == ErrorCode::bad_file);
    }
}

TEST_CASE("G4 keys", "[gguf]") {
    for (const std::uint64_t length :
         {std::uint64_t{0}, std::uint64_t{65'536}, ~std::uint64_t{0}}) {
        Bytes b;
        b.begin(0, 1).number(length).zeros(70'000);
        CHECK(error(b) == ErrorCode::bad_file);
    }
    Bytes latin;
    CHECK(error(latin.begin(0, 1).key("\xFF", GgufType::u8).number<std::uint8_t>(1)) ==
          ErrorCode::bad_file);
    Bytes twice;
    twice.begin(0, 2);
    for (int i = 0; i < 2; ++i) twice.key("k", GgufType::u8).number<std::uint8_t>(1).zeros(12);
    CHECK(error(twice) == ErrorCode::bad_file);
}

TEST_CASE("G5 G6 G7 G8 values", "[gguf]") {
    for (const std::uint32_t type : {13U, 0xFFFFFFFFU})
        CHECK(error(with_value(static_cast<GgufType>(type)).zeros(16)) == ErrorCode::bad_file);
    for (const std::uint64_t length :
         {(std::uint64_t{16} << 20) + 1, std::uint64_t{100}, ~std::uint64_t{0}})
        CHECK(error(with_value(GgufType::string).number(length)) == ErrorCode::bad_file);
    CHECK(error(with_value(GgufType::boolean).number<std::uint8_t>(2)) == ErrorCode::bad_file);
    const auto array = [](GgufType type, std::uint64_t count) {
        return with_value(GgufType::array).number(static_cast<std::uint32_t>(type)).number(count);
    };
    CHECK(error(array(GgufType::array, 1).zeros(64)) == ErrorCode::unsupported);
    CHECK(error(array(static_cast<GgufType>(13), 1).zeros(64)) == ErrorCode::bad_file);
    for (const GgufType type : {GgufType::u8, GgufType::string, GgufType::f64})
        for (const std::uint64_t count :
             {std::uint64_t{1'000'000'000}, std::uint64_t{1} << 61, ~std::uint64_t{0}})
            CHECK(error(array(type, count).zeros(64)) == ErrorCode::bad_file);
    CHECK(error(with_value(GgufType::u64).number(~std::uint64_t{0})) == ErrorCode::bad_file);
}

TEST_CASE("arrays take what they need, and limits name themselves", "[gguf]") {
    const auto numbers = [] {
        return with_value(GgufType::array)
            .number(static_cast<std::uint32_t>(GgufType::u8))
            .number(std::uint64_t{100'000})
            .zeros(100'000);
    };
    const GgufHeader header = parse(numbers());
    const auto& value = header.metadata.values().begin()->second;
    CHECK(std::get<GgufArray>(value.value).integers.capacity() == 100'000);
    const auto message = [](const Bytes& b, const FileLimits& limits) {
        try {
            parse_gguf(std::as_bytes(std::span(b.text)), "test", limits);
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::limit);
            return std::string(error.what());
        }
        return std::string();
    };
    FileLimits limits;
    limits.gguf_array = 99'999;
    CHECK(message(numbers(), limits)
              .find("100000 elements; the limit FileLimits::gguf_array is "
                    "99999") != std::string::npos);
    limits.gguf_values = 0;
    CHECK(message(numbers(), limits) ==
          "test: 1 metadata values; the limit FileLimits::gguf_values is 0");
    limits = {};
    limits.gguf_string = 5;
    CHECK(message(with_value(GgufType::string).number(std::uint64_t{6}).zeros(6), limits)
              .find("6 bytes; the limit FileLimits::gguf_string is 5") != std::string::npos);
    limits = {};
    limits.tensors = 0;
    CHECK(message(good_file(), limits).find("the limit FileLimits::tensors is 0") !=
          std::string::npos);
}

TEST_CASE("G9 a value is only read as what it is", "[gguf]") {
    const GgufHeader h = parse(good_file());
    CHECK(code_of([&] { h.metadata.string("n"); }) == ErrorCode::bad_file);
    CHECK(code_of([&] { h.metadata.number("n"); }) == ErrorCode::bad_file);
    CHECK(code_of([&] { h.metadata.boolean("n", false); }) == ErrorCode::bad_file);
    CHECK(code_of([&] { h.metadata.array("n", GgufType::i32); }) == ErrorCode::bad_file);
    CHECK(code_of([&] { h.metadata.integer("general.architecture", 0, 9); }) ==
          ErrorCode::bad_file);
    CHECK(code_of([&] { h.metadata.integer("n", 0, 6); }) == ErrorCode::bad_file);
    CHECK(code_of([&] { h.metadata.integer("absent", 0, 6); }) == ErrorCode::bad_file);
    Bytes nan;
    nan.begin(0, 1).key("x", GgufType::f32).number(std::nanf(""));
    CHECK(code_of([&] { parse(nan).metadata.number("x"); }) == ErrorCode::bad_file);
}

TEST_CASE("G10 alignment", "[gguf]") {
    const auto aligned = [](std::uint32_t n) {
        Bytes b;
        return b.begin(0, 1).key("general.alignment", GgufType::u32).number(n);
    };
    for (const std::uint32_t n : {0U, 3U, 13U, (1U << 20) * 2})
        CHECK(error(aligned(n)) == ErrorCode::bad_file);
    CHECK(parse(aligned(64)).tensors.empty());
    Bytes wrong;
    CHECK(error(wrong.begin(0, 1).key("general.alignment", GgufType::i32).number(32)) ==
          ErrorCode::bad_file);
}

TEST_CASE("G11 to G16 tensors", "[gguf]") {
    const auto one = [](std::string_view name, std::vector<std::uint64_t> dims, std::uint32_t type,
                        std::uint64_t offset, std::size_t data) {
        Bytes b;
        return b.begin(1, 0).tensor(name, std::move(dims), type, offset).pad().zeros(data);
    };
    CHECK(error(one("", {4}, 0, 0, 16)) == ErrorCode::bad_file);
    CHECK(error(one(std::string_view(
                        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 64),
                    {4}, 0, 0, 16)) == ErrorCode::bad_file);
    CHECK(error(one(std::string_view("a\0b", 3), {4}, 0, 0, 16)) == ErrorCode::bad_file);
    Bytes twice;
    CHECK(error(twice.begin(2, 0).tensor("a", {8}, 0, 0).tensor("a", {8}, 0, 32).pad().zeros(64)) ==
          ErrorCode::bad_file);
    CHECK(error(one("a", {1, 1, 1, 1, 1}, 0, 0, 4)) == ErrorCode::bad_file);
    for (const std::uint64_t n : {std::uint64_t{0}, ~std::uint64_t{0}, std::uint64_t{1} << 63})
        CHECK(error(one("a", {n}, 0, 0, 64)) == ErrorCode::bad_file);
    const std::uint64_t huge = (std::uint64_t{1} << 62) - 1;
    CHECK(error(one("a", {huge, 3}, 0, 0, 64)) == ErrorCode::limit);
    CHECK(error(one("a", {huge}, 0, 0, 64)) == ErrorCode::limit);
    CHECK(error(one("a", {16}, 8, 0, 64)) == ErrorCode::bad_file);  // half a block
    CHECK(error(one("a", {32, 8}, 12, 0, 900)) == ErrorCode::bad_file);
    for (const std::uint32_t type : {4U, 5U, 31U, 36U, 40U, 99U, 0xFFFFFFFFU})
        CHECK(error(one("a", {256}, type, 0, 2000)) == ErrorCode::bad_file);
    for (const std::uint32_t type : {9U, 16U, 24U, 34U})
        CHECK(error(one("a", {256}, type, 0, 2000)) == ErrorCode::unsupported);
    CHECK(parse(one("a", {256}, 39, 0, 8 * 17)).tensors.size() == 1);  // mxfp4
    for (const std::uint64_t offset : {std::uint64_t{1}, std::uint64_t{32}, ~std::uint64_t{0}})
        CHECK(error(one("a", {8}, 0, offset, 64)) == ErrorCode::bad_file);
    CHECK(error(one("a", {8}, 0, 0, 31)) == ErrorCode::bad_file);
    CHECK(error(one("a", {8}, 0, 0, 64)) == ErrorCode::bad_file);  // trailing: 32 bytes
    CHECK(parse(one("a", {8}, 0, 0, 63)).tensors.size() == 1);
    Bytes junk = one("a", {8}, 0, 0, 40);
    junk.text.back() = 'x';
    CHECK(error(junk) == ErrorCode::bad_file);
    const Bytes whole = good_file();
    for (std::size_t n = 0; n < whole.text.size(); ++n) {
        Bytes cut = whole;
        cut.text.resize(n);
        REQUIRE(error(cut) == ErrorCode::bad_file);
    }
}

TEST_CASE("single-byte damage never does worse than a typed error", "[gguf]") {
    Random random(1);
    const std::string file =
        read_text(std::string(CAIRN_TEST_DATA) + "/models/qwen2.gguf", 1 << 24);
    constexpr std::uint64_t header_bytes = 3000;
    for (int round = 0; round < 3000; ++round) {
        std::string bad = file;
        bad[random.below(header_bytes)] = static_cast<char>(random.below(256));
        try {
            const auto h = parse_gguf(std::as_bytes(std::span(bad)), "damaged");
            REQUIRE(h.tensors.size() < 1000);
        } catch (const Error&) {
        }
    }
}

TEST_CASE("G17 split files", "[gguf]") {
    const auto folder = std::filesystem::temp_directory_path() / "cairn_gguf_split_test";
    std::filesystem::remove_all(folder);
    std::filesystem::create_directory(folder);
    const auto write = [&](const std::string& name, int number, int count, const char* tensor) {
        Bytes b;
        b.begin(1, 3).key("split.no", GgufType::u16).number(static_cast<std::uint16_t>(number));
        b.key("split.count", GgufType::u16).number(static_cast<std::uint16_t>(count));
        b.key("split.tensors.count", GgufType::i32).number(2);
        b.tensor(tensor, {8}, 0, 0).pad().zeros(32);
        std::ofstream out(folder / name, std::ios::binary);
        out.write(b.text.data(), static_cast<std::streamsize>(b.text.size()));
    };
    const std::string first = (folder / "m-00001-of-00002.gguf").string();
    write("m-00001-of-00002.gguf", 0, 2, "a");
    CHECK(code_of([&] { GgufSource source(first); }) == ErrorCode::io);  // the second is missing
    write("m-00002-of-00002.gguf", 1, 2, "b");
    const GgufSource source((folder / "m-00002-of-00002.gguf").string());
    CHECK(source.tensors().size() == 2);
    std::vector<float> x(8, 1.0F);
    source.read("b", 0, x);
    CHECK(x == std::vector<float>(8));
    write("m-00002-of-00002.gguf", 1, 2, "a");  // one tensor in two parts
    CHECK(code_of([&] { GgufSource again(first); }) == ErrorCode::bad_file);
    write("m-00002-of-00002.gguf", 0, 2, "b");  // repeated number
    CHECK(code_of([&] { GgufSource again(first); }) == ErrorCode::bad_file);
    write("m-00001-of-00002.gguf", 0, 0, "a");  // count 0
    CHECK(code_of([&] { GgufSource again(first); }) == ErrorCode::bad_file);
    write("m-00001-of-00002.gguf", 5, 2, "a");  // number beyond the count
    CHECK(code_of([&] { GgufSource again(first); }) == ErrorCode::bad_file);
    write("other.gguf", 0, 2, "a");  // not named as a part
    CHECK(code_of([&] { GgufSource again((folder / "other.gguf").string()); }) ==
          ErrorCode::bad_file);
    std::filesystem::remove_all(folder);
}

TEST_CASE("G18 tokenizers in metadata", "[gguf]") {
    const auto metadata = [](std::vector<std::string> tokens, std::vector<double> scores,
                             std::vector<std::int64_t> types) {
        GgufMetadata m("test");
        GgufArray list;
        list.type = GgufType::string;
        list.strings = std::move(tokens);
        GgufArray s;
        s.type = GgufType::f32;
        s.numbers = std::move(scores);
        GgufArray t;
        t.type = GgufType::i32;
        t.integers = std::move(types);
        m.add("tokenizer.ggml.model", {GgufType::string, std::string("llama")});
        m.add("tokenizer.ggml.tokens", {GgufType::array, std::move(list)});
        m.add("tokenizer.ggml.scores", {GgufType::array, std::move(s)});
        m.add("tokenizer.ggml.token_type", {GgufType::array, std::move(t)});
        m.add("tokenizer.ggml.unknown_token_id", {GgufType::u32, std::int64_t{0}});
        return m;
    };
    const auto bad = [&](GgufMetadata m) { return code_of([&] { gguf_tokenizer(m); }); };
    CHECK(gguf_tokenizer(metadata({"<unk>", "a"}, {0, 0}, {2, 1}))->size() == 2);
    // Equal tokens: the lowest id encodes, both decode.
    const auto equal =
        gguf_tokenizer(metadata({"<unk>", "\xE2\x96\x81", "a", "a"}, {0, 0, 0, 0}, {2, 1, 1, 1}));
    CHECK(equal->encode("a") == std::vector<Token>{1, 2});
    CHECK(equal->bytes(3) == "a");
    CHECK(bad(metadata({}, {}, {})) == ErrorCode::bad_tokenizer);
    CHECK(bad(metadata({"<unk>", ""}, {0, 0}, {2, 1})) == ErrorCode::bad_tokenizer);
    CHECK(bad(metadata({"<unk>", "a"}, {0}, {2, 1})) == ErrorCode::bad_tokenizer);
    CHECK(bad(metadata({"<unk>", "a"}, {0, 0, 0}, {2, 1})) == ErrorCode::bad_tokenizer);
    CHECK(bad(metadata({"<unk>", "a"}, {0, 0}, {2})) == ErrorCode::bad_tokenizer);
    CHECK(bad(metadata({"<unk>", "a"}, {0, std::nan("")}, {2, 1})) == ErrorCode::bad_tokenizer);
    for (const char* name : {"<0x-1>", "<0xZZ>", "<0x1>", "x"})
        CHECK(bad(metadata({"<unk>", name}, {0, 0}, {2, 6})) == ErrorCode::bad_tokenizer);
    for (const std::int64_t id : {std::int64_t{2}, std::int64_t{-2}, std::int64_t{1} << 40}) {
        GgufMetadata m = metadata({"<unk>", "a"}, {0, 0}, {2, 1});
        m.add("tokenizer.ggml.bos_token_id", {GgufType::i64, id});
        const ErrorCode code = bad(std::move(m));
        CHECK((code == ErrorCode::bad_tokenizer || code == ErrorCode::bad_file));
    }
    GgufMetadata other("test");
    other.add("tokenizer.ggml.model", {GgufType::string, std::string("rwkv")});
    CHECK(bad(std::move(other)) == ErrorCode::unsupported);
}

TEST_CASE("G19 G20 numbers that are none, and templates that are never run", "[gguf]") {
    const std::string original = std::string(CAIRN_TEST_DATA) + "/models/qwen2.gguf";
    std::string file = read_text(original, 1 << 24);
    const GgufHeader header = parse_gguf(std::as_bytes(std::span(file)), original);
    const float nan = std::nanf("");
    std::memcpy(file.data() + header.tensors.at("blk.1.ffn_up.weight").begin + 40, &nan, 4);
    const std::string path =
        (std::filesystem::temp_directory_path() / "cairn_nan_test.gguf").string();
    std::ofstream(path, std::ios::binary)
        .write(file.data(), static_cast<std::streamsize>(file.size()));
    LoadOptions full;
    full.validate = Validate::full;
    for (const LoadOptions& options : {LoadOptions(), full}) {
        try {
            load_model(path, options);
            FAIL("accepted");
        } catch (const Error& error) {
            CHECK(error.code() == ErrorCode::non_finite);
            CHECK(std::string(error.what()).find("blk.1.ffn_up.weight") != std::string::npos);
        }
    }
    load_model(original, full);
    std::filesystem::remove(path);
}

TEST_CASE("tensors that a GGUF model would not read", "[gguf]") {
    const std::string original = std::string(CAIRN_TEST_DATA) + "/models/llama-mha.gguf";
    const std::string file = read_text(original, 1 << 24);
    const std::string path =
        (std::filesystem::temp_directory_path() / "cairn_unread_test.gguf").string();
    const auto load = [&](const std::string& bytes) {
        std::ofstream(path, std::ios::binary)
            .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        return load_model(path);
    };
    CHECK(load(file).unread.empty());
    std::string fewer = file;
    --fewer[file.find("llama.block_count") + 17 + 4];  // behind the key its type, then the number
    try {
        load(fewer);
        FAIL("accepted");
    } catch (const Error& error) {
        INFO(error.what());
        CHECK(error.code() == ErrorCode::bad_config);
        CHECK(std::string(error.what()).find("ffn_up.weight belongs to layer") !=
              std::string::npos);
    }
    // A name of the same length that nobody reads is missed and listed; here it is a needed one.
    std::string renamed = file;
    renamed.replace(file.find("blk.0.attn_norm.weight"), 22, "blk.0.attn_nrom.weight");
    CHECK(code_of([&] { load(renamed); }) == ErrorCode::bad_config);
    std::filesystem::remove(path);
}
