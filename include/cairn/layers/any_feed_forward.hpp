// Any feed-forward part behind one type: plain, gated, experts.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include "cairn/layers/mlp.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Any feed-forward part: forward(x, y, context), width(), parameters(), bytes(), hash(print).
/// Copies are handles to the same weights; one that was never given throws Error{bad_state}.
class AnyFeedForward {
  public:
    AnyFeedForward() = default;
    template <class Part>
    requires(!std::is_same_v<Part, AnyFeedForward>)
    explicit AnyFeedForward(Part part)
        : object_(std::make_shared<const Of<Part>>(std::move(part))) {}
    /// y does not overlap x.
    void forward(const Activations& x, const Activations& y, Context& context) const {
        require(object_ != nullptr, ErrorCode::bad_state, "a feed-forward that was never given");
        object_->forward(x, y, context);
    }
    std::ptrdiff_t width() const noexcept { return object_ != nullptr ? object_->width() : 0; }
    std::size_t parameters() const noexcept {
        return object_ != nullptr ? object_->parameters() : 0;
    }
    std::size_t bytes() const noexcept { return object_ != nullptr ? object_->bytes() : 0; }
    std::size_t decode_bytes() const noexcept {
        return object_ != nullptr ? object_->decode_bytes() : 0;
    }
    void hash(Fingerprint& to) const {
        if (object_ != nullptr) object_->hash(to);
    }

  private:
    struct Object {
        virtual ~Object() = default;
        virtual void forward(const Activations&, const Activations&, Context&) const = 0;
        virtual std::ptrdiff_t width() const noexcept = 0;
        virtual std::size_t parameters() const noexcept = 0;
        virtual std::size_t bytes() const noexcept = 0;
        virtual std::size_t decode_bytes() const noexcept = 0;
        virtual void hash(Fingerprint&) const = 0;
    };
    template <class Part>
    struct Of final : Object {
        explicit Of(Part own) : part(std::move(own)) {}
        void forward(const Activations& x, const Activations& y, Context& context) const override {
            part.forward(x, y, context);
        }
        std::ptrdiff_t width() const noexcept override { return part.width(); }
        std::size_t parameters() const noexcept override { return part.parameters(); }
        std::size_t bytes() const noexcept override { return part.bytes(); }
        std::size_t decode_bytes() const noexcept override {
            if constexpr (requires { part.decode_bytes(); })
                return part.decode_bytes();
            else
                return part.bytes();
        }
        void hash(Fingerprint& to) const override { part.hash(to); }
        Part part;
    };
    std::shared_ptr<const Object> object_;
};

}}  // namespace cairn
