// Stores as a SPEC names them, where an option chooses between policies: disk=M puts old rows on
// disk.
#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include "cairn/cache/store/tiered.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

// What `disk` decides: rows in memory for all, or for the newest only.
struct MaybeOnDisk {
    AnyCodec keys{};
    AnyCodec values{};
    int disk = 0;  ///< rows that stay in memory; 0: all of them
    std::shared_ptr<ScratchFile> file{};

    StoreFacts facts_now() const noexcept {
        return {.flat = true, .shares = true, .on_disk = disk > 0};
    }
    // Every SPEC has a file of its own.
    void settle() { file = std::make_shared<ScratchFile>(); }
    std::unique_ptr<RowStore> make(const StreamRows& rows, const Extent& extent) const {
        if (disk > 0) return std::make_unique<SpilledRows>(rows, extent, disk, file);
        return Contiguous<>().make(rows, extent);
    }
    std::size_t bytes(const Codec& codec, int heads, int dims, const Extent& extent, int end, int,
                      int) const {
        return disk > 0 ? SpilledRows::bytes_for(codec, heads, dims, extent, end, disk)
                        : ContiguousRows::bytes_for(codec, heads, dims, extent, end);
    }
};

struct ContiguousWord : MaybeOnDisk {
    static constexpr std::string_view word = "contiguous";
    static constexpr std::string_view help =
        "one stretch of memory a head; disk=M: the last M rows, older ones in a temporary file";
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"disk", "rows in memory, older ones in a file", 1, Given::unless_zero},
              self.disk);
    }
};

struct TieredWord : MaybeOnDisk {
    int recent = 512;
    static constexpr std::string_view word = "tiered";
    static constexpr std::string_view help = "the last N rows in f16, older ones in the codec";
    static constexpr std::string_view default_codec = "q8_0";
    template <class Self, class Visit>
    static void options(Self& self, Visit&& visit) {
        visit(Option{"", "the recent rows", 1}, self.recent);
        visit(Option{"disk", "rows in memory, older ones in a file", 1, Given::unless_zero},
              self.disk);
    }
    AnyCodec over(AnyCodec cold) const {
        return TwoTiers<AnyCodec>{.cold = std::move(cold), .recent = recent};
    }
};

}}}  // namespace cairn::internal
