// A decoder-only transformer: embedding, positions, blocks, final norm, output layer. Weights only:
// const while generating, a handle that sessions and threads share.
#pragma once

#include <algorithm>
#include <cstring>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cairn/layers/block.hpp"
#include "cairn/layers/embedding.hpp"

namespace cairn { inline namespace CAIRN_ABI {

template <class Model, AttentionCache Cache>
class Session;

/// What happens to logits behind the output layer: l = cap * tanh(scale * l / cap), or scale * l.
struct LogitStep {
    float scale = 1.0F;
    float cap = 0.0F;  ///< 0: none
};

/// The weights of a model, as a recipe hands them to Decoder.
template <class Block, class Positions>
struct DecoderWeights {
    std::string architecture;  ///< as the model's files name it: gpt2, ...
    Embedding embedding;
    Positions positions;
    std::vector<Block> blocks;
    typename Block::NormType final_norm;
    std::optional<Linear> output;  ///< none: tied to the embedding
    LogitStep logits{};
};

/// A model. Copies are handles to the same weights, which live as long as the last of them. What
/// was moved from has no weights: its numbers are 0, and everything else throws Error{bad_state}.
template <class BlockType, class Positions>
class Decoder {
  public:
    using Block = BlockType;

    /// Throws Error{invalid_argument, shape_mismatch} if the parts do not fit together.
    [[gnu::cold]] explicit Decoder(DecoderWeights<Block, Positions> weights)
        : weights_(std::make_shared<const DecoderWeights<Block, Positions>>(std::move(weights))) {
        require(!w().blocks.empty(), ErrorCode::invalid_argument, "decoder without layers");
        require(!w().output || (w().output->in() == width() && w().output->out() == vocabulary()),
                ErrorCode::shape_mismatch, "decoder: output layer ",
                w().output ? w().output->in() : 0, " -> ", w().output ? w().output->out() : 0,
                " for width ", width(), " and vocabulary ", vocabulary());
        internal::check_width("positions", w().positions, "model", width());
        internal::check_width("final norm", w().final_norm, "model", width());
        const LogitStep& step = w().logits;
        require(step.scale - step.scale == 0.0F && step.cap >= 0.0F && step.cap < 1e30F,
                ErrorCode::invalid_argument, "decoder: logits times ", step.scale, ", capped at ",
                step.cap);
        for (int layer = 0; layer < layers(); ++layer) {
            check_leader(layer);
            // 0: a block that does not say it.
            const std::ptrdiff_t own = internal::width_of(block(layer));
            const std::ptrdiff_t input = own != 0 ? own : layout(layer).input;
            require(input == 0 || input == width(), ErrorCode::shape_mismatch, "decoder: layer ",
                    layer, " of width ", input, " in a model of width ", width());
        }
    }

    int layers() const noexcept {
        return get([](const Weights& w) { return static_cast<int>(w.blocks.size()); });
    }
    int width() const noexcept {
        return get([](const Weights& w) { return static_cast<int>(w.embedding.width()); });
    }
    /// Token ids are below this.
    int vocabulary() const noexcept {
        return get([](const Weights& w) { return static_cast<int>(w.embedding.count()); });
    }
    /// Positions the model can tell apart.
    int context() const noexcept {
        return get([](const Weights& w) { return w.positions.limit(); });
    }
    /// Whether positions enter only by their distances, so that a cache that forgets old rows can
    /// go on beyond the context.
    bool relative_positions() const noexcept {
        return get([](const Weights& w) {
            if constexpr (requires { w.positions.relative(); })
                return w.positions.relative();
            else
                return (void)w, false;
        });
    }
    /// Error{bad_state, invalid_argument} if there is no such layer.
    const HeadLayout& layout(int layer) const { return block(layer).layout(); }
    const Block& block(int layer) const {
        const auto& blocks = w().blocks;
        require(layer >= 0 && static_cast<std::size_t>(layer) < blocks.size(),
                ErrorCode::invalid_argument, "layer ", layer, " of a model of ", blocks.size());
        return blocks[static_cast<std::size_t>(layer)];
    }
    const std::string& architecture() const noexcept {
        static const std::string none;
        return weights_ ? weights_->architecture : none;
    }
    /// The layer whose cache a layer attends: itself where it stages keys and values of its own.
    /// Error as layout(layer).
    int leader(int layer) const {
        const int leader = followed(layer);
        return leader < 0 ? layer : leader;
    }
    /// Keys that a query of a layer sees, itself included; INT_MAX where it sees all. Error as
    /// layout(layer).
    int window(int layer) const {
        if constexpr (requires { block(layer).window(); })
            return block(layer).window();
        else
            return std::numeric_limits<int>::max();
    }

    /// Numbers in the weights; a tied output layer counts once.
    std::size_t parameters() const noexcept {
        return get([](const Weights& w) {
            const WeightMatrix& table = w.embedding.table();
            std::size_t sum = static_cast<std::size_t>(table.out() * table.in()) +
                              w.positions.parameters() + w.final_norm.parameters();
            for (const Block& block : w.blocks) sum += block.parameters();
            return sum + (w.output ? w.output->parameters() : 0);
        });
    }
    /// Bytes of packed weights in memory.
    std::size_t bytes() const noexcept {
        return get([](const Weights& w) {
            std::size_t sum = w.embedding.table().bytes() + w.positions.bytes();
            for (const Block& block : w.blocks) sum += block.bytes();
            return sum + (w.output ? w.output->bytes() : 0);
        });
    }
    /// Bytes of weights that decoding one token has to read.
    std::size_t decode_bytes() const noexcept {
        return get([](const Weights& w) {
            std::size_t sum = (w.output ? w.output->weights() : w.embedding.table()).bytes();
            for (const Block& block : w.blocks) sum += internal::decode_bytes_of(block);
            return sum;
        });
    }

    /// Ids that stand for no text, rising: rows that pad the vocabulary. They are never sampled.
    Tokens unused() const noexcept { return unused_ == nullptr ? Tokens() : Tokens(*unused_); }
    /// A handle to the same weights that never samples these ids. Error{token_range}.
    Decoder without(std::vector<Token> unused) const {
        for (const Token token : unused)
            require(token >= 0 && token < vocabulary(), ErrorCode::token_range, "decoder: token ",
                    token, " is not in 0..", vocabulary() - 1);
        std::sort(unused.begin(), unused.end());
        Decoder result = *this;
        result.unused_ = std::make_shared<const std::vector<Token>>(std::move(unused));
        return result;
    }

    /// A session of this model with a cache of its own for every layer. Throws what Session does.
    template <SessionCache Cache>
    Session<Decoder, Cache> session(int capacity, Executor& executor = Serial::instance()) const {
        return Session<Decoder, Cache>(*this, capacity, executor);
    }
    /// The same with caches from `make(layer, layout, capacity)`, a CacheSpec for one.
    template <class Make>
    auto session(int capacity, Executor& executor, const Make& make) const {
        using Cache = std::invoke_result_t<const Make&, int, const HeadLayout&, int>;
        return Session<Decoder, Cache>(*this, capacity, executor, make);
    }

    /// A number that tells these weights and settings from others: one pass over all of them. The
    /// settings go to `settings` by name as well, if one is given.
    std::uint64_t fingerprint(SettingSink* settings = nullptr) const {
        Fingerprint to(settings);
        to.add(w().architecture);
        w().embedding.table().hash(to);
        w().positions.hash(to);
        for (const Block& block : w().blocks) block.hash(to);
        w().final_norm.hash(to);
        if (w().output) w().output->hash(to);
        const LogitStep& step = w().logits;
        if (step.scale != 1.0F || step.cap != 0.0F) {
            const float numbers[] = {step.scale, step.cap};
            to.add(numbers, sizeof numbers);
            to.setting("logit scale or cap", numbers, sizeof numbers);
        }
        return to.value();
    }
    /// The same for all handles to the same weights, and for no others; null once moved from.
    const void* identity() const noexcept { return weights_.get(); }

    // The three parts of a forward pass; ForwardPass (models/forward_pass.hpp) strings them
    // together.

    /// x[width] = embedding of the token at a position; `scratch` holds width floats.
    void embed(Token token, int position, float* x, float* scratch) const {
        w().embedding.lookup(token, x);
        w().positions.add(position, x, scratch);
    }
    /// y = final norm of the rows of x; y may be x.
    void finish(const Activations& x, const Activations& y, Context& context) const {
        w().final_norm.forward(x, y, context);
    }
    /// logits[rows][vocabulary] of finished rows.
    void project(const Activations& x, const Activations& logits, Context& context) const {
        if (w().output)
            w().output->forward(x, logits, context);
        else
            multiply(w().embedding.table(), nullptr, x, logits, context);
        if (w().logits.scale != 1.0F || w().logits.cap > 0.0F) finish_logits(logits, context);
    }

  private:
    using Weights = DecoderWeights<Block, Positions>;
    const Weights& w() const {
        require(weights_ != nullptr, ErrorCode::bad_state, "the model was moved from");
        return *weights_;
    }
    // In parts, so that one row of a large vocabulary is shared by threads too.
    [[gnu::noinline]] void finish_logits(const Activations& logits, Context& context) const {
        constexpr std::ptrdiff_t part = 4096;
        const FpEnvironment environment;
        const LogitStep step = w().logits;
        const std::ptrdiff_t count = vocabulary();
        const std::ptrdiff_t parts = (count + part - 1) / part;
        parallel_for(context.executor(), logits.rows * parts, 1,
                     [&](std::ptrdiff_t begin, std::ptrdiff_t end, int) {
                         const kernels::Table& kernel = kernels::active();
                         for (std::ptrdiff_t i = begin; i < end; ++i) {
                             const std::ptrdiff_t at = i % parts * part;
                             const std::ptrdiff_t n = std::min(part, count - at);
                             float* row = logits.row(i / parts) + at;
                             if (step.scale != 1.0F) kernel.scale(step.scale, n, row);
                             if (step.cap > 0.0F)
                                 kernel.soft_cap(row, 0, static_cast<int>(n), step.cap);
                         }
                     });
    }
    // Below 0: none.
    int followed(int layer) const {
        if constexpr (requires { block(layer).leader(); })
            return block(layer).leader();
        else
            return (void)layer, -1;
    }
    void check_leader(int layer) const {
        const int leader = followed(layer);
        if (leader < 0) return;
        require(leader < layer && followed(leader) < 0, ErrorCode::invalid_argument,
                "decoder: layer ", layer, " follows layer ", leader,
                ", which is no earlier layer with keys and values of its own");
        const HeadLayout& mine = layout(layer);
        const HeadLayout& theirs = layout(leader);
        require(mine.kv_heads == theirs.kv_heads && mine.key_dim == theirs.key_dim &&
                    mine.value_dim == theirs.value_dim,
                ErrorCode::shape_mismatch, "decoder: layer ", layer, " of ", mine.kv_heads,
                " KV heads of ", mine.key_dim, "/", mine.value_dim, " follows layer ", leader,
                " of ", theirs.kv_heads, " of ", theirs.key_dim, "/", theirs.value_dim);
    }
    // For accessors that cannot throw: zero once moved from.
    template <class Read>
    auto get(Read read) const noexcept {
        return weights_ ? read(*weights_) : decltype(read(*weights_)){};
    }
    std::shared_ptr<const Weights> weights_;
    std::shared_ptr<const std::vector<Token>> unused_;
};

}}  // namespace cairn
