// GGUF containers, and the model's numbers and the tokenizer in their metadata. Most mutations
// change one field or one entry and keep the file mostly valid (gguf_fields.hpp); the rest are the
// fuzzer's own.
#include <algorithm>
#include <cstring>
#include <string>

#include <cairn/io/gguf.hpp>
#include <cairn/io/gguf_config.hpp>
#include <cairn/io/tokenizer_gguf.hpp>

#include "fuzz.hpp"
#include "gguf_fields.hpp"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz(data, size, [&](std::string_view text) {
        const auto header = cairn::parse_gguf(std::as_bytes(std::span(text)), "fuzz");
        for (const auto& [name, tensor] : header.tensors)
            if (tensor.begin > text.size() || tensor.bytes > text.size() - tensor.begin)
                std::abort();
        const auto embedding = header.tensors.find("token_embd.weight");
        // By itself: the tokenizer does not need what it may refuse.
        fuzz(data, size, [&](std::string_view) {
            check_possible(cairn::gguf_config(
                header.metadata,
                embedding == header.tensors.end() ? nullptr : &embedding->second.shape,
                !header.tensors.contains("output.weight")));
        });
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
    if (size < 32 || seed % 4 == 0) return LLVMFuzzerMutate(data, size, most);
    const std::string changed =
        changed_gguf(std::string(reinterpret_cast<const char*>(data), size), seed);
    if (changed.size() > most) return LLVMFuzzerMutate(data, size, most);
    std::memcpy(data, changed.data(), changed.size());
    return changed.size();
}
