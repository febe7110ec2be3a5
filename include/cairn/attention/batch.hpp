// Attention of one new row each of many sequences: `attend_batch` stands with `attend`.
#pragma once

#include "cairn/attention/engine.hpp"
