// What is in a model file: numbers, tensors, and the memory a context needs with each cache.
#include <algorithm>
#include <iomanip>
#include <map>
#include <sstream>

#include <cairn/cache/planner.hpp>

#include "model_contents.hpp"

using namespace programs;

namespace {

std::string text(const std::vector<std::size_t>& shape) {
    std::string result;
    for (const std::size_t n : shape) result += (result.empty() ? "" : " x ") + std::to_string(n);
    return result;
}
std::string mib(std::size_t bytes) {
    std::ostringstream out;
    out << std::fixed << std::setprecision(1) << static_cast<double>(bytes) / 1048576.0;
    return out.str();
}

// All names, or as many as one can take in.
void list_unread(const std::vector<std::string>& names, bool all) {
    if (names.empty()) return;
    constexpr std::size_t most = 8;
    const std::size_t shown = all ? names.size() : std::min(most, names.size());
    std::cout << "note: " << names.size() << (names.size() == 1 ? " tensor is" : " tensors are")
              << " not used by the model:";
    for (std::size_t i = 0; i < shown; ++i) std::cout << ' ' << one_line(names[i]);
    std::cout << (shown < names.size() ? " ... (--all lists them)" : "") << '\n';
}

void inspect(const std::string& path, int context, bool all, bool json) {
    const Contents contents = read_contents(path);
    const cairn::ModelShape& shape = contents.shape;
    if (context == 0) context = shape.context;
    require(context <= shape.context, ErrorCode::capacity, "--context ", context,
            ": the model has ", shape.context, " positions");
    std::map<std::string, std::pair<std::size_t, std::size_t>> types;  // tensors, bytes
    std::size_t parameters = 0;
    for (const Entry& entry : contents.tensors) {
        std::size_t count = 1;
        for (const std::size_t n : entry.shape) count *= n;
        parameters += count;
        ++types[entry.type].first;
        types[entry.type].second += entry.bytes;
    }
    cairn::Json caches = cairn::Json::array();
    std::vector<std::string> words{"contiguous:f32", "contiguous:f16", "contiguous:q8_0",
                                   "contiguous:q4_0+rot", "contiguous:kivi2"};
    if (shape.heads.leading)
        words = {"contiguous:f32+latent", "contiguous:f16+latent", "contiguous:q8_0+latent",
                 "contiguous:q4_0+latent", "contiguous:f16"};
    for (const std::string& word : words) {
        const cairn::CachePlan plan =
            cairn::plan_model(cairn::CacheSpec::parse(word), shape.heads, shape.layers, 1,
                              {context, context, context});
        caches.push_back({{"spec", word},
                          {"tokens", context},
                          {"payload_bytes", plan.payload},
                          {"bytes", plan.committed},
                          {"bytes_per_token", plan.payload / static_cast<std::size_t>(context)}});
    }
    if (json) {
        cairn::Json tensors = cairn::Json::array();
        for (const Entry& e : contents.tensors)
            tensors.push_back({{"name", cairn::to_utf8(e.name)},
                               {"type", e.type},
                               {"shape", e.shape},
                               {"bytes", e.bytes}});
        cairn::Json unread = cairn::Json::array();
        for (const std::string& name : contents.unread) unread.push_back(cairn::to_utf8(name));
        cairn::Json metadata = cairn::Json::object();
        for (const auto& [key, value] : contents.metadata)
            metadata[cairn::to_utf8(key)] = cairn::to_utf8(value);
        std::cout << cairn::Json{{"format", contents.format},
                                 {"architecture", shape.architecture},
                                 {"parameters", parameters},
                                 {"file_bytes", contents.file_bytes},
                                 {"layers", shape.layers},
                                 {"width", shape.width},
                                 {"heads", shape.heads.heads},
                                 {"kv_heads", shape.heads.kv_heads},
                                 {"head_width", shape.heads.key_dim},
                                 {"vocabulary", shape.vocabulary},
                                 {"context", shape.context},
                                 {"tensors", tensors},
                                 {"unread_tensors", unread},
                                 {"notes", contents.notes},
                                 {"metadata", metadata},
                                 {"caches", caches}}
                         .dump(2)
                  << '\n';
        return;
    }
    std::cout << contents.format << ", architecture " << shape.architecture << ", " << parameters
              << " parameters, " << mib(contents.file_bytes) << " MiB\n"
              << shape.layers << " layers, width " << shape.width << ", " << shape.heads.heads
              << " heads on " << shape.heads.kv_heads << " key heads of " << shape.heads.key_dim
              << ", vocabulary " << shape.vocabulary << ", context " << shape.context << "\n\n"
              << std::left << std::setw(10) << "type" << std::right << std::setw(9) << "tensors"
              << std::setw(12) << "MiB" << '\n';
    for (const auto& [type, sum] : types)
        std::cout << std::left << std::setw(10) << type << std::right << std::setw(9) << sum.first
                  << std::setw(12) << mib(sum.second) << '\n';
    std::cout << '\n'
              << std::left << std::setw(22) << "cache" << std::right << std::setw(14)
              << "bytes/token" << std::setw(12) << "MiB at " << context << " tokens\n";
    for (const cairn::Json& cache : caches)
        std::cout << std::left << std::setw(22) << cache["spec"].get<std::string>() << std::right
                  << std::setw(14) << cache["bytes_per_token"].get<std::size_t>() << std::setw(12)
                  << mib(cache["payload_bytes"].get<std::size_t>()) << '\n';
    if (!contents.unread.empty() || !contents.notes.empty()) std::cout << '\n';
    for (const std::string& note : contents.notes) std::cout << "note: " << note << '\n';
    list_unread(contents.unread, all);
    if (!all) return;
    std::cout << '\n';
    for (const auto& [key, value] : contents.metadata)
        std::cout << std::left << std::setw(46) << one_line(key) << ' ' << value << '\n';
    for (const Entry& e : contents.tensors)
        std::cout << std::left << std::setw(46) << one_line(e.name) << ' ' << std::setw(8) << e.type
                  << text(e.shape) << '\n';
}

}  // namespace

int main(int argc, char** argv) {
    Flags flags(
        "What is in a model file, and the memory a context needs with each cache.\n\n"
        "Examples:\n"
        "  inspect model.gguf\n"
        "  inspect examples/models/shakespeare --all --context 256\n"
        "  inspect model.gguf --json");
    std::string path;
    int context = 0;
    bool all = false;
    bool json = false;
    flags.add("-m,--model,model", path, "GGUF file, or folder with config.json and *.safetensors")
        .required();
    flags.add("-c,--context", context, "Tokens to plan for (0: the model's context)").at_least(0);
    flags.add("--all", all, "List metadata and tensors too");
    flags.add("--json", json, "Print one JSON object on standard output");
    return flags.run(argc, argv, [&] { inspect(path, context, all, json); });
}
