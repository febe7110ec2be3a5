// Writes GGUF files, version 3. The file appears under its name only when it is complete.
#pragma once

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/io/file.hpp"
#include "cairn/io/gguf.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Collects metadata and tensors, then writes them.
class GgufWriter {
  public:
    /// Bytes of a tensor, handed over in pieces in order.
    using Sink = std::function<void(std::span<const std::byte>)>;

    void add(std::string key, GgufValue value) {
        metadata_.emplace_back(std::move(key), std::move(value));
    }
    void add(std::string key, std::string value) {
        add(std::move(key), GgufValue{GgufType::string, std::move(value)});
    }
    void add_u32(std::string key, std::int64_t value) {
        add(std::move(key), GgufValue{GgufType::u32, value});
    }
    void add_f32(std::string key, double value) {
        add(std::move(key), GgufValue{GgufType::f32, value});
    }
    void add_bool(std::string key, bool value) {
        add(std::move(key), GgufValue{GgufType::boolean, value});
    }
    /// A tensor of `shape` (slowest first, as Hugging Face writes it); `produce` is called once, in
    /// the order of adding, and must hand over exactly its bytes.
    void tensor(std::string name, std::vector<std::size_t> shape, ElementType type,
                std::function<void(const Sink&)> produce) {
        tensors_.push_back({std::move(name), std::move(shape), type, std::move(produce)});
    }

    /// Writes the file. Throws Error{io, invalid_argument} and what the tensors throw; then a file
    /// that was there is still there. `progress` gets tensors done and tensors in all.
    void write(const std::string& path, const std::function<void(int, int)>& progress = {}) {
        OutputFile file(path);
        std::string header = this->header();
        header.resize(aligned(header.size()), '\0');
        file.write(std::as_bytes(std::span(header)));
        int done = 0;
        for (const Tensor& tensor : tensors_) {
            std::size_t written = 0;
            tensor.produce([&](std::span<const std::byte> bytes) {
                written += bytes.size();
                file.write(bytes);
            });
            const std::size_t wanted = bytes_of(tensor);
            require(written == wanted, ErrorCode::invalid_argument, "gguf writer: tensor ",
                    tensor.name, " handed over ", written, " bytes of ", wanted);
            const std::string padding(aligned(wanted) - wanted, '\0');
            file.write(std::as_bytes(std::span(padding)));
            if (progress) progress(++done, static_cast<int>(tensors_.size()));
        }
        file.finish();
    }

  private:
    struct Tensor {
        std::string name;
        std::vector<std::size_t> shape;
        ElementType type;
        std::function<void(const Sink&)> produce;
    };
    static constexpr std::size_t alignment = 32;

    static std::size_t aligned(std::size_t n) {
        return (n + alignment - 1) / alignment * alignment;
    }
    static std::size_t bytes_of(const Tensor& tensor) {
        std::size_t count = 1;
        for (const std::size_t n : tensor.shape) count = checked_mul(count, n, tensor.name);
        return block_size(tensor.type).size_of(count);
    }
    template <class T>
    static void number(std::string& to, T value) {
        to.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    static void string(std::string& to, std::string_view text) {
        number<std::uint64_t>(to, text.size());
        to.append(text);
    }
    static void integer(std::string& to, GgufType type, std::int64_t n) {
        switch (type) {
            case GgufType::u8: return number(to, static_cast<std::uint8_t>(n));
            case GgufType::i8: return number(to, static_cast<std::int8_t>(n));
            case GgufType::u16: return number(to, static_cast<std::uint16_t>(n));
            case GgufType::i16: return number(to, static_cast<std::int16_t>(n));
            case GgufType::u32: return number(to, static_cast<std::uint32_t>(n));
            case GgufType::i32: return number(to, static_cast<std::int32_t>(n));
            case GgufType::boolean: return number(to, static_cast<std::uint8_t>(n));
            default: number(to, n);
        }
    }
    static void value(std::string& to, const GgufValue& v) {
        number(to, static_cast<std::uint32_t>(v.type));
        if (const auto* array = std::get_if<GgufArray>(&v.value)) {
            number(to, static_cast<std::uint32_t>(array->type));
            number<std::uint64_t>(to, array->size());
            for (const std::string& s : array->strings) string(to, s);
            for (const std::int64_t n : array->integers) integer(to, array->type, n);
            for (const double x : array->numbers)
                array->type == GgufType::f32 ? number(to, static_cast<float>(x)) : number(to, x);
        } else if (const auto* text = std::get_if<std::string>(&v.value)) {
            string(to, *text);
        } else if (const auto* x = std::get_if<double>(&v.value)) {
            v.type == GgufType::f32 ? number(to, static_cast<float>(*x)) : number(to, *x);
        } else if (const auto* b = std::get_if<bool>(&v.value)) {
            number(to, static_cast<std::uint8_t>(*b));
        } else {
            integer(to, v.type, std::get<std::int64_t>(v.value));
        }
    }
    std::string header() const {
        std::string result("GGUF");
        number<std::uint32_t>(result, 3);
        number<std::uint64_t>(result, tensors_.size());
        number<std::uint64_t>(result, metadata_.size());
        for (const auto& [key, v] : metadata_) {
            string(result, key);
            value(result, v);
        }
        std::size_t offset = 0;
        for (const Tensor& tensor : tensors_) {
            string(result, tensor.name);
            number(result, static_cast<std::uint32_t>(tensor.shape.size()));
            for (std::size_t i = tensor.shape.size(); i-- > 0;)
                number<std::uint64_t>(result, tensor.shape[i]);
            number(result, internal::gguf_type_id(tensor.type));
            number<std::uint64_t>(result, offset);
            offset += aligned(bytes_of(tensor));
        }
        return result;
    }

    std::vector<std::pair<std::string, GgufValue>> metadata_;
    std::vector<Tensor> tensors_;
};

}}  // namespace cairn
