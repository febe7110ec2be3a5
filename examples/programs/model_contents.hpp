// What a model file says about itself, without loading its weights.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <cairn/io/gguf_config.hpp>
#include <cairn/io/gguf_end_of_text.hpp>
#include <cairn/io/hf_config.hpp>
#include <cairn/io/safetensors_source.hpp>

#include "support.hpp"

namespace programs {

struct Entry {
    std::string name;
    std::string type;
    std::vector<std::size_t> shape;
    std::size_t bytes;
};
struct Contents {
    std::string format;
    cairn::ModelShape shape;
    std::vector<Entry> tensors;
    std::vector<std::pair<std::string, std::string>> metadata;
    std::size_t file_bytes = 0;
    std::vector<std::string> unread;  // names of tensors that the model does not use
    std::vector<std::string> notes;   // what of the files is ignored
};

/// Without loading weights. Throws Error{io, bad_file, unsupported}.
Contents read_contents(const std::string& path);

}  // namespace programs
