// Files, configurations and tokenizers. Needs nlohmann/json and PCRE2: CMake target cairn::io.
#pragma once

#include "cairn/cache/named/cache_spec.hpp"
#include "cairn/cairn.hpp"
#include "cairn/io/model_file.hpp"
#include "cairn/io/session_file.hpp"
#include "cairn/io/text_stream.hpp"
