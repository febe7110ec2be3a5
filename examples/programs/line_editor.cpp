#include "line_editor.hpp"

#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <iostream>

#if CAIRN_EDITLINE
#include <histedit.h>
#endif

namespace programs {

std::string without_control_bytes(std::string_view text) {
    std::string result;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const auto byte = static_cast<unsigned char>(text[i]);
        if (byte == 0x1B && i + 1 < text.size() && (text[i + 1] == '[' || text[i + 1] == 'O')) {
            // ESC [ parameters final, or ESC O final.
            ++i;
            do ++i;
            while (i < text.size() && text[i - 1] != 'O' && (text[i] < '@' || text[i] > '~'));
        } else if (byte == '\t' || byte == '\n' || (byte >= 0x20 && byte != 0x7F)) {
            result += text[i];
        }
    }
    return result;
}

#if CAIRN_EDITLINE

std::string_view LineEditor::described() noexcept {
    return "Arrow keys edit a line and recall earlier ones (libedit), Ctrl-R searches them.";
}

// libedit on standard input and standard error, so that standard output holds the answers alone.
struct LineEditor::Terminal {
    EditLine* editor = ::el_init("chat", stdin, stderr, stderr);
    History* history = ::history_init();
    std::string prompt;
    bool dropped = false;

    Terminal() {
        // libedit reads characters in the locale's encoding.
        if (std::setlocale(LC_CTYPE, "") == nullptr || MB_CUR_MAX == 1)
            std::setlocale(LC_CTYPE, "C.UTF-8");
        if (!good()) return;
        HistEvent event;
        ::history(history, &event, H_SETSIZE, 1000);
        ::history(history, &event, H_SETUNIQUE, 1);
        ::el_set(editor, EL_CLIENTDATA, this);
        ::el_set(editor, EL_PROMPT_ESC, &show_prompt, '\1');
        ::el_set(editor, EL_EDITOR, "emacs");
        ::el_set(editor, EL_HIST, ::history, history);
        ::el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
        // Ctrl-C is a key while a line is typed, and a signal again while the model answers.
        ::el_set(editor, EL_SETTY, "-d", "-isig", nullptr);
        // By the wide call: the narrow one leaks its copies of these words.
        ::el_wset(editor, EL_ADDFN, L"drop-line", L"Drop the line", &drop);
        ::el_set(editor, EL_BIND, "^C", "drop-line", nullptr);
        ::el_wset(editor, EL_ADDFN, L"suspend", L"Suspend the program", &suspend);
        ::el_set(editor, EL_BIND, "^Z", "suspend", nullptr);
        ::el_wset(editor, EL_ADDFN, L"paste", L"Insert a pasted text", &paste);
        ::el_set(editor, EL_BIND, "\033[200~", "paste", nullptr);
    }
    ~Terminal() {
        if (editor != nullptr) ::el_end(editor);
        if (history != nullptr) ::history_end(history);
    }
    Terminal(const Terminal&) = delete;
    Terminal& operator=(const Terminal&) = delete;

    bool good() const noexcept { return editor != nullptr && history != nullptr; }

    Got read(std::string& line) {
        dropped = false;
        int count = 0;
        ::el_set(editor, EL_PREP_TERM, 1);  // Ctrl-C is a key before the prompt invites one
        std::fputs("\033[?2004h", stderr);  // the terminal marks what is pasted
        const char* text = ::el_gets(editor, &count);
        std::fputs("\033[?2004l", stderr);
        if (dropped) {
            std::fputs("^C\n", stderr);
            return Got::interrupted;
        }
        if (text == nullptr || count <= 0) return Got::end;
        line.assign(text, static_cast<std::size_t>(count));
        if (line.back() == '\n') line.pop_back();
        return Got::line;
    }
    void remember(const std::string& line) {
        HistEvent event;
        ::history(history, &event, H_ENTER, line.c_str());
    }

  private:
    static Terminal& of(EditLine* editor) {
        void* self = nullptr;
        ::el_get(editor, EL_CLIENTDATA, &self);
        return *static_cast<Terminal*>(self);
    }
    static char* show_prompt(EditLine* editor) { return of(editor).prompt.data(); }
    static unsigned char drop(EditLine* editor, int) {
        of(editor).dropped = true;
        return CC_EOF;
    }
    static unsigned char suspend(EditLine* editor, int) {
        ::el_set(editor, EL_PREP_TERM, 0);
        ::raise(SIGTSTP);
        ::el_set(editor, EL_PREP_TERM, 1);
        return CC_REDISPLAY;
    }
    static unsigned char paste(EditLine* editor, int) {
        static constexpr std::string_view end = "\033[201~";
        std::string text;
        for (char c = 0; !text.ends_with(end) && ::el_getc(editor, &c) == 1;)
            text += c == '\r' ? '\n' : c;
        if (text.ends_with(end)) text.resize(text.size() - end.size());
        while (text.ends_with('\n')) text.pop_back();
        text = without_control_bytes(text);
        if (!text.empty() && ::el_insertstr(editor, text.c_str()) != 0) return CC_ERROR;
        return CC_REFRESH;
    }
};

#else

std::string_view LineEditor::described() noexcept {
    return "Built without libedit: lines are not edited or recalled.";
}
struct LineEditor::Terminal {
    std::string prompt;
    bool good() const noexcept { return false; }
    Got read(std::string&) { return Got::end; }
    void remember(const std::string&) {}
};

#endif

LineEditor::LineEditor() : interactive_(::isatty(STDIN_FILENO) != 0) {
    if (!interactive_ || ::isatty(STDERR_FILENO) == 0) return;
    terminal_ = std::make_unique<Terminal>();
    if (!terminal_->good()) terminal_.reset();
}
LineEditor::~LineEditor() = default;

bool LineEditor::interactive() const noexcept { return interactive_; }

LineEditor::Got LineEditor::read(const std::string& prompt, std::string& line) {
    line.clear();
    for (std::string piece, shown = prompt;; shown = "  ") {
        const Got got = read_piece(shown, piece);
        if (got == Got::interrupted) return got;
        if (got == Got::end && line.empty()) return got;
        line += without_control_bytes(piece);
        if (got == Got::end || !line.ends_with('\\')) break;
        line.back() = '\n';
    }
    if (terminal_ && !line.empty()) terminal_->remember(line);
    return Got::line;
}

LineEditor::Got LineEditor::read_piece(const std::string& prompt, std::string& piece) {
    piece.clear();
    if (!terminal_) return read_plain(prompt, piece);
    // Between \1: takes no room. Codes go before a character, so the colour ends before the last.
    const std::size_t most = prompt.size() - 1;
    terminal_->prompt =
        "\1\033[32m\1" + prompt.substr(0, most) + "\1\033[0m\1" + prompt.substr(most);
    return terminal_->read(piece);
}

LineEditor::Got LineEditor::read_plain(const std::string& prompt, std::string& piece) {
    if (interactive_) std::cerr << prompt << std::flush;
    // A person's Ctrl-C drops the line; it has to end the read, so nothing restarts that.
    struct sigaction before {};
    if (interactive_) {
        struct sigaction action {};
        action.sa_handler = [](int) {};
        ::sigemptyset(&action.sa_mask);
        ::sigaction(SIGINT, &action, &before);
    }
    Got got = Got::line;
    std::size_t end = buffer_.find('\n');
    while (end == std::string::npos && !ended_) {
        char bytes[4096];
        const ssize_t n = ::read(STDIN_FILENO, bytes, sizeof bytes);
        if (n < 0 && errno == EINTR) {
            if (!interactive_) continue;
            got = Got::interrupted;
            break;
        }
        ended_ = n <= 0;
        if (n > 0) buffer_.append(bytes, static_cast<std::size_t>(n));
        end = buffer_.find('\n');
    }
    if (interactive_) ::sigaction(SIGINT, &before, nullptr);
    if (got == Got::interrupted) {
        buffer_.clear();
        std::cerr << '\n';
        return got;
    }
    if (end == std::string::npos && buffer_.empty()) return Got::end;
    piece = buffer_.substr(0, end);
    buffer_.erase(0, end == std::string::npos ? end : end + 1);
    return Got::line;
}

}  // namespace programs
