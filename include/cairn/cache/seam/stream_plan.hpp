// How a stream of rows is written: the forms that rows take as they age, newest first, each in a
// codec of its own.
#pragma once

#include <concepts>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "cairn/cache/seam/codec.hpp"
#include "cairn/cache/seam/row_kind.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A codec that lives as long as the program, as the shared pointer that forms hold.
inline std::shared_ptr<const Codec> lasting(const Codec& codec) noexcept {
    return {std::shared_ptr<void>(), &codec};
}

/// One of the forms a row takes as it ages. Query q reads row j in this form while
/// q / age_unit - j / age_unit < age_to (and the form before it no longer applies).
struct Form {
    static constexpr int forever = std::numeric_limits<int>::max();
    std::shared_ptr<const Codec> codec;
    int age_unit = 1;
    int age_to = forever;  ///< the last form: never ends
};

/// How a stream of keys or values is written: forms, newest first, and whether rows are turned by a
/// Hadamard matrix before they are encoded (queries and outputs are turned with them).
struct StreamPlan {
    std::vector<Form> forms;
    bool rotated = false;
    bool leading = false;  ///< of values: no rows of their own, but the first numbers of the keys
    RowKind kind = RowKind::ready;  ///< what the rows are; of values `input`: no rows of their own
    /// How rows that are not `ready` lie in a worker's scratch once they are: F32's rows. It comes
    /// from who keeps such rows, so that other programs compile no product with them.
    const Codec* made = nullptr;
    /// Of inputs: rows are coordinates in bases that this finds, one row of as many numbers as all
    /// KV heads have; null: the inputs themselves.
    FactorWeights* factored = nullptr;
    /// The first `pinned` rows are read in a form of their own whatever their age (attention sinks
    /// in full precision). They are written in the other forms too.
    int pinned = 0;
    std::shared_ptr<const Codec> pinned_codec{};

    StreamPlan() = default;
    /// One form for ever, in a codec that lives as long as the program.
    StreamPlan(const Codec& codec)  // NOLINT(google-explicit-constructor)
        : StreamPlan(lasting(codec)) {}
    /// One form for ever.
    template <class C>
    requires std::convertible_to<C*, const Codec*>
    StreamPlan(std::shared_ptr<C> codec)  // NOLINT(google-explicit-constructor)
        : forms{Form{std::move(codec)}} {}
    /// Several forms, newest first.
    explicit StreamPlan(std::vector<Form> newest_first) : forms(std::move(newest_first)) {}

    int count() const noexcept { return static_cast<int>(forms.size()); }
    const Form& form(int f) const noexcept { return forms[static_cast<std::size_t>(f)]; }
    /// Of a form; of `count()`, that of the pinned rows.
    const Codec& codec(int f) const noexcept {
        return f < count() ? *form(f).codec : *pinned_codec;
    }
    /// The codec that old rows end in.
    const Codec& coldest() const noexcept { return *forms.back().codec; }
    /// Of values: whether they are read from the rows of the keys.
    bool from_keys() const noexcept { return leading || (kind == RowKind::input && forms.empty()); }
    /// Whether rows change form as they age.
    bool ages() const noexcept { return forms.size() > 1; }
};

/// Which stream of which layer a codec is made for.
struct StreamShape {
    int layer = 0;
    int heads = 1;
    int dims = 0;      ///< of a row of one head
    bool keys = true;  ///< keys or values
    int input = 0;     ///< of a row of the layer's input; 0: not said
    /// The stream of a layer's inputs, which are written as values are.
    StreamShape of_inputs() const noexcept {
        return {.layer = layer, .heads = 1, .dims = input, .keys = false, .input = input};
    }
    /// The same rows, written as values are.
    StreamShape as_values() const noexcept {
        StreamShape result = *this;
        result.keys = false;
        return result;
    }
};

/// A type that names how keys and values are written: F32, F16, Q8_0, Kivi<4>, ... or one of your
/// own. keys() and values() give a Codec or a StreamPlan.
template <class T>
concept CodecTag = requires {
    { T::keys() } -> std::convertible_to<StreamPlan>;
    { T::values() } -> std::convertible_to<StreamPlan>;
};

}}  // namespace cairn
