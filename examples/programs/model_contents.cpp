#include "model_contents.hpp"

#include <sstream>

namespace programs {

namespace {

std::string shown(const cairn::GgufValue& value) {
    std::ostringstream text;
    if (const auto* array = std::get_if<cairn::GgufArray>(&value.value)) {
        text << array->size() << " x "
             << cairn::gguf_type_names[static_cast<std::size_t>(array->type)];
    } else if (const auto* s = std::get_if<std::string>(&value.value)) {
        text << one_line(*s).substr(0, 70) << (s->size() > 70 ? "..." : "");
    } else if (const auto* x = std::get_if<double>(&value.value)) {
        text << *x;
    } else if (const auto* b = std::get_if<bool>(&value.value)) {
        text << (*b ? "true" : "false");
    } else {
        text << std::get<std::int64_t>(value.value);
    }
    return text.str();
}

}  // namespace

Contents read_contents(const std::string& path) {
    std::error_code error;
    if (!std::filesystem::is_directory(path, error)) {
        require(cairn::name_exists(path), ErrorCode::io, path, ": no such file or folder");
        const cairn::GgufSource source(path);
        const cairn::ModelRecipe recipe = cairn::read_gguf_recipe(source.metadata(), source);
        Contents result{"GGUF", recipe.shape, {}, {}, source.file_bytes(), {}, {}};
        result.unread = recipe.tensors.check(source, cairn::ModelFormat::gguf).unread();
        cairn::known_end_of_text(cairn::gguf_end_of_text(source.metadata(), std::nullopt),
                                 recipe.shape.vocabulary, result.notes);
        for (const auto& [name, tensor] : source.tensors())
            result.tensors.push_back({name, std::string(cairn::block_size(tensor->type).name),
                                      tensor->shape, tensor->bytes});
        for (const auto& [key, value] : source.metadata().values())
            result.metadata.emplace_back(key, shown(value));
        return result;
    }
    const std::filesystem::path folder(path);
    const std::string config = (folder / "config.json").string();
    const std::string text = cairn::read_json_file(config);
    const cairn::SafetensorsSource source(folder);
    cairn::HfConfig read = cairn::parse_hf_config(text, config, {}, source);
    Contents result{"safetensors", read.recipe.shape, {}, {}, 0, {}, std::move(read.notes)};
    result.unread = read.recipe.tensors.check(source, cairn::ModelFormat::hugging_face).unread();
    for (const auto& [name, tensor] : source.tensors()) {
        result.tensors.push_back({name, tensor->dtype, tensor->shape, tensor->end - tensor->begin});
        result.file_bytes += tensor->end - tensor->begin;
    }
    return result;
}

}  // namespace programs
