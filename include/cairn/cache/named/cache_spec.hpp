// A cache by name, as in `--cache paged=32:k=q8_0,v=q4_0+rot:window=1024,sinks=4`: the grammar.
// What the words mean stands with the policies.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "cairn/cache/any_cache.hpp"
#include "cairn/cache/named/library_words.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// SPEC = store ['=' N] {',' option '=' N} [':' [codec] [':' [keep] [':' read]]]; codec = NAME |
/// k=NAME,v=NAME; keep, read = NAME ['=' N] {',' option '=' N}. A word for a whole cache stands
/// alone. Without a store rows are in the first one of the words: q8_0, k=f16,v=q8_0.
class CacheSpec {
  public:
    /// The words a SPEC may use, for help texts.
    static std::string stores() { return cache_words().stores(); }
    static std::string codecs() { return cache_words().codecs(); }
    static std::string keeps() { return cache_words().keeps(); }
    static std::string reads() { return cache_words().reads(); }

    /// Throws Error{usage} naming the choices, or with the sentence that says why a combination
    /// cannot work.
    static CacheSpec parse(std::string_view text) {
        CacheSpec spec;
        spec.text_ = std::string(text.substr(0, 80));
        const auto [first, rest] = split(text, ':');
        if (first.starts_with("k=") || cache_words().has_codec(first)) {
            spec.read(cache_words().default_store(), first, rest);
            return spec;
        }
        if (cache_words().has_cache(first)) {
            require(first.size() == text.size(), ErrorCode::usage, "cache SPEC \"", spec.text_,
                    "\": a whole cache has no codec and no keep beside it");
            spec.whole_ = cache_words().read_cache(text, spec.text_);
            return spec;
        }
        const auto [codec, keep] = split(rest, ':');
        spec.read(first, codec, keep);
        return spec;
    }
    /// The one spelling of this cache.
    std::string canonical() const {
        if (whole_.make != nullptr) return whole_.spec;
        const std::string keys = keys_.spec();
        const std::string values = values_.spec();
        std::string result = named_.spec + ":";
        result += keys == values ? keys : "k=" + keys + ",v=" + values;
        const std::string keep = keep_.spec();
        const std::string read = read_.spec();
        const bool reads_all = read == cache_words().default_read();
        if (!reads_all || keep != cache_words().default_keep()) result.append(":").append(keep);
        if (!reads_all) result.append(":").append(read);
        return result;
    }
    /// A cache of this kind for one layer. Throws what AnyCache's constructor throws.
    AnyCache make(const HeadLayout& layout, int capacity, int layer = 0) const {
        if (whole_.make != nullptr) return whole_.make(layout, capacity, layer);
        return AnyCache(layout, capacity, store_, keep_, read_, layer);
    }
    /// The same as sessions ask for caches: `model.session(512, threads, spec)`.
    AnyCache operator()(int layer, const HeadLayout& layout, int capacity) const {
        return make(layout, capacity, layer);
    }
    /// Blocks of a store's pool, its option `blocks`; 0: as many as address space allows. Nothing
    /// for stores without one. Throws Error{usage} for a number that the store does not take; then
    /// nothing has changed.
    void set_pool_blocks(int blocks) {
        if (named_.usage.find(blocks_option) == std::string::npos) return;
        std::string words = named_.spec;
        const std::size_t at = words.find(blocks_option);
        if (at != std::string::npos) {
            const std::size_t end = words.find(',', at + 1);
            words.erase(at, end == std::string::npos ? end : end - at);
        }
        if (blocks != 0) words += std::string(blocks_option) + std::to_string(blocks);
        NamedStore named = cache_words().read_store(words, text_);
        store_ = named.make(keys_, values_);
        named_ = std::move(named);
    }

    /// Its parts; of a whole cache they are empty, and what asks them gets Error{bad_state}.
    const AnyStore& store() const noexcept { return store_; }
    const AnyKeep& keep() const noexcept { return keep_; }
    const AnyRead& read() const noexcept { return read_; }
    /// Whether old rows go by position, so that a text without end fits.
    bool streaming() const {
        if (whole_.make != nullptr) return false;
        const KeepFacts keep = keep_.facts_now();
        return keep.forgets && !keep.by_score;
    }
    /// What is known of it before any layout is.
    CacheFacts facts() const {
        if (whole_.make != nullptr) return {};
        return {store_.facts_now(), store_.keys.facts_now().value_or(CodecFacts{}),
                store_.values.facts_now().value_or(CodecFacts{}), keep_.facts_now(),
                read_.facts_now()};
    }

  private:
    static constexpr std::string_view blocks_option = ",blocks=";
    static std::pair<std::string_view, std::string_view> split(std::string_view text, char at) {
        const std::size_t place = text.find(at);
        if (place == std::string_view::npos) return {text, {}};
        return {text.substr(0, place), text.substr(place + 1)};
    }
    void read(std::string_view store, std::string_view codec, std::string_view keep_and_read) {
        const CacheWords& words = cache_words();
        const auto [keep, read] = split(keep_and_read, ':');
        named_ = words.read_store(store, text_);
        if (codec.empty()) codec = named_.default_codec;
        if (codec.starts_with("k=")) {
            const std::size_t comma = codec.find(",v=");
            require(comma != std::string_view::npos, ErrorCode::usage, "cache SPEC \"", text_,
                    "\": k=CODEC needs ,v=CODEC");
            keys_ = words.read_codec(codec.substr(2, comma - 2), text_);
            values_ = words.read_codec(codec.substr(comma + 3), text_);
        } else {
            keys_ = values_ = words.read_codec(codec, text_);
        }
        keep_ = words.read_keep(keep.empty() ? words.default_keep() : std::string(keep), text_);
        read_ = words.read_read(read.empty() ? words.default_read() : std::string(read), text_);
        store_ = named_.make(keys_, values_);
        const std::string_view sentence = broken_rule(facts());
        require(sentence.empty(), ErrorCode::usage, "cache SPEC \"", text_, "\": ", sentence);
    }

    std::string text_;
    NamedCache whole_;
    NamedStore named_;
    AnyCodec keys_;
    AnyCodec values_;
    AnyStore store_;
    AnyKeep keep_;
    AnyRead read_;
};

}}  // namespace cairn
