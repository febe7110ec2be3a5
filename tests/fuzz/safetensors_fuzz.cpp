// The first two bytes choose the size of the data section, the rest is the header.
#include <cairn/io/safetensors.hpp>

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz(data, size, [](std::string_view text) {
        if (text.size() < 2) return;
        const std::size_t bytes =
            static_cast<unsigned char>(text[0]) + 256U * static_cast<unsigned char>(text[1]);
        const auto header = cairn::parse_safetensors_header(text.substr(2), bytes, "fuzz");
        std::size_t sum = 0;
        for (const auto& [name, entry] : header) sum += entry.end - entry.begin;
        if (sum != bytes) std::abort();
    });
}
