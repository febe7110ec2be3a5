// Experts with biases as gpt-oss's files hold them: folders gate and up of all experts in one
// tensor, number by number, plain as [in][out] or in mxfp4 as [out][in]; GGUF files a stack each.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cairn/layers/any_feed_forward.hpp"
#include "cairn/layers/experts.hpp"
#include "cairn/models/weight_reader.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// The experts of a layer: their lines, and how they are read.
struct JoinedExperts {
    std::ptrdiff_t count, hidden, width;
    bool blocks;  // a folder's matrices are [out][in]
    SoftmaxRouter router;
    ClampedGate gate{};

    [[gnu::cold]] void lines(TensorTable& to, int layer) const {
        const auto stack = [&](std::ptrdiff_t out, std::ptrdiff_t in) -> TensorShape {
            return {{count, blocks ? out : in, blocks ? in : out}};
        };
        const auto part = [&](const char* gguf, const TensorShape& shape, const char* in, int first,
                              int step) {
            return TensorLine{{}, gguf, shape, Need::always, !blocks, 0, in, 0, 0.0F, first, step};
        };
        const char *both = "mlp.experts.gate_up_proj", *bias = "mlp.experts.gate_up_proj_bias";
        const char* down = "mlp.experts.down_proj";
        to.layer(layer, {{"mlp.router.weight", "ffn_gate_inp.weight", {{count, width}}},
                         {"mlp.router.bias", "ffn_gate_inp.bias", {{count}}},
                         {both, "", stack(2 * hidden, width)},
                         {bias, "", {{count, 2 * hidden}}},
                         {down, "", stack(width, hidden)},
                         part("ffn_gate_exps.weight", {{count, hidden, width}}, both, 0, 2),
                         part("ffn_gate_exps.bias", {{count, hidden}}, bias, 0, 2),
                         part("ffn_up_exps.weight", {{count, hidden, width}}, both, 1, 2),
                         part("ffn_up_exps.bias", {{count, hidden}}, bias, 1, 2),
                         part("ffn_down_exps.weight", {{count, width, hidden}}, down, 0, 1),
                         {"mlp.experts.down_proj_bias", "ffn_down_exps.bias", {{count, width}}}});
    }
    AnyFeedForward read(WeightReader& reader, const std::string& hf,
                        const std::string& gguf) const {
        const std::string at = hf + "mlp.experts.";
        const bool apart = reader.format() == ModelFormat::gguf;
        const std::string gates = apart ? gguf + "ffn_gate_exps" : at + "gate_up_proj";
        const std::string ups = apart ? gguf + "ffn_up_exps" : gates;
        const std::string downs = apart ? gguf + "ffn_down_exps" : at + "down_proj";
        const std::vector<float> gate_bias = reader.vector(gates + (apart ? ".bias" : "_bias"));
        const std::vector<float> up_bias = apart ? reader.vector(ups + ".bias") : gate_bias;
        const std::vector<float> down_bias = reader.vector(at + "down_proj_bias");
        // Every `step`th output of an expert from `first` on, of `all`.
        const auto linear = [&](const std::string& name, const std::vector<float>& biases, int e,
                                std::ptrdiff_t all, std::ptrdiff_t in, std::ptrdiff_t first,
                                std::ptrdiff_t step) {
            std::vector<float> bias;
            for (std::ptrdiff_t i = first; i < all; i += step)
                bias.push_back(biases[static_cast<std::size_t>(e * all + i)]);
            if (apart) return Linear(reader.matrix(name + ".weight", e), std::move(bias));
            if (!blocks) return Linear(reader.turned(name, {in, {}, e * in}, first, step), bias);
            const auto row = [=](std::ptrdiff_t r) { return e * all + first + r * step; };
            return Linear(reader.matrix(name, {all / step, row}), std::move(bias));
        };
        const std::ptrdiff_t step = apart ? 1 : 2;
        std::vector<Expert> experts;
        for (int e = 0; e < count; ++e)
            experts.push_back({linear(gates, gate_bias, e, step * hidden, width, 0, step),
                               linear(ups, up_bias, e, step * hidden, width, step - 1, step),
                               linear(downs, down_bias, e, width, hidden, 0, 1)});
        return AnyFeedForward(Experts<SoftmaxRouter, ClampedGate>(
            router, reader.linear(hf + "mlp.router"), std::move(experts), std::nullopt, gate));
    }
};

}}}  // namespace cairn::internal
