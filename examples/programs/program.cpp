// Loading any model and making any cache, compiled once for all programs.
#include "support.hpp"

namespace programs {

namespace {

cairn::LoadedModel load(const ModelOptions& options, cairn::Executor& pool, double& seconds) {
    const auto start = std::chrono::steady_clock::now();
    ProgressBar bar("loading");
    auto loaded = cairn::load_model(options.path, {std::nullopt, std::ref(bar), &pool});
    seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return loaded;
}

}  // namespace

cairn::AnyCache make_cache(const cairn::CacheSpec& spec, const cairn::HeadLayout& layout, int rows,
                           int layer) {
    return spec.make(layout, rows, layer);
}

Program::Program(const ModelOptions& options)
    : spec_(cairn::CacheSpec::parse(options.cache)),
      pool_(options.threads),
      loaded_(load(options, pool_, seconds_)),
      compute_(options.compute == "accurate" ? cairn::Compute::accurate : cairn::Compute::fast) {
    const int most = loaded_.model.context();
    const bool streams = spec_.keep() == cairn::CacheSpec::KeepKind::window &&
                         loaded_.model.relative_positions() && !options.no_cache;
    require(options.context <= most || streams, ErrorCode::capacity, "--context ", options.context,
            ": the model has ", most, " positions");
    context_ = options.context > 0 ? options.context : most;
}

Session Program::session() {
    Session result(loaded_.model, context_, pool_,
                   [&](int layer, const cairn::HeadLayout& layout, int rows) {
                       return make_cache(spec_, layout, rows, layer);
                   });
    result.context().compute = compute_;
    return result;
}

}  // namespace programs
