// What evicting rows does to a model that must look things up: recall of the associative-recall
// model (examples/train/recall.py) against the rows that stay, for every keep. The question stands
// inside the announced prompt, or comes after eviction. Prints a table, or JSON.
#include <iomanip>
#include <iostream>

#include <CLI/CLI.hpp>
#include <cairn/cache/cache_spec.hpp>
#include <cairn/io/io.hpp>

using namespace cairn;

namespace {

constexpr int symbols = 64;
constexpr Token bos = 0;
constexpr Token ask = 1;
constexpr Token colon = 2;
constexpr Token first_key = 3;
constexpr Token first_value = first_key + symbols;

struct Fact {
    std::vector<Token> text;
    Token key;
    Token value;
};
Fact fact(Random& random, int pairs) {
    std::vector<Token> keys;
    for (int i = 0; i < symbols; ++i) keys.push_back(first_key + i);
    for (std::size_t i = keys.size(); i > 1; --i) std::swap(keys[i - 1], keys[random.below(i)]);
    Fact result{{bos}, 0, 0};
    const auto asked = static_cast<int>(random.below(static_cast<std::uint64_t>(pairs)));
    for (int i = 0; i < pairs; ++i) {
        const Token value = first_value + static_cast<Token>(random.below(symbols));
        result.text.push_back(keys[static_cast<std::size_t>(i)]);
        result.text.push_back(value);
        if (i == asked) {
            result.key = keys[static_cast<std::size_t>(i)];
            result.value = value;
        }
    }
    return result;
}

enum class Question { in_prompt, after, streamed };

double recall(const AnyModel& model, const std::string& spec_text, Question question, int rounds,
              Executor& pool) {
    const CacheSpec spec = CacheSpec::parse(spec_text);
    int right = 0;
    Random random(17);
    Greedy greedy;
    for (int round = 0; round < rounds; ++round) {
        const Fact f = fact(random, 64);
        Session<AnyModel, AnyCache> session(model, model.context(), pool,
                                            [&](int layer, const HeadLayout& layout, int rows) {
                                                return spec.make(layout, rows, layer);
                                            });
        std::vector<Token> prompt = f.text;
        if (question == Question::in_prompt) prompt.insert(prompt.end(), {ask, f.key});
        if (question != Question::streamed) session.expect_prompt(prompt.size());
        session.prefill(prompt);
        if (question != Question::in_prompt) {
            session.decode(ask);
            session.decode(f.key);
        }
        right += greedy(session.decode(colon), {}) == f.value ? 1 : 0;
    }
    return static_cast<double>(right) / rounds;
}

}  // namespace

int main(int argc, char** argv) {
    CLI::App app{"Recall against the rows that stay, for every keep."};
    std::string path = "examples/models/recall";
    int rounds = 200;
    bool json = false;
    app.add_option("--model", path, "Model of examples/train/recall.py")->capture_default_str();
    app.add_option("--rounds", rounds, "Texts")->capture_default_str();
    app.add_flag("--json", json, "Print JSON");
    CLI11_PARSE(app, argc, argv);
    try {
        ThreadPool pool(hardware_threads());
        const LoadedModel loaded = load_model(path, {{}, {}, &pool});
        constexpr int tokens = 131;
        struct Row {
            const char* name;
            std::string (*spec)(int budget);
            Question question;
        };
        const Row rows[] = {
            {"recent only", [](int b) { return "contiguous:f32:window=" + std::to_string(b); },
             Question::in_prompt},
            {"window + 4 sinks",
             [](int b) { return "contiguous:f32:window=" + std::to_string(b - 4) + ",sinks=4"; },
             Question::in_prompt},
            {"h2o", [](int b) { return "contiguous:f32:h2o=" + std::to_string(b); },
             Question::in_prompt},
            {"snapkv", [](int b) { return "contiguous:f32:snapkv=" + std::to_string(b); },
             Question::in_prompt},
            {"nacl", [](int b) { return "contiguous:f32:nacl=" + std::to_string(b); },
             Question::in_prompt},
            {"hashevict", [](int b) { return "contiguous:f32:hashevict=" + std::to_string(b); },
             Question::in_prompt},
            {"keydiff", [](int b) { return "contiguous:f32:keydiff=" + std::to_string(b); },
             Question::in_prompt},
            {"expected", [](int b) { return "contiguous:f32:expected=" + std::to_string(b); },
             Question::in_prompt},
            {"adakv", [](int b) { return "contiguous:f32:adakv=" + std::to_string(b); },
             Question::in_prompt},
            {"pyramidkv", [](int b) { return "contiguous:f32:pyramidkv=" + std::to_string(b); },
             Question::in_prompt},
            {"h2o, question later", [](int b) { return "contiguous:f32:h2o=" + std::to_string(b); },
             Question::after},
            {"snapkv, question later",
             [](int b) { return "contiguous:f32:snapkv=" + std::to_string(b); }, Question::after},
            {"nacl, question later",
             [](int b) { return "contiguous:f32:nacl=" + std::to_string(b); }, Question::after},
            {"keydiff, question later",
             [](int b) { return "contiguous:f32:keydiff=" + std::to_string(b); }, Question::after},
            {"expected, question later",
             [](int b) { return "contiguous:f32:expected=" + std::to_string(b); }, Question::after},
            {"adakv, question later",
             [](int b) { return "contiguous:f32:adakv=" + std::to_string(b); }, Question::after},
            {"pyramidkv, question later",
             [](int b) { return "contiguous:f32:pyramidkv=" + std::to_string(b); },
             Question::after},
            {"hashevict, streamed",
             [](int b) { return "contiguous:f32:hashevict=" + std::to_string(b); },
             Question::streamed}};
        const int percents[] = {70, 50, 30, 20};
        const double full =
            recall(loaded.model, "contiguous:f32", Question::in_prompt, rounds, pool);
        Json result{
            {"tokens", tokens}, {"texts", rounds}, {"full", full}, {"keeps", Json::array()}};
        if (!json)
            std::cout << "recall of " << rounds << " texts of " << tokens
                      << " tokens; all rows: " << 100.0 * full << " %\n"
                      << std::left << std::setw(26) << "rows that stay" << std::right
                      << "    70 %    50 %    30 %    20 %\n";
        for (const Row& row : rows) {
            Json values = Json::object();
            if (!json) std::cout << std::left << std::setw(26) << row.name << std::right;
            for (const int percent : percents) {
                const double value = recall(loaded.model, row.spec(tokens * percent / 100),
                                            row.question, rounds, pool);
                values[std::to_string(percent)] = value;
                if (!json)
                    std::cout << std::setw(8) << std::fixed << std::setprecision(1) << 100.0 * value
                              << std::flush;
            }
            if (!json) std::cout << '\n';
            result["keeps"].push_back({{"keep", row.name}, {"recall", values}});
        }
        // All rows stay, and few are read.
        result["reads"] = Json::array();
        if (!json) std::cout << "rows that are read            20 %    10 %\n";
        for (const int page : {1, 2, 4}) {
            const std::string name = "quest, pages of " + std::to_string(page);
            Json values = Json::object();
            if (!json) std::cout << std::left << std::setw(26) << name << std::right;
            for (const int percent : {20, 10}) {
                const std::string spec =
                    "contiguous:f32:all:quest=" + std::to_string(tokens * percent / 100) +
                    ",page=" + std::to_string(page) + ",recent=2,sinks=0,full=0";
                const double value = recall(loaded.model, spec, Question::after, rounds, pool);
                values[std::to_string(percent)] = value;
                if (!json) std::cout << std::setw(8) << 100.0 * value << std::flush;
            }
            if (!json) std::cout << '\n';
            result["reads"].push_back({{"read", name + ", question later"}, {"recall", values}});
        }
        if (json) std::cout << result.dump(2) << '\n';
    } catch (const Error& error) {
        std::cerr << "error[" << code_name(error.code()) << "]: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
