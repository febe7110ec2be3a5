// One type for every model of the library, for programs that learn from a file what it is. A block
// is a variant; the cost is one branch a layer.
#pragma once

#include <utility>
#include <variant>

#include "cairn/models/gpt2.hpp"
#include "cairn/models/gpt_j.hpp"
#include "cairn/models/llama.hpp"

namespace cairn::inline CAIRN_ABI {

/// Any of several final norms.
class AnyNorm {
  public:
    AnyNorm() = default;
    AnyNorm(LayerNorm norm) : norm_(std::move(norm)) {}  // NOLINT(google-explicit-constructor)
    AnyNorm(RmsNorm norm) : norm_(std::move(norm)) {}    // NOLINT(google-explicit-constructor)
    void forward(const Activations& x, const Activations& y, Context& context) const {
        std::visit([&](const auto& norm) { norm.forward(x, y, context); }, norm_);
    }
    std::size_t parameters() const noexcept {
        return std::visit([](const auto& norm) { return norm.parameters(); }, norm_);
    }
    void hash(Fingerprint& to) const {
        std::visit([&](const auto& norm) { norm.hash(to); }, norm_);
    }

  private:
    std::variant<LayerNorm, RmsNorm> norm_;
};

/// A block of any model.
class AnyBlock {
  public:
    using NormType = AnyNorm;
    template <class Block>
    requires(!std::is_same_v<Block, AnyBlock>) explicit AnyBlock(Block block)
        : block_(std::move(block)) {}
    void forward(const Activations& x, std::span<const BatchSlice> slices, std::ptrdiff_t width,
                 Context& context) const {
        std::visit([&](const auto& block) { block.forward(x, slices, width, context); }, block_);
    }
    const HeadLayout& layout() const noexcept {
        return std::visit([](const auto& block) -> const HeadLayout& { return block.layout(); },
                          block_);
    }
    int window() const noexcept {
        return std::visit([](const auto& block) { return block.window(); }, block_);
    }
    int leader() const noexcept {
        return std::visit([](const auto& block) { return block.leader(); }, block_);
    }
    std::size_t parameters() const noexcept {
        return std::visit([](const auto& block) { return block.parameters(); }, block_);
    }
    std::size_t bytes() const noexcept {
        return std::visit([](const auto& block) { return block.bytes(); }, block_);
    }
    void hash(Fingerprint& to) const {
        std::visit([&](const auto& block) { block.hash(to); }, block_);
    }

  private:
    std::variant<Gpt2Block, GptJBlock, LlamaBlock<RotaryHalf>, LlamaBlock<RotaryInterleaved>>
        block_;
};

/// Positions of any model.
class AnyPositions {
  public:
    AnyPositions() = default;
    template <class Positions>
    requires(!std::is_same_v<Positions, AnyPositions>) explicit AnyPositions(Positions positions)
        : positions_(std::move(positions)) {}
    void add(int position, float* row, float* scratch) const {
        std::visit([&](const auto& p) { p.add(position, row, scratch); }, positions_);
    }
    int limit() const noexcept {
        return std::visit([](const auto& p) { return p.limit(); }, positions_);
    }
    bool relative() const noexcept {
        return std::visit([](const auto& p) { return p.relative(); }, positions_);
    }
    std::size_t parameters() const noexcept {
        return std::visit([](const auto& p) { return p.parameters(); }, positions_);
    }
    std::size_t bytes() const noexcept {
        return std::visit([](const auto& p) { return p.bytes(); }, positions_);
    }
    void hash(Fingerprint& to) const {
        std::visit([&](const auto& p) { p.hash(to); }, positions_);
    }

  private:
    std::variant<NoPositions, LearnedPositions> positions_;
};

/// Any model of the library.
using AnyModel = Decoder<AnyBlock, AnyPositions>;

/// The weights of a recipe as any model.
template <class Block, class Positions>
AnyModel any_model(DecoderWeights<Block, Positions> weights) {
    DecoderWeights<AnyBlock, AnyPositions> result;
    result.architecture = std::move(weights.architecture);
    result.embedding = std::move(weights.embedding);
    result.positions = AnyPositions(std::move(weights.positions));
    for (Block& block : weights.blocks) result.blocks.emplace_back(std::move(block));
    result.final_norm = AnyNorm(std::move(weights.final_norm));
    result.output = std::move(weights.output);
    return AnyModel(std::move(result));
}

}  // namespace cairn::inline CAIRN_ABI
