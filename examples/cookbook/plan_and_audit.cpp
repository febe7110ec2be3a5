// Before choosing a cache: what it will cost in memory, without allocating it, and what it costs in
// quality, measured on a text.
//
//   cmake --build build/release --target plan_and_audit
//   build/release/bin/cookbook/plan_and_audit examples/models/shakespeare
#include <iostream>

#include <cairn/cache/named/planner.hpp>
#include <cairn/core/thread_pool.hpp>
#include <cairn/io/model_file.hpp>
#include <cairn/models/audit.hpp>

int main(int argc, char** argv) try {
    cairn::ThreadPool threads;
    const auto loaded = cairn::load_model(argc > 1 ? argv[1] : "examples/models/shakespeare");
    const cairn::AnyModel& model = loaded.model;
    const std::vector<cairn::Token> text = loaded.prompt(
        "KING RICHARD II:\nWhat must the king do now? must he submit?\nThe king shall do it: must "
        "he be deposed?\nThe king shall be contented: must he lose\nThe name of king? o' God's "
        "name, let it go:\nI'll give my jewels for a set of beads,\nMy gorgeous palace for a "
        "hermitage,\nMy gay apparel for an almsman's gown,\n");
    const int tokens = int(text.size());

    for (const char* words : {"paged=16:f32", "paged=16:q8_0", "contiguous:q4_0+rot",
                              "contiguous:f16:window=48,sinks=4"}) {
        const cairn::CacheSpec spec = cairn::CacheSpec::parse(words);
        // The plan: bytes of one sequence of so many tokens.
        const cairn::CachePlan plan =
            cairn::plan_model(spec, model.layout(0), model.layers(), /*sequences=*/1,
                              {.capacity = 512, .tokens = tokens});

        // What is then in use, to the byte.
        auto session = model.session(512, threads, spec);
        session.prefill(text);

        // What the cache changes: logits and attention beside those of plain f32 rows.
        const cairn::Audit audit = cairn::audit_cache(model, text, spec, /*prompt=*/0, threads);
        std::cout << spec.canonical() << "\n  planned " << plan.committed << " bytes, allocated "
                  << session.cache_bytes() << ", the rows themselves " << plan.payload << "\n  KL "
                  << audit.logits.mean_kl() << ", same best token "
                  << 100 * audit.logits.agreement() << " %, perplexity " << audit.perplexity()
                  << " (plain " << audit.perplexity_plain() << ")\n";
    }
    const cairn::CacheSpec spec = cairn::CacheSpec::parse("paged=16:q8_0");
    std::cout << "tokens that fit 1 MiB: "
              << cairn::longest_context(spec, model.layout(0), model.layers(), 1, 1 << 20, 1 << 20)
              << '\n';
} catch (const cairn::Error& error) {
    std::cerr << "error[" << cairn::code_name(error.code()) << "]: " << error.what() << '\n';
    return 1;
}
