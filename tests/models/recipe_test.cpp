// The table of a recipe, and the parts that are read by it.
#include <algorithm>
#include <limits>

#include <cairn/models/architecture.hpp>
#include <cairn/layers/weight_format.hpp>
#include <cairn/models/load_tensor.hpp>

#include "models/models_support.hpp"
using namespace support;

namespace {

// A tensor whose number (r, c) is 100 r + c.
void add_numbered(Tensors& to, const std::string& name, std::size_t rows, std::size_t columns) {
    auto& [shape, numbers] = to.items[name];
    shape = {rows, columns};
    for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t c = 0; c < columns; ++c)
            numbers.push_back(static_cast<float>(100 * r + c));
}
std::string refusal(const TensorTable& table, const TensorSource& source, ModelFormat format) {
    try {
        table.check(source, format).done();
    } catch (const Error& error) {
        return error.what();
    }
    return "";
}
TensorTable small_table() {
    TensorTable table("outer.");
    table.add({{"outer.embed.weight", "token_embd.weight", {5, 4}}});
    table.layers("outer.h.", "blk.", 2);
    for (int i = 0; i < 2; ++i)
        table.layer(i, {{"up.weight", "ffn_up.weight", {3, 4}, Need::always, true},
                        {"up.bias", "ffn_up.bias", {3}, Need::optional}});
    table.add({{"head.weight", "output.weight", {5, 4}, Need::never},
               {"", "factors.weight", {}, Need::optional}});
    return table;
}

}  // namespace

TEST_CASE("a table checks both kinds of file by their own names", "[recipe]") {
    const TensorTable table = small_table();
    Tensors hf;
    add_numbered(hf, "embed.weight", 5, 4);  // the prefix is left out
    add_numbered(hf, "h.0.up.weight", 4, 3);
    add_numbered(hf, "h.1.up.weight", 4, 3);
    add_numbered(hf, "head.weight", 5, 4);
    CHECK(refusal(table, hf, ModelFormat::hugging_face).empty());
    CHECK(table.check(hf, ModelFormat::hugging_face).unread() ==
          std::vector<std::string>{"head.weight"});
    Tensors gguf;
    add_numbered(gguf, "token_embd.weight", 5, 4);
    add_numbered(gguf, "blk.0.ffn_up.weight", 3, 4);
    add_numbered(gguf, "blk.1.ffn_up.weight", 3, 4);
    add_numbered(gguf, "factors.weight", 1, 9);  // any shape
    CHECK(refusal(table, gguf, ModelFormat::gguf).empty());
    CHECK(table.check(gguf, ModelFormat::gguf).unread().empty());
    CHECK(refusal(table, gguf, ModelFormat::hugging_face).starts_with("3 tensors do not fit"));
    add_numbered(gguf, "blk.2.ffn_up.weight", 3, 4);
    add_numbered(gguf, "blk.1.ffn_up.bias", 1, 3);  // optional, but then of its shape
    const std::string text = refusal(table, gguf, ModelFormat::gguf);
    CHECK(text.find("blk.2.ffn_up.weight belongs to layer 2") != std::string::npos);
    CHECK(text.find("blk.1.ffn_up.bias is [1, 3], the configuration wants [3]") !=
          std::string::npos);
}

TEST_CASE("parts are read by the table's names, whatever the file calls them", "[recipe]") {
    const TensorTable table = small_table();
    Tensors hf;
    add_numbered(hf, "outer.embed.weight", 5, 4);
    add_numbered(hf, "outer.h.0.up.weight", 4, 3);
    add_numbered(hf, "outer.h.1.up.weight", 4, 3);
    hf.items["outer.h.1.up.bias"] = {{3}, {7.0F, 8.0F, 9.0F}};
    int done = 0;
    int total = 0;
    LoadOptions options;
    options.progress = [&](int d, int t) { done = d, total = t; };
    WeightReader reader(table, hf, ModelFormat::hugging_face, options);
    CHECK(reader.embedding("outer.embed").count() == 5);
    const Linear first = reader.linear("outer.h.0.up");
    const Linear second = reader.linear("outer.h.1.up");
    CHECK(first.bias() == nullptr);
    REQUIRE(second.bias() != nullptr);
    CHECK(second.bias()[2] == 9.0F);
    std::vector<float> row(4);
    first.weights().row(1, row.data());  // [in][out] in the file
    CHECK(row == std::vector<float>{1.0F, 101.0F, 201.0F, 301.0F});
    CHECK(done == 4);
    CHECK(total == 4);
    CHECK_FALSE(reader.output("head").has_value());
    CHECK_FALSE(reader.has("factors.weight"));
    for (const char* name : {"head.weight", "outer.h.2.up.weight", "outer.h.0.up.bias"})
        CHECK(code_of([&] { reader.vector(name); }) == ErrorCode::invalid_argument);
}

TEST_CASE("rows of a tensor are loaded in any order, in every type and both ways", "[recipe]") {
    Tensors source;
    add_numbered(source, "qkv.weight", 70, 33);
    source.items["qkv.bias"] = {{70}, std::vector<float>(70)};
    for (std::size_t i = 0; i < 70; ++i) source.items["qkv.bias"].second[i] = static_cast<float>(i);
    TensorTable table;
    table.add({{"qkv.weight", "", {70, 33}}, {"qkv.bias", "", {70}}});
    // Every third row from the second on, as heads of query, key and value lie in some files.
    const TensorRows keys{23, [](std::ptrdiff_t r) { return 3 * r + 1; }};
    for (const bool half : {false, true})
        for (const Validate validate : {Validate::quick, Validate::full}) {
            LoadOptions options;
            options.validate = validate;
            if (half) options.store_as = ElementType::f16;
            WeightReader reader(table, source, ModelFormat::hugging_face, options);
            const Linear part = reader.linear("qkv", keys);
            REQUIRE(part.out() == 23);
            REQUIRE(part.in() == 33);
            const WeightMatrix whole = reader.matrix("qkv.weight");
            std::vector<float> got(33), wanted(33);
            for (std::ptrdiff_t r = 0; r < 23; ++r) {
                part.weights().row(r, got.data());
                whole.row(3 * r + 1, wanted.data());
                CHECK(same_bits(got, wanted));
                CHECK(part.bias()[r] == static_cast<float>(3 * r + 1));
            }
        }
    // Some rows turned round, in the file's type or in a format of one's own.
    {
        const LoadOptions plain;
        WeightReader reader(table, source, ModelFormat::hugging_face, plain);
        const WeightMatrix turned = reader.turned("qkv.weight", {5, {}, 60});
        REQUIRE(turned.out() == 33);
        REQUIRE(turned.in() == 5);
        std::vector<float> row(5);
        turned.row(7, row.data());
        CHECK(row == std::vector<float>{6007.0F, 6107.0F, 6207.0F, 6307.0F, 6407.0F});
        CHECK(code_of([&] { reader.turned("qkv.weight", {11, {}, 60}); }) ==
              ErrorCode::invalid_argument);
    }
    // Rows that are not there, or not rows.
    table.add({{.hf = "turned.weight", .gguf = "", .shape = {33, 70}, .transposed = true}});
    add_numbered(source, "turned.weight", 70, 33);
    const LoadOptions options;
    WeightReader reader(table, source, ModelFormat::hugging_face, options);
    const auto refused = [&](const char* name, const TensorRows& rows) {
        return code_of([&] { reader.linear(name, rows); }) == ErrorCode::invalid_argument;
    };
    CHECK(refused("qkv", {}));
    CHECK(refused("qkv", {3, {}}));
    CHECK(refused("qkv", {0, [](std::ptrdiff_t r) { return r; }}));
    CHECK(refused("qkv", {24, [](std::ptrdiff_t r) { return 3 * r + 1; }}));
    CHECK(refused("qkv", {2, [](std::ptrdiff_t r) { return -r; }}));
    CHECK(refused("turned", {2, [](std::ptrdiff_t r) { return r; }}));
    source.items["qkv.bias"] = {{69}, std::vector<float>(69)};
    CHECK(refused("qkv", {1, [](std::ptrdiff_t) { return 69; }}));
    // A name that comes again.
    CHECK(code_of([&] { table.add({{"qkv.bias", "", {70}}}); }) == ErrorCode::invalid_argument);
    CHECK(table.lines().size() == 3);
}

TEST_CASE("a line with a star is a matrix each, and one stack in GGUF files", "[recipe]") {
    TensorTable table;
    table.layers("h.", "blk.", 1);
    table.layer(0, {{"experts.*.up.weight", "ffn_up_exps.weight", {3, 5, 4}}});
    Tensors hf, gguf;
    for (int e = 0; e < 3; ++e) {
        add_numbered(hf, "h.0.experts." + std::to_string(e) + ".up.weight", 5, 4);
        for (float& x : hf.items["h.0.experts." + std::to_string(e) + ".up.weight"].second) {
            x += static_cast<float>(1000 * e);
            gguf.items["blk.0.ffn_up_exps.weight"].second.push_back(x);
        }
    }
    gguf.items["blk.0.ffn_up_exps.weight"].first = {3, 5, 4};
    int done = 0, total = 0;
    LoadOptions options;
    options.progress = [&](int d, int t) { done = d, total = t; };
    for (const ModelFormat format : {ModelFormat::hugging_face, ModelFormat::gguf}) {
        const Tensors& source = format == ModelFormat::gguf ? gguf : hf;
        CHECK(refusal(table, source, format).empty());
        CHECK(table.check(source, format).unread().empty());
        WeightReader reader(table, source, format, options);
        for (int e = 0; e < 3; ++e) {
            const Linear one = reader.linear("h.0.experts.*.up", e);
            REQUIRE(one.out() == 5);
            std::vector<float> row(4);
            one.weights().row(2, row.data());
            CHECK(row[3] == static_cast<float>(1000 * e + 203));
        }
        CHECK(done == 3);
        CHECK(total == 3);
        for (const int number : {-1, 3})
            CHECK(code_of([&] { reader.linear("h.0.experts.*.up", number); }) ==
                  ErrorCode::invalid_argument);
    }
    hf.items.erase("h.0.experts.2.up.weight");
    hf.items["h.0.experts.1.up.weight"].first = {4, 5};
    const std::string text = refusal(table, hf, ModelFormat::hugging_face);
    CHECK(text.find("h.0.experts.2.up.weight is missing") != std::string::npos);
    CHECK(text.find("[4, 5], the configuration wants [5, 4]") != std::string::npos);
    gguf.items["blk.0.ffn_up_exps.weight"].first = {3, 4, 5};
    CHECK_FALSE(refusal(table, gguf, ModelFormat::gguf).empty());
    CHECK(code_of([&] { table.add({{"a.*.b", "", {3}}}); }) == ErrorCode::invalid_argument);
}

namespace {

// Numbers as halves, row by row.
class HalfRows final : public WeightFormat {
  public:
    explicit HalfRows(std::string_view name = "half-rows") : name_(name) {}
    std::string_view name() const override { return name_; }
    std::size_t row_bytes(std::ptrdiff_t in) const override {
        return 2 * static_cast<std::size_t>(in);
    }
    void pack(const float* row, std::ptrdiff_t in, std::byte* to) const override {
        plain_format<ElementType::f16>.encode(row, static_cast<std::size_t>(in), to);
    }
    void unpack(const std::byte* from, std::ptrdiff_t in, float* row) const override {
        plain_format<ElementType::f16>.decode(from, static_cast<std::size_t>(in), row);
    }

  private:
    std::string_view name_;
};

}  // namespace

TEST_CASE("a format of one's own loads matrices of both orders, and refuses what is no number",
          "[recipe]") {
    const Gpt2Config c{
        .layers = 2, .heads = 2, .width = 40, .hidden = 70, .context = 60, .vocabulary = 53};
    Tensors t = gpt2_tensors(c, "");
    LoadOptions halves;
    halves.store_as = ElementType::f16;
    LoadOptions own;
    own.format = std::make_shared<const HalfRows>();
    own.validate = Validate::full;
    const Gpt2 wanted = load_gpt2(c, t, halves);
    const Gpt2 got = load_gpt2(c, t, own);
    auto a = wanted.session<KvCache<>>(60);
    auto b = got.session<KvCache<>>(60);
    Random random(4);
    const auto tokens = random_tokens(random, 40, 53);
    CHECK(same_bits(a.prefill(tokens), b.prefill(tokens)));
    CHECK(same_bits(a.decode(7), b.decode(7)));
    CHECK(got.fingerprint() != wanted.fingerprint());
    CHECK(got.fingerprint() == load_gpt2(c, t, own).fingerprint());
    LoadOptions other = own;  // the same bytes, read as something else
    other.format = std::make_shared<const HalfRows>("other-rows");
    CHECK(got.fingerprint() != load_gpt2(c, t, other).fingerprint());
    t.items["h.1.mlp.c_fc.weight"].second[5] = std::numeric_limits<float>::infinity();
    for (const Validate validate : {Validate::quick, Validate::full}) {
        own.validate = validate;
        CHECK(code_of([&] { load_gpt2(c, t, own); }) == ErrorCode::non_finite);
    }
    CHECK(code_of([&] { weight_matrix(0, 4, own.format); }) == ErrorCode::invalid_argument);
    WeightMatrix matrix = weight_matrix(3, 4, own.format);
    const float x = 1.0F;
    CHECK(code_of([&] { matrix.put(0, 0, 1, 1, &x, 1, 1); }) == ErrorCode::bad_state);
}

namespace {

// A block that adds one to everything.
struct OneMore {
    using NormType = RmsNorm;
    HeadLayout heads{1, 1, 2, 2};
    void forward(const Activations& x, std::span<const BatchSlice> slices, std::ptrdiff_t width,
                 Context&) const {
        const std::vector<float> none(static_cast<std::size_t>(x.rows * 2));
        for (const BatchSlice& slice : slices) {
            CacheRef cache = slice.cache;
            cache.stage({none.data(), 2, slice.rows}, {none.data(), 2, slice.rows});
        }
        for (std::ptrdiff_t r = 0; r < x.rows; ++r)
            for (std::ptrdiff_t c = 0; c < width; ++c) x.row(r)[c] += 1.0F;
    }
    const HeadLayout& layout() const noexcept { return heads; }
    std::size_t parameters() const noexcept { return 0; }
    std::size_t bytes() const noexcept { return 0; }
    void hash(Fingerprint& to) const noexcept { to.add(std::uint64_t{1}); }
};

}  // namespace

TEST_CASE("any block is a model's layer, and handles share it", "[recipe]") {
    DecoderWeights<OneMore, NoPositions> weights;
    weights.architecture = "one-more";
    weights.positions = {16};
    RowMatrix table = RowMatrix::Zero(3, 4);
    table(2, 1) = 5.0F;
    weights.embedding = Embedding(WeightMatrix::from(table));
    weights.blocks.resize(3);
    weights.final_norm = RmsNorm(std::vector<float>(4, 1.0F), 1e-5F);
    const AnyModel model = any_model(std::move(weights));
    CHECK(model.window(0) == std::numeric_limits<int>::max());
    CHECK(model.context() == 16);
    CHECK(model.relative_positions());
    auto session = Session<AnyModel, KvCache<>>(model, 8);
    std::vector<float> hidden(4);
    session.embed(std::vector<Token>{2}, hidden.data());
    // (3, 8, 3, 3) normed.
    CHECK(std::abs(hidden[1] / hidden[0] - 8.0F / 3.0F) < 1e-6F);
    const AnyBlock copy = model.block(1);
    CHECK(&copy.layout() == &model.block(1).layout());
}
