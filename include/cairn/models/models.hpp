// Models and sessions: the names of the layer. Beside them: the recipes of GPT-J and of Llama,
// Mistral and Qwen2 (gpt_j.hpp, llama.hpp), any model of a file (any_model.hpp), architectures by
// name (architecture.hpp), and what a cache costs in quality (audit.hpp).
#pragma once

#include "cairn/models/decoder.hpp"        // Decoder: a model from its parts
#include "cairn/models/forward.hpp"        // Forward: a batch whose rows are accepted or not
#include "cairn/models/gpt2.hpp"           // Gpt2, load_gpt2
#include "cairn/models/load_tensor.hpp"    // load_matrix, load_vector: one tensor
#include "cairn/models/session.hpp"        // Session: a model and the caches of one sequence
#include "cairn/models/tensor_source.hpp"  // TensorSource, LoadOptions
#include "cairn/models/tensor_table.hpp"   // TensorTable: what a model's files hold
#include "cairn/models/tiny_gpt.hpp"       // TinyGpt: a small model of random weights
#include "cairn/models/verify.hpp"         // verify_equivalence: a cache against itself
#include "cairn/models/weight_reader.hpp"  // WeightReader: parts of a model by their names
