// Tensors of a model folder: two bytes say how long config.json is, behind it stands one
// model.safetensors. What is accepted is read whole, as numbers and as it is stored.
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <cairn/io/folder_tensors.hpp>

#include "fuzz.hpp"

namespace {

void write(const std::filesystem::path& to, std::string_view text) {
    std::ofstream(to, std::ios::binary)
        .write(text.data(), static_cast<std::streamsize>(text.size()));
}
void read_all(const cairn::TensorSource& tensors) {
    for (const std::string& name : tensors.names()) {
        std::size_t count = 1;
        for (const std::size_t n : *tensors.shape(name)) count *= n;  // no more than the file holds
        std::vector<float> numbers(count);
        try {
            tensors.read(name, 0, numbers);
        } catch (const cairn::Error& error) {  // a scale that is none, a type that no weight has
            if (error.code() != cairn::ErrorCode::non_finite &&
                error.code() != cairn::ErrorCode::unsupported)
                throw;
            continue;
        }
        std::vector<std::byte> stored(cairn::block_size(tensors.type(name)).size_of(count));
        tensors.read_stored(name, 0, stored);
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    static const std::filesystem::path folder = [] {
        std::filesystem::path path = std::filesystem::exists("/dev/shm") ? "/dev/shm" : "/tmp";
        path /= "cairn-fuzz-folder-" + std::to_string(getpid());
        std::filesystem::create_directories(path);
        return path;
    }();
    static const auto at_exit = std::atexit([] {
        std::error_code ignored;
        std::filesystem::remove_all(folder, ignored);
    });
    (void)at_exit;
    return fuzz(data, size, [](std::string_view text) {
        if (text.size() < 2) return;
        const std::size_t config =
            static_cast<unsigned char>(text[0]) + 256U * static_cast<unsigned char>(text[1]);
        text.remove_prefix(2);
        if (config > text.size()) return;
        write(folder / "config.json", text.substr(0, config));
        write(folder / "model.safetensors", text.substr(config));
        read_all(cairn::FolderTensors(folder));
    });
}
