// Random weights for measuring speed: codes at random, scales that keep activations near 1.
#pragma once

#include <cmath>
#include <map>
#include <string>

#include <cairn/layers/quantised.hpp>
#include <cairn/models/gpt_j.hpp>

namespace bench {

using namespace cairn;

inline void random_blocks(Random& random, ElementType type, std::size_t columns,
                          std::span<std::byte> to) {
    const BlockSize& block = block_size(type);
    const double deviation = 1.0 / std::sqrt(static_cast<double>(columns));
    if (is_plain(type)) {
        for (std::size_t i = 0; i < to.size(); i += block.bytes) {
            const auto x = static_cast<float>((random.uniform() - 0.5) * 3.46 * deviation);
            format_of(type).encode(&x, 1, to.data() + i);
        }
        return;
    }
    for (std::size_t i = 0; i + 8 <= to.size(); i += 8) {
        const std::uint64_t bits = random.next();
        std::memcpy(to.data() + i, &bits, 8);
    }
    const auto& layout = quantised::block_format(type).layout;
    if (layout.fp4()) {  // the numbers of the table deviate by 2.9 before their power of two
        const int power = static_cast<int>(std::floor(std::log2(deviation / 2.9) + 0.5));
        for (std::size_t i = 0; i < to.size(); i += block.bytes)
            to[i] = static_cast<std::byte>(127 + power);
        return;
    }
    const double codes =
        layout.wide() ? 74.0 : std::pow(2.0, layout.low_bits + layout.high_bits) * 0.29;
    const double factors = layout.scales == quantised::GroupScales::none       ? 1.0
                           : layout.scales == quantised::GroupScales::integers ? 40.0
                                                                               : 30.0;
    const auto d = static_cast<float>(deviation / codes / factors);
    const auto m = static_cast<float>(-static_cast<double>(d) * codes * 1.7);
    std::size_t at = 0;  // of the scale inside a block
    if (type == ElementType::q2_k) at = 80;
    if (type == ElementType::q3_k) at = 108;
    if (type == ElementType::q6_k) at = 208;
    for (std::size_t i = 0; i < to.size(); i += block.bytes) {
        format_of(ElementType::f16).encode(&d, 1, to.data() + i + at);
        const float least = layout.scales == quantised::GroupScales::none ? m : -m;
        if (layout.minimum) format_of(ElementType::f16).encode(&least, 1, to.data() + i + at + 2);
    }
}

/// GPT-J's tensors made up as they are asked for: matrices of one type, vectors of ones or zeros.
class RandomGptJ final : public TensorSource {
  public:
    RandomGptJ(const GptJConfig& c, ElementType type) : type_(type), random_(1) {
        const auto size = [](int n) { return static_cast<std::size_t>(n); };
        const std::size_t d = size(c.width), hidden = size(c.hidden_width());
        const auto add = [&](const std::string& name, std::size_t out, std::size_t in) {
            shapes_[name + ".weight"] = {out, in};
            shapes_[name + ".bias"] = {out};
        };
        const auto norm = [&](const std::string& name) {
            shapes_[name + ".weight"] = {d};
            shapes_[name + ".bias"] = {d};
        };
        add("transformer.wte", size(c.vocabulary), d);
        add("lm_head", size(c.vocabulary), d);
        norm("transformer.ln_f");
        for (int i = 0; i < c.layers; ++i) {
            const std::string h = "transformer.h." + std::to_string(i) + ".";
            norm(h + "ln_1");
            for (const char* part : {"q_proj", "k_proj", "v_proj", "out_proj"})
                add(h + "attn." + part, d, d);
            add(h + "mlp.fc_in", hidden, d);
            add(h + "mlp.fc_out", d, hidden);
        }
    }
    const std::vector<std::size_t>* shape(std::string_view name) const override {
        const auto at = shapes_.find(name);
        return at == shapes_.end() ? nullptr : &at->second;
    }
    ElementType type(std::string_view name) const override {
        return shape(name)->size() == 2 ? type_ : ElementType::f32;
    }
    void read(std::string_view name, std::size_t, std::span<float> to) const override {
        std::fill(to.begin(), to.end(), name.ends_with(".weight") ? 1.0F : 0.0F);
    }
    void read_stored(std::string_view name, std::size_t, std::span<std::byte> to) const override {
        random_blocks(random_, type_, shape(name)->back(), to);
    }
    WeightMatrix matrix(std::ptrdiff_t out, std::ptrdiff_t in, ElementType type) const override {
        return weight_matrix(out, in, type);
    }

  private:
    ElementType type_;
    mutable Random random_;
    std::map<std::string, std::vector<std::size_t>, std::less<>> shapes_;
};

}  // namespace bench
