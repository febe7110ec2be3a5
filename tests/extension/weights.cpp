// A weight format from outside: a byte a number and a scale a row. One file; a model is loaded in
// it by one option, which finds it by its name, and answers with the bits of a model whose weights
// were rounded beforehand.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>

#include <cairn/cairn.hpp>
#include <cairn/core/thread_pool.hpp>
#include <cairn/layers/named_formats.hpp>
#include <cairn/models/llama.hpp>

namespace {

class ScaledBytes final : public cairn::WeightFormat {
  public:
    std::string_view name() const override { return "scaled-bytes"; }
    std::size_t row_bytes(std::ptrdiff_t in) const override {
        return sizeof(float) + static_cast<std::size_t>(in);
    }
    void pack(const float* row, std::ptrdiff_t in, std::byte* to) const override {
        float most = 0.0F;
        for (std::ptrdiff_t k = 0; k < in; ++k) most = std::max(most, std::abs(row[k]));
        const float scale = most / 127.0F;
        std::memcpy(to, &scale, sizeof scale);
        for (std::ptrdiff_t k = 0; k < in; ++k)
            to[4 + k] = static_cast<std::byte>(
                static_cast<std::int8_t>(scale > 0.0F ? std::nearbyint(row[k] / scale) : 0.0F));
    }
    void unpack(const std::byte* from, std::ptrdiff_t in, float* row) const override {
        float scale;
        std::memcpy(&scale, from, sizeof scale);
        for (std::ptrdiff_t k = 0; k < in; ++k)
            row[k] = static_cast<float>(static_cast<std::int8_t>(from[4 + k])) * scale;
    }
};

// Tensors in memory, made up; matrices are rounded by rows of 127 steps if asked for.
class Made final : public cairn::TensorSource {
  public:
    Made(const cairn::TensorTable& table, bool rounded) {
        cairn::Random random(5);
        for (const cairn::TensorEntry& line : table.lines()) {
            if (line.hf.empty() || line.need == cairn::Need::never) continue;
            auto& [shape, x] = tensors_[line.hf];
            shape.assign(line.shape.begin(), line.shape.end());
            const std::size_t columns = shape.back();
            x.resize(columns * (shape.size() > 1 ? shape[0] : 1));
            for (float& v : x) v = static_cast<float>(0.2 * random.normal());
            for (std::size_t at = 0; rounded && shape.size() > 1 && at < x.size(); at += columns)
                round(x.data() + at, columns);
        }
    }
    const std::vector<std::size_t>* shape(std::string_view name) const override {
        const auto at = tensors_.find(name);
        return at == tensors_.end() ? nullptr : &at->second.first;
    }
    cairn::ElementType type(std::string_view) const override { return cairn::ElementType::f32; }
    void read(std::string_view name, std::size_t first, std::span<float> to) const override {
        std::copy_n(tensors_.find(name)->second.second.data() + first, to.size(), to.data());
    }
    void read_stored(std::string_view name, std::size_t first,
                     std::span<std::byte> to) const override {
        std::memcpy(to.data(), tensors_.find(name)->second.second.data() + first, to.size());
    }

  private:
    static void round(float* row, std::size_t n) {
        float most = 0.0F;
        for (std::size_t k = 0; k < n; ++k) most = std::max(most, std::abs(row[k]));
        const float scale = most / 127.0F;
        for (std::size_t k = 0; k < n; ++k) row[k] = std::nearbyint(row[k] / scale) * scale;
    }
    std::map<std::string, std::pair<std::vector<std::size_t>, std::vector<float>>, std::less<>>
        tensors_;
};

std::vector<float> logits(const cairn::Llama& model, int piece, cairn::Executor& executor) {
    std::vector<cairn::Token> tokens;
    for (int i = 0; i < 50; ++i) tokens.push_back(i * 5 % model.vocabulary());
    std::vector<float> result(tokens.size() * static_cast<std::size_t>(model.vocabulary()));
    auto session = model.session<cairn::KvCache<>>(64, executor);
    for (std::size_t at = 0; at < tokens.size(); at += static_cast<std::size_t>(piece)) {
        const cairn::Tokens rest = cairn::Tokens(tokens).subspan(at);
        session.score(rest.first(std::min(rest.size(), static_cast<std::size_t>(piece))),
                      result.data() + at * static_cast<std::size_t>(model.vocabulary()));
    }
    return result;
}

}  // namespace

int main() {
    cairn::LlamaConfig config;
    config.layers = 2;
    config.heads = {4, 2, 10, 10};
    config.width = 133;
    config.hidden = 251;
    config.context = 64;
    config.vocabulary = 45;
    const cairn::TensorTable table = cairn::llama_tensors(config);
    cairn::ThreadPool pool(2);
    cairn::LoadOptions options;
    options.executor = &pool;
    cairn::register_weight_format(std::make_shared<const ScaledBytes>());
    options.format = cairn::weight_format("scaled-bytes");
    const cairn::Llama packed = cairn::load_llama(config, Made(table, false), options);
    const cairn::Llama plain = cairn::load_llama(config, Made(table, true));
    bool good = packed.bytes() * 2 < plain.bytes();
    for (const int piece : {50, 7, 1}) {
        const auto wanted = logits(plain, piece, cairn::Serial::instance());
        good = good && logits(packed, piece, cairn::Serial::instance()) == wanted &&
               logits(packed, piece, pool) == wanted;
    }
    try {
        cairn::weight_format("scaled-bits");
        good = false;
    } catch (const cairn::Error& error) {
        good = good && error.code() == cairn::ErrorCode::unsupported;
    }
    std::printf("a weight format: %zu bytes of weights for %zu: %s\n", packed.bytes(),
                plain.bytes(), good ? "the same bits" : "DIFFERENT");
    return good ? 0 : 1;
}
