// REJECT: a session branches by fork() or copy()
#include <cairn/models/tiny_gpt.hpp>
void branch(cairn::Session<cairn::Gpt2>& session) {
#ifdef REJECT
    auto other = session;
#else
    auto other = session.copy();
#endif
    auto moved = std::move(other);
    (void)moved;
}
