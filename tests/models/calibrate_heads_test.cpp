// Which heads look far back: shares of attention, measured where a text is read twice.
#include <cairn/cache/cache_spec.hpp>
#include <cairn/io/io.hpp>
#include <cairn/models/calibrate_heads.hpp>

#include "support.hpp"
using namespace support;

TEST_CASE("heads that look things up are told from those that do not", "[calibrate]") {
    // The model of examples/train/recall.py looks up what followed a key: some heads must look far.
    const LoadedModel loaded = load_model(std::string(CAIRN_MODELS) + "/recall");
    Random random(91);
    std::vector<Token> text;
    for (int i = 0; i < 120; ++i) text.push_back(static_cast<Token>(3 + random.below(128)));
    const HeadCalibration settings{.piece = 40, .queries = 8, .sinks = 4, .recent = 16};
    Serial executor;
    const HeadScores scores =
        calibrate_heads(loaded.model, text, Contiguous<F32>(), settings, executor);
    REQUIRE(scores.layers == loaded.model.layers());
    REQUIRE(scores.scores.size() ==
            static_cast<std::size_t>(scores.layers * loaded.model.layout(0).kv_heads));
    for (const float x : scores.scores) CHECK((x >= 0.0F && x <= 1.0F));
    const auto [least, most] = std::minmax_element(scores.scores.begin(), scores.scores.end());
    CHECK(*most > *least);
    // The same again, over blocks and on threads.
    ThreadPool pool(2);
    CHECK(calibrate_heads(loaded.model, text, Paged<F32>(), settings, pool).scores ==
          scores.scores);
    const auto refused = [&](const HeadCalibration& s) {
        return code_of(
            [&] { calibrate_heads(loaded.model, text, Contiguous<F32>(), s, executor); });
    };
    CHECK(refused({.piece = 121}) == ErrorCode::invalid_argument);
    CHECK(refused({.piece = 10, .queries = 8, .sinks = 4, .recent = 16}) ==
          ErrorCode::invalid_argument);
    CHECK(refused({.piece = 40, .queries = 0}) == ErrorCode::invalid_argument);
}
