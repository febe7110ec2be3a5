// A whole language model a host program can make with one line: GPT-2's architecture at any size,
// bytes in and out by default, random weights from a seed.
#pragma once

#include <cstdint>

#include "cairn/models/gpt2.hpp"
#include "cairn/numeric/random.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The numbers of a TinyGpt; usable as a template argument.
struct TinyShape {
    int layers = 2;
    int heads = 2;
    int width = 64;
    int vocab = 256;
    int context = 1024;

    /// Whether the numbers fit together.
    constexpr bool valid() const noexcept {
        return layers > 0 && heads > 0 && width > 0 && vocab > 0 && context > 0 &&
               width % heads == 0;
    }
    /// Textbook bytes of the keys and values of `tokens` tokens at `bytes_per_number`.
    constexpr std::size_t cache_bytes(std::size_t tokens,
                                      std::size_t bytes_per_number = 4) const noexcept {
        return tokens * static_cast<std::size_t>(layers) * 2 * static_cast<std::size_t>(width) *
               bytes_per_number;
    }
};

/// A small GPT-2, and a model as any other: `verify_equivalence`, `Session` and `forward` take it.
/// Copies are handles to the same weights.
class TinyGpt : public Gpt2 {
  public:
    /// Random weights, the same on every machine. Throws Error{bad_config}.
    static TinyGpt random(const TinyShape& shape, std::uint64_t seed,
                          const PlainWeights& type = plain_weights<ElementType::f32>) {
        return TinyGpt(random_gpt2(
            {shape.layers, shape.heads, shape.width, 0, shape.context, shape.vocab}, seed, type));
    }
    /// The same with the type by value. Throws Error{invalid_argument} for a block type.
    static TinyGpt random(const TinyShape& shape, std::uint64_t seed, ElementType type) {
        return random(shape, seed, plain_weights_of(type));
    }
    /// The same with the shape checked by the compiler.
    template <TinyShape shape>
    static TinyGpt random(std::uint64_t seed) {
        static_assert(shape.valid(),
                      "TinyGpt::random<shape>: layers, heads, width, vocab and context must be "
                      "positive, and width a multiple of heads.");
        return random(shape, seed);
    }
    /// Any GPT-2 as a TinyGpt.
    explicit TinyGpt(Gpt2 model) : Gpt2(std::move(model)) {}

    /// A sequence of its own with room for `capacity` tokens.
    template <SessionCache Cache = KvCache<>>
    Session<Gpt2, Cache> session(int capacity, Executor& executor = Serial::instance()) const {
        return Gpt2::session<Cache>(capacity, executor);
    }
    const Gpt2& model() const noexcept { return *this; }
};

}}  // namespace cairn
