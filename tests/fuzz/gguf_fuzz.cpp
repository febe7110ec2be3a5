// GGUF containers and the tokenizer in their metadata, with a mutator that keeps files mostly
// valid: half of the mutations change one field of a parsed file's kind at a known place, the rest
// are the fuzzer's own.
#include <algorithm>
#include <cstring>
#include <string>

#include <cairn/io/gguf.hpp>
#include <cairn/io/tokenizer_gguf.hpp>

#include "fuzz.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz(data, size, [](std::string_view text) {
        const auto header = cairn::parse_gguf(std::as_bytes(std::span(text)), "fuzz");
        for (const auto& [name, tensor] : header.tensors)
            if (tensor.begin > text.size() || tensor.bytes > text.size() - tensor.begin)
                std::abort();
        cairn::FileLimits limits;
        limits.vocabulary = 4096;
        const auto tokenizer = cairn::gguf_tokenizer(header.metadata, limits);
        if (!tokenizer) return;
        for (const cairn::Token id : tokenizer->encode("Hello, w\xC3\xB6rld 123\n\xFF"))
            (void)tokenizer->bytes(id);
    });
}

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
    if (size < 32 || seed % 2 == 0) return LLVMFuzzerMutate(data, size, most);
    const std::uint64_t interesting[] = {
        0,   1,     2,        7,          13,         31,         32,    33,
        255, 65535, 1U << 20, 1ULL << 31, 1ULL << 32, 1ULL << 62, ~0ULL, ~0ULL - 1};
    const std::uint64_t value = interesting[(seed >> 1) % 16];
    const std::size_t width = (seed >> 5) % 3 == 0 ? 8 : (seed >> 5) % 3 == 1 ? 4 : 1;
    const std::size_t at = (seed >> 8) % (size - width);
    std::memcpy(data + at, &value, width);
    return size;
}
