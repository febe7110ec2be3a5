// Loads a tokenizer, and encodes with whatever loads: decoding must give the same bytes back.
#include <cairn/io/tokenizer_json.hpp>

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz(data, size, [](std::string_view text) {
        cairn::FileLimits limits;
        limits.regex_steps = 20000;
        const auto tokenizer = cairn::Tokenizer::parse(text, limits);
        for (const std::string_view sample :
             {std::string_view("Hello, it's 12 o'clock\n\n  \xF0\x9F\x98\x80 \xFF"),
              text.substr(0, 200)})
            tokenizer.decode(tokenizer.encode(sample, cairn::SpecialTokens::recognised),
                             cairn::SpecialTokens::recognised);
    });
}
