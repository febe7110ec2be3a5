// A cache by name, as in `--cache paged=32:k=q8_0,v=q4_0+rot:window=1024,sinks=4`: every store,
// codec and keep of the library behind one word.
#pragma once

#include <charconv>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/cache/any_cache.hpp"
#include "cairn/cache/codec/block.hpp"
#include "cairn/cache/codec/kivi.hpp"
#include "cairn/cache/keep/h2o.hpp"
#include "cairn/cache/keep/hash_evict.hpp"
#include "cairn/cache/keep/nacl.hpp"
#include "cairn/cache/keep/snapkv.hpp"
#include "cairn/cache/store/paged.hpp"
#include "cairn/cache/store/spilled.hpp"

namespace cairn::inline CAIRN_ABI {

/// SPEC = store ['=' N] [',disk=' ROWS] [':' [codec] [':' keep]]; codec = NAME | k=NAME,v=NAME;
/// keep = NAME ['=' N]
/// {',' key '=' N}. Words below.
class CacheSpec {
  public:
    /// The words a SPEC may use, for help texts.
    static constexpr std::string_view stores =
        "contiguous, mapped, paged=BLOCK, tiered=RECENT; contiguous or tiered with ,disk=ROWS: so "
        "many "
        "rows in memory, older ones in a temporary file";
    static constexpr std::string_view codecs =
        "f32, f16, bf16, fp8_e4m3, fp8_e5m2, q8_0, q5_1, q5_0, q4_1, q4_0, iq4_nl, int8, int4, "
        "kivi4, kivi2; NAME+rot turns rows by a Hadamard matrix first; k=NAME,v=NAME";
    static constexpr std::string_view keeps =
        "all, window=W,sinks=S, h2o=B,recent=R, snapkv=B, nacl=B[,seed=N], hashevict=B[,key=1]";

    enum class StoreKind : std::uint8_t { contiguous, mapped, paged, tiered };
    enum class KeepKind : std::uint8_t { all, window, h2o, snapkv, nacl, hashevict };

    /// Throws Error{usage} naming the choices, or saying why a combination cannot work.
    static CacheSpec parse(std::string_view text) {
        CacheSpec spec;
        spec.text_ = std::string(text.substr(0, 80));
        const auto [store, rest] = split(text, ':');
        const auto [codec, keep] = split(rest, ':');
        spec.read_store(store);
        spec.read_codec(codec);
        spec.read_keep(keep);
        spec.check();
        return spec;
    }
    /// The one spelling of this cache.
    std::string canonical() const {
        std::string result(store_words[static_cast<std::size_t>(store_)]);
        if (store_ == StoreKind::paged || store_ == StoreKind::tiered)
            result += "=" + std::to_string(store_number_);
        if (disk()) result += ",disk=" + std::to_string(memory_rows_);
        result +=
            keys_ == values_ ? ":" + keys_.word() : ":k=" + keys_.word() + ",v=" + values_.word();
        switch (keep_) {
            case KeepKind::all: return result;
            case KeepKind::window:
                return result + ":window=" + std::to_string(budget_) +
                       ",sinks=" + std::to_string(second_);
            case KeepKind::h2o:
                return result + ":h2o=" + std::to_string(budget_) +
                       ",recent=" + std::to_string(second_);
            case KeepKind::snapkv: return result + ":snapkv=" + std::to_string(budget_);
            case KeepKind::nacl:
                return result + ":nacl=" + std::to_string(budget_) +
                       (second_ != 0 ? ",seed=" + std::to_string(second_) : "");
            case KeepKind::hashevict:
                return result + ":hashevict=" + std::to_string(budget_) +
                       (second_ != 0 ? ",key=1" : "");
        }
        return result;
    }
    /// A cache of this kind for one layer. Throws what KvCache's constructor throws.
    AnyCache make(const HeadLayout& layout, int capacity, int layer = 0) const {
        const auto pair = [&](const Extent& extent) {
            return StreamPair(maker(), detail::make_hot,
                              {store_number_, pool_blocks_, memory_rows_, file_}, keys(), values(),
                              layout, extent);
        };
        if (scoring())
            return AnyCache(
                KvCache<AnyStore, Chosen>(layout, capacity, pair, Chosen{scorer(layout), layer}));
        return AnyCache(KvCache<AnyStore, Positioned>(layout, capacity, pair, position_keep()));
    }
    /// Blocks of a paged store's pool; 0: as many as address space allows.
    void set_pool_blocks(int blocks) noexcept { pool_blocks_ = blocks; }

    // What the planner reads.
    StoreKind store() const noexcept { return store_; }
    int store_number() const noexcept { return store_number_; }
    /// Whether old rows go to disk, and how many stay in memory then.
    bool disk() const noexcept { return memory_rows_ > 0; }
    int memory_rows() const noexcept { return memory_rows_; }
    KeepKind keep() const noexcept { return keep_; }
    bool scoring() const noexcept { return keep_ != KeepKind::all && keep_ != KeepKind::window; }
    int budget() const noexcept { return budget_; }
    StreamFormat keys() const { return format(keys_, true); }
    StreamFormat values() const { return format(values_, false); }

    /// The keep of a spec that goes by position.
    struct Positioned : PositionKeep {};
    /// The keep of a spec that goes by score.
    struct Chosen {
        std::shared_ptr<const Scorer> chosen;
        int layer = 0;
        std::shared_ptr<const Scorer> scorer(const HeadLayout&) const { return chosen; }
    };
    Positioned position_keep() const noexcept {
        if (keep_ == KeepKind::all) return {};
        return {{budget_, second_}};
    }
    std::shared_ptr<const Scorer> scorer(const HeadLayout& layout) const {
        switch (keep_) {
            case KeepKind::h2o: return std::make_shared<HeavyHitters>(budget_, second_);
            case KeepKind::snapkv: return std::make_shared<ObservedRows>(budget_);
            case KeepKind::nacl:
                return std::make_shared<ProxyRows>(budget_, static_cast<std::uint64_t>(second_));
            default:
                return std::make_shared<FarthestHash>(budget_, layout.key_dim,
                                                      second_ != 0 ? HashOf::key : HashOf::query);
        }
    }
    /// A store made at run time: KvCache asks only for the type.
    struct AnyStore : StreamPair {
        AnyStore(const HeadLayout& layout, const Extent& extent)
            : StreamPair(detail::make_hot, detail::make_hot, {}, F32::keys(), F32::values(), layout,
                         extent) {}
        explicit AnyStore(StreamPair pair) : StreamPair(std::move(pair)) {}
    };

  private:
    struct Tag {
        std::string_view name;
        StreamFormat (*keys)();
        StreamFormat (*values)();
    };
    template <class T>
    static constexpr Tag tag(std::string_view name) {
        return {name, [] { return StreamFormat(T::keys()); },
                [] { return StreamFormat(T::values()); }};
    }
    static std::span<const Tag> tags() {
        static constexpr Tag all[] = {
            tag<F32>("f32"),          tag<F16>("f16"),          tag<BF16>("bf16"),
            tag<Fp8E4M3>("fp8_e4m3"), tag<Fp8E5M2>("fp8_e5m2"), tag<Q8_0>("q8_0"),
            tag<Q5_1>("q5_1"),        tag<Q5_0>("q5_0"),        tag<Q4_1>("q4_1"),
            tag<Q4_0>("q4_0"),        tag<Iq4Nl>("iq4_nl"),     tag<Int8>("int8"),
            tag<Int4>("int4"),        tag<Kivi<4>>("kivi4"),    tag<Kivi<2>>("kivi2")};
        return all;
    }
    static constexpr std::string_view store_words[] = {"contiguous", "mapped", "paged", "tiered"};

    struct Word {
        std::size_t tag = 0;
        bool rotated = false;
        std::string word() const { return std::string(tags()[tag].name) + (rotated ? "+rot" : ""); }
        bool operator==(const Word&) const = default;
    };

    static std::pair<std::string_view, std::string_view> split(std::string_view text, char at) {
        const std::size_t place = text.find(at);
        if (place == std::string_view::npos) return {text, {}};
        return {text.substr(0, place), text.substr(place + 1)};
    }
    template <class... Parts>
    [[noreturn]] void refuse(const Parts&... parts) const {
        fail(ErrorCode::usage, "cache SPEC \"", text_, "\": ", parts...);
    }
    // "name=12" as name and 12.
    std::pair<std::string_view, std::optional<int>> numbered(std::string_view text) const {
        const auto [name, digits] = split(text, '=');
        if (name.size() == text.size()) return {name, std::nullopt};
        int value = 0;
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (error != std::errc() || end != digits.data() + digits.size() || value < 0 ||
            value > row_limit)
            refuse("\"", text.substr(0, 40), "\" needs a number from 0 to ", row_limit);
        return {name, value};
    }
    void read_store(std::string_view words) {
        const auto [word, option] = split(words, ',');
        const auto [name, number] = numbered(word);
        std::size_t kind = 0;
        while (kind < 4 && store_words[kind] != name) ++kind;
        if (kind == 4) refuse("unknown store \"", name.substr(0, 40), "\"; known: ", stores);
        store_ = static_cast<StoreKind>(kind);
        const bool takes = store_ == StoreKind::paged || store_ == StoreKind::tiered;
        if (number && !takes) refuse("store ", name, " takes no number");
        store_number_ = number.value_or(store_ == StoreKind::paged ? 16 : 512);
        if (takes && store_number_ == 0) refuse("store ", name, " needs a number above 0");
        if (store_ == StoreKind::tiered) keys_.tag = values_.tag = find("q8_0").tag;
        if (word.size() == words.size()) return;
        const auto [key, rows] = numbered(option);
        if (key != "disk" || !rows || *rows == 0)
            refuse("store ", name, " has no option \"", option.substr(0, 40),
                   "\"; known: ", stores);
        if (store_ != StoreKind::contiguous && store_ != StoreKind::tiered)
            refuse("store ", name,
                   " keeps its rows in memory: disk=ROWS suits contiguous and tiered");
        memory_rows_ = *rows;
        file_ = std::make_shared<ScratchFile>();
    }
    Word find(std::string_view word) const {
        Word result;
        if (word.ends_with("+rot")) {
            result.rotated = true;
            word.remove_suffix(4);
        }
        for (; result.tag < tags().size(); ++result.tag)
            if (tags()[result.tag].name == word) return result;
        refuse("unknown codec \"", word.substr(0, 40), "\"; known: ", codecs);
    }
    void read_codec(std::string_view word) {
        if (word.empty()) return;
        if (!word.starts_with("k=")) {
            keys_ = values_ = find(word);
            return;
        }
        const std::size_t comma = word.find(",v=");
        if (comma == std::string_view::npos) refuse("k=CODEC needs ,v=CODEC");
        keys_ = find(word.substr(2, comma - 2));
        values_ = find(word.substr(comma + 3));
    }
    void read_keep(std::string_view word) {
        if (word.empty() || word == "all") return;
        const auto [head, options] = split(word, ',');
        const auto [name, number] = numbered(head);
        struct Known {
            std::string_view name;
            KeepKind kind;
            std::string_view option;
        };
        static constexpr Known known[] = {{"window", KeepKind::window, "sinks"},
                                          {"h2o", KeepKind::h2o, "recent"},
                                          {"snapkv", KeepKind::snapkv, ""},
                                          {"nacl", KeepKind::nacl, "seed"},
                                          {"hashevict", KeepKind::hashevict, "key"}};
        for (const Known& k : known) {
            if (k.name != name) continue;
            keep_ = k.kind;
            if (!number || *number == 0) refuse("keep ", name, " needs =N, the rows that stay");
            budget_ = *number;
            second_ = keep_ == KeepKind::h2o ? budget_ / 2 : 0;
            for (std::string_view rest = options; !rest.empty();) {
                const auto [option, more] = split(rest, ',');
                const auto [key, value] = numbered(option);
                if (key != k.option || !value)
                    refuse("keep ", name, " has no option \"", option.substr(0, 40),
                           "\"; known: ", keeps);
                second_ = *value;
                rest = more;
            }
            return;
        }
        refuse("unknown keep \"", name.substr(0, 40), "\"; known: ", keeps);
    }
    // What cannot work, in one sentence each; the types say the same at compile time.
    void check() const {
        const bool ages = keys().ages() || values().ages();
        if (store_ == StoreKind::tiered &&
            (tags()[keys_.tag].keys().ages() || tags()[values_.tag].values().ages()))
            refuse("kivi ages rows by itself: name a codec without ages for the cold tier");
        if (scoring() && ages)
            refuse(
                "a keep that chooses rows by score moves them one by one; rows that share scales "
                "or change form with age (kivi, tiered) cannot be moved");
        if (disk() && keep_ != KeepKind::all)
            refuse(
                "a store that puts old rows on disk keeps all of them; a keep that forgets rows "
                "needs a store in memory");
        if (keep_ == KeepKind::h2o && second_ > budget_)
            refuse("h2o: recent=", second_, " is more than the budget of ", budget_);
        if (keep_ == KeepKind::hashevict && budget_ <= 14)
            refuse("hashevict: the first 4 and the last 10 rows always stay; give more than 14");
        if (store_ == StoreKind::paged)
            for (const Codec* codec : {keys().coldest().codec, values().coldest().codec})
                if (store_number_ % codec->rows_per_unit != 0)
                    refuse("blocks of ", store_number_, " rows: rows of ", codec->name,
                           " come in units of ", codec->rows_per_unit);
    }
    StreamFormat format(const Word& word, bool keys) const {
        const Tag& tag = tags()[word.tag];
        StreamFormat result = keys ? tag.keys() : tag.values();
        if (store_ == StoreKind::tiered)
            result = StreamFormat(Form{keys ? &F16::keys() : &F16::values(), 1, store_number_},
                                  *result.coldest().codec);
        result.rotated = word.rotated;
        return result;
    }
    MakeRows maker() const noexcept {
        if (disk()) return detail::make_spilled;
        switch (store_) {
            case StoreKind::mapped: return detail::make_contiguous<Commit::on_demand>;
            case StoreKind::paged: return detail::make_paged;
            default: return detail::make_contiguous<Commit::on_touch>;
        }
    }

    std::string text_;
    StoreKind store_ = StoreKind::contiguous;
    int store_number_ = 16;
    Word keys_;
    Word values_;
    KeepKind keep_ = KeepKind::all;
    int budget_ = 0;
    int second_ = 0;
    int pool_blocks_ = 0;
    int memory_rows_ = 0;
    std::shared_ptr<ScratchFile> file_;  // of all caches of this spec
};

}  // namespace cairn::inline CAIRN_ABI
