// A model's numbers from GGUF metadata.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "cairn/io/find_architecture.hpp"
#include "cairn/io/gguf_source.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The numbers of a GGUF file. Keeps references to both.
class GgufNumbers final : public ModelNumbers {
  public:
    GgufNumbers(const GgufMetadata& metadata, const TensorSource& source)
        : metadata_(metadata),
          source_(source),
          architecture_(metadata.string("general.architecture")) {}

    ModelFormat format() const noexcept override { return ModelFormat::gguf; }
    const std::string& architecture() const noexcept override { return architecture_; }
    const std::string& where() const noexcept override { return metadata_.where(); }
    ErrorCode code() const noexcept override { return ErrorCode::bad_config; }
    using ModelNumbers::vocabulary;
    int vocabulary(int) override {
        const std::vector<std::size_t>* table = source_.shape("token_embd.weight");
        require(table != nullptr && table->size() == 2 && (*table)[0] <= std::size_t{1} << 24,
                ErrorCode::bad_config, where(),
                ": tensor token_embd.weight is missing or no matrix");
        return static_cast<int>((*table)[0]);
    }
    bool tied(bool) override { return source_.shape("output.weight") == nullptr; }

  private:
    std::string full(std::string_view key) const { return architecture_ + "." + std::string(key); }
    Presence presence(std::string_view key) const override {
        return metadata_.find(full(key)) != nullptr ? Presence::value : Presence::absent;
    }
    std::int64_t read_integer(std::string_view key, std::int64_t least,
                              std::int64_t most) const override {
        return metadata_.integer(full(key), least, most);
    }
    double read_number(std::string_view key) const override { return metadata_.number(full(key)); }
    bool read_boolean(std::string_view key) const override {
        return metadata_.boolean(full(key), false);
    }
    std::string read_word(std::string_view key) const override {
        return metadata_.string(full(key));
    }
    std::vector<std::int64_t> read_integers(std::string_view key) const override {
        const GgufValue* value = metadata_.find(full(key));
        // A number alone is a list of one.
        if (!std::holds_alternative<GgufArray>(value->value))
            return {metadata_.integer(full(key), -(1LL << 53), 1LL << 53)};
        return metadata_.integers(full(key));
    }
    std::vector<std::string> read_words(std::string_view key) const override {
        return metadata_.array(full(key), GgufType::string)->strings;
    }

    const GgufMetadata& metadata_;
    const TensorSource& source_;
    std::string architecture_;
};

/// The model that metadata describe; `source` holds its tensors. Throws Error{bad_file, bad_config,
/// limit}, Error{unsupported} for an architecture that is not known.
[[gnu::cold]] inline ModelRecipe read_gguf_recipe(const GgufMetadata& metadata,
                                                  const TensorSource& source,
                                                  const FileLimits& limits = {}) {
    const FpEnvironment environment;
    GgufNumbers numbers(metadata, source);
    const Architecture architecture =
        find_architecture({numbers.architecture()}, ModelFormat::gguf, metadata.where());
    return internal::read_recipe(architecture, numbers, source, limits);
}

/// Error{unsupported} if the file holds a bias of a matrix that the model would use without it, or
/// a step that it would leave out: in this format what is there is meant.
inline void check_unread(const std::vector<std::string>& unread, const GgufSource& source) {
    for (const std::string& name : unread) {
        require(!name.starts_with("rope_factors_") && name != "position_embd.weight" &&
                    !name.ends_with(".attn_q_norm.weight") &&
                    !name.ends_with(".attn_k_norm.weight"),
                ErrorCode::unsupported, source.metadata().where(), ": tensor ", name,
                " is not supported: this architecture has no such step here");
        if (!name.ends_with(".bias")) continue;
        const std::string weight = name.substr(0, name.size() - 4) + "weight";
        require(source.shape(weight) == nullptr ||
                    std::binary_search(unread.begin(), unread.end(), weight),
                ErrorCode::unsupported, source.metadata().where(), ": tensor ", name,
                " is not supported: this architecture has no such bias here");
    }
}

}}  // namespace cairn
