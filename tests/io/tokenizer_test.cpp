#include <ctime>

#include <cairn/io/gguf.hpp>
#include <cairn/io/io.hpp>
#include <cairn/io/tokenizer_gguf.hpp>
#include <cairn/io/tokenizer_json.hpp>

#include "support.hpp"
using namespace support;

namespace {

const std::string& shipped_text() {
    static const std::string text =
        read_text(std::string(CAIRN_MODELS) + "/shakespeare/tokenizer.json", 10000000);
    return text;
}
const Tokenizer& shipped() {
    static const Tokenizer tokenizer = Tokenizer::parse(shipped_text());
    return tokenizer;
}
// The shipped tokenizer with one member changed.
ErrorCode changed(const std::function<void(Json&)>& change) {
    Json json = Json::parse(shipped_text());
    change(json);
    return code_of(
        [&] { Tokenizer::parse(json.dump(-1, ' ', false, Json::error_handler_t::replace)); });
}
Json with(const std::function<void(Json&)>& change) {
    Json json = Json::parse(shipped_text());
    change(json);
    return json;
}

}  // namespace

TEST_CASE("any bytes survive encoding and decoding", "[tokenizer]") {
    const Tokenizer& t = shipped();
    Random random(1);
    for (int first = 0; first < 256; ++first) {
        std::string text(1, static_cast<char>(first));
        CHECK(t.decode(t.encode(text)) == text);
        text += static_cast<char>(random.below(256));
        CHECK(t.decode(t.encode(text)) == text);
    }
    for (int round = 0; round < 300; ++round) {
        std::string text;
        for (int n = draw(random, 0, 60); n > 0; --n)
            text += static_cast<char>(random.below(round % 2 == 0 ? 256 : 128));
        CHECK(t.decode(t.encode(text)) == text);
    }
    CHECK(t.encode("").empty());
    CHECK(t.size() == 1024);
    CHECK(code_of([&] { (void)t.bytes(1024); }) == ErrorCode::token_range);
    CHECK(code_of([&] { (void)t.bytes(-1); }) == ErrorCode::token_range);
}

TEST_CASE("special tokens are text unless asked for", "[tokenizer]") {
    const Tokenizer& t = shipped();
    const Token eot = t.id_of("<|endoftext|>");
    REQUIRE(eot == 0);
    CHECK(t.special(eot));
    const auto plain = t.encode("a<|endoftext|>b");
    CHECK(std::find(plain.begin(), plain.end(), eot) == plain.end());
    CHECK(t.decode(plain) == "a<|endoftext|>b");
    const auto special = t.encode("a<|endoftext|>b", SpecialTokens::recognised);
    CHECK(std::count(special.begin(), special.end(), eot) == 1);
    CHECK(t.decode(special) == "ab");
    CHECK(t.decode(special, SpecialTokens::recognised) == "a<|endoftext|>b");
    CHECK(t.id_of("nothing") == -1);
    CHECK(t.prefix().empty());
}

namespace {

// Processor seconds of this thread; the machine may be busy with other things.
double thread_seconds() {
    timespec now{};
    ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}
double seconds_to_encode(const Tokenizer& t, std::string_view text) {
    double best = 1e9;
    for (int i = 0; i < 2; ++i) {
        const double start = thread_seconds();
        CHECK_FALSE(t.encode(text).empty());
        best = std::min(best, thread_seconds() - start);
    }
    return best;
}
Tokenizer small_vocabulary(const std::string& name) {
    const std::string path = std::string(CAIRN_TEST_DATA) + "/tokenizers/" + name;
    const std::string bytes = read_text(path, std::size_t{1} << 30);
    if (path.ends_with(".json")) return Tokenizer::parse(bytes);
    return *gguf_tokenizer(parse_gguf(std::as_bytes(std::span(bytes)), path).metadata);
}

}  // namespace

TEST_CASE("long texts take linear time", "[tokenizer]") {
    const std::vector<Tokenizer> all{shipped(), small_vocabulary("smollm.gguf"),
                                     small_vocabulary("llama-bpe.json"),
                                     small_vocabulary("sentence.gguf")};
    const std::string english =
        "The quick brown fox, 1234 times, jumps over \"the lazy dog\"; it's what foxes do.\n";
    std::string letters;
    Random random(5);
    for (int i = 0; i < 4096; ++i) letters += static_cast<char>('a' + random.below(26));
    for (const std::string& unit :
         {english, std::string("a"), std::string(" "), std::string("7"), std::string("\n"),
          std::string("\n\n\t  \r\n"), std::string("\xFF\xFE"), std::string("\xCC\x81"),
          std::string(" a\xFF"), letters}) {
        std::string text;
        while (text.size() < 240000) text += unit;
        for (const Tokenizer& t : all) {
            const double part = seconds_to_encode(t, std::string_view(text).substr(0, 60000));
            const double full = seconds_to_encode(t, text);
            INFO(Json(unit.substr(0, 40)).dump(-1, ' ', true, Json::error_handler_t::replace)
                 << ": " << part << " and " << full << " seconds");
            // Four times the text: a quadratic pass would take sixteen times as long.
            CHECK(full < 9.0 * part + 1e-3);
            CHECK(full < 2.0);
        }
    }
}

TEST_CASE("a text of too many tokens is refused as soon as that is certain", "[tokenizer]") {
    for (const char* name : {"smollm.gguf", "llama-bpe.json", "sentence.gguf", "sentence.json"}) {
        INFO(name);
        const Tokenizer t = small_vocabulary(name);
        for (const std::string& text :
             {std::string("One two three, 456 times."), std::string(300, 'x'), std::string("a"),
              std::string("\xE4\xBD\xA0\xE5\xA5\xBD, \xFF!"), std::string()}) {
            const auto ids = t.encode(text);
            for (const SpecialTokens special :
                 {SpecialTokens::as_text, SpecialTokens::recognised}) {
                CHECK(t.encode(text, special, ids.size()) == ids);
                if (ids.empty()) continue;
                CHECK(code_of([&] { (void)t.encode(text, special, ids.size() - 1); }) ==
                      ErrorCode::capacity);
            }
        }
        // Each of these would take a while, and more memory than there is for some.
        std::string words;
        while (words.size() < (std::size_t{16} << 20)) words += "word after word ";
        const std::string letters(std::size_t{16} << 20, 'q');
        for (const std::string& text : {words, letters}) {
            const double start = thread_seconds();
            try {
                (void)t.encode(text, SpecialTokens::as_text, 1000);
                FAIL("accepted");
            } catch (const Error& error) {
                CHECK(std::string(error.what()).find("16777216 bytes has more than 1000 tokens") !=
                      std::string::npos);
            }
            CHECK(thread_seconds() - start < 1.0);
        }
    }
}

TEST_CASE("broken tokenizers are typed errors", "[tokenizer]") {
    for (const std::string& text :
         {std::string(), std::string("{"), std::string("[]"), std::string("null"),
          std::string(5000, '['), shipped_text().substr(0, 500)})
        CHECK(code_of([&] { Tokenizer::parse(text); }) == ErrorCode::bad_tokenizer);
    std::string repeated = shipped_text();
    repeated.replace(repeated.find("\"!\""), 3, "\"\\\"\"");  // "!" becomes a second "\""
    CHECK(code_of([&] { Tokenizer::parse(repeated); }) == ErrorCode::bad_tokenizer);
    for (const Json& id :
         {Json(-1), Json(1.5), Json(std::int64_t{1} << 32), Json("3"), Json(16777216), Json(4)})
        CHECK(changed([&](Json& j) { j["model"]["vocab"]["zz"] = id; }) ==
              ErrorCode::bad_tokenizer);
    CHECK(changed([](Json& j) { j["model"]["vocab"]["zz"] = 16000000; }) ==
          ErrorCode::bad_tokenizer);  // a gap
    CHECK(Tokenizer::parse(with([](Json& j) { j["model"]["vocab"]["zz"] = 1030; }).dump()).size() ==
          1031);
    CHECK(changed([](Json& j) { j["model"]["vocab"].erase("a"); }) == ErrorCode::bad_tokenizer);
    CHECK(changed([](Json& j) { j["model"].erase("vocab"); }) == ErrorCode::bad_tokenizer);
    CHECK(changed([](Json& j) { j.erase("model"); }) == ErrorCode::bad_tokenizer);
    for (const Json& merge : {Json("a"), Json("a b c"), Json("a zzz"), Json("zzz a"), Json(3),
                              Json({"a"}), Json({"a", "b", "c"}), Json("\u0120 \u0120 ")})
        CHECK(changed([&](Json& j) { j["model"]["merges"].push_back(merge); }) ==
              ErrorCode::bad_tokenizer);
    CHECK(changed([](Json& j) { j["model"]["unk_token"] = "<unk>"; }) == ErrorCode::bad_tokenizer);
    CHECK(changed([](Json& j) { j["added_tokens"].push_back({{"id", 2000}, {"content", ""}}); }) ==
          ErrorCode::bad_tokenizer);
    CHECK(changed([](Json& j) { j["added_tokens"].push_back({{"id", 5}, {"content", "<x>"}}); }) ==
          ErrorCode::bad_tokenizer);
    CHECK(changed([](Json& j) { j["truncation"] = {{"max_length", 0}}; }) ==
          ErrorCode::bad_tokenizer);
    CHECK(changed([](Json& j) { j["padding"] = {{"pad_id", -1}}; }) == ErrorCode::bad_tokenizer);
}

TEST_CASE("ids that each double the highest one do not make the table grow", "[tokenizer]") {
    // Five tokens: their ids would have asked for 16 million entries.
    CHECK(changed([](Json& j) {
              for (const int id : {1'000'000, 3'000'000, 7'000'000, 15'000'000, 16'777'215})
                  j["model"]["vocab"]["zz" + std::to_string(id)] = id;
          }) == ErrorCode::bad_tokenizer);
    Vocabulary vocabulary;
    vocabulary.set(200'000, "a", {});  // a hole as wide as in trimmed vocabularies
    CHECK(code_of([&] { vocabulary.set(400'000, "b", {}); }) == ErrorCode::bad_tokenizer);
    CHECK(vocabulary.bytes.size() == 200'001);
}

TEST_CASE("a tokenizer's limits name themselves", "[tokenizer]") {
    const auto said = [](const FileLimits& limits, std::string_view text) {
        try {
            Tokenizer::parse(text, limits).encode(std::string(60, 'a') + "b");
        } catch (const Error& error) {
            return std::string(error.what());
        }
        return std::string("nothing");
    };
    const std::string pattern =
        with([](Json& j) {
            j["pre_tokenizer"] = {
                {"type", "Sequence"},
                {"pretokenizers",
                 {{{"type", "Split"},
                   {"pattern", {{"Regex", "(a|aa)+$"}}},
                   {"behavior", "Isolated"}},
                  {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
        }).dump();
    FileLimits few;
    few.vocabulary = 100;
    CHECK_THAT(said(few, shipped_text()), has_text("FileLimits::vocabulary is 100"));
    FileLimits short_ones;
    short_ones.regex_bytes = 3;
    CHECK_THAT(said(short_ones, pattern), has_text("FileLimits::regex_bytes is 3"));
    FileLimits quick;
    quick.regex_steps = 1000;
    CHECK_THAT(said(quick, pattern), has_text("FileLimits::regex_steps is 1000"));
}

TEST_CASE("a tokenizer that was moved from says so", "[tokenizer]") {
    Tokenizer tokenizer = Tokenizer::parse(shipped_text());
    const Tokenizer other = std::move(tokenizer);
    CHECK(other.encode("a").size() == 1);
    CHECK(code_of([&] { (void)tokenizer.encode("a"); }) == ErrorCode::bad_state);
    CHECK(code_of([&] { (void)tokenizer.encode(""); }) == ErrorCode::bad_state);
    CHECK(code_of([&] { (void)tokenizer.decode({}); }) == ErrorCode::bad_state);
    CHECK(code_of([&] { (void)tokenizer.bytes(0); }) == ErrorCode::bad_state);
}

TEST_CASE("duplicate merges and pairs as lists are fine", "[tokenizer]") {
    const Json json = with([](Json& j) {
        Json pairs = Json::array();
        for (const auto& merge : j["model"]["merges"]) {
            if (!merge.is_string()) {
                pairs.push_back(merge);
                continue;
            }
            const auto text = merge.get<std::string>();
            pairs.push_back({text.substr(0, text.find(' ')), text.substr(text.find(' ') + 1)});
        }
        pairs.push_back(pairs.back());
        j["model"]["merges"] = pairs;
    });
    CHECK(Tokenizer::parse(json.dump()).encode("Romeo and Juliet") ==
          shipped().encode("Romeo and Juliet"));
}

TEST_CASE("parts that are not known are named, never skipped", "[tokenizer]") {
    CHECK(changed([](Json& j) { j["model"]["type"] = "WordLevel"; }) == ErrorCode::unsupported);
    CHECK(changed([](Json& j) { j["normalizer"] = {{"type", "Nmt"}}; }) == ErrorCode::unsupported);
    CHECK(changed([](Json& j) { j["pre_tokenizer"] = {{"type", "Metaspace"}}; }) ==
          ErrorCode::unsupported);
    CHECK(changed([](Json& j) { j["pre_tokenizer"] = nullptr; }) == ErrorCode::unsupported);
    CHECK(changed([](Json& j) { j["decoder"] = {{"type", "Fuse"}}; }) == ErrorCode::unsupported);
    CHECK(changed([](Json& j) { j["decoder"] = nullptr; }) == ErrorCode::unsupported);
    CHECK(changed([](Json& j) { j["post_processor"] = {{"type", "Roberta"}}; }) ==
          ErrorCode::unsupported);
    CHECK(changed([](Json& j) { j["added_tokens"][0]["single_word"] = true; }) ==
          ErrorCode::unsupported);
    CHECK(changed([](Json& j) { j["model"]["dropout"] = 0.1; }) == ErrorCode::unsupported);
}

TEST_CASE("hostile patterns end in an error, not in a hang", "[pre_tokenizer]") {
    const auto tokenizer = [](const std::string& pattern) {
        return Tokenizer::parse(
            with([&](Json& j) {
                j["pre_tokenizer"] = {
                    {"type", "Sequence"},
                    {"pretokenizers",
                     {{{"type", "Split"},
                       {"pattern", {{"Regex", pattern}}},
                       {"behavior", "Isolated"}},
                      {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}}}}};
            }).dump());
    };
    for (const std::string& bad :
         {std::string("("), std::string("[z-a]"), std::string(), std::string(70000, 'a')})
        CHECK(code_of([&] { tokenizer(bad); }) == ErrorCode::bad_tokenizer);
    const Tokenizer slow = tokenizer("(a+)+$");
    try {
        slow.encode(std::string(60, 'a') + "b");
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::limit);
    }
    const Tokenizer empty = tokenizer("(x*)*");
    CHECK(empty.decode(empty.encode("abc\xC3\xA9xxd")) == "abc\xC3\xA9xxd");
    const Tokenizer llama =
        tokenizer(R"((?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+|\s+)");
    CHECK(llama.decode(llama.encode("It's 12345 caf\xC3\xA9!")) == "It's 12345 caf\xC3\xA9!");
}

TEST_CASE("templates put their tokens around a text", "[tokenizer]") {
    const Json json = with([](Json& j) {
        j["post_processor"] = {
            {"type", "TemplateProcessing"},
            {"single",
             {{{"SpecialToken", {{"id", "<|endoftext|>"}, {"type_id", 0}}}},
              {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
            {"special_tokens",
             {{"<|endoftext|>",
               {{"id", "<|endoftext|>"}, {"ids", {0}}, {"tokens", {"<|endoftext|>"}}}}}}};
    });
    const Tokenizer t = Tokenizer::parse(json.dump());
    CHECK(t.prefix() == std::vector<Token>{0});
    CHECK(t.suffix().empty());
}

TEST_CASE("UTF-8 in pieces: whole characters, U+FFFD for the rest", "[utf8]") {
    CHECK(to_utf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80") ==
          "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
    const std::string r = "\xEF\xBF\xBD";
    CHECK(to_utf8("\xFF") == r);
    CHECK(to_utf8("\xC0\x80") == r + r);          // overlong
    CHECK(to_utf8("\xED\xA0\x80") == r + r + r);  // a surrogate
    CHECK(to_utf8("\xF4\x90\x80\x80") == r + r + r + r);
    CHECK(to_utf8("\xE2\x82") == r);  // cut: one maximal part
    CHECK(to_utf8("\xE2\x82z") == r + "z");
    CHECK(to_utf8("\xF0\x9F\x98\xC3\xA9") == r + "\xC3\xA9");
    Random random(2);
    for (int round = 0; round < 3000; ++round) {
        std::string bytes;
        for (int n = draw(random, 0, 12); n > 0; --n)
            bytes += static_cast<char>(random.below(4) == 0 ? random.below(256)
                                                            : 0x80 + random.below(0x75));
        Utf8Stream stream;
        std::string pieces;
        for (const char c : bytes) pieces += stream.feed({&c, 1});
        pieces += stream.finish();
        REQUIRE(pieces == to_utf8(bytes));
        REQUIRE(to_utf8(pieces) == pieces);
    }
}

TEST_CASE("a text stream shows whole characters and hides special tokens", "[text_stream]") {
    const Tokenizer& t = shipped();
    TextStream stream(t, {"END"});
    std::string text;
    for (const Token id : t.encode("caf\xC3\xA9 E")) text += stream.feed(id);
    text += stream.feed(0);
    CHECK(text == "caf\xC3\xA9 ");  // the E is held: END may follow
    for (const Token id : t.encode("ND more")) text += stream.feed(id);
    CHECK(stream.stopped());
    CHECK(text + stream.finish() == "caf\xC3\xA9 ");
}
