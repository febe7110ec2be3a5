// Chat formats against what the models' own templates write (make_chats.py).
#include <cairn/io/chat_format.hpp>
#include <cairn/io/tokenizer_gguf.hpp>

#include "support.hpp"
using namespace support;

namespace {

// A vocabulary of bytes and the given markers.
Tokenizer chat_vocabulary(const Json& markers) {
    Vocabulary v;
    v.kind = Vocabulary::Kind::bytes;
    for (int b = 0; b < 256; ++b) {
        v.byte_ids[static_cast<std::size_t>(b)] = b;
        v.set(b, std::string(1, static_cast<char>(b)), {});
    }
    for (const Json& marker : markers) {
        const auto id = static_cast<Token>(v.bytes.size());
        v.set(id, marker.get<std::string>(), {});
        v.added.push_back({marker.get<std::string>(), id, true});
    }
    return Tokenizer(std::move(v));
}

// A conversation turn by turn, as a session is fed.
std::vector<Token> conversation_fed(const ChatFormat& format, const Tokenizer& t,
                                    const Json& conversation) {
    std::vector<Token> ids;
    const auto add = [&](const std::vector<Token>& more) {
        ids.insert(ids.end(), more.begin(), more.end());
    };
    const auto system = conversation["system"].get<std::string>();
    const Json& texts = conversation["texts"];
    for (std::size_t i = 0; i < texts.size(); ++i) {
        const auto text = texts[i].get<std::string>();
        const bool last = i + 1 == texts.size();
        if (i % 2 == 0)
            add((last ? format : format.retold())
                    .turn(t, i == 0 ? ChatTurn::first : ChatTurn::later, system, text));
        else
            add(format.answer(t, text)), add(format.close(t));
    }
    return ids;
}

}  // namespace

TEST_CASE("conversations are written as the models' own templates write them", "[golden][chat]") {
    const Json golden =
        Json::parse(read_text(std::string(CAIRN_TEST_DATA) + "/chats.json", 10000000));
    std::vector<std::string> compared;
    for (const Json& entry : golden) {
        INFO(entry["template"].get<std::string>());
        std::string says;
        for (const Json& word : entry["says"]) says += word.get<std::string>() + "\n";
        const ChatFormat found = ChatFormat::recognise(says);
        REQUIRE(found.name() == entry["format"].get<std::string>());
        compared.emplace_back(found.name());
        const Tokenizer t = chat_vocabulary(entry["markers"]);
        for (const Json& conversation : entry["conversations"]) {
            const ChatFormat format =
                found.dated({2026, 3, 7})
                    .with(conversation["thinking"].get<bool>() ? ChatThinking::as_trained
                                                               : ChatThinking::skipped);
            const std::vector<Token> ids = conversation_fed(format, t, conversation);
            INFO(conversation["text"].dump());
            CHECK(Json(t.decode(ids, SpecialTokens::recognised)).dump() ==
                  conversation["text"].dump());
            int markers = 0;
            for (const Token id : ids) markers += id >= 256;
            CHECK(markers == conversation["markers"].get<int>());
        }
    }
    for (const std::string_view name : ChatFormat::names)
        CHECK(std::count(compared.begin(), compared.end(), name) > 0);
}
