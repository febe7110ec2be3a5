// Weight formats by name: a program adds its own, and whoever reads a word from a person finds it.
#pragma once

#include <string>

#include "cairn/core/added_list.hpp"
#include "cairn/layers/weight_format.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Adds a format under its name; it hides one of the same name. Thread-safe. Throws
/// Error{invalid_argument} for none.
inline void register_weight_format(std::shared_ptr<const WeightFormat> format) {
    require(format != nullptr, ErrorCode::invalid_argument, "register_weight_format: no format");
    internal::AddedList<std::shared_ptr<const WeightFormat>>::instance().put(std::move(format));
}

/// The format of this name, for `LoadOptions::format`. Error{unsupported} naming those there are.
inline std::shared_ptr<const WeightFormat> weight_format(std::string_view name) {
    const auto formats = internal::AddedList<std::shared_ptr<const WeightFormat>>::instance().get();
    std::string known;
    for (const auto& format : *formats) {
        if (format->name() == name) return format;
        known.append(known.empty() ? "" : ", ").append(format->name());
    }
    fail(ErrorCode::unsupported, "weight format \"", name.substr(0, 60), "\"; known: ", known);
}

}}  // namespace cairn
