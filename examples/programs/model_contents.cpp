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
        Contents result{"GGUF", cairn::gguf_config(source), {}, {}, source.file_bytes(), {}, {}};
        result.unread = cairn::unread_tensors(result.config, source);
        cairn::detail::known_end_of_text(cairn::gguf_end_of_text(source.metadata(), std::nullopt),
                                         cairn::vocabulary_of(result.config), result.notes);
        for (const auto& [name, tensor] : source.tensors())
            result.tensors.push_back({name, std::string(cairn::block_size(tensor->type).name),
                                      tensor->shape, tensor->bytes});
        for (const auto& [key, value] : source.metadata().values())
            result.metadata.emplace_back(key, shown(value));
        return result;
    }
    const std::filesystem::path folder(path);
    const std::string config = (folder / "config.json").string();
    cairn::HfConfig read = cairn::parse_hf_config(cairn::read_json_file(config), config);
    Contents result{"safetensors", std::move(read.model), {}, {}, 0, {}, std::move(read.notes)};
    const cairn::SafetensorsSource source(folder);
    result.unread = cairn::unread_tensors(result.config, source);
    for (const auto& [name, tensor] : source.tensors()) {
        result.tensors.push_back({name, tensor->dtype, tensor->shape, tensor->end - tensor->begin});
        result.file_bytes += tensor->end - tensor->begin;
    }
    return result;
}

Shape shape_of(const cairn::ModelConfig& config) {
    struct {
        Shape operator()(const cairn::Gpt2Config& c) const {
            const int head = c.width / c.heads;
            return {"gpt2",  c.layers,    c.context, {c.heads, c.heads, head, head},
                    c.width, c.vocabulary};
        }
        Shape operator()(const cairn::GptJConfig& c) const {
            const int head = c.width / c.heads;
            return {"gptj",  c.layers,    c.context, {c.heads, c.heads, head, head},
                    c.width, c.vocabulary};
        }
        Shape operator()(const cairn::LlamaConfig& c) const {
            return {c.architecture, c.layers, c.context, c.heads, c.width, c.vocabulary};
        }
    } visitor;
    return std::visit(visitor, config);
}

}  // namespace programs
