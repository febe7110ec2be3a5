// Files: many writers of one path leave one of the states, the killed leave nothing for long, and
// what the system refuses is an error that says why.
#include <sys/resource.h>
#include <sys/wait.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <optional>
#include <thread>

#include <cairn/io/file.hpp>

#include "session_support.hpp"
using namespace support;

namespace {

namespace fs = std::filesystem;

void put(const std::string& path, const std::string& text) {
    OutputFile file(path);
    // In pieces, so that writers get in each other's way.
    for (std::size_t at = 0; at < text.size(); at += 1000)
        file.write(std::as_bytes(
            std::span(text).subspan(at, std::min<std::size_t>(1000, text.size() - at))));
    file.finish(OutputFile::Durability::program);
}
std::string get(const std::string& path) { return read_text(path, 1 << 24); }
// A state of a given writer: its letter, as often as the letter says.
std::string state(int writer) {
    return std::string(static_cast<std::size_t>(2000 + 1777 * writer),
                       static_cast<char>('a' + writer));
}
bool whole(const std::string& text) { return text == state(text.empty() ? 0 : text[0] - 'a'); }
std::vector<std::string> names_in(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder))
        names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
}
template <class Body>
std::string message_of(Body&& body) {
    try {
        body();
    } catch (const Error& error) {
        CHECK(error.code() == ErrorCode::io);
        return error.what();
    }
    return {};
}
// A child that begins a file, says so, and waits to be killed.
struct Child {
    explicit Child(const std::string& path) {
        int ready[2];
        REQUIRE(::pipe(ready) == 0);
        pid = ::fork();
        if (pid == 0) {
            OutputFile file(path);
            file.write(std::as_bytes(std::span("half", 4)));
            if (::write(ready[1], "x", 1) != 1) ::_exit(1);
            for (;;) ::pause();
        }
        char byte = 0;
        REQUIRE(::read(ready[0], &byte, 1) == 1);
        ::close(ready[0]);
        ::close(ready[1]);
    }
    ~Child() { kill(); }
    void kill() {
        if (pid <= 0) return;
        ::kill(pid, SIGKILL);
        ::waitpid(pid, nullptr, 0);
        pid = 0;
    }
    pid_t pid = 0;
};

}  // namespace

TEST_CASE("threads that save to one path leave one of the states", "[file]") {
    const Folder folder;
    const std::string path = folder.file("one");
    put(path, state(0));
    std::atomic<int> failures{0};
    std::atomic<bool> done{false};
    std::thread reader([&] {
        while (!done)
            if (!whole(get(path))) ++failures;
    });
    std::vector<std::thread> writers;
    for (int w = 0; w < 6; ++w)
        writers.emplace_back([&, w] {
            for (int i = 0; i < 40; ++i) try {
                    put(path, state(w));
                } catch (...) {
                    ++failures;
                }
        });
    for (std::thread& writer : writers) writer.join();
    done = true;
    reader.join();
    CHECK(failures == 0);
    CHECK(whole(get(path)));
    CHECK(names_in(folder.path) == std::vector<std::string>{"one"});
}

TEST_CASE("processes that save to one path leave one of the states", "[file]") {
    const Folder folder;
    const std::string path = folder.file("one");
    put(path, state(0));
    std::vector<pid_t> children;
    for (int w = 0; w < 4; ++w) {
        const pid_t child = ::fork();
        if (child == 0) {
            int bad = 0;
            for (int i = 0; i < 40; ++i) try {
                    put(path, state(w));
                    if (!whole(get(path))) ++bad;
                } catch (...) {
                    ++bad;
                }
            ::_exit(bad);
        }
        children.push_back(child);
    }
    for (const pid_t child : children) {
        int status = -1;
        ::waitpid(child, &status, 0);
        CHECK(status == 0);
    }
    CHECK(whole(get(path)));
    CHECK(names_in(folder.path) == std::vector<std::string>{"one"});
}

TEST_CASE("what killed writers left goes with the next save, what living ones write stays",
          "[file]") {
    const Folder folder;
    const std::string path = folder.file("one");
    Child killed(path);
    const Child living(path);
    OutputFile own(path);
    own.write(std::as_bytes(std::span("own!", 4)));
    CHECK(folder.files() == 3);
    killed.kill();
    put(path, "new");
    CHECK(folder.files() == 3);  // one, the living child's and our own
    CHECK(get(path) == "new");
    own.finish();
    CHECK(get(path) == "own!");
    CHECK(folder.files() == 2);
}

TEST_CASE("a forked child leaves alone what its parent writes", "[file]") {
    const Folder folder;
    const std::string path = folder.file("one");
    {
        std::optional<OutputFile> file(path);
        const pid_t child = ::fork();
        if (child == 0) {
            file.reset();
            ::_exit(0);
        }
        ::waitpid(child, nullptr, 0);
        CHECK(folder.files() == 1);
        file->finish();
    }
    CHECK(names_in(folder.path) == std::vector<std::string>{"one"});
}

TEST_CASE("only temporary files are taken for such", "[file]") {
    const Folder folder;
    const Folder outside("-outside");
    const std::string path = folder.file("one");
    const auto make = [&](const std::string& name) { std::ofstream(folder.path / name) << "x"; };
    const std::string dead = "999999999", alive = std::to_string(::getpid());
    make("one.tmp-" + dead);                        // an older version's, killed
    make("one.tmp-" + alive);                       // an older version's, at work
    make("one.tmp-" + dead + "-0123456789abcdef");  // killed
    // The number of a writer may belong to another process by now: the lock tells.
    make("one.tmp-" + alive + "-fedcba9876543210");
    const std::vector<std::string> others{"one.tmp-",
                                          "one.tmp-notes",
                                          "one.tmp-5x",
                                          "one.tmp-" + dead + "-0123",
                                          "one.tmp-" + dead + "-0123456789abcdeX",
                                          "two.tmp-" + dead};
    for (const std::string& name : others) make(name);
    // What is planted under such a name is neither followed nor waited for.
    std::ofstream(outside.path / "target") << "precious";
    fs::create_symlink(outside.path / "target",
                       folder.path / ("one.tmp-" + dead + "-aaaaaaaaaaaaaaaa"));
    REQUIRE(::mkfifo(folder.file(("one.tmp-" + dead + "-bbbbbbbbbbbbbbbb").c_str()).c_str(),
                     0600) == 0);
    put(path, "new");
    std::vector<std::string> wanted = others;
    for (const std::string& name :
         {std::string("one"), "one.tmp-" + alive, "one.tmp-" + dead + "-aaaaaaaaaaaaaaaa",
          "one.tmp-" + dead + "-bbbbbbbbbbbbbbbb"})
        wanted.push_back(name);
    std::sort(wanted.begin(), wanted.end());
    CHECK(names_in(folder.path) == wanted);
    CHECK(get((outside.path / "target").string()) == "precious");
}

TEST_CASE("a temporary file's name is new each time, its mode the user's", "[file]") {
    const Folder folder;
    const std::string path = folder.file("one");
    const mode_t before = ::umask(027);
    {
        const OutputFile a(path), b(path);
        const auto names = names_in(folder.path);
        REQUIRE(names.size() == 2);
        CHECK(names[0].substr(0, names[0].size() - 16) == names[1].substr(0, names[1].size() - 16));
        CHECK(names[0] != names[1]);
    }
    CHECK(folder.files() == 0);
    put(path, "x");
    ::umask(before);
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777) == 0640);
    for (const std::size_t length : {200U, 201U, 254U, 255U}) {
        put((folder.path / std::string(length, 'n')).string(), "long");
        CHECK(get((folder.path / std::string(length, 'n')).string()) == "long");
    }
    std::string greek;
    while (greek.size() < 254) greek += "\xCE\xB1";
    put((folder.path / ("x" + greek)).string(), "cut between characters");
    CHECK(folder.files() == 6);
    // A link under the name is replaced, what it leads to is not touched.
    fs::create_symlink(folder.path / "one", folder.path / "link");
    put(folder.file("link"), "not through it");
    CHECK(get(path) == "x");
    CHECK(get(folder.file("link")) == "not through it");
}

TEST_CASE("what the system refuses is named, whatever happened before", "[file]") {
    const Folder folder;
    const std::string path = folder.file("one");
    fs::create_symlink("loop", folder.path / "loop");
    const std::string loop = folder.file("loop");
    CHECK_THAT(message_of([&] { InputFile file(loop); }), has_text("symbolic links"));
    CHECK_THAT(message_of([&] { OutputFile file(loop); }), has_text("symbolic links"));
    CHECK_THAT(message_of([&] { OutputFile file(loop + "/x"); }), has_text("symbolic links"));
    CHECK_THAT(message_of([&] { name_exists(loop + "/x"); }), has_text("symbolic links"));
    CHECK(name_exists(loop));
    CHECK(!name_exists(path));
    CHECK_THAT(message_of([&] { OutputFile file(folder.file("no/x")); }), has_text("No such file"));
    CHECK_THAT(message_of([&] { OutputFile file(folder.path.string()); }),
               has_text("not a regular file"));

    OutputFile file(path);
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
    const rlimit small{100, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
    errno = EAGAIN;
    const std::string text(1000, 'x');
    const std::string said =
        message_of([&] { file.write(std::as_bytes(std::span<const char>(text))); });
    REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK_THAT(said, has_text("File too large"));
    // A temporary file that somebody took away.
    for (const std::string& name : names_in(folder.path))
        if (name != "loop") fs::remove(folder.path / name);
    errno = EAGAIN;
    CHECK_THAT(message_of([&] { file.finish(); }), has_text("renaming: No such file"));
    CHECK(!name_exists(path));
}

TEST_CASE("interrupted calls are made again, though not for ever", "[file]") {
    int left = 5;
    const auto call = [&] {
        errno = EINTR;
        return left-- > 0 ? -1 : 7;
    };
    CHECK(uninterrupted(call) == 7);
    left = 1 << 30;
    CHECK(uninterrupted(call) == -1);
    CHECK(errno == EINTR);
}
