// A vector whose room is said once. It never moves what it holds, so a type costs a tenth of the
// functions that std::vector compiles for it: they are made in every program that has a cache.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// Up to `room` objects in place. Movable: what a new one is made of is empty then, and assignment
/// swaps.
template <class T>
class FixedVector {
    static_assert(alignof(T) <= __STDCPP_DEFAULT_NEW_ALIGNMENT__);

  public:
    FixedVector() = default;
    /// Throws std::bad_alloc.
    explicit FixedVector(std::size_t room)
        : data_(static_cast<T*>(::operator new(room * sizeof(T)))) {}
    FixedVector(FixedVector&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    FixedVector& operator=(FixedVector&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~FixedVector() {
        while (size_ > 0) data_[--size_].~T();
        ::operator delete(data_);
    }

    /// There is room for one more.
    template <class... Arguments>
    T& emplace_back(Arguments&&... arguments) {
        T* made = new (data_ + size_) T{std::forward<Arguments>(arguments)...};
        ++size_;
        return *made;
    }
    std::size_t size() const noexcept { return size_; }
    bool empty() const noexcept { return size_ == 0; }
    T* begin() noexcept { return data_; }
    T* end() noexcept { return data_ + size_; }
    const T* begin() const noexcept { return data_; }
    const T* end() const noexcept { return data_ + size_; }
    T& operator[](std::size_t i) noexcept { return data_[i]; }
    const T& operator[](std::size_t i) const noexcept { return data_[i]; }
    T& front() noexcept { return data_[0]; }
    const T& front() const noexcept { return data_[0]; }
    T& back() noexcept { return data_[size_ - 1]; }
    const T& back() const noexcept { return data_[size_ - 1]; }

  private:
    T* data_ = nullptr;
    std::size_t size_ = 0;
};

}}}  // namespace cairn::internal
