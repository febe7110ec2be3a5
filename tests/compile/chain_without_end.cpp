// REJECT: generate: a sampler chain ends with what picks the token
#include <cairn/generate/generate.hpp>
#include <cairn/generate/sampler_steps.hpp>
#include <cairn/models/tiny_gpt.hpp>
void write(cairn::Session<cairn::Gpt2>& session) {
#ifdef REJECT
    auto sampler = cairn::temperature(0.8F) | cairn::top_p(0.9F);
#else
    auto sampler = cairn::temperature(0.8F) | cairn::top_p(0.9F) | cairn::draw(7);
#endif
    cairn::generate(session, cairn::Tokens(), sampler, {.max_tokens = 4});
}
