// Session files: the same bits as never having stopped, whatever the cache; and hostile bytes.
#include <sys/resource.h>

#include <fstream>

#include <cairn/io/session_file.hpp>

#include "session_support.hpp"
using namespace support;

namespace {

namespace fs = std::filesystem;
using Model = TinyLlama;

AnySession session_from(const Model& model, const char* spec, int capacity,
                        Executor& executor = Serial::instance()) {
    return support::session_of(model, CacheSpec::parse(spec), capacity, executor);
}
std::string read_all(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
}
void write_all(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary) << bytes;
}
SessionOwner owner_of(const Model& model) { return {model.fingerprint(), 7, Compute::fast}; }
SessionText text_of(const std::vector<Token>& tokens) {
    SessionText text;
    text.tokens = tokens;
    text.sampling.temperature = 0.7F;
    text.random = {1, 2, 3, 4};
    return text;
}

}  // namespace

TEST_CASE("save, load, go on: the same bits, into another capacity, store and thread count",
          "[session_file]") {
    const Folder folder;
    const Model model = tiny_llama();
    const SessionOwner owner = owner_of(model);
    Random random(4);
    ThreadPool pool(3);
    const auto tokens = random_tokens(random, 330, model.vocabulary());
    const auto part = [&](int from, int n) {
        return cairn::Tokens(tokens).subspan(static_cast<std::size_t>(from),
                                             static_cast<std::size_t>(n));
    };
    const std::pair<const char*, const char*> pairs[] = {
        {"contiguous:f32", "paged=32:f32"},
        {"paged=16:f16", "mapped:f16"},
        {"mapped:q8_0", "paged=64:q8_0"},
        {"contiguous:k=q5_1,v=q4_0+rot", "paged=16:k=q5_1,v=q4_0+rot"},
        {"contiguous:kivi4", "paged=32:kivi4"},
        {"paged=64:kivi2+rot", "contiguous:kivi2+rot"},
        {"tiered=40:q4_0", "tiered=40:q4_0"},
        {"contiguous:f16", "contiguous,disk=32:f16"},
        {"tiered=40,disk=32:q4_0", "tiered=40:q4_0"},
        {"contiguous,disk=50:kivi4", "contiguous,disk=32:kivi4"},
        {"contiguous:f16:window=40,sinks=4", "paged=16:f16:window=40,sinks=4"},
        {"paged=32:kivi4:window=40,sinks=4", "contiguous:kivi4:window=40,sinks=4"},
        {"contiguous:f16:h2o=50,recent=20", "paged=16:f16:h2o=50,recent=20"},
        {"paged=16:q8_0:snapkv=60", "contiguous:q8_0:snapkv=60"},
        {"contiguous:f32:nacl=60", "mapped:f32:nacl=60"},
        {"contiguous:f16:hashevict=40", "paged=16:f16:hashevict=40"}};
    for (const auto& [first, second] : pairs)
        for (const int cut : {1, 99, 100, 101, 127, 128, 129, 256, 300}) {
            INFO(first << " -> " << second << " at " << cut);
            auto straight = session_from(model, first, 340);
            straight.expect_prompt(100);
            std::vector<float> wanted(static_cast<std::size_t>(330 * model.vocabulary()));
            straight.score(tokens, wanted.data());
            auto before = session_from(model, first, 340);
            before.expect_prompt(100);
            if (cut > 1) before.prefill(part(0, cut - 1));
            before.decode(tokens[static_cast<std::size_t>(cut - 1)]);
            const std::string path = folder.file("a.cairn");
            save_session(path, before, text_of(tokens), owner);
            auto after = session_from(model, second, 332, pool);
            const SessionText text = load_session(path, after, owner);
            REQUIRE(text.tokens == tokens);
            CHECK(text.sampling.temperature == 0.7F);
            CHECK(text.random == std::array<std::uint64_t, 4>{1, 2, 3, 4});
            REQUIRE(after.position() == cut);
            REQUIRE(same_bits(after.logits(), before.logits()));
            std::vector<float> got(static_cast<std::size_t>((330 - cut) * model.vocabulary()));
            after.score(part(cut, 330 - cut), got.data());
            REQUIRE(same_bits(got, std::span(wanted).subspan(
                                       static_cast<std::size_t>(cut * model.vocabulary()))));
        }
}

TEST_CASE("every flipped bit and every truncation is refused", "[session_file]") {
    const Folder folder;
    const Model model = tiny_llama();
    const SessionOwner owner = owner_of(model);
    Random random(5);
    const auto tokens = random_tokens(random, 3, model.vocabulary());
    auto session = session_from(model, "contiguous:q4_0", 30);
    session.prefill(tokens);
    const std::string path = folder.file("b.cairn");
    save_session(path, session, text_of(tokens), owner);
    const std::string good = read_all(path);
    const std::string bad = folder.file("bad.cairn");
    auto target = session_from(model, "contiguous:q4_0", 30);
    const auto refused = [&](const std::string& bytes) {
        write_all(bad, bytes);
        const ErrorCode code = code_of([&] { load_session(bad, target, owner); });
        CHECK(target.position() == 0);
        return code == ErrorCode::bad_file;
    };
    for (std::size_t bit = 0; bit<good.size() * 8; bit += good.size()> 4000 ? 5 : 1) {
        std::string bytes = good;
        bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
        REQUIRE(refused(bytes));
    }
    for (std::size_t n = 0; n < good.size(); n += 3) REQUIRE(refused(good.substr(0, n)));
    CHECK(refused(good + "x"));
    CHECK(refused(good + good));
    write_all(bad, good);
    load_session(bad, target, owner);
    CHECK(target.position() == 3);
    CHECK(code_of([&] { load_session(bad, target, owner); }) == ErrorCode::bad_state);
}

TEST_CASE("another model, mode, cache or capacity is named", "[session_file]") {
    const Folder folder;
    const Model model = tiny_llama();
    const SessionOwner owner = owner_of(model);
    Random random(6);
    const auto tokens = random_tokens(random, 20, model.vocabulary());
    auto session = session_from(model, "paged=16:f16", 30);
    session.prefill(tokens);
    const std::string path = folder.file("c.cairn");
    save_session(path, session, text_of(tokens), owner);
    const auto with = [&](const char* spec, int capacity, SessionOwner other) {
        auto target = session_from(model, spec, capacity);
        return code_of([&] { load_session(path, target, other); });
    };
    CHECK(with("paged=16:f16", 30, {owner.weights + 1, 7, Compute::fast}) ==
          ErrorCode::model_mismatch);
    CHECK(with("paged=16:f16", 30, {owner.weights, 8, Compute::fast}) == ErrorCode::model_mismatch);
    CHECK(with("paged=16:f16", 30, {owner.weights, 7, Compute::accurate}) ==
          ErrorCode::model_mismatch);
    CHECK(with("paged=16:f32", 30, owner) == ErrorCode::model_mismatch);
    CHECK(with("paged=16:f16+rot", 30, owner) == ErrorCode::model_mismatch);
    CHECK(with("paged=16:f16:window=9", 30, owner) == ErrorCode::model_mismatch);
    CHECK(with("paged=16:f16:h2o=30", 30, owner) == ErrorCode::model_mismatch);
    CHECK(with("paged=16:f16", 19, owner) == ErrorCode::capacity);
    // Weights that differ in one bit have another fingerprint.
    Random same(3);
    LlamaShape shape;
    shape.layers = 2;
    shape.layout = {4, 2, 16, 16};
    shape.context = 400;
    CHECK(random_llama<RotaryHalf>(same, shape).fingerprint() == model.fingerprint());
    CHECK(random_llama<RotaryHalf>(same, shape).fingerprint() != model.fingerprint());
    CHECK(code_of([&] {
              auto target = session_from(model, "paged=16:f16", 30);
              load_session(folder.path.string(), target, owner);
          }) == ErrorCode::io);
    CHECK(code_of([&] {
              auto target = session_from(model, "paged=16:f16", 30);
              load_session(folder.file("missing"), target, owner);
          }) == ErrorCode::io);
}

TEST_CASE("a save that fails leaves the old file and nothing else", "[session_file]") {
    const Folder folder;
    const Model model = tiny_llama();
    const SessionOwner owner = owner_of(model);
    Random random(7);
    const auto tokens = random_tokens(random, 200, model.vocabulary());
    auto session = session_from(model, "contiguous", 300);
    session.prefill(tokens);
    const std::string path = folder.file("d.cairn");
    save_session(path, session, text_of(tokens), owner);
    const std::string good = read_all(path);
    // A limit on file sizes: an error, no signal, in the middle of the write.
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    for (const rlim_t most : {rlim_t{0}, rlim_t{1000}, rlim_t{100000}}) {
        const rlimit small{most, before.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
        const ErrorCode code =
            code_of([&] { save_session(path, session, text_of(tokens), owner); });
        REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
        CHECK(code == ErrorCode::io);
        CHECK(read_all(path) == good);
    }
    // What a killed writer left goes with the next save.
    write_all(path + ".tmp-999999999", "half");
    save_session(path, session, text_of(tokens), owner);
    int files = 0;
    for (const auto& entry : fs::directory_iterator(folder.path)) files += entry.exists() ? 1 : 0;
    CHECK(files == 1);
    CHECK(code_of([&] {
              save_session(folder.file("no/such/folder"), session, text_of(tokens), owner);
          }) == ErrorCode::io);
    CHECK(code_of([&] { save_session("/dev/null", session, text_of(tokens), owner); }) ==
          ErrorCode::io);
}

TEST_CASE("a shifted session comes back with its room, and gives it up with its rows",
          "[session_file]") {
    const Folder folder;
    const Model model = tiny_llama();
    const SessionOwner owner = owner_of(model);
    Random random(9);
    const auto tokens = random_tokens(random, 60, model.vocabulary());
    const auto all = cairn::Tokens(tokens);
    auto session = session_from(model, "paged=32:f16", 50);
    session.prefill(all.first(40));
    session.shift(4, 20);
    CHECK(session.capacity() == 70);
    const std::string path = folder.file("shifted.cairn");
    save_session(path, session, text_of(tokens), owner);
    for (const int capacity : {50, 90}) {
        auto after = session_from(model, "paged=16:f16", capacity);
        load_session(path, after, owner);
        CHECK(after.position() == 40);
        CHECK(after.capacity() == capacity + 20);
        auto branch = session.fork();
        CHECK(same_bits(after.prefill(all.subspan(40)), branch.prefill(all.subspan(40))));
        after.clear();
        CHECK(after.capacity() == capacity);
        CHECK(code_of([&] {
                  const std::vector<Token> many(static_cast<std::size_t>(capacity) + 1, 1);
                  after.prefill(many);
              }) == ErrorCode::capacity);
    }
}
