// What is known of a store, a codec, a keep and a read before anything is made: static data of
// their types. The rules about what can work together read nothing else.
#pragma once

#include "cairn/cache/seam/stream_plan.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Of a codec, keys and values alike where nothing else is said.
struct CodecFacts {
    int key_unit = 1;               ///< rows that share a unit, in the form that old keys end in
    int value_unit = 1;             ///< the same of values
    bool movable = true;            ///< rows can be copied one by one
    bool ages = false;              ///< rows change form as they age
    bool ages_twice = false;        ///< ... and one of the forms is itself a codec whose rows age
    bool turned = false;            ///< rows are turned by a Hadamard matrix first
    bool leading = false;           ///< values have no rows: they are the first numbers of the keys
    bool factored = false;          ///< rows are coordinates of inputs
    bool based = false;             ///< rows are written and read with those of the layer before
    bool nests = false;             ///< wraps rows that another wrapper made into something else
    RowKind kind = RowKind::ready;  ///< what rows are made into keys or values when they are read
    bool operator==(const CodecFacts&) const = default;
};

/// Of a store.
struct StoreFacts {
    bool flat = true;      ///< rows are numbered below the capacity: none comes after a shift
    bool shares = false;   ///< branches share rows until one of them writes
    bool on_disk = false;  ///< old rows leave memory
    int block_rows = 0;    ///< rows of a block; 0: no blocks
};

/// Of a keep.
struct KeepFacts {
    bool by_score = false;  ///< rows are chosen by what attention made of them, or their keys
    bool forgets = false;   ///< rows may go
    bool hides = false;     ///< rows stay, but not every later query sees them
};

/// Of a read.
struct ReadFacts {
    bool few = false;  ///< queries choose the rows they read
};

/// Of a whole cache.
struct CacheFacts {
    StoreFacts store;
    CodecFacts keys;
    CodecFacts values;
    KeepFacts keep;
    ReadFacts read{};
};

/// The facts of a stream of keys or values as it is written, whatever its type says.
inline CodecFacts facts_of(const StreamPlan& plan) {
    const int unit = plan.coldest().rows_per_unit;
    bool based = false;
    for (const Form& form : plan.forms) based |= form.codec->based;
    return {.key_unit = unit,
            .value_unit = unit,
            .movable = !plan.ages() && plan.pinned == 0 && plan.coldest().movable,
            .ages = plan.ages(),
            .turned = plan.rotated,
            .factored = plan.factored != nullptr,
            .based = based,
            .kind = plan.kind};
}

/// What cannot work, as RULE(holds, sentence): the one list that the compiler (KvCache), the SPEC
/// parser and docs/caches.md read. `f` is a CacheFacts. Undefined again behind its readers.
// clang-format off
#define CAIRN_CACHE_RULES(RULE)                                                                     \
    RULE(!f.keys.nests && !f.values.nests,                                                          \
         "rows are kept in one way: a codec that makes others unrotated keys, inputs, leading "     \
         "values or tiers wraps plain rows")                                                        \
    RULE(!f.keys.ages_twice && !f.values.ages_twice,                                                \
         "a tier cannot itself change form with age")                                               \
    RULE(!f.keep.by_score ||                                                                        \
             (f.keys.movable && f.values.movable && !f.keys.ages && !f.values.ages),                \
         "a keep that chooses rows by score moves them one by one; "                                \
         "rows that share scales or change form with age cannot be moved")                          \
    RULE(!f.store.on_disk || !(f.keep.forgets || f.keep.by_score),                                  \
         "a store that puts old rows on disk keeps all of them where they are; "                    \
         "a keep that forgets rows or chooses them by score needs a store in memory")               \
    RULE(f.store.block_rows == 0 || (f.store.block_rows % f.keys.key_unit == 0 &&                   \
                                     f.store.block_rows % f.values.value_unit == 0),                \
         "rows of this codec come in units that do not divide the block")                           \
    RULE(!f.values.leading || !f.keys.turned,                                                       \
         "a Hadamard matrix mixes the leading numbers of a row, which are the values, "             \
         "into the others")                                                                         \
    RULE(!f.keep.by_score || f.keys.kind == RowKind::ready,                                         \
         "a keep that chooses rows by score looks at keys as queries meet them; "                   \
         "rows that become keys only when they are read go by position")                      \
    RULE(!f.store.on_disk || (!f.keys.based && !f.values.based),                                    \
         "rows that are read with those of the layer before need these in memory")                  \
    RULE(f.keys.factored == f.values.factored,                                                      \
         "coordinates of inputs are kept for keys and values together")                             \
    RULE(f.values.kind != RowKind::bare_key || f.keys.kind == RowKind::bare_key,                    \
         "values are never rotated, so none of them are kept before that")                          \
    RULE(f.values.kind != RowKind::input || f.keys.kind == RowKind::input,                          \
         "values that are made of a layer's inputs need the inputs, which stand in place of keys")   \
    RULE(!f.read.few || !(f.keep.by_score || f.keep.forgets || f.keep.hides),                       \
         "a query that reads few rows chooses among all of them; "                                  \
         "a keep that forgets, hides or scores rows has chosen before it")                          \
    RULE(!f.read.few || !f.keys.ages,                                                               \
         "pages are known by their keys as they are read; "                                         \
         "keys that change form with age are read in several ways")                                 \
    RULE(!f.read.few || f.keys.kind == RowKind::ready,                                              \
         "pages are known by their keys as queries meet them; "                                     \
         "rows that become keys only when they are read say nothing before")
// clang-format on

/// The same list as data.
struct CacheRule {
    std::string_view sentence;
    bool (*holds)(const CacheFacts& f);
};
#define CAIRN_CACHE_RULE(predicate, sentence) \
    CacheRule{sentence, [](const CacheFacts& f) { return predicate; }},
/// The rules that every cache keeps.
inline constexpr CacheRule cache_rules[] = {CAIRN_CACHE_RULES(CAIRN_CACHE_RULE)};
#undef CAIRN_CACHE_RULE

/// The sentence of the first rule that these facts break; empty if the cache can work.
inline std::string_view broken_rule(const CacheFacts& facts) noexcept {
    for (const CacheRule& rule : cache_rules)
        if (!rule.holds(facts)) return rule.sentence;
    return {};
}

}}  // namespace cairn
