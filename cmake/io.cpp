// Loading a model and running it, compiled once: the target cairn::io_compiled.
#include "cairn/io/model_file.hpp"

namespace cairn::inline CAIRN_ABI {

template void forward(const AnyModel&, std::span<const Slice>, Context&);

}  // namespace cairn::inline CAIRN_ABI
