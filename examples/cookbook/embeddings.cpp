// Texts as vectors: the mean of a model's hidden states after its final norm, compared by cosine.
// (A model that was trained for it gives better neighbours than this small one.)
//
//   cmake --build build/release --target embeddings
//   build/release/bin/cookbook/embeddings examples/models/shakespeare
#include <iostream>
#include <string>
#include <vector>

#include <Eigen/Core>
#include <cairn/cache/kv_cache.hpp>
#include <cairn/core/thread_pool.hpp>
#include <cairn/io/model_file.hpp>
#include <cairn/models/session.hpp>

using Rows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

int main(int argc, char** argv) try {
    cairn::ThreadPool threads;
    const auto loaded = cairn::load_model(argc > 1 ? argv[1] : "examples/models/shakespeare");
    auto session = loaded.model.session<cairn::KvCache<>>(loaded.model.context(), threads);

    const auto embed = [&](const std::string& text) -> Eigen::VectorXf {
        const std::vector<cairn::Token> tokens = loaded.prompt(text);
        Rows hidden(Eigen::Index(tokens.size()), loaded.model.width());
        session.clear();  // rows of the last text go, their memory stays
        session.embed(tokens, hidden.data());
        return hidden.colwise().mean().normalized();
    };

    const std::vector<std::string> texts{"My lord, the king is dead.",
                                         "I love thee, sweet lady, more than my life.",
                                         "Bring me a cup of wine, good sir."};
    std::vector<Eigen::VectorXf> vectors;
    for (const std::string& text : texts) vectors.push_back(embed(text));

    for (const std::string question :
         {"The queen is dead, my lord.", "O sweet love, my life is thine."}) {
        const Eigen::VectorXf asked = embed(question);
        std::size_t best = 0;
        std::cout << question << '\n';
        for (std::size_t i = 0; i < texts.size(); ++i) {
            std::cout << "  " << asked.dot(vectors[i]) << "  " << texts[i] << '\n';
            if (asked.dot(vectors[i]) > asked.dot(vectors[best])) best = i;
        }
        std::cout << "  nearest: " << texts[best] << '\n';
    }
} catch (const cairn::Error& error) {
    std::cerr << "error[" << cairn::code_name(error.code()) << "]: " << error.what() << '\n';
    return 1;
}
