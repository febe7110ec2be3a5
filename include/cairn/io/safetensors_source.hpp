// The tensors of a model folder: model.safetensors, or the shards that model.safetensors.index.json
// names. What stands in a file are plain names in the folder and never leads out of it. Links are
// the owner's own and are followed wherever they lead, to regular files: Hugging Face's cache is
// made of them (snapshots/REVISION/NAME -> ../../blobs/HASH).
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cairn/io/safetensors.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A TensorSource over one or more safetensors files.
class SafetensorsSource final : public TensorSource {
  public:
    /// Opens and validates all files. Throws Error{io, bad_file, unsupported, limit}.
    explicit SafetensorsSource(const std::filesystem::path& folder, const FileLimits& limits = {}) {
        const std::filesystem::path single = folder / "model.safetensors";
        const std::filesystem::path index = folder / "model.safetensors.index.json";
        if (name_exists(single.string()) || !name_exists(index.string())) {
            files_.push_back(std::make_unique<SafetensorsFile>(single.string(), limits));
            for (const auto& [name, entry] : files_.back()->header())
                tensors_[name] = {files_.back().get(), &entry};
            return;
        }
        open_shards(folder, index, limits);
    }

    const std::vector<std::size_t>* shape(std::string_view name) const override {
        const auto at = tensors_.find(name);
        return at == tensors_.end() ? nullptr : &at->second.entry->shape;
    }
    ElementType type(std::string_view name) const override {
        const std::string& dtype = this->dtype(name);
        if (dtype == "F32") return ElementType::f32;
        if (dtype == "F16") return ElementType::f16;
        if (dtype == "BF16") return ElementType::bf16;
        fail(ErrorCode::unsupported, "tensor \"", name, "\" has dtype ", dtype,
             "; F32, F16 and BF16 can be weights");
    }
    void read(std::string_view name, std::size_t first, std::span<float> to) const override {
        const PlainFormat& format = format_of(type(name));
        constexpr std::size_t step = std::size_t{1} << 20;
        std::vector<std::byte> bytes(std::min(step, to.size()) * format.bytes);
        for (std::size_t at = 0; at < to.size(); at += step) {
            const std::size_t count = std::min(step, to.size() - at);
            const std::span part(bytes.data(), count * format.bytes);
            read_stored(name, first + at, part);
            format.decode(part.data(), count, to.data() + at);
        }
    }
    void read_stored(std::string_view name, std::size_t first,
                     std::span<std::byte> to) const override {
        read_bytes(name, first * format_of(type(name)).bytes, to);
    }
    /// The dtype of a tensor that exists, as the file names it.
    const std::string& dtype(std::string_view name) const {
        return tensors_.find(name)->second.entry->dtype;
    }
    /// to = the bytes of a tensor of any dtype, from `first` on. Error{io}.
    void read_bytes(std::string_view name, std::size_t first, std::span<std::byte> to) const {
        const Tensor& tensor = tensors_.find(name)->second;
        tensor.file->read(*tensor.entry, first, to);
    }
    std::vector<std::string> names() const override { return internal::names_of(tensors_); }
    /// All tensors by name, for programs that show or copy them.
    std::vector<std::pair<std::string, const SafetensorsEntry*>> tensors() const {
        std::vector<std::pair<std::string, const SafetensorsEntry*>> result;
        for (const auto& [name, tensor] : tensors_) result.emplace_back(name, tensor.entry);
        return result;
    }

  private:
    struct Tensor {
        const SafetensorsFile* file = nullptr;
        const SafetensorsEntry* entry = nullptr;
    };

    void open_shards(const std::filesystem::path& folder, const std::filesystem::path& index,
                     const FileLimits& limits) {
        const std::string where = index.string();
        const JsonDocument json(
            parse_json(read_json_file(where, limits), ErrorCode::bad_file, where, limits));
        const JsonObject root(*json, ErrorCode::bad_file, where);
        const Json* map = root.find("weight_map");
        require(map != nullptr && map->is_object(), ErrorCode::bad_file, where,
                ": \"weight_map\" is missing");
        std::map<std::string, const SafetensorsFile*> opened;
        for (const auto& [tensor, value] : map->items()) {
            require(value.is_string(), ErrorCode::bad_file, where, ": the shard of \"",
                    tensor.substr(0, 100), "\" is not a string");
            const std::string shard = value.get<std::string>();
            if (!opened.contains(shard)) {
                check_shard(shard, where);
                internal::check_limit(opened.size() + 1, limits.shards, "shards", where, "shards");
                files_.push_back(
                    std::make_unique<SafetensorsFile>((folder / shard).string(), limits));
                opened[shard] = files_.back().get();
            }
            const SafetensorsFile* file = opened[shard];
            const auto entry = file->header().find(tensor);
            require(entry != file->header().end(), ErrorCode::bad_file, where, ": tensor \"",
                    tensor.substr(0, 100), "\" is not in its shard ", shard);
            tensors_[tensor] = {file, &entry->second};
        }
        for (const auto& file : files_)
            for (const auto& [name, entry] : file->header()) {
                const auto at = tensors_.find(name);
                require(at == tensors_.end() || at->second.entry == &entry, ErrorCode::bad_file,
                        where, ": tensor \"", name.substr(0, 100), "\" is in two shards");
            }
    }
    static void check_shard(const std::string& shard, const std::string& where) {
        const bool plain = !shard.empty() && shard != "." && shard != ".." && shard.size() < 256 &&
                           shard.find('/') == std::string::npos &&
                           shard.find('\0') == std::string::npos;
        require(plain, ErrorCode::bad_file, where, ": \"", shard.substr(0, 100),
                "\" is not a file name in the folder");
    }

    std::vector<std::unique_ptr<SafetensorsFile>> files_;
    std::map<std::string, Tensor, std::less<>> tensors_;
};

}}  // namespace cairn
