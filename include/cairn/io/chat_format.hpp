// How a conversation is written for a chat model: a fixed list of known formats, recognised from
// the text of a model's template. Templates are never run.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/io/chat_formats.hpp"
#include "cairn/io/chat_writer.hpp"
#include "cairn/io/tokenizer.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Who speaks.
enum class ChatRole : std::uint8_t { system, user, assistant };

/// Where a message stands in its conversation.
enum class ChatTurn : std::uint8_t { first, later };

/// Whether a model that can think before it answers is asked to.
enum class ChatThinking : std::uint8_t { as_trained, skipped };

/// One of the known formats: what stands around each message. Marker texts are special tokens;
/// messages are always plain text, so that nobody can talk their way into a marker.
class ChatFormat {
  public:
    /// The names, as programs take them.
    static constexpr std::array<std::string_view, internal::chat_formats.size()> names = [] {
        std::array<std::string_view, internal::chat_formats.size()> result;
        for (std::size_t i = 0; i < result.size(); ++i) result[i] = internal::chat_formats[i].name;
        return result;
    }();

    /// By name. Error{unsupported} listing the known ones.
    static ChatFormat named(std::string_view name) {
        for (const internal::ChatFacts& facts : internal::chat_formats)
            if (facts.name == name) return ChatFormat(facts);
        fail(ErrorCode::unsupported, "chat format \"", name.substr(0, 60), "\"; known: ", list());
    }
    /// From a template's text. Error{unsupported} saying how to name one.
    static ChatFormat recognise(std::string_view text) {
        const std::string plain = internal::plain_template(text);
        for (const internal::ChatFacts& facts : internal::chat_formats) {
            bool all = true;
            for (const std::string_view mark : facts.marks) {
                const bool absent = mark.starts_with('!');
                all = all && (plain.find(mark.substr(absent ? 1 : 0)) == plain.npos) == absent;
                if (mark.empty()) break;
            }
            if (!all) continue;
            ChatFormat result(facts);
            if (facts.user == internal::chatml_user && facts.without_system.empty())
                result.default_system_ = internal::chatml_default(plain);
            return result;
        }
        fail(ErrorCode::unsupported,
             text.empty() ? "the model has no chat template"
                          : "the model's chat template is not "
                            "one of the known formats",
             "; name one: ", list());
    }
    std::string_view name() const noexcept { return facts_->name; }

    /// The same format on a day, which some tell their models; without one that line is left out.
    ChatFormat dated(ChatDate date) const {
        ChatFormat result = *this;
        result.date_ = date;
        return result;
    }
    /// The same format with or without thinking blocks; formats without any stay as they are.
    ChatFormat with(ChatThinking thinking) const {
        ChatFormat result = *this;
        result.thinking_ = thinking;
        return result;
    }

    /// The format in which turns of before are told again: some models do not see then that a
    /// thinking block was begun or skipped.
    ChatFormat retold() const {
        ChatFormat result = *this;
        result.told_again_ = !facts_->told_prompt.empty();
        return result;
    }

    /// The tokens of one message at its place in the conversation, and for a user's message what
    /// makes the model answer. First: nothing was fed before. Formats without a turn for the system
    /// (Llama 2, Gemma, most of Mistral's) put its text into the first message. Without a text the
    /// model is told what its template tells it then. Error{unsupported} if the vocabulary lacks a
    /// marker.
    std::vector<Token> turn(const Tokenizer& tokenizer, ChatTurn at, std::string_view system,
                            std::string_view user) const {
        internal::ChatWriter out = writer(tokenizer);
        if (at == ChatTurn::first) {
            out.begin();
            out.write(facts_->head, {});
            if (system.empty() && !default_system_.empty())
                out.write(internal::chatml_system, {.system = default_system_});
            else
                out.write(system.empty() ? facts_->without_system : facts_->system,
                          {.system = system});
        }
        std::string_view message = facts_->user;
        if (at == ChatTurn::later && !facts_->later_user.empty()) message = facts_->later_user;
        if (at == ChatTurn::first && !system.empty() && !facts_->user_with_system.empty())
            message = facts_->user_with_system;
        out.write(message, {.system = system, .user = user});
        const bool plain = thinking_ == ChatThinking::skipped && !facts_->plain_prompt.empty();
        out.write(told_again_ ? facts_->told_prompt
                  : plain     ? facts_->plain_prompt
                              : facts_->prompt,
                  {});
        return std::move(out).take();
    }
    /// The tokens of an answer that was given before, behind its `turn`, as later turns see it.
    std::vector<Token> answer(const Tokenizer& tokenizer, std::string_view text) const {
        internal::ChatWriter out = writer(tokenizer);
        out.write(facts_->answer, {.answer = text});
        return std::move(out).take();
    }
    /// What closes the model's answer, to be fed before the next turn. The end token itself is fed
    /// too, whether the model said it or was cut off.
    std::vector<Token> close(const Tokenizer& tokenizer) const {
        internal::ChatWriter out = writer(tokenizer);
        out.write(facts_->close, {});
        return std::move(out).take();
    }
    /// How many tokens in front of an answer are a thinking block, which later turns do not see.
    std::size_t thought(const Tokenizer& tokenizer, Tokens answer) const {
        return facts_->last_thought.empty()
                   ? 0
                   : internal::thought_tokens(tokenizer, answer, facts_->last_thought);
    }

  private:
    explicit ChatFormat(const internal::ChatFacts& facts) : facts_(&facts) {}

    internal::ChatWriter writer(const Tokenizer& tokenizer) const {
        return internal::ChatWriter(tokenizer, date_, thinking_ == ChatThinking::as_trained);
    }
    static std::string list() {
        std::string result;
        for (const std::string_view name : names) (result += result.empty() ? "" : ", ") += name;
        return result;
    }
    const internal::ChatFacts* facts_;
    ChatDate date_{};
    ChatThinking thinking_ = ChatThinking::as_trained;
    bool told_again_ = false;
    std::string default_system_;
};

}}  // namespace cairn
