// Flags of a program: names, help and bounds. CLI11 reads them; what knows it is compiled once, in
// flags.cpp.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace programs {

/// A flag that was added; what else holds for it is said in a chain.
class Flag {
  public:
    explicit Flag(CLI::Option* option) : option_(option) {}
    Flag& required();
    /// The help names the value it has now.
    Flag& shown();
    /// Whole numbers from `least` on; the answer to another one names it and the bound.
    Flag& at_least(int least);
    Flag& between(int least, int most);
    Flag& one_of(const std::vector<std::string>& words);
    /// Wrong usage if both are given.
    Flag& excludes(const Flag& other);

  private:
    CLI::Option* option_;
};

/// The flags of a program, and its run.
class Flags {
  public:
    /// What `--help` begins with: what the program does, and examples.
    explicit Flags(const std::string& description);
    ~Flags();
    /// Puts what the user gives into `value`, which has to live until `run` returns. A name without
    /// dashes is a place on the command line; it may have a flag too: "-m,--model,model".
    /// A bool is a flag without a value; flags.cpp lists the types it is compiled for.
    template <class Value>
    Flag add(const std::string& names, Value& value, const std::string& help);
    /// Whether the user gave it.
    bool given(const std::string& name) const;
    /// Reads the command line, then runs `body`. Errors become one line on standard error.
    /// Exit 0: done, 1: failed, 2: wrong usage, or what `body` returns, if it returns something.
    template <class Body>
    int run(int argc, char** argv, const Body& body) {
        return run_body(argc, argv, [&]() -> int {
            if constexpr (std::is_void_v<std::invoke_result_t<const Body&>>) {
                body();
                return 0;
            } else {
                return body();
            }
        });
    }

  private:
    int run_body(int argc, char** argv, const std::function<int()>& body);
    std::unique_ptr<CLI::App> app_;
};

}  // namespace programs
