// The words of the library, one line a policy, and the registry that a program adds its own to.
#pragma once

#include "cairn/cache/codec/bare_keys.hpp"
#include "cairn/cache/codec/factored.hpp"
#include "cairn/cache/codec/inputs.hpp"
#include "cairn/cache/codec/kivi.hpp"
#include "cairn/cache/codec/latent.hpp"
#include "cairn/cache/codec/kvquant.hpp"
#include "cairn/cache/codec/quant_spec.hpp"
#include "cairn/cache/codec/rotated.hpp"
#include "cairn/cache/codec/uniform.hpp"
#include "cairn/cache/codec/xquant_layers.hpp"
#include "cairn/cache/keep/adakv.hpp"
#include "cairn/cache/keep/duo.hpp"
#include "cairn/cache/keep/expected_attention.hpp"
#include "cairn/cache/keep/h2o.hpp"
#include "cairn/cache/keep/hash_evict.hpp"
#include "cairn/cache/keep/keep_all.hpp"
#include "cairn/cache/keep/keydiff.hpp"
#include "cairn/cache/keep/nacl.hpp"
#include "cairn/cache/keep/pyramidkv.hpp"
#include "cairn/cache/keep/snapkv.hpp"
#include "cairn/cache/keep/window_sinks.hpp"
#include "cairn/cache/named/store_words.hpp"
#include "cairn/cache/named/words.hpp"
#include "cairn/cache/read/quest.hpp"
#include "cairn/cache/read/read_all.hpp"
#include "cairn/cache/store/paged.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// Compiled in every program that uses the headers alone, or in the library cairn::io_compiled.
#if defined(CAIRN_EXTERN_IO)
void add_library_words(CacheWords& words);
#endif
#if !defined(CAIRN_EXTERN_IO) || defined(CAIRN_IO_IMPLEMENTATION)
[[gnu::cold]] CAIRN_IO_LINKAGE void add_library_words(CacheWords& words) {
    words.store(ContiguousWord{});
    words.store(Mapped<AnyCodec>{});
    words.store(Paged<AnyCodec>{});
    words.store(TieredWord{});
    words.codec(F32{});
    words.codec(F16{});
    words.codec(BF16{});
    words.codec(Fp8E4M3{});
    words.codec(Fp8E5M2{});
    words.codec(Q8_0{});
    words.codec(Q5_1{});
    words.codec(Q5_0{});
    words.codec(Q4_1{});
    words.codec(Q4_0{});
    words.codec(Iq4Nl{});
    words.codec(Int8{});
    words.codec(Int4{});
    words.codec(Kivi<4>{});
    words.codec(Kivi<2>{});
    words.codec(KvQuant<4>{});
    words.codec(KvQuant<3>{});
    words.codec(KvQuant<2>{});
    words.codec(Uniform{});
    words.codec(XQuantLayers{});
    words.codec(QuantSpec<>{});
    words.wrapper<Rotated<AnyCodec>>();
    words.wrapper<BareKeys<AnyCodec>>();
    words.wrapper<Inputs<AnyCodec>>();
    words.wrapper<Factored<AnyCodec>>();
    words.wrapper<Latent<AnyCodec>>();
    words.keep(KeepAll{});
    words.keep(WindowSinks<1024, 0>{});
    words.keep(H2O<512>{});
    words.keep(SnapKv<512>{});
    words.keep(Nacl<512>{});
    words.keep(HashEvict<512>{});
    words.read(ReadAll{});
    words.read(Quest{});
    words.keep(KeyDiff<512>{});
    words.keep(ExpectedAttention<512>{});
    words.keep(AdaKv<512>{});
    words.keep(PyramidKv<512>{});
    words.keep(DuoAttention<256>{});
}
#endif

}  // namespace internal

/// The words that SPECs are read with: the library's, and what a program added:
///   cairn::cache_words().store(MyStore{.client = client});
/// A word that exists is replaced, for SPECs that are parsed from then on.
inline CacheWords& cache_words() {
    struct Library : CacheWords {
        Library() { internal::add_library_words(*this); }
    };
    static Library words;
    return words;
}

}}  // namespace cairn
