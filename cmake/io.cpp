// Loading a model, running it and exporting it, and the words for caches, compiled once: the target
// cairn::io_compiled.
#include "cairn/cache/named/library_words.hpp"
#include "cairn/io/gguf_export.hpp"
#include "cairn/io/model_file.hpp"

namespace cairn {
inline namespace CAIRN_ABI {

namespace internal {
template Forward open_forward(const AnyModel&, std::span<const Slice>, Context&, Sessions);
}

}
}  // namespace cairn
