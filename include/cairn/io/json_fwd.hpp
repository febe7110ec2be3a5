// The name of a JSON value, for who passes one on and does not look into it: nlohmann's own header
// costs a second in every translation unit.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A JSON value.
using Json = nlohmann::json;

}}  // namespace cairn
