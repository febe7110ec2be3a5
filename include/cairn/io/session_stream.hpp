// The bytes of a session file: blocks with checksums, written and read one after another.
//
//   "CAIRNSES", version u32, checksum of the twelve bytes u32; then blocks [size u32][bytes]
//   [checksum u64] until a block of size 0; nothing may follow. All numbers little-endian. Every
//   checksum covers what came before it: a changed bit, a missing or a moved block is found.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/cache/seam/archive.hpp"
#include "cairn/core/fingerprint.hpp"
#include "cairn/io/file.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

inline constexpr std::string_view session_magic = "CAIRNSES";
inline constexpr std::uint32_t session_version = 3;
/// The oldest version that can be read.
inline constexpr std::uint32_t oldest_session_version = 2;

class SessionWriter final : public CacheArchive {
  public:
    explicit SessionWriter(const std::string& path) : file_(path) {
        std::array<std::byte, 16> head{};
        std::memcpy(head.data(), session_magic.data(), 8);
        std::memcpy(head.data() + 8, &session_version, 4);
        hash_.add(head.data(), 12);
        const auto check = static_cast<std::uint32_t>(hash_.value());
        std::memcpy(head.data() + 12, &check, 4);
        file_.write(head);
        block_.reserve(most);
    }
    bool loading() const noexcept override { return false; }
    using CacheArchive::number;
    void number(std::string_view, std::int64_t& value, std::int64_t, std::int64_t) override {
        bytes(&value, 8);
    }
    void bytes(void* data, std::size_t size) override {
        const auto* at = static_cast<const std::byte*>(data);
        while (size > 0) {
            const std::size_t n = std::min(size, most - block_.size());
            block_.insert(block_.end(), at, at + n);
            at += n;
            size -= n;
            if (block_.size() == most) flush();
        }
    }
    void finish(OutputFile::Durability durability) {
        if (!block_.empty()) flush();
        flush();
        file_.finish(durability);
    }

  private:
    static constexpr std::size_t most = std::size_t{1} << 16;
    void flush() {
        const auto size = static_cast<std::uint32_t>(block_.size());
        hash_.add(size);
        hash_.add(block_.data(), block_.size());
        const std::uint64_t check = hash_.value();
        const auto* s = reinterpret_cast<const std::byte*>(&size);
        const auto* c = reinterpret_cast<const std::byte*>(&check);
        block_.insert(block_.begin(), s, s + 4);
        block_.insert(block_.end(), c, c + 8);
        file_.write(block_);
        block_.clear();
    }
    OutputFile file_;
    Fingerprint hash_;
    std::vector<std::byte> block_;
};

class SessionReader final : public CacheArchive {
  public:
    explicit SessionReader(const std::string& path) : file_(path) {
        std::array<std::byte, 16> head{};
        require(file_.size() >= head.size(), ErrorCode::bad_file, path, ": ", file_.size(),
                " bytes are no session file");
        file_.read(0, head);
        at_ = head.size();
        require(std::memcmp(head.data(), session_magic.data(), 8) == 0, ErrorCode::bad_file, path,
                ": not a session file");
        std::uint32_t check = 0;
        std::memcpy(&version_, head.data() + 8, 4);
        std::memcpy(&check, head.data() + 12, 4);
        hash_.add(head.data(), 12);
        require(check == static_cast<std::uint32_t>(hash_.value()), ErrorCode::bad_file, path,
                ": the header's checksum is wrong");
        require(version_ >= oldest_session_version && version_ <= session_version,
                ErrorCode::bad_file, path, ": version ", version_, "; this library reads ",
                oldest_session_version, " to ", session_version);
    }
    std::uint32_t version() const noexcept { return version_; }
    bool loading() const noexcept override { return true; }
    using CacheArchive::number;
    void number(std::string_view what, std::int64_t& value, std::int64_t least,
                std::int64_t most) override {
        bytes(&value, 8);
        require(value >= least && value <= most, ErrorCode::bad_file, file_.path(), ": ", what, " ",
                value, " is not in ", least, "..", most);
    }
    void bytes(void* data, std::size_t size) override {
        auto* to = static_cast<std::byte*>(data);
        while (size > 0) {
            if (used_ == block_.size()) next();
            const std::size_t n = std::min(size, block_.size() - used_);
            std::memcpy(to, block_.data() + used_, n);
            used_ += n;
            to += n;
            size -= n;
        }
    }
    /// The file must end here.
    void finish() {
        require(used_ == block_.size() && !ended_, ErrorCode::bad_file, file_.path(),
                ": holds more than a session");
        read_block();
        require(ended_ && at_ == file_.size(), ErrorCode::bad_file, file_.path(), ": ",
                file_.size() - at_, " bytes behind the end");
    }
    const std::string& path() const noexcept { return file_.path(); }
    /// Bytes that are left: no count in the file may ask for more.
    std::int64_t left() const noexcept {
        return static_cast<std::int64_t>(file_.size() - at_ + block_.size() - used_);
    }

  private:
    void next() {
        read_block();
        require(!ended_, ErrorCode::bad_file, file_.path(), ": ends early");
    }
    void read_block() {
        std::uint32_t size = 0;
        std::uint64_t check = 0;
        read(&size, 4);
        require(size <= 1U << 16, ErrorCode::bad_file, file_.path(), ": a block of ", size,
                " bytes at ", at_ - 4);
        block_.resize(size);
        read(block_.data(), size);
        read(&check, 8);
        hash_.add(size);
        hash_.add(block_.data(), block_.size());
        require(check == hash_.value(), ErrorCode::bad_file, file_.path(),
                ": wrong checksum before byte ", at_);
        used_ = 0;
        ended_ = size == 0;
    }
    void read(void* to, std::size_t size) {
        require(size <= file_.size() - at_, ErrorCode::bad_file, file_.path(), ": ends at byte ",
                file_.size(), ", inside a block");
        file_.read(at_, {static_cast<std::byte*>(to), size});
        at_ += size;
    }
    InputFile file_;
    Fingerprint hash_;
    std::uint32_t version_ = 0;
    std::size_t at_ = 0;
    std::vector<std::byte> block_;
    std::size_t used_ = 0;
    bool ended_ = false;
};

}  // namespace internal

}}  // namespace cairn
