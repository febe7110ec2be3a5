#include <cairn/cairn.hpp>

const cairn::kernels::Table* table_of_two() { return &cairn::kernels::active(); }
float logit_of_two() { return cairn::TinyGpt::random({}, 1).session(8).decode(3)[0]; }
