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

namespace {

// The tensors of a header without their numbers.
class Shapes final : public cairn::TensorSource {
  public:
    explicit Shapes(const cairn::GgufHeader& header) : header_(header) {}
    const std::vector<std::size_t>* shape(std::string_view name) const override {
        const auto at = header_.tensors.find(std::string(name));
        return at == header_.tensors.end() ? nullptr : &at->second.shape;
    }
    cairn::ElementType type(std::string_view) const override { return cairn::ElementType::f32; }
    void read(std::string_view, std::size_t, std::span<float>) const override {}
    void read_stored(std::string_view, std::size_t, std::span<std::byte>) const override {}

  private:
    const cairn::GgufHeader& header_;
};

}  // namespace

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    return fuzz(data, size, [&](std::string_view text) {
        const auto header = cairn::parse_gguf(std::as_bytes(std::span(text)), "fuzz");
        for (const auto& [name, tensor] : header.tensors)
            if (tensor.begin > text.size() || tensor.bytes > text.size() - tensor.begin)
                std::abort();
        // By itself: the tokenizer does not need what it may refuse.
        fuzz(data, size, [&](std::string_view) {
            check_possible(cairn::read_gguf_recipe(header.metadata, Shapes(header)));
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
