// The cache of docs/add-a-cache.md, as it stands there, proved by verify_equivalence; and one that
// is wrong, which must be found out.
#include "support.hpp"
using namespace support;

// The page is for reading: it mixes int and size_t as people do.
#pragma GCC diagnostic ignored "-Wsign-conversion"

// docs/add-a-cache.md begins
class VectorCache {
  public:
    VectorCache(const cairn::HeadLayout& layout, int capacity)
        : layout_(layout), capacity_(capacity), keys_(layout.kv_heads), values_(layout.kv_heads) {
        for (auto& head : keys_) head.resize(std::size_t(capacity) * layout.key_dim);
        for (auto& head : values_) head.resize(std::size_t(capacity) * layout.value_dim);
    }

    // Write rows where nobody but attention sees them. Refuse before anything changes.
    void stage(cairn::TokenRows k, cairn::TokenRows v) {
        if (k.rows > capacity_ - length_)
            throw cairn::Error(cairn::ErrorCode::capacity, "VectorCache is full");
        for (int h = 0; h < layout_.kv_heads; ++h)
            for (int r = 0; r < k.rows; ++r) {
                std::copy_n(k.data + r * k.stride + h * layout_.key_dim, layout_.key_dim,
                            keys_[h].data() + std::size_t(length_ + r) * layout_.key_dim);
                std::copy_n(v.data + r * v.stride + h * layout_.value_dim, layout_.value_dim,
                            values_[h].data() + std::size_t(length_ + r) * layout_.value_dim);
            }
        length_ += k.rows;
    }
    // Commit only moves numbers: it cannot fail.
    void commit(int rows) noexcept { length_ = committed_ += std::min(rows, length_ - committed_); }
    void rollback() noexcept { commit(0); }
    bool can_truncate(int rows) const { return rows >= 0 && rows <= committed_; }
    void truncate(int rows) { length_ = committed_ = rows; }
    void clear() { truncate(0); }

    // Tell the engine where the rows are: one run of f32 rows in one block.
    void runs(int head, cairn::RunList& keys, cairn::RunList& values) const {
        const auto run = [&](const std::vector<float>& rows, const cairn::Codec& codec, int dim) {
            cairn::Run r;
            r.end = length_;
            r.codec = &codec;
            r.head = head;
            r.data = reinterpret_cast<std::byte*>(const_cast<float*>(rows.data()));
            r.block_size = capacity_;
            r.stride = std::ptrdiff_t(dim * sizeof(float));
            return r;
        };
        keys.clear();
        values.clear();
        keys.push(run(keys_[head], cairn::F32::keys(), layout_.key_dim));
        values.push(run(values_[head], cairn::F32::values(), layout_.value_dim));
    }

    int committed() const { return committed_; }
    int length() const { return length_; }
    int capacity() const { return capacity_; }
    int max_rows() const { return capacity_; }
    cairn::HeadLayout layout() const { return layout_; }
    std::size_t payload_bytes(int rows) const {
        return sizeof(float) * rows * layout_.kv_heads * (layout_.key_dim + layout_.value_dim);
    }
    std::size_t bytes() const { return payload_bytes(capacity_); }

  private:
    cairn::HeadLayout layout_;
    int capacity_, committed_ = 0, length_ = 0;
    std::vector<std::vector<float>> keys_, values_;
};
// docs/add-a-cache.md ends

static_assert(AttentionCache<VectorCache> && Rewindable<VectorCache> && SessionCache<VectorCache>);

namespace {

// Forgets that rollback and truncate must make the next row overwrite: it keeps a stale value.
class StaleCache : public VectorCache {
  public:
    using VectorCache::VectorCache;
    void stage(TokenRows k, TokenRows v) {
        std::vector<float> wrong(v.data, v.data + v.stride * v.rows);
        if (v.rows == 1) wrong[0] += 1e-6F;  // only rows that come one by one
        VectorCache::stage(k, {wrong.data(), v.stride, v.rows});
    }
};

// Keeps all staged rows whatever was accepted.
class GreedyCache : public VectorCache {
  public:
    using VectorCache::VectorCache;
    void commit(int rows) noexcept { VectorCache::commit(rows > 0 ? length() - committed() : 0); }
};

}  // namespace

TEST_CASE("a cache of one's own is proved or refuted by its bits", "[verify]") {
    const auto model =
        TinyGpt::random({.layers = 2, .heads = 2, .width = 32, .vocab = 50, .context = 300}, 1)
            .model();
    Random random(1);
    const auto tokens = random_tokens(random, 280, 50);
    const auto check = [&]<class C>(std::type_identity<C>) {
        return verify_equivalence(
            model, tokens, [](int, const HeadLayout& layout, int rows) { return C(layout, rows); });
    };
    const Equivalence own = check(std::type_identity<VectorCache>());
    CHECK(own.exact);
    CHECK(own.rounds == 8);
    CHECK(check(std::type_identity<KvCache<Contiguous<F16>>>()).exact);
    const Equivalence stale = check(std::type_identity<StaleCache>());
    CHECK_FALSE(stale.exact);
    CHECK(stale.first_token == 0);
    CHECK_FALSE(check(std::type_identity<GreedyCache>()).exact);
    // And the same bits as the library's own cache.
    auto a = model.session<VectorCache>(280);
    auto b = model.session<KvCache<>>(280);
    CHECK(same_bits(a.prefill(tokens), b.prefill(tokens)));
}
