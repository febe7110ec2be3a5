// Where rows live, as a value: a store policy holds the codecs of keys and values and the store's
// own settings (numbers, a pool, a file) and makes the rows of one form of one stream.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "cairn/cache/seam/codec_policy.hpp"
#include "cairn/cache/seam/options.hpp"
#include "cairn/cache/seam/row_store.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What a store makes rows for.
struct StreamRows {
    std::shared_ptr<const Codec> codec;
    int heads = 1;
    int dims = 0;
};

/// A store: `keys` and `values` are codec policies, make() throws what the rows need (address
/// space, files), bytes() says what rows numbered below `end` take without making any: rows of a
/// pinned front [0, front) and [oldest, end) are there. Optional: `facts` (static StoreFacts),
/// `facts_now()`, `word`, `over(plan)` (a store that writes recent rows in another form).
template <class S>
concept StorePolicy =
    std::copyable<S> && CodecPolicy<decltype(S::keys)> && CodecPolicy<decltype(S::values)> &&
    requires(const S& s, const StreamRows& rows, const Extent& extent) {
        { s.make(rows, extent) } -> std::convertible_to<std::unique_ptr<RowStore>>;
        { s.bytes(*rows.codec, 1, 1, extent, 1, 1, 1) } -> std::convertible_to<std::size_t>;
    };

/// The static facts of a store.
template <class S>
constexpr StoreFacts store_facts() {
    if constexpr (requires { S::facts; })
        return S::facts;
    else
        return {};
}

namespace internal {

/// A store policy of any type, without its codecs.
class StoreObject {
  public:
    virtual ~StoreObject() = default;
    virtual std::unique_ptr<RowStore> make(const StreamRows& rows, const Extent& extent) const = 0;
    virtual std::size_t bytes(const Codec& codec, int heads, int dims, const Extent& extent,
                              int end, int front, int oldest) const = 0;
    virtual StoreFacts facts() const = 0;
    virtual std::string word() const = 0;
};

template <class S>
class StoreHolder final : public StoreObject {
  public:
    explicit StoreHolder(S policy) : policy_(std::move(policy)) {}
    std::unique_ptr<RowStore> make(const StreamRows& rows, const Extent& extent) const override {
        return policy_.make(rows, extent);
    }
    std::size_t bytes(const Codec& codec, int heads, int dims, const Extent& extent, int end,
                      int front, int oldest) const override {
        return policy_.bytes(codec, heads, dims, extent, end, front, oldest);
    }
    StoreFacts facts() const override {
        if constexpr (requires { policy_.facts_now(); })
            return policy_.facts_now();
        else
            return store_facts<S>();
    }
    std::string word() const override {
        if constexpr (requires { policy_.spec(); })
            return policy_.spec();
        else if constexpr (requires { S::word; })
            return spec_of(policy_);
        else
            return "own";
    }

  private:
    S policy_;
};

}  // namespace internal

/// Any store policy with its codecs, chosen at run time.
class AnyStore {
  public:
    AnyStore() = default;
    template <class S>
    requires(!std::is_same_v<S, AnyStore> && StorePolicy<S>)
    AnyStore(S policy)  // NOLINT(google-explicit-constructor)
        : keys(policy.keys),
          values(policy.values),
          object_(static_cast<const internal::StoreObject*>(
              new internal::StoreHolder<S>(std::move(policy)))) {}

    std::unique_ptr<RowStore> make(const StreamRows& rows, const Extent& extent) const {
        return object().make(rows, extent);
    }
    std::size_t bytes(const Codec& codec, int heads, int dims, const Extent& extent, int end,
                      int front, int oldest) const {
        return object().bytes(codec, heads, dims, extent, end, front, oldest);
    }
    StoreFacts facts_now() const { return object().facts(); }
    std::string spec() const { return object().word(); }
    explicit operator bool() const noexcept { return object_ != nullptr; }

    AnyCodec keys;
    AnyCodec values;

  private:
    const internal::StoreObject& object() const {
        require(object_ != nullptr, ErrorCode::bad_state, "no store was chosen");
        return *object_;
    }
    std::shared_ptr<const internal::StoreObject> object_;
};

}}  // namespace cairn
