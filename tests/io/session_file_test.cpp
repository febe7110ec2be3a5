// Session files: the same bits as never having stopped, whatever the cache; and hostile bytes.
#include <sys/resource.h>

#include <fstream>
#include <functional>

#include <cairn/io/session_file.hpp>

#include "sharing_support.hpp"
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

// What stands in the blocks of a session file, and a file of it with checksums that are right: what
// checksums keep out has tests of its own.
std::string payload_of(const std::string& bytes) {
    std::string result;
    for (std::size_t at = 16;;) {
        std::uint32_t size = 0;
        std::memcpy(&size, bytes.data() + at, 4);
        if (size == 0) return result;
        result += bytes.substr(at + 4, size);
        at += 4 + size + 8;
    }
}
std::string session_bytes(const std::string& payload, std::uint32_t version) {
    std::string result = "CAIRNSES";
    const auto number = [&](auto value) {
        result.append(reinterpret_cast<const char*>(&value), sizeof value);
    };
    Fingerprint hash;
    number(version);
    hash.add(result.data(), 12);
    number(static_cast<std::uint32_t>(hash.value()));
    constexpr std::size_t most = std::size_t{1} << 16;
    for (std::size_t at = 0;; at += most) {
        const std::string block = at < payload.size() ? payload.substr(at, most) : std::string();
        const auto size = static_cast<std::uint32_t>(block.size());
        number(size);
        hash.add(size);
        hash.add(block.data(), block.size());
        result += block;
        number(hash.value());
        if (block.empty()) return result;
    }
}
// Overwrites bytes of a payload at an offset from the random state {1, 2, 3, 4} of text_of.
template <class Number>
std::string patched(std::string payload, std::ptrdiff_t offset, Number value) {
    const std::uint64_t state[] = {1, 2, 3, 4};
    const std::size_t at =
        payload.find(std::string(reinterpret_cast<const char*>(state), sizeof state));
    REQUIRE(at != std::string::npos);
    payload.replace(at + static_cast<std::size_t>(offset), sizeof value,
                    std::string(reinterpret_cast<const char*>(&value), sizeof value));
    return payload;
}
std::string message_of(const std::function<void()>& body, ErrorCode code) {
    try {
        body();
    } catch (const Error& error) {
        CHECK(error.code() == code);
        return error.what();
    }
    return "no error";
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
        {"contiguous:quantspec", "paged=32:quantspec"},
        {"contiguous,disk=50:quantspec", "paged=64:quantspec"},
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
        {"contiguous:f16:hashevict=40", "paged=16:f16:hashevict=40"},
        {"contiguous:f16:keydiff=40", "paged=16:f16:keydiff=40"},
        {"paged=16:q8_0:expected=40,future=50", "contiguous:q8_0:expected=40,future=50"}};
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

TEST_CASE("what a loaded text says of going on", "[session_file]") {
    const SessionText text = text_of({5, 6, 7, 8});
    const Tokens waiting = text.waiting(3);
    CHECK(std::vector<Token>(waiting.begin(), waiting.end()) == std::vector<Token>{8});
    CHECK(text.waiting(4).empty());
    const Limits limits = text.limits(3, {.max_tokens = 9, .end_of_text = {2}});
    CHECK(limits.history == std::vector<Token>{5, 6, 7});
    CHECK((limits.resumed == 1 && limits.max_tokens == 9 && limits.end_of_text.size() == 1));
    CHECK(code_of([&] { text.waiting(5); }) == ErrorCode::invalid_argument);
    CHECK(code_of([&] { text.limits(-1); }) == ErrorCode::invalid_argument);
}

TEST_CASE("a session whose layers share caches goes to disk and comes back", "[session_file]") {
    const Folder folder;
    const SharingModel model = sharing_model();
    const SessionOwner owner = owner_of(model);
    Random random(6);
    const auto tokens = random_tokens(random, 100, sharing_words);
    const auto rest = cairn::Tokens(tokens).subspan(57);
    const std::string path = folder.file("a.cairn");
    const std::pair<const char*, const char*> pairs[] = {
        {"contiguous:f32", "paged=16:f32"},
        {"tiered=20:q4_0", "tiered=20:q4_0"},
        {"paged=16:f16:window=30,sinks=4", "mapped:f16:window=30,sinks=4"}};
    for (const auto& [first, second] : pairs) {
        INFO(first);
        const auto wanted = sharing_forward(tokens, first);
        auto before = session_from(model, first, 120);
        before.prefill(cairn::Tokens(tokens).first(57));
        save_session(path, before, text_of(tokens), owner);
        auto after = session_from(model, second, 110);
        load_session(path, after, owner);
        REQUIRE(after.position() == 57);
        std::vector<float> got(rest.size() * sharing_words);
        after.score(rest, got.data());
        REQUIRE(same_bits(got, std::span(wanted).subspan(57 * sharing_words)));
    }
    // A model of the same layers that shares other caches, or none, refuses the file.
    for (const int leader : {-1, 0}) {
        auto layers = sharing_layers();
        layers[1].layout = layers[0].layout;
        layers[2].layout = layers[0].layout;
        const SharingModel one = sharing_model(layers);
        layers[2].leader = leader;
        const SharingModel other = sharing_model(layers);
        CHECK(one.fingerprint() != other.fingerprint());
        auto saved = session_from(one, "contiguous:f32", 60);
        saved.prefill(cairn::Tokens(tokens).first(20));
        save_session(path, saved, text_of(tokens), SessionOwner{});
        auto refused = session_from(other, "contiguous:f32", 60);
        const auto code = code_of([&] { load_session(path, refused, SessionOwner{}); });
        CHECK((code == ErrorCode::model_mismatch || code == ErrorCode::bad_file));
        CHECK(refused.position() == 0);
        refused.decode(1);
        CHECK(code_of([&] { load_session(path, refused, owner_of(other)); }) ==
              ErrorCode::bad_state);
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
    for (std::size_t bit = 0; bit < good.size() * 8; bit += good.size() > 4000 ? 5 : 1) {
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

TEST_CASE("a file of version 2 loads as before", "[session_file]") {
    const Folder folder;
    const Model model = tiny_llama();
    Random random(41);
    const auto tokens = random_tokens(random, 9, model.vocabulary());
    SessionOwner owner = owner_of(model);
    owner.parts = {{"tokenizer's merges", 5}};  // which that file knows nothing of
    const std::string old = std::string(CAIRN_TEST_DATA) + "/session-2.cairn";
    auto straight = session_from(model, "paged=16:q8_0", 40);
    straight.prefill(cairn::Tokens(tokens).first(8));
    auto session = session_from(model, "paged=16:q8_0", 40);
    const SessionText text = load_session(old, session, owner);
    CHECK(text.tokens == tokens);
    CHECK(text.sampling.temperature == 0.7F);
    CHECK(text.sampling.logit_bias == std::vector<std::pair<Token, float>>{{5, -1.5F}});
    CHECK(text.random == std::array<std::uint64_t, 4>{1, 2, 3, 4});
    CHECK(same_bits(session.logits(), straight.logits()));
    CHECK(same_bits(session.decode(tokens[8]), straight.decode(tokens[8])));
    // Such files have no random state where there was no sampler: the seed's is taken.
    std::string payload = payload_of(read_all(old));
    CHECK(session_bytes(payload, 2) == read_all(old));
    payload = patched(payload, 0, std::array<std::uint64_t, 4>{});
    const std::string path = folder.file("zeros.cairn");
    write_all(path, session_bytes(payload, 2));
    session.clear();
    CHECK(load_session(path, session, owner).random == Random(0).state());
    session.clear();
    write_all(path, session_bytes(payload_of(read_all(old)), 4));
    CHECK(code_of([&] { load_session(path, session, owner); }) == ErrorCode::bad_file);
}

TEST_CASE("settings that no sampler takes are refused at load, and at save", "[session_file]") {
    const Folder folder;
    const Model model = tiny_llama();
    const SessionOwner owner = owner_of(model);
    Random random(42);
    const auto tokens = random_tokens(random, 9, model.vocabulary());
    auto session = session_from(model, "contiguous:f16", 30);
    session.prefill(tokens);
    SessionText text = text_of(tokens);
    text.sampling.logit_bias = {{5, -1.5F}};
    const std::string path = folder.file("a.cairn");
    save_session(path, session, text, owner);
    const std::string good = read_all(path), payload = payload_of(good);
    CHECK(session_bytes(payload, 3) == good);
    auto target = session_from(model, "contiguous:f16", 30);
    const auto refused = [&](const std::string& bytes) {
        write_all(path, session_bytes(bytes, 3));
        CHECK(code_of([&] { load_session(path, target, owner); }) == ErrorCode::bad_file);
        CHECK(target.position() == 0);
    };
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float infinity = std::numeric_limits<float>::infinity();
    // Before the random state: temperature, top_k, top_p, min_p, typical_p, three penalties, the
    // seed, the number of biases, one biased token and its bias.
    constexpr std::ptrdiff_t first = -(8 * 4 + 8 + 8 + 8 + 4);
    for (const float bad : {nan, infinity, -1.0F})
        for (const int field : {0, 2, 3, 4, 5}) refused(patched(payload, first + 4 * field, bad));
    for (const float bad : {nan, infinity, -infinity})
        for (const int field : {6, 7}) refused(patched(payload, first + 4 * field, bad));
    refused(patched(payload, first + 4, -1));
    for (const float bad : {nan, infinity}) refused(patched(payload, -4, bad));
    for (const std::int64_t bad : {std::int64_t{-1}, std::int64_t{model.vocabulary()}})
        refused(patched(payload, -12, bad));
    refused(patched(payload, 0, std::array<std::uint64_t, 4>{}));
    write_all(path, good);
    load_session(path, target, owner);

    for (const auto& spoil : std::vector<std::function<void(SamplingSettings&)>>{
             [&](auto& s) { s.temperature = nan; }, [](auto& s) { s.top_k = -1; },
             [](auto& s) { s.top_p = 0.0F; }, [&](auto& s) { s.logit_bias = {{1, nan}}; }}) {
        SessionText bad = text;
        spoil(bad.sampling);
        CHECK(code_of([&] { save_session(path, session, bad, owner); }) ==
              ErrorCode::invalid_argument);
        CHECK(read_all(path) == good);
    }
    text.random = {};
    text.sampling.seed = 17;
    save_session(path, session, text, owner);
    target.clear();
    CHECK(load_session(path, target, owner).random == Random(17).state());
}

TEST_CASE("a refused load leaves the session as it was", "[session_file]") {
    const Folder folder;
    const Model model = tiny_llama();
    const SessionOwner owner = owner_of(model);
    Random random(43);
    const auto tokens = random_tokens(random, 100, model.vocabulary());
    const std::string path = folder.file("a.cairn");
    for (const char* spec :
         {"contiguous:f16", "paged=32:kivi4", "mapped:q8_0", "tiered=40:q4_0",
          "contiguous,disk=32:f16", "paged=16:f16:window=40,sinks=4",
          "contiguous:f16:h2o=50,recent=20", "paged=16:q8_0:snapkv=60", "mapped:f32:nacl=60",
          "contiguous:f16:hashevict=40", "contiguous:f16:expected=40"}) {
        INFO(spec);
        auto session = session_from(model, spec, 120);
        session.expect_prompt(80);
        session.prefill(tokens);
        save_session(path, session, text_of(tokens), owner);
        const std::string payload = payload_of(read_all(path));
        auto fresh = session_from(model, spec, 120);
        auto target = session_from(model, spec, 120);
        for (auto* one : {&fresh, &target}) one->expect_prompt(90);
        const std::size_t bytes = target.cache_bytes();
        for (std::size_t cut = 300; cut < payload.size(); cut += payload.size() / 13) {
            write_all(path, session_bytes(payload.substr(0, cut), 3));
            CHECK(code_of([&] { load_session(path, target, owner); }) == ErrorCode::bad_file);
        }
        write_all(path, session_bytes(payload + "x", 3));
        CHECK(code_of([&] { load_session(path, target, owner); }) == ErrorCode::bad_file);
        CHECK(target.position() == 0);
        CHECK(target.logits().empty());
        CHECK(target.cache_bytes() == bytes);
        std::vector<float> wanted(static_cast<std::size_t>(100 * model.vocabulary()));
        std::vector<float> got = wanted;
        fresh.score(tokens, wanted.data());
        target.score(tokens, got.data());
        CHECK(same_bits(got, wanted));
    }
}

TEST_CASE("what differs in a model is named", "[session_file]") {
    const Folder folder;
    const fs::path source = fs::path(CAIRN_TEST_DATA) / "models" / "mistral-window";
    const std::string words = R"({"model":{"type":"BPE","vocab":{"a":0,"b":1,"c":2,"ab":3,"bc":4},
        "merges":["a b","b c"]},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false},
        "decoder":{"type":"ByteLevel"},
        "added_tokens":[{"id":5,"content":"<s>","special":true},{"id":6,"content":"<t>","special":true}],
        "post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},
        {"Sequence":{"id":"A","type_id":0}}],"special_tokens":{"<s>":{"id":"<s>","ids":[5],"tokens":["<s>"]}}}})";
    const std::string config = read_all((source / "config.json").string());
    fs::copy(source, folder.path / "model");
    const std::string path = folder.file("a.cairn");
    const auto load = [&](const std::string& new_config, const std::string& new_words) {
        write_all((folder.path / "model" / "config.json").string(), new_config);
        write_all((folder.path / "model" / "tokenizer.json").string(), new_words);
        return load_model((folder.path / "model").string());
    };
    const auto session = [](const LoadedModel& loaded) {
        return cairn::Session<AnyModel, KvCache<>>(loaded.model, 20);
    };
    const LoadedModel first = load(config, words);
    const SessionOwner owner = SessionOwner::of(first, Compute::fast);
    {
        auto saved = session(first);
        const std::vector<Token> tokens{1, 2, 3};
        saved.prefill(tokens);
        save_session(path, saved, text_of(tokens), owner);
    }
    const auto said = [&](const LoadedModel& other) {
        auto target = session(other);
        return message_of(
            [&] { load_session(path, target, SessionOwner::of(other, Compute::fast)); },
            ErrorCode::model_mismatch);
    };
    const auto changed = [](std::string text, const std::string& from, const std::string& to) {
        REQUIRE(text.find(from) != std::string::npos);
        return text.replace(text.find(from), from.size(), to);
    };
    const auto with_config = [&](const std::string& from, const std::string& to) {
        return said(load(changed(config, from, to), words));
    };
    const auto with_words = [&](const std::string& from, const std::string& to) {
        return said(load(config, changed(words, from, to)));
    };
    CHECK(said(load(config, words)) == "no error");
    CHECK_THAT(with_config("\"rms_norm_eps\": 1e-05", "\"rms_norm_eps\": 1e-06"),
               has_text("epsilon"));
    CHECK_THAT(with_config("\"rope_theta\": 10000.0", "\"rope_theta\": 10100.0"),
               has_text("rope theta"));
    CHECK_THAT(with_config("\"sliding_window\": 7", "\"sliding_window\": 8"), has_text("window"));
    CHECK_THAT(with_words(R"("a b","b c")", R"("b c","a b")"), has_text("tokenizer's merges"));
    CHECK_THAT(with_words(R"("a b","b c")", R"("a b")"), has_text("tokenizer's merges"));
    CHECK_THAT(with_words(R"("<t>","special":true)", R"("<t>","special":false)"),
               has_text("tokenizer's token types"));
    CHECK_THAT(with_words(R"("ids":[5])", R"("ids":[6])"), has_text("BOS"));
    CHECK_THAT(with_words(R"({"type":"ByteLevel","add_prefix_space":false})",
                          R"({"type":"ByteLevel","add_prefix_space":true})"),
               has_text("tokenizer's pre-tokenizer"));
    CHECK_THAT(with_words(R"({"type":"ByteLevel","add_prefix_space":false})",
                          R"({"type":"Sequence","pretokenizers":[{"type":"Digits"},
                              {"type":"ByteLevel","add_prefix_space":false}]})"),
               has_text("tokenizer's pre-tokenizer"));
    CHECK_THAT(with_words(R"("pre_tokenizer")", R"("normalizer":{"type":"NFC"},"pre_tokenizer")"),
               has_text("tokenizer's normalizer"));
    CHECK_THAT(said(load(config, changed(changed(changed(words, R"("c":2)", R"("d":2)"),
                                                 R"("bc":4)", R"("bd":4)"),
                                         R"("b c")", R"("b d")"))),
               has_text("tokenizer's tokens"));
    // Scores stand in GGUF files only.
    Vocabulary vocabulary = first.tokenizer->vocabulary();
    vocabulary.scores = {1.0F, 2.0F};
    LoadedModel scored = first;
    scored.tokenizer = Tokenizer(vocabulary);
    CHECK_THAT(said(scored), has_text("tokenizer's scores"));
    LoadedModel silent = first;
    silent.tokenizer.reset();
    CHECK_THAT(said(silent), has_text("tokenizer"));
    // Weights that differ by one bit.
    const std::string weights = (folder.path / "model" / "model.safetensors").string();
    std::string bytes = read_all(weights);
    bytes[bytes.size() - 20] = static_cast<char>(bytes[bytes.size() - 20] ^ 1);
    write_all(weights, bytes);
    CHECK_THAT(said(load(config, words)), has_text("set of weights"));
}
