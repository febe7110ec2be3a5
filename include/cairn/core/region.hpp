// Memory for many arrays that live about as long as each other, side by side in huge pages.
#pragma once

#include <algorithm>
#include <cstddef>
#include <memory>
#include <utility>

#include "cairn/core/memory.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A piece of a mapping that pieces may share: the last one to go frees it. Movable, not copyable.
class MappedPiece {
  public:
    MappedPiece() = default;
    /// Bytes [offset, offset + size) of a mapping.
    MappedPiece(std::shared_ptr<const Mapping> whole, std::size_t offset, std::size_t size) noexcept
        : whole_(std::move(whole)), data_(whole_->data() + offset), size_(size) {}
    /// A mapping of its own. Throws Error{out_of_memory}, std::bad_alloc.
    MappedPiece(std::size_t bytes, Mapping::Pages pages)
        : MappedPiece(std::make_shared<const Mapping>(bytes, pages)) {}
    MappedPiece(MappedPiece&& other) noexcept
        : whole_(std::move(other.whole_)),
          data_(std::exchange(other.data_, nullptr)),
          size_(std::exchange(other.size_, 0)) {}
    MappedPiece& operator=(MappedPiece&& other) noexcept {
        std::swap(whole_, other.whole_);
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~MappedPiece() = default;

    std::byte* data() const noexcept { return data_; }
    /// A multiple of the page size.
    std::size_t size() const noexcept { return size_; }

  private:
    explicit MappedPiece(std::shared_ptr<const Mapping> whole) noexcept
        : MappedPiece(std::move(whole), 0, 0) {
        size_ = whole_->size();
    }
    std::shared_ptr<const Mapping> whole_;
    std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

/// Hands out zeroed pieces one behind the other. An array alone lies in huge pages but for its
/// ends, which in a model of many matrices is a fifth of all; pieces share the pages where they
/// meet. Only what is touched costs memory, and up to a huge page a mapping. Not shared between
/// threads.
class Region {
  public:
    /// A piece of whole small pages. Throws Error{out_of_memory}, std::bad_alloc; pieces handed out
    /// before stay as they are.
    MappedPiece take(std::size_t bytes) {
        if (bytes == 0) return {};
        const std::size_t size = round_up(bytes, page_size());
        require(size >= bytes && size <= ~std::size_t{0} - most - huge_page,
                ErrorCode::out_of_memory, "mapping ", bytes, " bytes");
        if (size > left_) map_more(size);
        MappedPiece piece(whole_, whole_->size() - left_, size);
        left_ -= size;
        return piece;
    }

  private:
    static constexpr std::size_t huge_page = std::size_t{2} << 20;
    static constexpr std::size_t most = std::size_t{256} << 20;

    void map_more(std::size_t least) {
        const std::size_t size = round_up(std::max(least, step_), huge_page);
        // Address space for the first huge page to begin in; what lies before it is never touched.
        auto more = std::make_shared<const Mapping>(size + huge_page, Mapping::Pages::huge);
        const auto at = reinterpret_cast<std::uintptr_t>(more->data());
        left_ = more->size() - (round_up(at, huge_page) - at);
        whole_ = std::move(more);
        step_ = std::min(2 * step_, most);
    }
    std::shared_ptr<const Mapping> whole_;
    std::size_t step_ = huge_page;
    std::size_t left_ = 0;  // of the last mapping, at its end
};

}}  // namespace cairn
