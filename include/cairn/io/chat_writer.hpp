// Writes the patterns of chat formats as tokens: markers by their names, everything else as text.
#pragma once

#include <array>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cairn/io/tokenizer.hpp"
#include "cairn/io/white_space.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// A day; year 0: none is known.
struct ChatDate {
    int year = 0;
    int month = 1;
    int day = 1;
};

namespace internal {

// A date in the letters of strftime: %Y %m %d and %B.
inline std::string dated_text(std::string_view pattern, ChatDate date) {
    static constexpr std::array<const char*, 12> months{
        "January", "February", "March",     "April",   "May",      "June",
        "July",    "August",   "September", "October", "November", "December"};
    std::string result;
    for (std::size_t i = 0; i < pattern.size(); ++i) {
        if (pattern[i] != '%' || i + 1 == pattern.size()) {
            result += pattern[i];
            continue;
        }
        const char which = pattern[++i];
        const int number = which == 'Y' ? date.year : which == 'm' ? date.month : date.day;
        if (which == 'B') {
            result += months[static_cast<std::size_t>(date.month - 1) % months.size()];
            continue;
        }
        char digits[16];
        std::snprintf(digits, sizeof digits, which == 'Y' ? "%04d" : "%02d", number);
        result += digits;
    }
    return result;
}

// A template's text for comparing: one kind of quotation marks, ends of lines as they are escaped.
inline std::string plain_template(std::string_view text) {
    std::string result;
    result.reserve(text.size() + 64);
    for (const char c : text)
        c == '\n' ? result.append("\\n") : result.append(1, c == '"' ? '\'' : c);
    return result;
}
// What a ChatML template says where there is no system's text, if that stands in one literal.
inline std::string chatml_default(std::string_view plain) {
    constexpr std::string_view begin = R"(<|im_start|>system\n)";
    for (std::size_t at = plain.find(begin); at != plain.npos; at = plain.find(begin, at)) {
        at += begin.size();
        const std::size_t end = plain.find("<|im_end|>", at);
        if (end == plain.npos) break;
        const std::string_view text = plain.substr(at, end - at);
        if (text.empty() || text.find_first_of("'{}") != text.npos) continue;
        std::string result;
        for (std::size_t i = 0; i < text.size(); ++i) {
            const bool line = text.substr(i).starts_with("\\n");
            result += line ? '\n' : text[i];
            i += line ? 1 : 0;
        }
        return result;
    }
    return {};
}

// Tokens up to the last one of a name, and the ends of lines behind it.
inline std::size_t thought_tokens(const Tokenizer& tokenizer, Tokens answer,
                                  std::string_view name) {
    const Token mark = tokenizer.id_of(name);
    std::size_t count = answer.size();
    while (count > 0 && answer[count - 1] != mark) --count;
    if (mark < 0) count = 0;
    while (count > 0 && count < answer.size() &&
           tokenizer.bytes(answer[count]).find_first_not_of('\n') == std::string::npos)
        ++count;
    return count;
}

/// One turn as it is written.
class ChatWriter {
  public:
    /// What stands for the names in a pattern.
    struct Messages {
        std::string_view system = {};
        std::string_view user = {};
        std::string_view answer = {};
    };
    ChatWriter(const Tokenizer& tokenizer, ChatDate date, bool thinks)
        : tokenizer_(tokenizer), date_(date), thinks_(thinks) {}

    /// The tokens that the tokenizer itself puts in front of a text.
    void begin() {
        ids_ = tokenizer_.prefix();
        place_ = ids_.empty() ? TextPlace::begin : TextPlace::later;
    }
    void write(std::string_view pattern, const Messages& messages) {
        while (!pattern.empty()) {
            const std::size_t open = std::min(pattern.find('{'), pattern.size());
            text_ += pattern.substr(0, open);
            pattern.remove_prefix(open);
            if (pattern.empty()) return;
            const std::size_t close = pattern.find('}');
            field(pattern.substr(1, close - 1), messages);
            pattern.remove_prefix(close + 1);
        }
    }
    std::vector<Token> take() && {
        flush();
        return std::move(ids_);
    }

  private:
    void field(std::string_view name, const Messages& messages) {
        if (name.starts_with("date:")) {
            if (date_.year > 0) text_ += dated_text(name.substr(5), date_);
        } else if (name.starts_with("thinking:")) {
            const std::size_t bar = name.find('|');
            text_ += thinks_ ? name.substr(9, bar - 9) : name.substr(bar + 1);
        } else if (name.starts_with('?')) {
            const Token id = tokenizer_.id_of(name.substr(1));
            id < 0 ? (void)text_.append(name.substr(1)) : marker(id);
        } else if (!message(name, messages)) {
            marker(one_of(name));
        }
    }
    // False: the name is none of a message.
    bool message(std::string_view name, const Messages& messages) {
        const bool begin = name.starts_with('-');
        const bool end = name.ends_with('-');
        name = name.substr(begin ? 1 : 0, name.size() - (begin ? 1 : 0) - (end ? 1 : 0));
        std::string_view text;
        if (name == "user")
            text = messages.user;
        else if (name == "system")
            text = messages.system;
        else if (name == "answer")
            text = messages.answer;
        else
            return false;
        if (begin) text = trimmed_begin(text, python_space);
        if (end) text = trimmed_end(text, python_space);
        text_ += text;
        return true;
    }
    // The first of some names that is a token.
    Token one_of(std::string_view names) const {
        for (std::string_view rest = names; !rest.empty();) {
            const std::size_t end = std::min(rest.find(' '), rest.size());
            const Token id = tokenizer_.id_of(rest.substr(0, end));
            if (id >= 0) return id;
            rest.remove_prefix(std::min(end + 1, rest.size()));
        }
        fail(ErrorCode::unsupported, "chat: the vocabulary has no token ",
             names.substr(0, names.find(' ')));
    }
    void marker(Token id) {
        flush();
        ids_.push_back(id);
        place_ = TextPlace::later;
        strips_ = tokenizer_.strips_after(id);
    }
    // Text of the format and of messages between two markers is one text for the tokenizer.
    void flush() {
        const std::string_view text =
            strips_ ? trimmed_begin(text_, unicode_space) : std::string_view(text_);
        strips_ = false;
        if (!text.empty()) {
            const std::vector<Token> part = tokenizer_.encode_text(text, place_);
            ids_.insert(ids_.end(), part.begin(), part.end());
            place_ = TextPlace::later;
        }
        text_.clear();
    }

    const Tokenizer& tokenizer_;
    ChatDate date_;
    bool thinks_;
    std::vector<Token> ids_;
    std::string text_;
    TextPlace place_ = TextPlace::later;
    bool strips_ = false;  // the last marker takes the white space behind it
};

}  // namespace internal

}}  // namespace cairn
