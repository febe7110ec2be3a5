// Raw memory: 64-byte aligned buffers, and address space of which only touched pages cost memory.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <utility>

#include "cairn/core/checked.hpp"
#include "cairn/core/error.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Bytes of a page of this machine.
inline std::size_t page_size() noexcept {
    static const auto size = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return size;
}

/// Zeroed anonymous memory, mapped page by page as it is touched. Movable, not copyable.
class Mapping {
  public:
    /// Whether the system may back the memory with huge pages at once (weights) or must commit it
    /// one small page at a time (caches that grow), or gives none before `commit` (reserved).
    enum class Pages : std::uint8_t { small, huge, reserved };

    Mapping() = default;
    /// Maps `bytes` (rounded up to pages). Throws Error{out_of_memory}.
    Mapping(std::size_t bytes, Pages pages) : bytes_(round_up(bytes, page_size())) {
        if (bytes_ == 0) return;
        require(bytes_ >= bytes, ErrorCode::out_of_memory, "mapping ", bytes, " bytes");
        void* at =
            ::mmap(nullptr, bytes_, pages == Pages::reserved ? PROT_NONE : PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        require(at != MAP_FAILED, ErrorCode::out_of_memory, "cannot reserve ", bytes_,
                " bytes of address space");
        data_ = static_cast<std::byte*>(at);
#if defined(MADV_HUGEPAGE)
        ::madvise(at, bytes_, pages == Pages::huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#else
        (void)pages;
#endif
    }
    Mapping(Mapping&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    Mapping& operator=(Mapping&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    ~Mapping() {
        if (data_ != nullptr) ::munmap(data_, bytes_);
    }

    /// Makes bytes [offset, offset + size) of a reserved mapping usable; whole pages. Throws
    /// Error{out_of_memory}.
    void commit(std::size_t offset, std::size_t size) const {
        require(size == 0 || ::mprotect(data_ + offset, size, PROT_READ | PROT_WRITE) == 0,
                ErrorCode::out_of_memory, "cannot commit ", size, " bytes of cache memory");
    }
    /// Gives committed pages back to the system; touching them before the next commit is a fault.
    void decommit(std::size_t offset, std::size_t size) const noexcept {
        if (size == 0) return;
        ::madvise(data_ + offset, size, MADV_DONTNEED);
        ::mprotect(data_ + offset, size, PROT_NONE);
    }

    /// Gives touched pages back to the system; they are zero when touched again.
    void discard(std::size_t offset, std::size_t size) const noexcept {
        if (size != 0) ::madvise(data_ + offset, size, MADV_DONTNEED);
    }

    std::byte* data() const noexcept { return data_; }
    /// Reserved bytes: a multiple of the page size.
    std::size_t size() const noexcept { return bytes_; }

  private:
    std::byte* data_ = nullptr;
    std::size_t bytes_ = 0;
};

/// `count` floats aligned for SIMD, uninitialised after growth. Movable.
class FloatBuffer {
  public:
    FloatBuffer() = default;
    explicit FloatBuffer(std::size_t count) { reserve(count); }
    FloatBuffer(FloatBuffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    FloatBuffer& operator=(FloatBuffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(size_, other.size_);
        return *this;
    }
    ~FloatBuffer() { release(); }

    /// At least `count` floats; the contents are lost when it grows. Throws std::bad_alloc.
    void reserve(std::size_t count) {
        if (count <= size_) return;
        auto* grown = static_cast<float*>(
            ::operator new(checked_mul(count, sizeof(float), "buffer"), std::align_val_t{64}));
        release();
        data_ = grown;
        size_ = count;
    }

    float* data() const noexcept { return data_; }
    std::size_t size() const noexcept { return size_; }

  private:
    void release() noexcept {
        if (data_ != nullptr) ::operator delete(data_, std::align_val_t{64});
    }
    float* data_ = nullptr;
    std::size_t size_ = 0;
};

}}  // namespace cairn
