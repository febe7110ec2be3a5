// Caches by layer, of which several layers may share one.
#pragma once

#include <utility>
#include <vector>

#include "cairn/cache/seam/cache_ref.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// The caches of one sequence, by layer. A layer has a cache of its own, with a layout and policies
/// of its own, or follows an earlier layer: it attends the rows that that one staged and stages
/// none, so that both share one cache. Movable; nothing in it points into it, so a branch needs
/// nothing bound anew.
template <AttentionCache Cache>
class CacheSet {
  public:
    CacheSet() = default;
    CacheSet(CacheSet&&) noexcept = default;
    CacheSet& operator=(CacheSet&& other) noexcept {
        CacheSet taken(std::move(other));  // into itself, it changes nothing
        own_.swap(taken.own_);
        layers_.swap(taken.layers_);
        return *this;
    }

    /// Sets memory aside for as many layers.
    void reserve(int layers) {
        own_.reserve(static_cast<std::size_t>(layers));
        layers_.reserve(static_cast<std::size_t>(layers));
    }
    /// The next layer has this cache.
    [[gnu::cold]] void add(Cache cache) {
        layers_.reserve(layers_.size() + 1);
        own_.push_back(std::move(cache));
        bind();
        layers_.push_back({layers(), own_.size() - 1});
    }
    /// The next layer attends the cache of layer `leader`. Error{invalid_argument} unless that is
    /// an earlier layer with a cache of its own.
    void follow(int leader) {
        require(leader >= 0 && leader < layers() && this->leader(leader) == leader,
                ErrorCode::invalid_argument, "caches: layer ", layers(), " follows layer ", leader,
                ", which is no earlier layer with a cache of its own");
        layers_.push_back(at(leader));
    }

    int layers() const noexcept { return static_cast<int>(layers_.size()); }
    /// The layer whose cache a layer attends: itself where it has its own. Error{invalid_argument}
    /// if there is no such layer.
    int leader(int layer) const { return at(layer).leader; }
    /// The cache that a layer attends, its own or its leader's. Error as of leader().
    Cache& operator[](int layer) { return own_[at(layer).cache]; }
    const Cache& operator[](int layer) const { return own_[at(layer).cache]; }
    /// What the attention of a layer gets: who follows only reads. Error as of leader().
    CacheRef ref(int layer) {
        const CacheRef cache = reference((*this)[layer]);
        return leader(layer) == layer ? cache : cache.reader();
    }

    // Each cache once.
    auto begin() noexcept { return own_.begin(); }
    auto end() noexcept { return own_.end(); }
    auto begin() const noexcept { return own_.begin(); }
    auto end() const noexcept { return own_.end(); }

    /// The same layers over caches from `make(cache)`, for each cache once: a fork or a copy.
    template <class Make>
    CacheSet branch(const Make& make) const {
        CacheSet result;
        result.layers_ = layers_;
        result.own_.reserve(own_.size());
        for (const Cache& cache : own_) {
            result.own_.push_back(make(cache));
            result.bind();
        }
        return result;
    }

  private:
    struct Layer {
        int leader;
        std::size_t cache;  // in own_
    };
    static CacheRef reference(Cache& cache) {
        if constexpr (requires { cache.ref(); })
            return cache.ref();
        else
            return cache;
    }
    // Tells the last cache which one is before it; what it is told stays where it is when caches
    // move.
    void bind() {
        if constexpr (requires(Cache& cache, const Cache& before) { cache.bind(before); })
            if (own_.size() > 1) own_.back().bind(own_[own_.size() - 2]);
    }
    const Layer& at(int layer) const {
        require(layer >= 0 && layer < layers(), ErrorCode::invalid_argument, "layer ", layer,
                " of a session of ", layers());
        return layers_[static_cast<std::size_t>(layer)];
    }

    std::vector<Cache> own_;
    std::vector<Layer> layers_;
};

}}  // namespace cairn
