// What several tests of cache/ share.
#pragma once

#include "support.hpp"

namespace support {

inline constexpr HeadLayout uneven_heads{4, 2, 20, 12};

struct Step {
    RowMatrix k, v;
    Step(Random& random, int rows)
        : k(random_matrix(random, rows, 40)), v(random_matrix(random, rows, 24)) {}
};

template <class C>
void append(C& cache, const Step& step) {
    cache.stage(token_rows(step.k), token_rows(step.v));
    cache.commit(static_cast<int>(step.k.rows()));
}

// All committed rows, decoded: what attention would see.
template <class C>
std::vector<float> decoded_rows(const C& cache) {
    std::vector<float> result;
    for (int h = 0; h < uneven_heads.kv_heads; ++h) {
        RunList keys, values;
        cache.runs(h, keys, values);
        for (const auto* list : {&keys, &values})
            for (const Run& run : *list) {
                const int dims = list == &keys ? uneven_heads.key_dim : uneven_heads.value_dim;
                std::vector<float> row(static_cast<std::size_t>(dims));
                for (int r = run.begin; r < std::min(run.end, cache.committed()); ++r) {
                    run.codec->decode(run.rows(r, r + 1), dims, row.data(), dims);
                    result.insert(result.end(), row.begin(), row.end());
                }
            }
    }
    return result;
}

// An archive in memory. Reading more than there is is refused, as by a file that ends.
class MemoryArchive final : public CacheArchive {
  public:
    MemoryArchive() = default;
    explicit MemoryArchive(std::vector<std::byte> stored)
        : stored_(std::move(stored)), loading_(true) {}
    bool loading() const noexcept override { return loading_; }
    using CacheArchive::number;
    void number(std::string_view what, std::int64_t& value, std::int64_t least,
                std::int64_t most) override {
        bytes(&value, sizeof value);
        require(!loading_ || (value >= least && value <= most), ErrorCode::bad_file, what, " ",
                value, " is not in ", least, "..", most);
    }
    void bytes(void* data, std::size_t size) override {
        auto* at = static_cast<std::byte*>(data);
        if (!loading_) {
            stored_.insert(stored_.end(), at, at + size);
            return;
        }
        require(size <= stored_.size() - read_, ErrorCode::bad_file, "the archive ends");
        std::copy_n(stored_.begin() + static_cast<std::ptrdiff_t>(read_), size, at);
        read_ += size;
    }
    const std::vector<std::byte>& stored() const noexcept { return stored_; }

  private:
    std::vector<std::byte> stored_;
    std::size_t read_ = 0;
    bool loading_ = false;
};
template <class C>
std::vector<std::byte> archived(C& cache) {
    MemoryArchive archive;
    cache.archive(archive);
    return archive.stored();
}

}  // namespace support
