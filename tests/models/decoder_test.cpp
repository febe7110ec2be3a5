#include <cairn/cache/codec/inputs.hpp>
#include <cairn/models/any_model.hpp>

#include "support.hpp"
using namespace support;

namespace {

using WidthBlock = SequentialBlock<LayerNorm, MultiHead<NoRotation>, Mlp<Gelu>>;

Linear zeros(std::ptrdiff_t out, std::ptrdiff_t in) {
    return Linear(WeightMatrix(out, in, ElementType::f32));
}
LayerNorm norm_of(std::size_t width) {
    return {std::vector<float>(width, 1.0F), std::vector<float>(width), 1e-5F};
}
// The widths of what a block of width 8 is made of.
WidthBlock block_of(std::size_t first, std::size_t second, std::ptrdiff_t mlp,
                    std::ptrdiff_t back = 8) {
    return {norm_of(first), MultiHead<NoRotation>({2, 2, 4, 4}, zeros(24, 8), zeros(back, 8)),
            norm_of(second), Mlp<Gelu>(zeros(16, mlp), zeros(mlp, 16))};
}
DecoderWeights<WidthBlock, LearnedPositions> parts_of(std::ptrdiff_t positions,
                                                      std::size_t final_norm) {
    DecoderWeights<WidthBlock, LearnedPositions> weights;
    weights.embedding = Embedding(WeightMatrix(5, 8, ElementType::f32));
    weights.positions = LearnedPositions(WeightMatrix(6, positions, ElementType::f32));
    weights.blocks.push_back(block_of(8, 8, 8));
    weights.final_norm = norm_of(final_norm);
    return weights;
}

}  // namespace

TEST_CASE("parts of another width are refused with both numbers", "[decoder]") {
    const auto refused = [](auto make) {
        try {
            make();
        } catch (const Error& error) {
            const std::string text = error.what();
            return error.code() == ErrorCode::shape_mismatch && text.find('7') != text.npos &&
                   text.find('8') != text.npos;
        }
        return false;
    };
    block_of(8, 8, 8);
    CHECK(refused([] { block_of(7, 8, 8); }));
    CHECK(refused([] { block_of(8, 7, 8); }));
    CHECK(refused([] { block_of(8, 8, 7); }));
    CHECK(refused([] { block_of(8, 8, 8, 7); }));
    CHECK(refused([] {
        ParallelBlock<LayerNorm, MultiHead<NoRotation>, Mlp<Gelu>>(
            norm_of(7), MultiHead<NoRotation>({2, 2, 4, 4}, zeros(24, 8), zeros(8, 8)),
            Mlp<Gelu>(zeros(16, 8), zeros(8, 16)));
    }));
    const Decoder<WidthBlock, LearnedPositions> good(parts_of(8, 8));
    CHECK(refused([] { Decoder<WidthBlock, LearnedPositions>(parts_of(7, 8)); }));
    CHECK(refused([] { Decoder<WidthBlock, LearnedPositions>(parts_of(8, 7)); }));
    CHECK(any_model(parts_of(8, 8)).width() == 8);
    CHECK(refused([] { any_model(parts_of(7, 8)); }));
    CHECK(refused([] { any_model(parts_of(8, 7)); }));
}

namespace {

class HalvedKeys final : public ProjectedStep {
  public:
    void apply(float*, float* k, float*) const override { k[0] *= 0.5F; }
    void hash(Fingerprint& to) const override { to.add(std::uint64_t{5}); }
};

}  // namespace

TEST_CASE("inputs of a layer with a step behind its projections are refused at once", "[decoder]") {
    for (const bool stepped : {false, true}) {
        auto weights = parts_of(8, 8);
        AttentionSettings settings;
        if (stepped) settings.projected = std::make_shared<const HalvedKeys>();
        weights.blocks.emplace_back(
            norm_of(8),
            MultiHead<NoRotation>({2, 2, 4, 4}, zeros(24, 8), zeros(8, 8), NoRotation{}, settings),
            norm_of(8), Mlp<Gelu>(zeros(16, 8), zeros(8, 16)));
        const AnyModel model = any_model(std::move(weights));
        model.session<KvCache<>>(6).decode(1);
        const auto over_inputs = [&] { model.session<KvCache<Contiguous<Inputs<F32>>>>(6); };
        if (stepped)
            CHECK(code_of(over_inputs) == ErrorCode::unsupported);
        else
            over_inputs();
    }
}

TEST_CASE("parameters and bytes are counted", "[decoder]") {
    const auto model =
        random_gpt2({.layers = 2, .heads = 2, .width = 16, .context = 8, .vocabulary = 11}, 1);
    CHECK(model.parameters() == 11 * 16 + 8 * 16 + 2 * (12 * 16 * 16 + 13 * 16) + 2 * 16);
    CHECK(model.decode_bytes() < model.bytes());
    CHECK(model.session<KvCache<>>(8).model().identity() == model.identity());
}

TEST_CASE("a model that was moved from says so", "[decoder]") {
    auto from = TinyGpt::random({.layers = 2, .heads = 2, .width = 32, .vocab = 50}, 1);
    const auto session = from.session(8);
    const auto to = std::move(from);
    const auto& gone = from.model();
    CHECK(gone.layers() + gone.width() + gone.vocabulary() + gone.context() == 0);
    CHECK(gone.parameters() + gone.bytes() + gone.decode_bytes() == 0);
    CHECK(gone.architecture().empty());
    CHECK(gone.identity() == nullptr);
    CHECK_FALSE(gone.relative_positions());
    const auto refused = [&](auto call) { CHECK(code_of(call) == ErrorCode::bad_state); };
    refused([&] { from.session(8); });
    refused([&] { gone.session<KvCache<>>(8); });
    refused([&] { gone.block(0); });
    refused([&] { gone.layout(0); });
    refused([&] { gone.fingerprint(); });
    Context context;
    std::vector<float> x(64);
    const Activations rows{x.data(), 32, 1};
    refused([&] { gone.embed(1, 0, x.data(), x.data() + 32); });
    refused([&] { gone.finish(rows, rows, context); });
    refused([&] { gone.project(rows, rows, context); });
    refused([&] { (void)forward(gone, {}, context); });
    CHECK(to.model().layers() == 2);
    CHECK(code_of([&] { to.model().block(2); }) == ErrorCode::invalid_argument);
    from = to;
    CHECK(from.session(8).capacity() == session.capacity());
}
