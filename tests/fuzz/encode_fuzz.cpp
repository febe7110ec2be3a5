// Any bytes through the shipped tokenizer come back as they were, whole or as a stream.
#include <cairn/io/file.hpp>
#include <cairn/io/text_stream.hpp>
#include <cairn/io/tokenizer_json.hpp>

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const auto tokenizer =
        cairn::Tokenizer::parse(cairn::read_text(std::getenv("CAIRN_FUZZ_TOKENIZER"), 10000000));
    return fuzz(data, size, [](std::string_view text) {
        const auto ids = tokenizer.encode(text);
        if (tokenizer.decode(ids) != text) std::abort();
        cairn::TextStream stream(tokenizer);
        std::string shown;
        for (const cairn::Token id : ids) shown += stream.feed(id);
        if (shown + stream.finish() != cairn::to_utf8(text)) std::abort();
    });
}
