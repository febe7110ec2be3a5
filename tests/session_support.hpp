// A small Llama, sessions of it over a cache SPEC, and a folder that goes away.
#pragma once

#include <unistd.h>

#include <filesystem>
#include <string>

#include "support.hpp"

namespace support {

struct Folder {
    std::filesystem::path path;
    explicit Folder(const std::string& ending = {})
        : path(std::filesystem::temp_directory_path() /
               ("cairn-test-" + std::to_string(::getpid()) + ending)) {
        std::filesystem::create_directories(path);
    }
    ~Folder() { std::filesystem::remove_all(path); }
    std::string file(const char* name) const { return (path / name).string(); }
    int files() const {
        return static_cast<int>(std::distance(std::filesystem::directory_iterator(path), {}));
    }
};

using TinyLlama = LlamaLike<RotaryHalf>;
using AnySession = Session<TinyLlama, AnyCache>;

inline TinyLlama tiny_llama() {
    Random random(3);
    LlamaShape shape;
    shape.layers = 2;
    shape.layout = {4, 2, 16, 16};
    shape.context = 400;
    return random_llama<RotaryHalf>(random, shape);
}
/// Smaller still, of `words` tokens, for scripts of many steps.
inline TinyLlama small_llama(int words, int context, std::uint64_t seed = 3) {
    Random random(seed);
    LlamaShape shape;
    shape.layout = {4, 2, 16, 16};
    shape.width = 16;
    shape.hidden = 16;
    shape.vocabulary = words;
    shape.context = context;
    return random_llama<RotaryHalf>(random, shape);
}
inline AnySession session_of(const TinyLlama& model, const CacheSpec& spec, int capacity,
                             Executor& executor = Serial::instance()) {
    return AnySession(model, capacity, executor,
                      [&](int layer, const HeadLayout& layout, int rows) {
                          return spec.make(layout, rows, layer);
                      });
}

}  // namespace support
