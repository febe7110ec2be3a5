// Writes a model as a GGUF file in another number format.
#include <cairn/io/gguf_export.hpp>

#include "support.hpp"

using namespace programs;

namespace {

cairn::ElementType parse_type(const std::string& name) {
    for (std::size_t i = 0; i < cairn::element_types; ++i) {
        const auto type = static_cast<cairn::ElementType>(i);
        if (cairn::block_size(type).name == name) return type;
    }
    fail(ErrorCode::usage, "--type: \"", name.substr(0, 40), "\" is not known");
}

}  // namespace

int main(int argc, char** argv) {
    Flags flags(
        "Write a model as a GGUF file in another number format. Matrices whose rows do not divide\n"
        "by the format's block become f16; vectors stay f32.\n\n"
        "Examples:\n"
        "  quantize examples/models/shakespeare shakespeare.q8_0.gguf --type q8_0\n"
        "  quantize model.gguf model.q4_0.gguf --type q4_0 --json");
    std::string from;
    std::string to;
    std::string type = "q8_0";
    bool json = false;
    flags.add("-m,--model,model", from, "GGUF file, or folder with config.json and *.safetensors")
        .required();
    flags.add("-o,--out,out", to, "GGUF file to write").required();
    flags.add("--type", type, "Format of the matrices")
        .one_of({"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1"})
        .shown();
    flags.add("--json", json, "Print one JSON object on standard output");
    return flags.run(argc, argv, [&] {
        refuse_model(from, to);
        ProgressBar bar("writing");
        const auto report = cairn::export_gguf(from, to, parse_type(type), std::ref(bar));
        const auto bytes = cairn::InputFile(to).size();
        if (json) {
            std::cout << cairn::Json{{"file", cairn::to_utf8(to)},
                                     {"type", type},
                                     {"bytes", bytes},
                                     {"tensors", report.tensors},
                                     {"fallbacks", report.fallbacks}}
                             .dump(2)
                      << '\n';
            return;
        }
        for (const std::string& line : report.fallbacks) std::cout << line << '\n';
        std::cout << report.tensors << " tensors, " << bytes << " bytes, in " << to << '\n';
    });
}
