// A whole cache from outside: rows in vectors. One file; the engine, sessions and generate take it
// by its type and by a word, and verify_equivalence proves it, or finds out one that is wrong.
#include <cstdio>
#include <cstring>
#include <vector>

#include <cairn/cache/cache_spec.hpp>
#include <cairn/cairn.hpp>

// It is written for reading, as it stands in docs/extend.md, and mixes int and size_t.
#pragma GCC diagnostic ignored "-Wsign-conversion"

namespace {

// docs/extend.md begins
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
    VectorCache fork() const { return *this; }

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
    int max_rows() const { return capacity_ - length_; }  // that one stage may bring now
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
// docs/extend.md ends
// By a word.
struct InVectors {
    static constexpr std::string_view word = "vector";
    VectorCache make(const cairn::HeadLayout& layout, int capacity, int) const {
        return VectorCache(layout, capacity);
    }
};
static_assert(cairn::AttentionCache<VectorCache> && cairn::Rewindable<VectorCache> &&
              cairn::SessionCache<VectorCache>);

// A wrong one: rows that come one by one get other bits than rows that come together.
class StaleCache : public VectorCache {
  public:
    using VectorCache::VectorCache;
    void stage(cairn::TokenRows k, cairn::TokenRows v) {
        std::vector<float> wrong(v.data, v.data + v.stride * v.rows);
        if (v.rows == 1) wrong[0] += 1e-6F;
        VectorCache::stage(k, {wrong.data(), v.stride, v.rows});
    }
};

// And one that keeps all staged rows whatever was accepted.
class GreedyCache : public VectorCache {
  public:
    using VectorCache::VectorCache;
    void commit(int rows) noexcept { VectorCache::commit(rows > 0 ? length() - committed() : 0); }
};

template <class Cache>
cairn::Equivalence verify(const cairn::Gpt2& model, cairn::Tokens tokens) {
    return cairn::verify_equivalence(
        model, tokens,
        [](int, const cairn::HeadLayout& layout, int rows) { return Cache(layout, rows); });
}

}  // namespace

int main() {
    const auto model = cairn::TinyGpt::random(
                           {.layers = 2, .heads = 2, .width = 32, .vocab = 50, .context = 300}, 1)
                           .model();
    std::vector<cairn::Token> tokens;
    cairn::Random random(1);
    for (int i = 0; i < 280; ++i) tokens.push_back(cairn::Token(random.below(50)));
    const cairn::Equivalence own = verify<VectorCache>(model, tokens);
    const cairn::Equivalence stale = verify<StaleCache>(model, tokens);
    const bool proved = own.exact && own.rounds == 8;
    const bool refuted =
        !stale.exact && stale.first_token == 0 && !verify<GreedyCache>(model, tokens).exact;
    // And the same bits as the library's own cache.
    auto a = model.session<VectorCache>(280);
    auto b = model.session<cairn::KvCache<>>(280);
    const auto x = a.prefill(tokens);
    const auto y = b.prefill(tokens);
    const bool same = std::memcmp(x.data(), y.data(), x.size_bytes()) == 0;
    cairn::cache_words().cache(InVectors{});
    const auto spec = cairn::CacheSpec::parse("vector");
    auto c = model.session(280, cairn::Serial::instance(), spec);
    const auto z = c.prefill(tokens);
    const bool by_word =
        spec.canonical() == "vector" && std::memcmp(x.data(), z.data(), x.size_bytes()) == 0;
    const bool good = proved && refuted && same && by_word;
    std::printf("a whole cache: %s\n", good ? "the same bits" : "DIFFERENT");
    return good ? 0 : 1;
}
