#include <cairn/io/hf_config.hpp>

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz(data, size, [](std::string_view text) {
        const auto config = cairn::parse_hf_config(text, "fuzz");
        check_possible(config.recipe);
        for (const cairn::Token id : config.end_of_text)
            if (id < 0 || id >= config.vocabulary()) std::abort();
    });
}
