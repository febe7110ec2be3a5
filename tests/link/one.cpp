// Two translation units of one program include everything and share it.
#include <cstdio>
#include <cairn/cairn.hpp>

const cairn::kernels::Table* table_of_two();
float logit_of_two();

int main() {
    auto session = cairn::TinyGpt::random({}, 1).session(8);
    const bool same =
        table_of_two() == &cairn::kernels::active() && logit_of_two() == session.decode(3)[0];
    std::puts(same ? "one library" : "two libraries");
    return same ? 0 : 1;
}
