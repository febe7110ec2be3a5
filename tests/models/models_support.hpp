// What several tests of models/ share.
#pragma once

#include <map>

#include "support.hpp"

namespace support {

inline constexpr TinyShape small{.layers = 3, .heads = 2, .width = 32, .vocab = 50, .context = 64};

inline std::vector<float> copy_of(std::span<const float> row) { return {row.begin(), row.end()}; }

// A source of tensors in memory.
struct Tensors final : TensorSource {
    std::map<std::string, std::pair<std::vector<std::size_t>, std::vector<float>>, std::less<>>
        items;
    const std::vector<std::size_t>* shape(std::string_view name) const override {
        const auto at = items.find(name);
        return at == items.end() ? nullptr : &at->second.first;
    }
    ElementType type(std::string_view) const override { return ElementType::f32; }
    void read(std::string_view name, std::size_t first, std::span<float> to) const override {
        std::copy_n(items.find(name)->second.second.begin() + static_cast<std::ptrdiff_t>(first),
                    to.size(), to.begin());
    }
    void read_stored(std::string_view name, std::size_t first,
                     std::span<std::byte> to) const override {
        std::memcpy(to.data(), items.find(name)->second.second.data() + first, to.size());
    }
    std::vector<std::string> names() const override {
        std::vector<std::string> result;
        for (const auto& item : items) result.push_back(item.first);
        return result;
    }
    void add(Random& random, const std::string& name, std::vector<std::size_t> shape) {
        std::size_t count = 1;
        for (const std::size_t n : shape) count *= n;
        items[name] = {shape, random_vector(random, count, 0.1)};
    }
};

inline Tensors gpt2_tensors(const Gpt2Config& c, const std::string& prefix) {
    Random random(1);
    Tensors t;
    const auto d = static_cast<std::size_t>(c.width),
               h = static_cast<std::size_t>(c.hidden_width());
    t.add(random, prefix + "wte.weight", {static_cast<std::size_t>(c.vocabulary), d});
    t.add(random, prefix + "wpe.weight", {static_cast<std::size_t>(c.context), d});
    const auto pair = [&](const std::string& name, std::vector<std::size_t> shape) {
        t.add(random, name + ".weight", shape);
        t.add(random, name + ".bias", {shape.back()});
    };
    for (int i = 0; i < c.layers; ++i) {
        const std::string l = prefix + "h." + std::to_string(i) + ".";
        pair(l + "ln_1", {d});
        pair(l + "attn.c_attn", {d, 3 * d});
        pair(l + "attn.c_proj", {d, d});
        pair(l + "ln_2", {d});
        pair(l + "mlp.c_fc", {d, h});
        pair(l + "mlp.c_proj", {h, d});
    }
    pair(prefix + "ln_f", {d});
    return t;
}

}  // namespace support
