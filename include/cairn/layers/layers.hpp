// Layers: the names of the layer. Beside them: weight formats by name in
// cairn/layers/named_formats.hpp.
#pragma once

#include "cairn/layers/block.hpp"          // SequentialBlock, ParallelBlock: what a model stacks
#include "cairn/layers/embedding.hpp"      // Embedding, and positions that are learned
#include "cairn/layers/linear.hpp"         // Linear: a packed matrix and its bias
#include "cairn/layers/mlp.hpp"            // Mlp, SwiGlu, activations
#include "cairn/layers/multi_head.hpp"     // MultiHead: projections around attention
#include "cairn/layers/norm.hpp"           // LayerNorm, RmsNorm
#include "cairn/layers/rotary.hpp"         // NoRotation, RotaryHalf, RotaryInterleaved
#include "cairn/layers/weight_format.hpp"  // WeightFormat: a format of one's own
#include "cairn/layers/weight_matrix.hpp"  // WeightMatrix: packed rows
