#include <cairn/io/tokenizer_json.hpp>

#include "support.hpp"
using namespace support;

namespace {

std::vector<std::string> pieces(const PreTokenizer& tokenizer, std::string_view text) {
    std::vector<std::string> result;
    tokenizer.split(text, [&](std::string_view piece) { result.emplace_back(piece); });
    return result;
}
Json split(const std::string& pattern) {
    return {{"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}};
}

}  // namespace

TEST_CASE("bytes that are no UTF-8 match nothing and stay", "[pre_tokenizer]") {
    const PreTokenizer words = PreTokenizer::named("gpt-2", {});
    using Pieces = std::vector<std::string>;
    CHECK(pieces(words, "").empty());
    CHECK(pieces(words, "one two") == Pieces{"one", " two"});
    CHECK(pieces(words, "one\xFF two") == Pieces{"one", "\xFF", " two"});
    CHECK(pieces(words, "\xFF\xFE\x80z") == Pieces{"\xFF\xFE\x80", "z"});
    CHECK(pieces(words, "a  \xC3") == Pieces{"a", "  ", "\xC3"});  // nothing to keep a space for
    CHECK(pieces(words, "a \xE2\x82 b") == Pieces{"a", " ", "\xE2\x82", " b"});
    // Only the text's own ends are ends of lines.
    const PreTokenizer ends(split("^a|b$"), {});
    CHECK(pieces(ends,
                 "ab\xFF"
                 "ab") == Pieces{"a",
                                 "b\xFF"
                                 "a",
                                 "b"});
}

TEST_CASE("patterns in machine code and interpreted ones cut alike", "[pre_tokenizer]") {
    Random random(41);
    const std::vector<std::string> parts{
        "a",           "It's", " ",  "  ",           "\n",           "\r\n\n",
        "12345",       "\t",   "!?", "\xFF",         "\xE2\x80\x83", "\xC3",
        "caf\xC3\xA9", "'",    "ll", "\xE4\xBD\xA0", "\xE1\xA0\x8E"};
    const std::string rest = R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
    const std::string words =
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})" + rest;
    for (const auto& [name, pattern] :
         {std::pair<std::string, std::string>{"gpt-2", PreTokenizer::gpt2_pattern()},
          {"llama-bpe", words}}) {
        const PreTokenizer own = PreTokenizer::named(name, {});
        const PreTokenizer foreign(split("(?:" + pattern + ")"), {});
        for (int round = 0; round < 2000; ++round) {
            std::string text;
            for (int n = draw(random, 0, 20); n > 0; --n) text += parts[random.below(parts.size())];
            REQUIRE(pieces(own, text) == pieces(foreign, text));
        }
    }
}

TEST_CASE("matches of nothing are passed over in one step", "[pre_tokenizer]") {
    const PreTokenizer none(split("(?=\\z)|(?=b)|x*"), {});
    const std::string text(200000, 'a');
    CHECK(pieces(none, text) == std::vector<std::string>{text});
    const PreTokenizer end(split("\\z"), {});
    CHECK(pieces(end, text + "\xFF") == std::vector<std::string>{text + "\xFF"});
}

TEST_CASE("a pre-tokenizer has a bounded number of steps", "[pre_tokenizer]") {
    Json inner = Json::array();
    for (int i = 0; i < 60; ++i) inner.push_back({{"type", "Digits"}});
    const Json sequence = {{"type", "Sequence"}, {"pretokenizers", inner}};
    CHECK(pieces(PreTokenizer(sequence, {}), "a1") == std::vector<std::string>{"a", "1"});
    const Json twice = {{"type", "Sequence"}, {"pretokenizers", {sequence, sequence}}};
    CHECK(code_of([&] { PreTokenizer(twice, {}); }) == ErrorCode::bad_tokenizer);
    // \C matches half a character.
    CHECK(code_of([&] { PreTokenizer(split("\\C"), {}); }) == ErrorCode::bad_tokenizer);
}

TEST_CASE("matches are kept, dropped or joined as a Split says", "[pre_tokenizer]") {
    const auto cut = [](const char* behaviour, bool invert) {
        Json json = split("-");
        json["behavior"] = behaviour;
        json["invert"] = invert;
        return pieces(PreTokenizer(json, {}), "-ab--c-");
    };
    // As Hugging Face tokenizers 0.23 cut this text.
    using Pieces = std::vector<std::string>;
    CHECK(cut("Isolated", false) == Pieces{"-", "ab", "-", "-", "c", "-"});
    CHECK(cut("Removed", false) == Pieces{"ab", "c"});
    CHECK(cut("Removed", true) == Pieces{"-", "-", "-", "-"});
    CHECK(cut("MergedWithPrevious", false) == Pieces{"-", "ab-", "-", "c-"});
    CHECK(cut("MergedWithNext", false) == Pieces{"-ab", "-", "-c", "-"});
    CHECK(cut("Contiguous", false) == Pieces{"-", "ab", "--", "c", "-"});
    CHECK(cut("MergedWithPrevious", true) == Pieces{"-ab", "-", "-c", "-"});
    CHECK(code_of([&] { cut("Doubled", false); }) == ErrorCode::unsupported);
    Json literal = split("");
    literal["pattern"] = {{"String", "a\\E."}};
    CHECK(pieces(PreTokenizer(literal, {}), "xa\\E.aE.") == Pieces{"x", "a\\E.", "aE."});
    const Json words = {{"type", "Whitespace"}};
    CHECK(pieces(PreTokenizer(words, {}), " it's  a_1\xC2\xA0!?") ==
          Pieces{"it", "'", "s", "a_1", "!?"});
    const Json bert = {{"type", "BertPreTokenizer"}};
    CHECK(pieces(PreTokenizer(bert, {}), " it's  $5!?") ==
          Pieces{"it", "'", "s", "$", "5", "!", "?"});
    const auto spaces = [](const char* scheme, bool cut_words) {
        return PreTokenizer(Json{{"type", "Metaspace"},
                                 {"replacement", "\u2581"},
                                 {"prepend_scheme", scheme},
                                 {"split", cut_words}},
                            {});
    };
    const std::string u = "\xE2\x96\x81";
    CHECK(pieces(spaces("always", true), "a  b") == Pieces{u + "a", u, u + "b"});
    CHECK(pieces(spaces("always", false), " a") == Pieces{u + "a"});
    CHECK(pieces(spaces("never", true), "a b") == Pieces{"a", u + "b"});
    CHECK(pieces(spaces("first", true), "a b") == Pieces{u + "a", u + "b"});
}

TEST_CASE("every pre-tokenizer that files can name is in one table", "[pre_tokenizer]") {
    for (const internal::NamedPreTokenizer& row : internal::named_pre_tokenizers) {
        const std::string name(row.names.substr(0, row.names.find(' ')));
        INFO(name);
        const PreTokenizer tokenizer = PreTokenizer::named(name, {});
        CHECK(tokenizer.gguf_name(row.whole_pieces) == name);
        // Long rows of anything take linear time and lose nothing.
        for (const char* unit : {" ", "a", "A", "1", "!", "\n", "\xE4\xBD\xA0", "\xCC\x81"}) {
            std::string text, whole;
            while (text.size() < 100000) text += unit;
            text += "x";
            for (const std::string& piece : pieces(tokenizer, text)) whole += piece;
            CHECK(whole == text);
        }
    }
    CHECK(code_of([] { PreTokenizer::named("nobody", {}); }) == ErrorCode::unsupported);
    CHECK(code_of([] { PreTokenizer::named("", {}); }) == ErrorCode::unsupported);
}

TEST_CASE("rows of white space longer than a hostile pattern's steps are cut all the same",
          "[pre_tokenizer]") {
    FileLimits limits;
    limits.regex_steps = 1000;
    const std::string text = std::string(5000, ' ') + "a" + std::string(5000, '\n') + "b";
    for (const char* name : {"gpt-2", "smollm", "llama-bpe", "qwen2", "default"}) {
        INFO(name);
        std::string whole;
        for (const std::string& piece : pieces(PreTokenizer::named(name, limits), text))
            whole += piece;
        CHECK(whole == text);
    }
    CHECK(code_of([&] {
              pieces(PreTokenizer(split("(a|aa)+$"), limits), std::string(50, 'a') + "b");
          }) == ErrorCode::limit);
}
