// What fragments in the documentation may use without saying where it comes from. Only compiled,
// never run.
#pragma once

#include <cstring>
#include <fstream>
#include <iostream>

#include <Eigen/Core>
#include <cairn/cache/codec/decoded.hpp>
#include <cairn/cache/codec/latent.hpp>
#include <cairn/cache/named/planner.hpp>
#include <cairn/cache/store/spilled.hpp>
#include <cairn/generate/beam.hpp>
#include <cairn/io/io.hpp>
#include <cairn/layers/weight_format.hpp>
#include <cairn/models/architecture.hpp>
#include <cairn/models/rotary_numbers.hpp>
#include <cairn/models/audit.hpp>
#include <cairn/serve/sequence_pool.hpp>

namespace names {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

extern cairn::ThreadPool threads;
extern cairn::Context context;
extern const cairn::LoadedModel loaded;
extern const cairn::AnyModel model;
extern const std::vector<cairn::Token> tokens, prompt, question, draft;
extern std::vector<float> logits, hidden;
extern cairn::Session<cairn::AnyModel, cairn::KvCache<cairn::Paged<cairn::F16>>> session;
extern cairn::KvCache<> cache;
extern const cairn::HeadLayout layout;
extern cairn::SamplerChain<cairn::Temperature, cairn::Draw> sampler;
extern const std::vector<cairn::Slice> slices;
extern Matrix q, k, v, out;
void on_token(cairn::Token token);

}  // namespace names
