// Any norm behind one type, or none: for blocks and models that are put together at run time.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

#include "cairn/layers/norm.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Any norm: forward(x, y, context), parameters(), hash(print).
class AnyNorm {
  public:
    AnyNorm() = default;
    template <class Norm>
    requires(!std::is_same_v<Norm, AnyNorm>)
    explicit AnyNorm(Norm norm) : object_(std::make_shared<const Of<Norm>>(std::move(norm))) {}
    /// Error{bad_state} for one that was never given.
    void forward(const Activations& x, const Activations& y, Context& context) const {
        require(object_ != nullptr, ErrorCode::bad_state, "a norm that was never given");
        object_->forward(x, y, context);
    }
    /// Whether there is one: blocks leave out norms that an architecture has not.
    bool given() const noexcept { return object_ != nullptr; }
    /// 0: it does not say.
    std::ptrdiff_t width() const noexcept { return object_ != nullptr ? object_->width() : 0; }
    std::size_t parameters() const noexcept {
        return object_ != nullptr ? object_->parameters() : 0;
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
        virtual void hash(Fingerprint&) const = 0;
    };
    template <class Norm>
    struct Of final : Object {
        explicit Of(Norm own) : norm(std::move(own)) {}
        void forward(const Activations& x, const Activations& y, Context& context) const override {
            norm.forward(x, y, context);
        }
        std::ptrdiff_t width() const noexcept override { return internal::width_of(norm); }
        std::size_t parameters() const noexcept override { return norm.parameters(); }
        void hash(Fingerprint& to) const override { norm.hash(to); }
        Norm norm;
    };
    std::shared_ptr<const Object> object_;
};

}}  // namespace cairn
