// Calibrations of KVQuant: files as they are, and with the sum that belongs to their bytes, so that
// what is behind it is looked at too.
#include <cairn/cache/codec/kvquant_tables.hpp>

#include "fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const auto read = [](std::span<const std::byte> file) {
        const auto tables = cairn::KvQuantTables::parse(file);
        if (tables.bytes() != std::vector<std::byte>(file.begin(), file.end())) std::abort();
        const auto& shape = tables.shape();
        for (int layer = 0; layer < shape.layers; ++layer)
            for (int bits = 2; bits <= 4; ++bits)
                if (tables.levels(layer, bits, true).size() != std::size_t{1} << bits ||
                    tables.low(layer).size() != shape.channels())
                    std::abort();
    };
    fuzz(data, size, [&](std::string_view text) { read(std::as_bytes(std::span(text))); });
    return fuzz(data, size, [&](std::string_view text) {
        std::vector<std::byte> file(text.size());
        if (!text.empty()) std::memcpy(file.data(), text.data(), text.size());
        if (file.size() >= 8) {
            cairn::Fingerprint print;
            print.add(file.data(), file.size() - 8);
            const std::uint64_t sum = print.value();
            std::memcpy(file.data() + file.size() - 8, &sum, 8);
        }
        read(file);
    });
}
