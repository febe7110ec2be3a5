// Words for caches: what a SPEC may say, and which policy each word stands for. A program adds its
// own with one line; the same word again replaces.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/cache/any_cache.hpp"
#include "cairn/cache/seam/keep_policy.hpp"
#include "cairn/cache/seam/read_policy.hpp"
#include "cairn/cache/seam/store_policy.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// What a SPEC's store part was read into: how to make a store of two codecs, and how it is
/// written.
struct NamedStore {
    std::function<AnyStore(AnyCodec keys, AnyCodec values)> make;
    std::string spec;
    std::string default_codec;  ///< of a SPEC that names none
    std::string usage{};        ///< with the names of all its options
};

/// What a SPEC's word for a whole cache was read into.
struct NamedCache {
    std::function<AnyCache(const HeadLayout& layout, int capacity, int layer)> make;
    std::string spec;
};

/// The words of one program. Thread-safe.
class CacheWords {
  public:
    /// A store whose `keys` and `values` are AnyCodec, as `Paged<AnyCodec>{.pool = pool}`.
    template <StorePolicy S>
    void store(S prototype) {
        put(stores_, S::word, usage_of<S>(), help_of<S>(),
            filled(std::move(prototype), [](S policy) {
                NamedStore named;
                named.spec = spec_of(policy);
                named.usage = usage_of<S>();
                if constexpr (requires { S::default_codec; })
                    named.default_codec = S::default_codec;
                named.make = [policy](AnyCodec keys, AnyCodec values) {
                    S store = policy;
                    if constexpr (requires { store.over(keys); }) {
                        store.keys = store.over(keys);
                        store.values = store.over(values);
                    } else {
                        store.keys = std::move(keys);
                        store.values = std::move(values);
                    }
                    return AnyStore(std::move(store));
                };
                return named;
            }));
    }
    /// A codec.
    template <CodecPolicy C>
    void codec(C prototype) {
        Reader<AnyCodec> read;
        if constexpr (HasOptions<C>)
            read =
                filled(std::move(prototype), [](C policy) { return AnyCodec(std::move(policy)); });
        else
            read = without_options(AnyCodec(std::move(prototype)));
        put(codecs_, C::word, usage_of<C>(), help_of<C>(), std::move(read));
    }
    /// What a suffix makes of a codec: W is a policy of one, as Rotated<AnyCodec>.
    template <CodecPolicy W>
    void wrapper() {
        put(wrappers_, W::suffix, std::string(W::suffix), help_of<W>(),
            [](AnyCodec inner) { return AnyCodec(W{std::move(inner)}); });
    }
    /// A keep.
    template <Keep K>
    void keep(K prototype) {
        put(keeps_, K::word, usage_of<K>(), help_of<K>(),
            filled(std::move(prototype), [](K policy) { return AnyKeep(std::move(policy)); }));
    }

    /// A read.
    template <ReadPolicy R>
    void read(R prototype) {
        put(reads_, R::word, usage_of<R>(), help_of<R>(),
            filled(std::move(prototype), [](R policy) { return AnyRead(std::move(policy)); }));
    }

    /// A whole cache of one's own, in place of store, codec and keep: `make(layout, capacity,
    /// layer)` gives what AnyCache takes.
    template <class C>
    void cache(C prototype) {
        put(caches_, C::word, usage_of<C>(), help_of<C>(),
            filled(std::move(prototype), [](C policy) {
                return NamedCache{[policy](const HeadLayout& layout, int capacity, int layer) {
                                      return AnyCache(policy.make(layout, capacity, layer));
                                  },
                                  spec_of(policy)};
            }));
    }

    /// What a SPEC means that leaves a part out: the first that was added.
    std::string default_store() const { return first_of(stores_); }
    std::string default_codec() const { return first_of(codecs_); }
    std::string default_keep() const { return first_of(keeps_); }
    std::string default_read() const { return first_of(reads_); }

    /// Reads "paged=16". Throws Error{usage} naming the choices.
    NamedStore read_store(std::string_view words, std::string_view whole) const {
        NamedStore named =
            find(stores_, "store", head_of(words), whole).value(words, whole, stores());
        if (named.default_codec.empty()) named.default_codec = default_codec();
        return named;
    }
    NamedCache read_cache(std::string_view words, std::string_view whole) const {
        return find(caches_, "cache", head_of(words), whole).value(words, whole, listed(caches_));
    }
    AnyKeep read_keep(std::string_view words, std::string_view whole) const {
        return find(keeps_, "keep", head_of(words), whole).value(words, whole, keeps());
    }
    AnyRead read_read(std::string_view words, std::string_view whole) const {
        return find(reads_, "read", head_of(words), whole).value(words, whole, reads());
    }
    AnyCodec read_codec(std::string_view word, std::string_view whole) const {
        for (const auto& [suffix, entry] : wrappers_copy())
            if (word.ends_with(suffix) && word.size() > suffix.size())
                return entry.value(read_codec(word.substr(0, word.size() - suffix.size()), whole));
        return find(codecs_, "codec", head_of(word), whole).value(word, whole, listed(codecs_));
    }
    /// Whether these words begin with a whole cache's.
    bool has_cache(std::string_view words) const {
        const std::shared_lock lock(mutex_);
        return caches_.find(head_of(words)) != caches_.end();
    }
    /// Whether a codec of this name exists.
    bool has_codec(std::string_view word) const {
        const std::shared_lock lock(mutex_);
        for (bool more = true; more;) {
            more = false;
            for (const auto& [suffix, entry] : wrappers_) {
                if (!word.ends_with(suffix)) continue;
                word.remove_suffix(suffix.size());
                more = true;
            }
        }
        return codecs_.find(head_of(word)) != codecs_.end();
    }

    /// The words, for help texts.
    std::string stores() const {
        const std::string whole = listed(caches_);
        return listed(stores_).append(whole.empty() ? "" : ", ").append(whole);
    }
    std::string codecs() const {
        std::string text = listed(codecs_);
        const std::shared_lock lock(mutex_);
        for (const auto& [suffix, entry] : wrappers_) text += "; NAME" + suffix + " " + entry.help;
        return text + "; k=NAME,v=NAME";
    }
    std::string keeps() const { return listed(keeps_); }
    std::string reads() const { return listed(reads_); }

  private:
    template <class T>
    struct Entry {
        T value;
        std::string usage;
        std::string help;
        std::size_t order;
    };
    template <class T>
    using Words = std::map<std::string, Entry<T>, std::less<>>;
    template <class T>
    using Reader = std::function<T(std::string_view, std::string_view, std::string_view)>;

    // What reads a SPEC's words into a copy of the policy, and hands it on to `finish`.
    template <class P, class Finish>
    static auto filled(P prototype, Finish finish) {
        return [prototype = std::move(prototype), finish](
                   std::string_view words, std::string_view whole, std::string_view known) {
            P policy = prototype;
            internal::OptionReader(words, whole, known).read(policy);
            return finish(std::move(policy));
        };
    }
    // Compiled once for all codecs without settings.
    static Reader<AnyCodec> without_options(AnyCodec codec) {
        return filled(std::move(codec), [](AnyCodec policy) { return policy; });
    }
    template <class P>
    static std::string help_of() {
        if constexpr (requires { P::help; })
            return std::string(P::help);
        else
            return {};
    }
    template <class T, class V>
    void put(Words<T>& words, std::string_view word, std::string usage, std::string help, V value) {
        const std::unique_lock lock(mutex_);
        const auto at = words.find(word);  // who replaces a word takes its place in lists
        const std::size_t order = at != words.end() ? at->second.order : order_++;
        words.insert_or_assign(std::string(word), Entry<T>{T(std::move(value)), std::move(usage),
                                                           std::move(help), order});
    }
    template <class T>
    std::string first_of(const Words<T>& words) const {
        const std::shared_lock lock(mutex_);
        const auto first = std::min_element(
            words.begin(), words.end(),
            [](const auto& a, const auto& b) { return a.second.order < b.second.order; });
        return first != words.end() ? first->first : std::string();
    }
    static std::string_view head_of(std::string_view words) {
        return words.substr(0, words.find_first_of("=,"));
    }
    // A copy, so that what an entry calls may add words.
    template <class T>
    Entry<T> find(const Words<T>& words, std::string_view kind, std::string_view word,
                  std::string_view whole) const {
        {
            const std::shared_lock lock(mutex_);
            const auto at = words.find(word);
            if (at != words.end()) return at->second;
        }
        fail(ErrorCode::usage, "cache SPEC \"", whole, "\": unknown ", kind, " \"",
             word.substr(0, 40), "\"; known: ", listed(words));
    }
    Words<std::function<AnyCodec(AnyCodec)>> wrappers_copy() const {
        const std::shared_lock lock(mutex_);
        return wrappers_;
    }
    template <class T>
    std::string listed(const Words<T>& words) const {
        const std::shared_lock lock(mutex_);
        std::vector<const Entry<T>*> entries;
        for (const auto& [word, entry] : words) entries.push_back(&entry);
        std::sort(entries.begin(), entries.end(),
                  [](const Entry<T>* a, const Entry<T>* b) { return a->order < b->order; });
        std::string text;
        for (const Entry<T>* entry : entries) text += (text.empty() ? "" : ", ") + entry->usage;
        return text;
    }

    mutable std::shared_mutex mutex_;
    std::size_t order_ = 0;
    Words<Reader<NamedStore>> stores_;
    Words<Reader<AnyCodec>> codecs_;
    Words<std::function<AnyCodec(AnyCodec)>> wrappers_;
    Words<Reader<AnyKeep>> keeps_;
    Words<Reader<AnyRead>> reads_;
    Words<Reader<NamedCache>> caches_;
};

}}  // namespace cairn
