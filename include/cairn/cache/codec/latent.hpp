// Rows whose leading numbers are the values (the latent rows of multi-head latent attention,
// DeepSeek V2, arXiv 2405.04434): one stream a layer in place of two.
#pragma once

#include "cairn/cache/codec/decoded.hpp"
#include "cairn/cache/seam/codec_policy.hpp"

namespace cairn { inline namespace CAIRN_ABI {

namespace internal {

// Rows as another codec writes its values, read as keys and as values.
class LatentRows final : public DecodedCodec {
  public:
    explicit LatentRows(std::shared_ptr<const Codec> rows)
        : DecodedCodec({.name = rows->name,
                        .movable = rows->movable,
                        .based = rows->based,
                        .finite_only = rows->finite_only}),
          rows_(std::move(rows)) {}
    std::size_t unit_bytes(int dims) const override { return rows_->unit_bytes(dims); }
    std::size_t row_bytes(int dims) const override { return rows_->row_bytes(dims); }
    void copy_row(const Rows& from, const Rows& to, int dims) const override {
        rows_->copy_row(from, to, dims);
    }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const Rows& to,
                Scratch scratch) const override {
        rows_->encode(x, stride, dims, to, scratch);
    }
    void decode(const Rows& from, int dims, float* x, std::ptrdiff_t stride,
                Scratch scratch) const override {
        rows_->decode(from, dims, x, stride, scratch);
    }
    std::size_t scratch_floats(int dims) const override {
        return DecodedCodec::scratch_floats(dims) + rows_->scratch_floats(dims);
    }
    std::uint64_t fingerprint() const override { return rows_->fingerprint(); }

  private:
    std::shared_ptr<const Codec> rows_;
};

}  // namespace internal

/// Keys written as `T` writes values; a head's values are the first value_dim numbers of its keys,
/// so stage() reads no value rows. The layout's value_dim is at most its key_dim. Products are made
/// of decoded rows.
template <CodecPolicy T>
struct Latent {
    T inner{};

    static constexpr std::string_view suffix = "+latent";
    static constexpr std::string_view help = "keeps one row for keys and values (latent attention)";
    static constexpr CodecFacts over(CodecFacts inner) noexcept {
        inner.nests |=
            inner.kind != RowKind::ready || inner.leading || inner.ages || inner.value_unit != 1;
        inner.key_unit = inner.value_unit;
        inner.leading = true;
        return inner;
    }
    /// Throws Error{invalid_argument} for rows that age or share units.
    StreamPlan plan(const StreamShape& shape) const {
        StreamPlan plan;
        if (!shape.keys) {
            plan.leading = true;
            return plan;
        }
        plan = plan_of(inner, shape.as_values());
        require(plan.kind == RowKind::ready && !plan.forms.empty(), ErrorCode::invalid_argument,
                "latent rows of ", internal::codec_word(inner), ", which keeps no plain rows");
        require(!plan.ages() && plan.coldest().rows_per_unit == 1, ErrorCode::invalid_argument,
                "latent rows of ", plan.coldest().name, ": they age, or share a unit");
        plan.forms = {Form{std::make_shared<internal::LatentRows>(plan.forms.front().codec)}};
        return plan;
    }
};

}}  // namespace cairn
