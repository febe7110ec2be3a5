// One type for every model, for programs that learn from a file what it is. Blocks, positions and
// the final norm are erased: whatever has their calls fits, from the library or from outside. The
// cost is one virtual call a layer.
#pragma once

#include <concepts>
#include <limits>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include "cairn/layers/any_norm.hpp"
#include "cairn/models/decoder.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What a model's layer offers. Beside it `int window() const` if it sees a window of keys only,
/// and `int leader() const` if it attends the keys and values of another layer (below 0: its own).
template <class B>
concept DecoderBlock =
    requires(const B& block, const Activations& x, std::span<const BatchSlice> slices,
             std::ptrdiff_t width, Context& context, Fingerprint& print) {
        /// In place on x [rows][width]; stages keys and values in the slices' caches.
        block.forward(x, slices, width, context);
        { block.layout() } -> std::convertible_to<const HeadLayout&>;
        { block.parameters() } -> std::convertible_to<std::size_t>;
        { block.bytes() } -> std::convertible_to<std::size_t>;
        /// Adds weights and settings to a fingerprint.
        block.hash(print);
    };

/// Any block. Copies are handles to the same weights.
class AnyBlock {
  public:
    using NormType = AnyNorm;
    template <class Block>
    requires(DecoderBlock<std::remove_cvref_t<Block>> &&
             !std::is_same_v<std::remove_cvref_t<Block>, AnyBlock>)
    explicit AnyBlock(Block&& block)
        : object_(
              std::make_shared<const Of<std::remove_cvref_t<Block>>>(std::forward<Block>(block))) {}
    void forward(const Activations& x, std::span<const BatchSlice> slices, std::ptrdiff_t width,
                 Context& context) const {
        object_->forward(x, slices, width, context);
    }
    const HeadLayout& layout() const noexcept { return object_->layout(); }
    /// Of the rows it changes; 0: it does not say.
    std::ptrdiff_t width() const noexcept { return object_->width(); }
    int window() const noexcept { return object_->window(); }
    int leader() const noexcept { return object_->leader(); }
    std::size_t parameters() const noexcept { return object_->parameters(); }
    std::size_t bytes() const noexcept { return object_->bytes(); }
    std::size_t decode_bytes() const noexcept { return object_->decode_bytes(); }
    void hash(Fingerprint& to) const { object_->hash(to); }

  private:
    struct Object {
        virtual ~Object() = default;
        virtual void forward(const Activations&, std::span<const BatchSlice>, std::ptrdiff_t,
                             Context&) const = 0;
        virtual const HeadLayout& layout() const noexcept = 0;
        virtual std::ptrdiff_t width() const noexcept = 0;
        virtual int window() const noexcept = 0;
        virtual int leader() const noexcept = 0;
        virtual std::size_t parameters() const noexcept = 0;
        virtual std::size_t bytes() const noexcept = 0;
        virtual std::size_t decode_bytes() const noexcept = 0;
        virtual void hash(Fingerprint&) const = 0;
    };
    template <class Block>
    struct Of final : Object {
        explicit Of(Block&& own) : block(std::move(own)) {}
        explicit Of(const Block& own) : block(own) {}
        void forward(const Activations& x, std::span<const BatchSlice> slices, std::ptrdiff_t width,
                     Context& context) const override {
            block.forward(x, slices, width, context);
        }
        const HeadLayout& layout() const noexcept override { return block.layout(); }
        std::ptrdiff_t width() const noexcept override { return internal::width_of(block); }
        int window() const noexcept override {
            if constexpr (requires { block.window(); })
                return block.window();
            else
                return std::numeric_limits<int>::max();
        }
        int leader() const noexcept override {
            if constexpr (requires { block.leader(); })
                return block.leader();
            else
                return -1;
        }
        std::size_t parameters() const noexcept override { return block.parameters(); }
        std::size_t bytes() const noexcept override { return block.bytes(); }
        std::size_t decode_bytes() const noexcept override {
            return internal::decode_bytes_of(block);
        }
        void hash(Fingerprint& to) const override { block.hash(to); }
        Block block;
    };
    std::shared_ptr<const Object> object_;
};

/// Any positions: what is done to an embedded token by its position, as LearnedPositions does it.
class AnyPositions {
  public:
    AnyPositions() : AnyPositions(NoPositions{}) {}
    template <class Positions>
    requires(!std::is_same_v<Positions, AnyPositions>)
    explicit AnyPositions(Positions positions)
        : object_(std::make_shared<const Of<Positions>>(std::move(positions))) {}
    void add(int position, float* row, float* scratch) const {
        object_->add(position, row, scratch);
    }
    /// 0: it does not say.
    std::ptrdiff_t width() const noexcept { return object_->width(); }
    int limit() const noexcept { return object_->limit(); }
    bool relative() const noexcept { return object_->relative(); }
    std::size_t parameters() const noexcept { return object_->parameters(); }
    std::size_t bytes() const noexcept { return object_->bytes(); }
    void hash(Fingerprint& to) const { object_->hash(to); }

  private:
    struct Object {
        virtual ~Object() = default;
        virtual void add(int, float*, float*) const = 0;
        virtual std::ptrdiff_t width() const noexcept = 0;
        virtual int limit() const noexcept = 0;
        virtual bool relative() const noexcept = 0;
        virtual std::size_t parameters() const noexcept = 0;
        virtual std::size_t bytes() const noexcept = 0;
        virtual void hash(Fingerprint&) const = 0;
    };
    template <class Positions>
    struct Of final : Object {
        explicit Of(Positions own) : positions(std::move(own)) {}
        void add(int position, float* row, float* scratch) const override {
            positions.add(position, row, scratch);
        }
        std::ptrdiff_t width() const noexcept override { return internal::width_of(positions); }
        int limit() const noexcept override { return positions.limit(); }
        bool relative() const noexcept override { return positions.relative(); }
        std::size_t parameters() const noexcept override { return positions.parameters(); }
        std::size_t bytes() const noexcept override { return positions.bytes(); }
        void hash(Fingerprint& to) const override { positions.hash(to); }
        Positions positions;
    };
    std::shared_ptr<const Object> object_;
};

/// Any model.
using AnyModel = Decoder<AnyBlock, AnyPositions>;

/// The weights of a recipe as any model.
template <class Block, class Positions>
[[gnu::cold]] AnyModel any_model(DecoderWeights<Block, Positions> weights) {
    DecoderWeights<AnyBlock, AnyPositions> result;
    result.architecture = std::move(weights.architecture);
    result.embedding = std::move(weights.embedding);
    result.positions = AnyPositions(std::move(weights.positions));
    for (Block& block : weights.blocks) result.blocks.emplace_back(std::move(block));
    result.final_norm = AnyNorm(std::move(weights.final_norm));
    result.output = std::move(weights.output);
    result.logits = weights.logits;
    return AnyModel(std::move(result));
}

}}  // namespace cairn
