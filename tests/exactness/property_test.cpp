// The promise of docs/exactness.md as a property, by memcmp, over random shapes, cuts, caches,
// threads and instruction sets.
#include <memory>

#include "support.hpp"
using namespace support;

namespace {

template <class Model>
void check_model(Random& random, const Model& model, int most_rows, const char* spec_text) {
    const CacheSpec spec = CacheSpec::parse(spec_text);
    const int vocabulary = model.vocabulary();
    const int rows = draw(random, 1, std::min(most_rows, model.context()));
    const auto tokens = random_tokens(random, rows, vocabulary);
    const auto make = [&](int, const HeadLayout& layout, int capacity) {
        return spec.make(layout, capacity);
    };
    const auto new_session = [&](Executor& executor) {
        return Session<Model, AnyCache>(model, rows, executor, make);
    };

    // The reference: everything at once, on one thread, with the portable kernels if that is not
    // too slow.
    auto whole = new_session(Serial::instance());
    std::vector<float> wanted(static_cast<std::size_t>(rows * vocabulary));
    whole.score(tokens, wanted.data());
    const auto row = [&](int r) {
        return std::span(wanted).subspan(static_cast<std::size_t>(r * vocabulary),
                                         static_cast<std::size_t>(vocabulary));
    };

    const kernels::Table& table = *kernels::available()[random.below(kernels::available().size())];
    const bool slow = &table == kernels::available().front() && rows > 60;
    std::unique_ptr<kernels::Override> use =
        slow ? nullptr : std::make_unique<kernels::Override>(table);
    const int thread_counts[] = {1, 2, 3, 7};
    ThreadPool pool(thread_counts[random.below(4)]);
    INFO(table.name << ", " << pool.workers() << " threads, " << rows << " rows, " << spec_text);

    // Random chunks, with detours: truncate and go on, fork and go on in both.
    auto session = new_session(pool);
    std::vector<float> got(wanted.size());
    for (int at = 0; at < rows;) {
        const int n = std::min(rows - at, random.below(3) == 0 ? 1 : draw(random, 1, 90));
        const cairn::Tokens part = cairn::Tokens(tokens).subspan(static_cast<std::size_t>(at),
                                                                 static_cast<std::size_t>(n));
        if (random.below(4) == 0) {
            auto fork = session.fork();
            const Token detour = draw(random, 0, vocabulary - 1);
            fork.decode(detour);
            if (random.below(2) == 0) std::swap(fork, session), session.truncate(at);
        }
        session.score(part, got.data() + static_cast<std::ptrdiff_t>(at) * vocabulary);
        at += n;
        if (random.below(4) == 0) {
            at = draw(random, 0, at);
            session.truncate(at);
        }
    }
    REQUIRE(same_bits(wanted, got));

    // Several sessions in one forward, at different places of the same text.
    auto a = new_session(pool), b = new_session(pool);
    const int cut = draw(random, 0, rows - 1);
    if (cut > 0) a.prefill(cairn::Tokens(tokens).first(static_cast<std::size_t>(cut)));
    std::vector<float> first(static_cast<std::size_t>(vocabulary)), second(first);
    const Slice slices[] = {{&a, cairn::Tokens(tokens).subspan(static_cast<std::size_t>(cut), 1),
                             LogitRows::last, first.data(), nullptr},
                            {&b, cairn::Tokens(tokens).first(static_cast<std::size_t>(cut + 1)),
                             LogitRows::last, second.data(), nullptr}};
    Context context(pool);
    forward(model, slices, context).accept_all();
    REQUIRE(same_bits(row(cut), first));
    REQUIRE(same_bits(row(cut), second));

    // Without the cache: the whole prefix again.
    auto uncached = new_session(pool);
    REQUIRE(same_bits(row(cut), uncached.prefill(cairn::Tokens(tokens).first(
                                    static_cast<std::size_t>(cut + 1)))));
}

const char* random_spec(Random& random) {
    const char* specs[] = {"contiguous:f32", "contiguous:f16", "contiguous:bf16",
                           "contiguous:k=f16,v=f32", "contiguous:k=f32,v=bf16"};
    return specs[random.below(5)];
}

}  // namespace

TEST_CASE("the cache never changes the answer: Llama-shaped models", "[exactness]") {
    Random random(101);
    for (int round = 0; round < 40; ++round) {
        const int kv = draw(random, 1, 4);
        LlamaShape shape;
        shape.layout = {kv * draw(random, 1, std::max(1, 9 / kv)), kv, draw(random, 4, 64) * 2,
                        draw(random, 8, 100)};
        if (round % 10 == 0) shape.layout.key_dim = 256;
        shape.type = static_cast<ElementType>(random.below(3));
        shape.width = draw(random, 20, 90);
        if (random.below(3) == 0) shape.attention.mask = Mask::sliding_window(draw(random, 1, 200));
        if (random.below(4) == 0) shape.attention.soft_cap = 10.0F;
        if (round % 2 == 0)
            check_model(random, random_llama<RotaryHalf>(random, shape), round % 8 == 0 ? 600 : 150,
                        random_spec(random));
        else
            check_model(random, random_gpt_j<RotaryInterleaved>(random, shape), 150,
                        random_spec(random));
    }
}

TEST_CASE("the cache never changes the answer: GPT-2", "[exactness]") {
    Random random(102);
    for (int round = 0; round < 25; ++round) {
        const int heads = draw(random, 1, 9);
        const Gpt2Config config{.layers = draw(random, 1, 3),
                                .heads = heads,
                                .width = heads * draw(random, 1, 12) * 2,
                                .hidden = draw(random, 10, 100),
                                .context = 640,
                                .vocabulary = draw(random, 5, 90)};
        check_model(random,
                    random_gpt2(config, random.next(), static_cast<ElementType>(random.below(3))),
                    round % 6 == 0 ? 600 : 120, random_spec(random));
    }
}

TEST_CASE("greedy text of a random model is the same for every cache that loses nothing",
          "[exactness]") {
    const auto model =
        TinyGpt::random({.layers = 2, .heads = 3, .width = 48, .vocab = 64, .context = 400}, 11);
    Random random(103);
    const auto prompt = random_tokens(random, 50, 64);
    Greedy greedy;
    auto plain = model.session(400);
    const auto wanted = generate(plain, prompt, greedy, {.max_tokens = 300}).tokens;
    ThreadPool pool(3);
    for (const kernels::Table* table : kernels::available()) {
        const kernels::Override use(*table);
        auto session = model.session(400, pool);
        CHECK(generate(session, prompt, greedy, {.max_tokens = 300, .prompt_piece = 7}).tokens ==
              wanted);
    }
}
