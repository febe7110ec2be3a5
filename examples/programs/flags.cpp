#include "flags.hpp"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iostream>
#include <string_view>

#include <CLI/CLI.hpp>

#include "standard_output.hpp"
#include "support.hpp"

namespace programs {

Flag& Flag::required() {
    option_->required();
    return *this;
}
Flag& Flag::shown() {
    option_->capture_default_str();
    return *this;
}
Flag& Flag::at_least(int least) {
    const std::string bound = ">= " + std::to_string(least);
    option_->check(CLI::Validator(
        [least, bound](std::string& text) {
            long long value = 0;
            const auto [stop, error] =
                std::from_chars(text.data(), text.data() + text.size(), value);
            if (error == std::errc::result_out_of_range) return text + " does not fit";
            if (error != std::errc() || stop != text.data() + text.size())
                return "\"" + text + "\" is no whole number";
            return value < least ? text + " is not " + bound : std::string();
        },
        bound));
    return *this;
}
Flag& Flag::between(int least, int most) {
    option_->check(CLI::Range(least, most));
    return *this;
}
Flag& Flag::one_of(const std::vector<std::string>& words) {
    option_->check(CLI::IsMember(words));
    return *this;
}
Flag& Flag::excludes(const Flag& other) {
    option_->excludes(other.option_);
    return *this;
}

Flags::Flags(const std::string& description) : app_(std::make_unique<CLI::App>(description)) {}
Flags::~Flags() = default;

template <class Value>
Flag Flags::add(const std::string& names, Value& value, const std::string& help) {
    if constexpr (std::is_same_v<Value, bool>)
        return Flag(app_->add_flag(names, value, help));
    else
        return Flag(app_->add_option(names, value, help));
}
template Flag Flags::add(const std::string&, bool&, const std::string&);
template Flag Flags::add(const std::string&, int&, const std::string&);
template Flag Flags::add(const std::string&, float&, const std::string&);
template Flag Flags::add(const std::string&, std::optional<double>&, const std::string&);
template Flag Flags::add(const std::string&, std::uint64_t&, const std::string&);
template Flag Flags::add(const std::string&, std::string&, const std::string&);
template Flag Flags::add(const std::string&, std::optional<std::string>&, const std::string&);
template Flag Flags::add(const std::string&, std::vector<std::string>&, const std::string&);

bool Flags::given(const std::string& name) const { return app_->count(name) > 0; }

namespace {

// Arguments as CLI11 takes them, last one first. What has a place on the command line and a flag
// too comes first if its flag is given, so that its place is free for the next one.
std::vector<std::string> ordered(CLI::App& app, int argc, char** argv) {
    std::vector<std::string> rest(argv + 1, argv + argc);
    std::vector<std::string> first;
    for (const CLI::Option* option : app.get_options()) {
        if (!option->get_positional() || !option->nonpositional()) continue;
        for (std::size_t i = 0; i < rest.size() && rest[i] != "--"; ++i) {
            const bool with_value = option->check_name(rest[i]) && rest[i].front() == '-';
            const bool joined = option->check_name(rest[i].substr(0, rest[i].find('='))) &&
                                rest[i].starts_with("--") && !with_value;
            if (!with_value && !joined) continue;
            const auto from = rest.begin() + static_cast<std::ptrdiff_t>(i);
            const auto to = with_value && from + 1 != rest.end() ? from + 2 : from + 1;
            first.insert(first.end(), from, to);
            rest.erase(from, to);
            break;
        }
    }
    first.insert(first.end(), rest.begin(), rest.end());
    std::reverse(first.begin(), first.end());
    return first;
}

}  // namespace

int Flags::run_body(int argc, char** argv, const std::function<int()>& body) {
    StandardOutput output;
    const auto report = [](std::string_view code, std::string_view message) {
        std::cout.flush();
        write_all(STDERR_FILENO, "error[" + std::string(code) + "]: " + one_line(message) + "\n");
    };
    std::function<int()> work = body;
    try {
        app_->parse(ordered(*app_, argc, argv));
    } catch (const CLI::CallForHelp&) {
        work = [&] {
            std::cout << app_->help();
            return 0;
        };
    } catch (const CLI::ParseError& error) {
        // A flag that does not exist explains more than the one that is missing.
        const std::vector<std::string> unknown = app_->remaining();
        report("usage", (unknown.empty() ? error.what() : "unknown argument " + unknown.front()) +
                            " (see --help)");
        return 2;
    }
    try {
        const int code = work();
        output.finish();
        return code;
    } catch (const Error& error) {
        report(cairn::code_name(error.code()), error.what());
        return error.code() == ErrorCode::usage ? 2 : 1;
    } catch (const std::bad_alloc&) {
        report("out_of_memory", "memory is exhausted");
    } catch (const std::filesystem::filesystem_error& error) {
        report("io", error.what());
    } catch (const std::exception& error) {
        report("internal", error.what());
    }
    return 1;
}

}  // namespace programs
