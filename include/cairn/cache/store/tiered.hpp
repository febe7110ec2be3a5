// Recent tokens in a hot codec, older ones in a cold one: rows are written cold, from their decoded
// hot form, as they leave the last `recent` tokens. The cut of a prompt changes nothing.
#pragma once

#include "cairn/cache/codec/block.hpp"
#include "cairn/cache/store/contiguous.hpp"

namespace cairn::inline CAIRN_ABI {

/// Keys and values of `Cold` behind the last `recent` tokens, which are of `Hot`.
template <CodecTag Cold, CodecTag Hot = F16, int recent = 512>
struct TwoTiers {
    static constexpr bool ages = true;
    static_assert(
        !requires { Cold::ages; } && !requires { Hot::ages; },
        "TwoTiers<Cold, Hot>: a tier cannot itself change form with age.");
    static_assert(recent > 0, "TwoTiers<Cold, Hot, recent>: some tokens must be recent.");
    static StreamFormat keys() noexcept { return two(Hot::keys(), Cold::keys()); }
    static StreamFormat values() noexcept { return two(Hot::values(), Cold::values()); }

  private:
    static StreamFormat two(const StreamFormat& hot, const StreamFormat& cold) noexcept {
        StreamFormat format(Form{hot.forms[0].codec, 1, recent}, *cold.forms[0].codec);
        format.rotated = cold.rotated;
        return format;
    }
};

/// The store of `KvCache<Tiered<Q8_0>>`: recent rows hot, the others cold.
template <CodecTag Cold = Q8_0, CodecTag Hot = F16, int recent = 512>
using Tiered = Contiguous<TwoTiers<Cold, Hot, recent>>;

}  // namespace cairn::inline CAIRN_ABI
