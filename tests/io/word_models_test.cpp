// Unigram and WordPiece against naive searches, and what hostile files make of them.
#include <cairn/io/tokenizer_json.hpp>

#include "support.hpp"
using namespace support;

namespace {

Json scored_words(const std::vector<std::pair<std::string, double>>& tokens) {
    Json result = Json::array();
    for (const auto& [name, score] : tokens) result.push_back(Json::array({name, score}));
    return result;
}
Json word_file(const char* type, const Json& vocab) {
    Json json = {{"model", {{"type", type}, {"vocab", vocab}}}};
    if (std::string(type) == "Unigram") json["model"]["unk_id"] = 0;
    return json;
}
ErrorCode words_refused(const Json& json, const FileLimits& limits = {}) {
    return code_of([&] { (void)Tokenizer::parse(json.dump(), limits).encode("ab c"); });
}
// The best score of any row of tokens, and the rows with it, by trying all.
void best_rows(const Json& vocab, std::string_view text, std::vector<Token>& row, double score,
               double& best, std::vector<std::vector<Token>>& rows) {
    if (text.empty()) {
        if (score > best) rows.clear();
        if (score >= best) rows.push_back(row);
        best = std::max(best, score);
        return;
    }
    for (std::size_t id = 1; id < vocab.size(); ++id) {
        const auto name = vocab[id][0].get<std::string>();
        if (!text.starts_with(name)) continue;
        row.push_back(static_cast<Token>(id));
        best_rows(vocab, text.substr(name.size()), row, score + vocab[id][1].get<double>(), best,
                  rows);
        row.pop_back();
    }
}

}  // namespace

TEST_CASE("Unigram finds a best row of tokens", "[word_models]") {
    Random random(3);
    for (int round = 0; round < 200; ++round) {
        Json vocab = scored_words({{"<unk>", 0.0}});
        for (const char* letter : {"a", "b", "c"})
            vocab.push_back(Json::array({letter, -1.0 * draw(random, 1, 6)}));
        for (int n = draw(random, 0, 6); n > 0; --n) {
            std::string name;
            for (int k = draw(random, 2, 4); k > 0; --k)
                name += static_cast<char>('a' + random.below(3));
            vocab.push_back(Json::array({name, -1.0 * draw(random, 1, 9)}));
        }
        const Tokenizer tokenizer = Tokenizer::parse(word_file("Unigram", vocab).dump());
        std::string text;
        for (int k = draw(random, 1, 9); k > 0; --k)
            text += static_cast<char>('a' + random.below(3));
        // Of tokens with the same text the later one counts.
        Json last = vocab;
        for (std::size_t i = 0; i < last.size(); ++i)
            for (std::size_t k = i + 1; k < last.size(); ++k)
                if (last[k][0] == last[i][0]) last[i][0] = "-";
        std::vector<Token> row;
        std::vector<std::vector<Token>> rows;
        double best = -1e9;
        best_rows(last, text, row, 0.0, best, rows);
        INFO(vocab.dump() << " " << text);
        CHECK(std::count(rows.begin(), rows.end(), tokenizer.encode(text)) == 1);
    }
}

TEST_CASE("unknown characters are one token, or their bytes'", "[word_models]") {
    Json json = word_file("Unigram", scored_words({{"<unk>", 0.0}, {"a", -1.0}, {"ab", -1.5}}));
    CHECK(Tokenizer::parse(json.dump())
              .encode("abxyz\xFF"
                      "a") == std::vector<Token>{2, 0, 1});
    for (int b = 0; b < 256; ++b) {
        char name[8];
        std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(b));
        json["model"]["vocab"].push_back(Json::array({name, -30.0}));
    }
    json["model"]["byte_fallback"] = true;
    const Tokenizer tokenizer = Tokenizer::parse(json.dump());
    CHECK(tokenizer.encode("ab\xC3\xA9") == std::vector<Token>{2, 3 + 0xC3, 3 + 0xA9});
    CHECK(tokenizer.decode(tokenizer.encode("ab\xC3\xA9\xFF")) == "ab\xC3\xA9\xFF");
}

TEST_CASE("WordPiece takes the longest token, or none for the word", "[word_models]") {
    Json json = word_file(
        "WordPiece", {{"[UNK]", 0}, {"un", 1}, {"##aff", 2}, {"##able", 3}, {"##a", 4}, {"u", 5}});
    json["model"]["max_input_chars_per_word"] = 9;
    json["pre_tokenizer"] = {{"type", "BertPreTokenizer"}};
    const Tokenizer tokenizer = Tokenizer::parse(json.dump());
    CHECK(tokenizer.encode("unaffable u  una") == std::vector<Token>{1, 2, 3, 5, 1, 4});
    CHECK(tokenizer.encode("unaffx") == std::vector<Token>{0});
    CHECK(tokenizer.encode("unaffablea") == std::vector<Token>{0});  // ten characters
    CHECK(tokenizer.encode("aff") == std::vector<Token>{0});         // only inside of a word
    CHECK(tokenizer.decode(tokenizer.encode("unaffable u")) == "unaffable u");
}

TEST_CASE("nobody writes a special token by its name", "[word_models]") {
    Json json = word_file("Unigram",
                          scored_words({{"<unk>", -3.0}, {"</s>", 0.0}, {"s", -1.0}, {"<", -1.0}}));
    json["added_tokens"] = {{{"id", 1}, {"content", "</s>"}, {"special", true}}};
    const Tokenizer tokenizer = Tokenizer::parse(json.dump());
    CHECK(tokenizer.encode("</s>") == std::vector<Token>{3, 0, 2, 0});
    CHECK(tokenizer.encode("</s>", SpecialTokens::recognised) == std::vector<Token>{1});
}

TEST_CASE("added tokens may take the white space beside them", "[word_models]") {
    Json json = word_file(
        "WordPiece",
        {{"[UNK]", 0}, {" ", 1}, {"a", 2}, {"##a", 3}, {"## ", 4}, {"<l>", 5}, {"<r>", 6}});
    json["added_tokens"] = {{{"id", 5}, {"content", "<l>"}, {"special", true}, {"lstrip", true}},
                            {{"id", 6}, {"content", "<r>"}, {"special", true}, {"rstrip", true}}};
    const Tokenizer tokenizer = Tokenizer::parse(json.dump());
    const auto ids = [&](const char* text) {
        return tokenizer.encode(text, SpecialTokens::recognised);
    };
    CHECK(ids("a \n<l> a") == std::vector<Token>{2, 5, 1, 3});
    CHECK(ids("a <r> \n a") == std::vector<Token>{2, 4, 6, 2});
    CHECK(ids("<r>  <l>") == std::vector<Token>{6, 5});
    CHECK(tokenizer.strips_after(6));
    CHECK_FALSE(tokenizer.strips_after(5));
}

TEST_CASE("hostile vocabularies of words are typed errors", "[word_models]") {
    const Json good = scored_words({{"<unk>", 0.0}, {"a", -1.0}});
    for (const Json& entry :
         {Json("a"), Json::array({"b"}), Json::array({"b", "c"}), Json::array({"", -1.0}),
          Json::array({1, -1.0}), Json::array({"b", -1.0, 2})}) {
        Json vocab = good;
        vocab.push_back(entry);
        CHECK(words_refused(word_file("Unigram", vocab)) == ErrorCode::bad_tokenizer);
    }
    CHECK(words_refused(word_file("Unigram", Json::array())) == ErrorCode::bad_tokenizer);
    CHECK(words_refused(word_file("Unigram", {{"a", 1}})) == ErrorCode::bad_tokenizer);
    for (const Json& unknown : {Json(2), Json(-1), Json(nullptr), Json("a")}) {
        Json json = word_file("Unigram", good);
        json["model"]["unk_id"] = unknown;
        CHECK(words_refused(json) == ErrorCode::bad_tokenizer);
    }
    CHECK(words_refused(word_file("WordPiece", {{"a", 0}})) == ErrorCode::bad_tokenizer);
    CHECK(words_refused(word_file("WordPiece", {{"[UNK]", 0}, {"a", 0}})) ==
          ErrorCode::bad_tokenizer);
    FileLimits limits;
    limits.token_bytes = 3;
    CHECK(words_refused(word_file("WordPiece", {{"[UNK]", 0}}), limits) ==
          ErrorCode::bad_tokenizer);
    CHECK(words_refused(word_file("Unigram", scored_words({{"<unk>", 0}})), limits) ==
          ErrorCode::bad_tokenizer);
}

TEST_CASE("a map of characters from a file is looked into with care", "[word_models]") {
    const auto with_map = [](const std::string& map) {
        Json json = word_file("Unigram", scored_words({{"<unk>", 0.0}, {"a", -1.0}}));
        json["normalizer"] = {{"type", "Precompiled"}, {"precompiled_charsmap", map}};
        return words_refused(json);
    };
    CHECK(with_map("") == ErrorCode::bad_tokenizer);
    CHECK(with_map("!!!!") == ErrorCode::bad_tokenizer);
    CHECK(with_map("AAAAAAAAAAA=") == ErrorCode::bad_tokenizer);  // a trie of no units
    CHECK(with_map("/////wAAAAA=") == ErrorCode::bad_tokenizer);  // larger than the file
    // Random units lead anywhere: texts come out wrong, in time, and nothing else happens.
    Random random(9);
    for (int round = 0; round < 300; ++round) {
        std::string bytes{'\x40', '\0', '\0', '\0'};
        for (int i = 0; i < 96; ++i)
            bytes += static_cast<char>(random.below(round % 2 == 0 ? 256 : 4));
        const internal::CharsMap map(bytes);
        const std::string text = "ab\xC3\xA9 e\xCC\x81\xFF" + std::string(64, 'a');
        for (const bool longest : {false, true}) try {
                CHECK((longest ? map.by_longest(text) : map.by_clusters(text)).size() <=
                      64 * text.size() + 64);
            } catch (const Error& error) {
                CHECK(error.code() == ErrorCode::limit);
            }
    }
}

TEST_CASE("words without an end take linear time", "[word_models]") {
    const Json vocab = scored_words({{"<unk>", 0.0}, {"a", -1.0}, {std::string(1000, 'a'), -2.0}});
    const Tokenizer unigram = Tokenizer::parse(word_file("Unigram", vocab).dump());
    CHECK(unigram.encode(std::string(100000, 'a')).size() == 100);
    Json pieces = word_file("WordPiece", {{"[UNK]", 0}, {"a", 1}, {"##a", 2}});
    pieces["model"]["max_input_chars_per_word"] = 1 << 30;
    CHECK(Tokenizer::parse(pieces.dump()).encode(std::string(300000, 'a')).size() == 300000);
    CHECK(code_of([&] {
              (void)unigram.encode(std::string(10000000, 'b'), SpecialTokens::as_text, 10);
          }) == ErrorCode::capacity);
}

TEST_CASE("steps of normalizers, letter by letter", "[word_models]") {
    const auto by = [](const Json& step, std::string_view text) {
        return Normalizer(step, {}).apply(text);
    };
    CHECK(by({{"type", "NFKC"}}, "\xEF\xAC\x81 \xC2\xBD\xFF") ==
          "fi 1\xE2\x81\x84"
          "2\xFF");
    CHECK(by({{"type", "NFD"}}, "\xC3\xA9") == "e\xCC\x81");
    CHECK(by({{"type", "Lowercase"}}, "A\xC3\x89\xC4\xB0\xFFZ") == "a\xC3\xA9i\xCC\x87\xFFz");
    CHECK(by({{"type", "StripAccents"}}, "e\xCC\x81") == "e");
    CHECK(by({{"type", "Strip"}}, " \xC2\xA0 a \n") == "a");
    CHECK(by({{"type", "Strip"}, {"strip_left", false}}, " a ") == " a");
    CHECK(by({{"type", "BertNormalizer"}},
             "\xC3\x89\t\xE4\xBD\xA0\xE2\x80\x8B"
             "b") == "e  \xE4\xBD\xA0 b");
    CHECK(by({{"type", "BertNormalizer"}, {"lowercase", false}}, "\xC3\x89") == "\xC3\x89");
    CHECK(by({{"type", "Replace"}, {"pattern", {{"Regex", " {2,}"}}}, {"content", "_"}},
             "a  b   c d") == "a_b_c d");
    CHECK(code_of([&] {
              by({{"type", "Replace"},
                  {"pattern", {{"Regex", "a"}}},
                  {"content", std::string(999, 'b')}},
                 std::string(1000, 'a'));
          }) == ErrorCode::limit);
}
