// The run-time choice of a cache, at the edge of the library: a thin shell around any KvCache, and
// the SPEC that names one, as in `--cache contiguous:k=f16,v=bf16`.
#pragma once

#include <concepts>
#include <iterator>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/cache/kv_cache.hpp"

namespace cairn::inline CAIRN_ABI {

/// Owns a cache of any type that can be truncated, forked and copied. One indirect call an
/// operation.
class AnyCache {
  public:
    template <class C>
    requires(Rewindable<C>&& Forkable<C> && !std::same_as<C, AnyCache>) explicit AnyCache(C cache)
        : self_(std::make_unique<Holder<C>>(std::move(cache))) {}

    void stage(TokenRows k, TokenRows v) { self_->stage(k, v); }
    void commit(int rows) noexcept { self_->commit(rows); }
    void rollback() noexcept { commit(0); }
    bool can_truncate(int rows) const { return self_->can_truncate(rows); }
    void truncate(int rows) { self_->truncate(rows); }
    void clear() { truncate(0); }
    AnyCache fork() const { return AnyCache(self_->fork()); }
    AnyCache copy() const { return AnyCache(self_->copy()); }
    void runs(int kv_head, RunList& keys, RunList& values) const {
        self_->runs(kv_head, keys, values);
    }
    int committed() const { return self_->committed(); }
    int length() const { return self_->length(); }
    int capacity() const { return self_->capacity(); }
    int max_rows() const { return self_->max_rows(); }
    HeadLayout layout() const { return self_->layout(); }
    std::size_t payload_bytes(int rows) const { return self_->payload_bytes(rows); }
    std::size_t bytes() const { return self_->bytes(); }

  private:
    struct Interface {
        virtual ~Interface() = default;
        virtual void stage(TokenRows k, TokenRows v) = 0;
        virtual void commit(int rows) noexcept = 0;
        virtual bool can_truncate(int rows) const = 0;
        virtual void truncate(int rows) = 0;
        virtual std::unique_ptr<Interface> fork() const = 0;
        virtual std::unique_ptr<Interface> copy() const = 0;
        virtual void runs(int kv_head, RunList& keys, RunList& values) const = 0;
        virtual int committed() const = 0;
        virtual int length() const = 0;
        virtual int capacity() const = 0;
        virtual int max_rows() const = 0;
        virtual HeadLayout layout() const = 0;
        virtual std::size_t payload_bytes(int rows) const = 0;
        virtual std::size_t bytes() const = 0;
    };
    template <class C>
    struct Holder final : Interface {
        explicit Holder(C held) : cache(std::move(held)) {}
        void stage(TokenRows k, TokenRows v) override { cache.stage(k, v); }
        void commit(int rows) noexcept override { cache.commit(rows); }
        bool can_truncate(int rows) const override { return cache.can_truncate(rows); }
        void truncate(int rows) override { cache.truncate(rows); }
        std::unique_ptr<Interface> fork() const override {
            return std::make_unique<Holder>(cache.fork());
        }
        std::unique_ptr<Interface> copy() const override {
            return std::make_unique<Holder>(cache.copy());
        }
        void runs(int kv_head, RunList& keys, RunList& values) const override {
            cache.runs(kv_head, keys, values);
        }
        int committed() const override { return cache.committed(); }
        int length() const override { return cache.length(); }
        int capacity() const override { return cache.capacity(); }
        int max_rows() const override { return cache.max_rows(); }
        HeadLayout layout() const override { return cache.layout(); }
        std::size_t payload_bytes(int rows) const override { return cache.payload_bytes(rows); }
        std::size_t bytes() const override { return cache.bytes(); }
        C cache;
    };
    explicit AnyCache(std::unique_ptr<Interface> self) : self_(std::move(self)) {}
    std::unique_ptr<Interface> self_;
};

/// A cache by name: store [':' codec], codec = NAME | k=NAME,v=NAME. Stores: contiguous. Codecs:
/// f32, f16, bf16.
class CacheSpec {
  public:
    /// Throws Error{usage} naming the choices.
    static CacheSpec parse(std::string_view text) {
        const std::size_t colon = text.find(':');
        const std::string_view store = text.substr(0, colon);
        require(store == "contiguous", ErrorCode::usage, "cache SPEC \"", text.substr(0, 80),
                "\": unknown store \"", store.substr(0, 40), "\"; known: ", stores);
        CacheSpec spec;
        if (colon == std::string_view::npos) return spec;
        const std::string_view codec = text.substr(colon + 1);
        if (codec.starts_with("k=")) {
            const std::size_t comma = codec.find(",v=");
            require(comma != std::string_view::npos, ErrorCode::usage, "cache SPEC \"",
                    text.substr(0, 80), "\": k=CODEC needs ,v=CODEC");
            spec.keys_ = name(codec.substr(2, comma - 2), text);
            spec.values_ = name(codec.substr(comma + 3), text);
        } else {
            spec.keys_ = spec.values_ = name(codec, text);
        }
        return spec;
    }
    /// The one spelling of this cache.
    std::string canonical() const {
        if (keys_ == values_) return "contiguous:" + std::string(tags[keys_].name);
        return "contiguous:k=" + std::string(tags[keys_].name) +
               ",v=" + std::string(tags[values_].name);
    }
    /// A cache of this kind.
    AnyCache make(const HeadLayout& layout, int capacity) const {
        return AnyCache(KvCache<ContiguousStore>(
            layout, capacity,
            ContiguousStore(tags[keys_].keys(), tags[values_].values(), layout, capacity)));
    }
    /// The words a SPEC may use, for help texts.
    static constexpr std::string_view stores = "contiguous";
    static constexpr std::string_view codecs = "f32, f16, bf16";

  private:
    struct Tag {
        std::string_view name;
        const Codec& (*keys)() noexcept;
        const Codec& (*values)() noexcept;
    };
    static constexpr Tag tags[] = {{"f32", F32::keys, F32::values},
                                   {"f16", F16::keys, F16::values},
                                   {"bf16", BF16::keys, BF16::values}};
    static std::size_t name(std::string_view word, std::string_view text) {
        for (std::size_t i = 0; i < std::size(tags); ++i)
            if (tags[i].name == word) return i;
        fail(ErrorCode::usage, "cache SPEC \"", text.substr(0, 80), "\": unknown codec \"",
             word.substr(0, 40), "\"; known: ", codecs);
    }
    std::size_t keys_ = 0;
    std::size_t values_ = 0;
};

}  // namespace cairn::inline CAIRN_ABI
