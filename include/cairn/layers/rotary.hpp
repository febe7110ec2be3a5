// Rotary position embedding (Su et al. 2021): pair i of a row turns by position * theta^(-2i/dims).
// Angles, sines and cosines are computed in double and rounded once. Scalings: linear (Chen et al.
// 2023), Llama 3 (its published inference code), YaRN (Peng et al. 2023), longrope (Ding et al.
// 2024).
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <memory>
#include <new>
#include <utility>
#include <vector>

#include "cairn/attention/parameters.hpp"
#include "cairn/core/fingerprint.hpp"
#include "cairn/core/fp_environment.hpp"
#include "cairn/core/memory.hpp"
#include "cairn/kernels/dispatch.hpp"
#include "cairn/numeric/elementary.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// How frequencies change for contexts longer than the model was trained on.
struct RotaryScaling {
    enum class Kind : std::uint8_t { none, linear, llama3, yarn, longrope };
    Kind kind = Kind::none;
    double factor = 1.0;
    double original_context = 8192;  ///< llama3, yarn, longrope: of the original training
    double low_frequency = 1.0;      ///< llama3: wavelengths above original / low are stretched
    double high_frequency = 4.0;     ///< llama3: wavelengths below original / high stay
    double beta_fast = 32.0;         ///< yarn: turns above which a frequency stays
    double beta_slow = 1.0;          ///< yarn: turns below which it is stretched whole
    double attention_factor = 0.0;   ///< yarn, longrope: of cos and sin; 0: 0.1 ln(factor) + 1
    bool whole_pairs = true;         ///< yarn: the ramp begins and ends at a whole pair
};

/// The numbers of a rotation.
struct RotarySettings {
    int dims = 0;  ///< rotated leading numbers of a row; even, at most the row's width
    double theta = 10000.0;
    int positions = 0;  ///< of the model's context, above 0; angles are computed when first used
    RotaryScaling scaling{};
    std::vector<float> divisors{};  ///< of each frequency, as GGUF stores Llama 3's; or empty
    /// longrope: those of sequences with room for more than the original context; the others'
    /// above.
    std::vector<float> far_divisors{};
};

/// Frequencies of the dims/2 pairs in radians a position, scaling included.
inline std::vector<double> rotary_frequencies(const RotarySettings& s) {
    const FpEnvironment environment;
    using namespace elementary;
    constexpr double pi = 3.14159265358979323846;
    const RotaryScaling& scaling = s.scaling;
    std::vector<double> result;
    const auto correction = [&](double turns) {
        return s.dims * log(scaling.original_context / (turns * 2.0 * pi)) / (2.0 * log(s.theta));
    };
    for (int i = 0; i < s.dims / 2; ++i) {
        double plain = 1.0 / pow(s.theta, 2.0 * i / s.dims);
        if (!s.divisors.empty()) plain /= s.divisors[static_cast<std::size_t>(i)];
        double value = plain;
        if (scaling.kind == RotaryScaling::Kind::linear) {
            value = plain / scaling.factor;
        } else if (scaling.kind == RotaryScaling::Kind::llama3) {
            const double wavelength = 2.0 * pi / plain;
            if (wavelength > scaling.original_context / scaling.low_frequency) {
                value = plain / scaling.factor;
            } else if (wavelength >= scaling.original_context / scaling.high_frequency) {
                const double smooth =
                    (scaling.original_context / wavelength - scaling.low_frequency) /
                    (scaling.high_frequency - scaling.low_frequency);
                value = std::fma(1.0 - smooth, plain / scaling.factor, smooth * plain);
            }
        } else if (scaling.kind == RotaryScaling::Kind::yarn) {
            double low = correction(scaling.beta_fast);
            double high = correction(scaling.beta_slow);
            if (scaling.whole_pairs) low = std::floor(low), high = std::ceil(high);
            low = std::max(low, 0.0);
            high = std::min(high, s.dims - 1.0);
            if (low == high) high += 0.001;
            const double ramp = std::min(std::max((i - low) / (high - low), 0.0), 1.0);
            value = std::fma(ramp, plain / scaling.factor, (1.0 - ramp) * plain);
        }
        result.push_back(value);
    }
    return result;
}

namespace internal {

/// YaRN's usual factor of cosines and sines.
inline double yarn_magnitude(double factor, double scale = 1.0) {
    return factor <= 1.0 ? 1.0 : std::fma(0.1 * scale, elementary::log(factor), 1.0);
}

enum class PairLayout : std::uint8_t { half, interleaved };

/// Cosines and sines by position, shared by the layers of a model and by threads. Computed when a
/// position of their piece is first used: a model costs what its tensors cost, whatever context it
/// declares. Pieces are mapped like the rows of caches, so that decoding takes nothing from the
/// heap.
class RotaryTable {
  public:
    static constexpr int piece = 512;
    static constexpr int positions = 1 << 24;

    RotaryTable(std::vector<double> frequencies, double magnitude)
        : frequencies_(std::move(frequencies)), magnitude_(magnitude), pieces_(positions / piece) {}
    RotaryTable(const RotaryTable&) = delete;
    RotaryTable& operator=(const RotaryTable&) = delete;
    ~RotaryTable() {
        for (const auto& entry : pieces_)
            if (const float* rows = entry.load(std::memory_order_relaxed))
                const Mapping memory = std::move(front_of(rows)->memory);
    }
    /// [cosines][sines] of a position, or null where there is no memory for its piece.
    /// Error{capacity} beyond `positions`.
    const float* row(int position) {
        require(position >= 0 && position < positions, ErrorCode::capacity, "position ", position,
                " is past the ", positions, " rotary positions");
        std::atomic<const float*>& entry = pieces_[static_cast<std::size_t>(position / piece)];
        const float* at = entry.load(std::memory_order_acquire);
        if (at == nullptr) at = make(position / piece, entry);
        if (at == nullptr) return nullptr;
        return at + static_cast<std::size_t>(position % piece) * 2 * frequencies_.size();
    }
    /// Computes the row of a position alone; to[2 * frequencies].
    void compute(int position, float* to) const {
        const FpEnvironment environment;
        const std::size_t pairs = frequencies_.size();
        for (std::size_t i = 0; i < pairs; ++i) {
            const auto turn = elementary::sincos(position * frequencies_[i]);
            to[i] = static_cast<float>(turn.cos * magnitude_);
            to[pairs + i] = static_cast<float>(turn.sin * magnitude_);
        }
    }

  private:
    // Lies at the front of the memory it owns, the rows behind it.
    struct alignas(64) Piece {
        Mapping memory;
    };
    static Piece* front_of(const float* rows) noexcept {
        return reinterpret_cast<Piece*>(const_cast<float*>(rows)) - 1;
    }

    // Without a lock, which a child would find locked for ever if the process forked meanwhile.
    // Threads that come at once all compute the piece, and the first one's is kept.
    const float* make(int index, std::atomic<const float*>& entry) const {
        const std::size_t width = 2 * frequencies_.size();
        Mapping memory;
        try {
            memory = Mapping(sizeof(Piece) + width * piece * sizeof(float), Mapping::Pages::small);
        } catch (...) {
            return nullptr;
        }
        std::byte* front = memory.data();
        auto* rows = reinterpret_cast<float*>(front + sizeof(Piece));
        for (int p = 0; p < piece; ++p)
            compute(index * piece + p, rows + static_cast<std::size_t>(p) * width);
        Piece* made = new (front) Piece{std::move(memory)};
        const float* first = nullptr;
        if (entry.compare_exchange_strong(first, rows, std::memory_order_acq_rel)) return rows;
        memory = std::move(made->memory);
        return first;
    }
    std::vector<double> frequencies_;
    double magnitude_;
    std::vector<std::atomic<const float*>> pieces_;
};

/// Turns rows by position.
template <PairLayout layout>
class Rotary final : public Rotation {
  public:
    Rotary() = default;
    /// Throws Error{invalid_argument} for odd or too many dims, theta <= 0 or a bad scaling.
    explicit Rotary(const RotarySettings& settings) : pairs_(settings.dims / 2) {
        const FpEnvironment environment;
        require(settings.dims > 0 && settings.dims % 2 == 0 && settings.dims <= most_dims,
                ErrorCode::invalid_argument, "rotary: ", settings.dims,
                " dims; an even number of 2 to ", most_dims, " is needed");
        require(settings.theta > 1.0 && settings.theta < 1e30, ErrorCode::invalid_argument,
                "rotary: theta ", settings.theta);
        require(settings.scaling.factor > 0.0 && settings.scaling.factor < 1e9,
                ErrorCode::invalid_argument, "rotary: scaling factor ", settings.scaling.factor);
        require(settings.positions > 0, ErrorCode::invalid_argument, "rotary: ", settings.positions,
                " positions");
        require(settings.divisors.empty() ||
                    settings.divisors.size() == static_cast<std::size_t>(settings.dims / 2),
                ErrorCode::invalid_argument, "rotary: ", settings.divisors.size(), " divisors for ",
                settings.dims / 2, " frequencies");
        for (const float divisor : settings.divisors)
            require(divisor > 0.0F && divisor < 1e9F, ErrorCode::invalid_argument,
                    "rotary: frequency divisor ", divisor);
        double magnitude = 1.0;
        if (settings.scaling.kind == RotaryScaling::Kind::yarn ||
            settings.scaling.kind == RotaryScaling::Kind::longrope) {
            magnitude = settings.scaling.attention_factor;
            if (magnitude == 0.0) magnitude = yarn_magnitude(settings.scaling.factor);
        }
        std::vector<double> frequencies = rotary_frequencies(settings);
        for (std::size_t i = 0; i < frequencies.size(); ++i)
            require(frequencies[i] >= 0.0 && frequencies[i] <= most_frequency,
                    ErrorCode::invalid_argument, "rotary: pair ", i, " would turn by ",
                    frequencies[i], " a position; 0 to ", most_frequency, " is possible");
        require(magnitude > 0.0 && magnitude < 1e6, ErrorCode::invalid_argument,
                "rotary: cosines and sines times ", magnitude);
        table_ = std::make_shared<RotaryTable>(std::move(frequencies), magnitude);
    }

    /// Error{capacity} beyond positions(); nothing else is thrown, since threads of a pool call it.
    void rotate(float* row, int position) const override {
        const FpEnvironment environment;
        const float* cosine = table_->row(position);
        if (cosine == nullptr) return rotate_alone(row, position);
        turn(row, cosine);
    }
    int positions() const noexcept override { return RotaryTable::positions; }
    int dims() const noexcept { return 2 * pairs_; }
    /// Adds the angles to a fingerprint.
    void hash(Fingerprint& to) const {
        to.add(layout == PairLayout::half ? 1U : 2U);
        std::vector<float> row(static_cast<std::size_t>(2 * pairs_));
        for (const int position : {1, 1023}) {
            table_->compute(position, row.data());
            to.add(row.data(), row.size() * sizeof(float));
        }
        to.setting("rope theta or scaling", row.data(), row.size() * sizeof(float));
    }

  private:
    static constexpr int most_dims = 1 << 14;
    static constexpr double most_frequency = 32.0;  // angles of all positions have exact sines
    // Without memory for the table the angles of this row are computed for themselves.
    [[gnu::cold, gnu::noinline]] void rotate_alone(float* row, int position) const {
        float angles[most_dims];
        table_->compute(position, angles);
        turn(row, angles);
    }
    void turn(float* row, const float* cosine) const {
        const kernels::Table& kernel = kernels::active();
        if constexpr (layout == PairLayout::half)
            kernel.rotate_half(row, cosine, cosine + pairs_, pairs_);
        else
            kernel.rotate_interleaved(row, cosine, cosine + pairs_, pairs_);
    }

    int pairs_ = 0;
    std::shared_ptr<RotaryTable> table_;
};

}  // namespace internal

/// Pairs (i, i + dims/2), as in Hugging Face's Llama files.
using RotaryHalf = internal::Rotary<internal::PairLayout::half>;
/// Pairs (2i, 2i + 1), as in GPT-J and in GGUF files of Llama.
using RotaryInterleaved = internal::Rotary<internal::PairLayout::interleaved>;

/// For models whose positions enter by the embedding or by ALiBi.
struct NoRotation {};

}}  // namespace cairn
