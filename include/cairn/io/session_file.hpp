// Sessions of loaded models on disk: session_archive.hpp, and what a file is bound to where weights
// and tokenizer came from a model's files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/io/model_file.hpp"
#include "cairn/io/session_archive.hpp"
#include "cairn/io/tokenizer_print.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// Collects parts; what many layers hand over becomes one number.
class OwnerParts final : public SettingSink {
  public:
    void setting(std::string_view name, std::uint64_t print) override {
        for (OwnerPart& part : parts)
            if (part.name == name) {
                Fingerprint both;
                both.add(part.print);
                both.add(print);
                part.print = both.value();
                return;
            }
        parts.push_back({std::string(name), print});
    }
    std::vector<OwnerPart> parts;
};

}  // namespace internal

inline SessionOwner SessionOwner::of(const LoadedModel& loaded, Compute compute,
                                     Compute attention) {
    internal::OwnerParts collected;
    const std::uint64_t weights = loaded.model.fingerprint(&collected);
    Fingerprint words;
    if (loaded.tokenizer) {
        for (std::size_t id = 0; id < loaded.tokenizer->size(); ++id) {
            const Token token = static_cast<Token>(id);
            words.add(loaded.tokenizer->decode({&token, 1}, SpecialTokens::recognised));
        }
        print_tokenizer(*loaded.tokenizer, collected);
    }
    return {weights, words.value(), compute, std::move(collected.parts), attention};
}

}}  // namespace cairn
