// A store from outside: rows in a file that the host opened, read back while attention needs them.
// One file, settings of its own (the file), reached by type and by the word `hostfile`.
#include <unistd.h>

#include <cstdio>
#include <memory>

#include <cairn/cache/cache_spec.hpp>

#include "naive.hpp"

namespace {

// The host's file: closed when the last cache that lies in it is gone.
struct HostFile {
    std::FILE* stream = std::tmpfile();
    off_t end = 0;  // where the next stream's rows begin
    ~HostFile() { std::fclose(stream); }
};

// Rows of one stream at an offset of the file, head after head; every write goes through.
class FileRows final : public cairn::RowStore, public cairn::RowSource {
  public:
    FileRows(const cairn::StreamRows& rows, int capacity, std::shared_ptr<HostFile> file)
        : codec_(rows.codec), heads_(rows.heads), dims_(rows.dims), file_(std::move(file)) {
        unit_ = codec_->unit_bytes(dims_);
        head_bytes_ = codec_->units(capacity) * unit_;
        begin_ = file_->end;
        file_->end += static_cast<off_t>(head_bytes_) * heads_;
        window_.resize(codec_->units(capacity) * unit_ * static_cast<std::size_t>(heads_));
    }
    void reserve(int begin, int end) override {
        flush(begin);
        length_ = end;
    }
    void release(int, int) noexcept override {}
    void cut(int end) noexcept override {
        length_ = std::min(length_, end);
        written_ = std::min(written_, end);
    }
    int oldest() const noexcept override { return 0; }
    // Whole tiles that were written lie in the file; the newest rows are still in memory.
    int front() const noexcept override { return written_; }
    bool chunked() const noexcept override { return true; }
    void locate(int head, int row, cairn::Run& run) const noexcept override {
        run.codec = codec_.get();
        run.head = head;
        run.block_table = nullptr;
        run.block_size = static_cast<int>(head_bytes_ / unit_) * codec_->rows_per_unit;
        run.block_bytes = 0;
        run.stride = static_cast<std::ptrdiff_t>(unit_);
        run.source = row < written_ ? this : nullptr;
        run.data = row < written_ ? nullptr : memory(head);
    }
    int fetch(int head, int begin, int end, std::byte* to) const noexcept override {
        const std::size_t first = static_cast<std::size_t>(begin / codec_->rows_per_unit) * unit_;
        const std::size_t size = codec_->units(end - begin) * unit_;
        const ssize_t n =
            ::pread(::fileno(file_->stream), to, size,
                    begin_ + static_cast<off_t>(head_bytes_) * head + static_cast<off_t>(first));
        return n == static_cast<ssize_t>(size) ? 0 : EIO;
    }
    void prefetch(int, int, int) const noexcept override {}
    std::unique_ptr<cairn::RowStore> share() const override {
        auto other = std::make_unique<FileRows>(
            cairn::StreamRows{codec_, heads_, dims_},
            static_cast<int>(head_bytes_ / unit_) * codec_->rows_per_unit, file_);
        other->length_ = length_;
        other->window_ = window_;
        return other;  // all of its rows are in memory again until it writes them
    }
    std::unique_ptr<cairn::RowStore> copy(int) const override { return share(); }
    std::size_t bytes() const noexcept override { return window_.size(); }

  private:
    std::byte* memory(int head) const noexcept {
        return const_cast<std::byte*>(window_.data()) +
               static_cast<std::size_t>(head) * head_bytes_;
    }
    // Rows below `end`, whole tiles of 256 of them, go to the file.
    void flush(int end) {
        const int whole = end / 256 * 256;
        if (whole <= written_) return;
        for (int h = 0; h < heads_; ++h) {
            const std::size_t from =
                static_cast<std::size_t>(written_ / codec_->rows_per_unit) * unit_;
            const std::size_t size = codec_->units(whole - written_) * unit_;
            const ssize_t n =
                ::pwrite(::fileno(file_->stream), memory(h) + from, size,
                         begin_ + static_cast<off_t>(head_bytes_) * h + static_cast<off_t>(from));
            cairn::require(n == static_cast<ssize_t>(size), cairn::ErrorCode::io,
                           "the host's file: ", size, " bytes could not be written");
        }
        written_ = whole;
    }
    std::shared_ptr<const cairn::Codec> codec_;
    int heads_;
    int dims_;
    std::shared_ptr<HostFile> file_;
    std::size_t unit_ = 0;
    std::size_t head_bytes_ = 0;
    off_t begin_ = 0;
    int length_ = 0;
    int written_ = 0;
    std::vector<std::byte> window_;
};

// The policy: codecs, and the file as a setting.
template <class Keys = cairn::F32, class Values = Keys>
struct InHostFile {
    Keys keys{};
    Values values{};
    std::shared_ptr<HostFile> file{};

    static constexpr std::string_view word = "hostfile";
    static constexpr std::string_view help = "rows in a file that the program opened";
    static constexpr cairn::StoreFacts facts{.flat = true, .shares = true, .on_disk = true};
    std::unique_ptr<cairn::RowStore> make(const cairn::StreamRows& rows,
                                          const cairn::Extent& extent) const {
        cairn::require(file != nullptr, cairn::ErrorCode::invalid_argument, "hostfile: no file");
        return std::make_unique<FileRows>(rows, extent.capacity, file);
    }
    static std::size_t bytes(const cairn::Codec& codec, int heads, int dims,
                             const cairn::Extent& extent, int, int, int) {
        return codec.units(extent.capacity) * codec.unit_bytes(dims) *
               static_cast<std::size_t>(heads);
    }
};

}  // namespace

int main() {
    const cairn::HeadLayout layout{4, 2, 20, 12};
    const extension::Text text(layout, 700, 1);
    const float scale = 0.3F;
    const auto all = [](int, int, int) { return true; };
    const auto wanted = extension::naive(text.q, text.k, text.v, layout, scale, all);

    const auto file = std::make_shared<HostFile>();
    const bool by_type = extension::everywhere(
        [&] { return cairn::KvCache<InHostFile<cairn::F32>>(layout, 800, {.file = file}); }, text,
        layout, scale, wanted);
    cairn::cache_words().store(InHostFile<cairn::AnyCodec>{.file = file});
    const cairn::CacheSpec spec = cairn::CacheSpec::parse("hostfile:f32");
    const bool by_word =
        extension::everywhere([&] { return spec.make(layout, 800); }, text, layout, scale, wanted);
    // The rules hold for it as for the library's own.
    bool refused = false;
    try {
        cairn::CacheSpec::parse("hostfile:f32:window=8");
    } catch (const cairn::Error& error) {
        refused = error.code() == cairn::ErrorCode::usage;
    }
    return extension::verdict("a store with a file of the host",
                              by_type && by_word && refused && file->end > 0);
}
