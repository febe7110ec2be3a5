// A codec from outside that holds state: bytes with a scale a channel, calibrated on a text before
// any cache is made. One file, reached by type and by the word `calibrated`.
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include <cairn/cache/codec/decoded.hpp>
#include <cairn/cache/cache_spec.hpp>

#include "naive.hpp"

namespace {

// One scale for each dim of each KV head of a stream.
using Scales = std::vector<float>;

class CalibratedRows final : public cairn::DecodedCodec {
  public:
    explicit CalibratedRows(Scales scales)
        : DecodedCodec({.name = "calibrated", .finite_only = true}), scales_(std::move(scales)) {}
    std::size_t unit_bytes(int dims) const override { return static_cast<std::size_t>(dims); }
    void encode(const float* x, std::ptrdiff_t stride, int dims, const cairn::Rows& to,
                cairn::Scratch) const override {
        for (int r = 0; r < to.count; ++r)
            for (int d = 0; d < dims; ++d)
                to.unit[r * to.stride + d] = static_cast<std::byte>(static_cast<std::int8_t>(
                    std::clamp(std::nearbyint(x[r * stride + d] / scale(to.head, dims, d)), -127.0F,
                               127.0F)));
    }
    void decode(const cairn::Rows& from, int dims, float* x, std::ptrdiff_t stride,
                cairn::Scratch) const override {
        for (int r = 0; r < from.count; ++r)
            for (int d = 0; d < dims; ++d)
                x[r * stride + d] =
                    static_cast<float>(static_cast<std::int8_t>(from.unit[r * from.stride + d])) *
                    scale(from.head, dims, d);
    }
    // A saved cache asks for the same scales.
    std::uint64_t fingerprint() const override {
        cairn::Fingerprint print;
        print.add(scales_.data(), scales_.size() * sizeof(float));
        return print.value();
    }

  private:
    float scale(int head, int dims, int d) const {
        return scales_[static_cast<std::size_t>(head * dims + d)];
    }
    Scales scales_;
};

// The policy: what a calibration pass found, by layer and stream.
struct Calibrated {
    std::shared_ptr<const std::map<std::pair<int, bool>, Scales>> found{};

    static constexpr std::string_view word = "calibrated";
    static constexpr std::string_view help = "bytes with scales by channel from a calibration";
    static constexpr cairn::CodecFacts facts{};
    cairn::StreamPlan plan(const cairn::StreamShape& shape) const {
        const auto at = found->find({shape.layer, shape.keys});
        cairn::require(at != found->end() &&
                           at->second.size() == static_cast<std::size_t>(shape.heads * shape.dims),
                       cairn::ErrorCode::invalid_argument, "calibrated: no scales for layer ",
                       shape.layer);
        return std::shared_ptr<const cairn::Codec>(std::make_shared<CalibratedRows>(at->second));
    }
};

Scales calibrate(const cairn::RowMatrix& rows) {
    Scales scales;
    for (Eigen::Index c = 0; c < rows.cols(); ++c)
        scales.push_back(std::max(rows.col(c).cwiseAbs().maxCoeff(), 1e-6F) / 127.0F);
    return scales;
}
// Rows as the codec returns them, computed without it.
cairn::RowMatrix rounded(const cairn::RowMatrix& rows, const Scales& scales) {
    cairn::RowMatrix result(rows.rows(), rows.cols());
    for (Eigen::Index r = 0; r < rows.rows(); ++r)
        for (Eigen::Index c = 0; c < rows.cols(); ++c) {
            const float s = scales[static_cast<std::size_t>(c)];
            result(r, c) = std::clamp(std::nearbyint(rows(r, c) / s), -127.0F, 127.0F) * s;
        }
    return result;
}

}  // namespace

int main() {
    const cairn::HeadLayout layout{6, 2, 24, 16};
    extension::Text calibration(layout, 100, 2);
    extension::Text text(layout, 600, 3);
    for (extension::Text* t : {&calibration, &text}) t->k.col(5) *= 30.0F;  // an outlier channel
    auto found = std::make_shared<std::map<std::pair<int, bool>, Scales>>();
    (*found)[{3, true}] = calibrate(calibration.k);
    (*found)[{3, false}] = calibrate(calibration.v);
    const float scale = 0.2F;
    const auto wanted = extension::naive(text.q, rounded(text.k, (*found)[{3, true}]),
                                         rounded(text.v, (*found)[{3, false}]), layout, scale,
                                         [](int, int, int) { return true; });

    using Cache = cairn::KvCache<cairn::Paged<Calibrated>>;
    const Calibrated codec{found};
    const bool by_type = extension::everywhere(
        [&] { return Cache(layout, 700, {.keys = codec, .values = codec}, {}, 3); }, text, layout,
        scale, wanted);
    cairn::cache_words().codec(codec);
    const cairn::CacheSpec spec = cairn::CacheSpec::parse("mapped:calibrated");
    const bool by_word = extension::everywhere([&] { return spec.make(layout, 700, 3); }, text,
                                               layout, scale, wanted);
    return extension::verdict("a codec with calibrated scales", by_type && by_word);
}
