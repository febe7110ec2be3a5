// How a conversation is written for a chat model: a fixed list of known formats, recognised from
// the text of a model's template. Templates are never run.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cairn/io/tokenizer.hpp"

namespace cairn { inline namespace CAIRN_ABI {

/// Who speaks.
enum class ChatRole : std::uint8_t { system, user, assistant };

/// Where a message stands in its conversation.
enum class ChatTurn : std::uint8_t { first, later };

/// One of the known formats: what stands around each message. Marker texts are special tokens;
/// messages are always plain text, so that nobody can talk their way into a marker.
class ChatFormat {
  public:
    /// The names, as programs take them.
    static constexpr std::array<std::string_view, 6> names{"chatml",  "llama2", "llama3",
                                                           "mistral", "zephyr", "gemma"};

    /// By name. Error{unsupported} listing the known ones.
    static ChatFormat named(std::string_view name) {
        for (std::size_t i = 0; i < names.size(); ++i)
            if (names[i] == name) return ChatFormat(static_cast<Kind>(i));
        fail(ErrorCode::unsupported, "chat format \"", name.substr(0, 60), "\"; known: ", list());
    }
    /// From a template's text. Error{unsupported} saying how to name one.
    static ChatFormat recognise(std::string_view text) {
        const auto has = [&](std::string_view part) { return text.find(part) != text.npos; };
        if (has("<|im_start|>")) return ChatFormat(Kind::chatml);
        if (has("<|start_header_id|>")) return ChatFormat(Kind::llama3);
        if (has("<start_of_turn>")) return ChatFormat(Kind::gemma);
        if (has("<|user|>") && has("<|assistant|>")) return ChatFormat(Kind::zephyr);
        if (has("[INST]")) return ChatFormat(has("<<SYS>>") ? Kind::llama2 : Kind::mistral);
        fail(ErrorCode::unsupported,
             text.empty() ? "the model has no chat template"
                          : "the model's chat template is not "
                            "one of the known formats",
             "; name one: ", list());
    }
    std::string_view name() const noexcept { return names[static_cast<std::size_t>(kind_)]; }

    /// The tokens of one message at its place in the conversation, and for a user's message what
    /// makes the model answer. First: nothing was fed before. Llama 2, Mistral and Gemma have no
    /// turn for the system: hand it over with the first message.
    std::vector<Token> turn(const Tokenizer& tokenizer, ChatTurn at, std::string_view system,
                            std::string_view user) const {
        Writer out{tokenizer, {}};
        const bool first = at == ChatTurn::first;
        if (first) out.ids = tokenizer.prefix();
        switch (kind_) {
            case Kind::chatml:
                if (first && !system.empty())
                    out.marked("<|im_start|>")
                        .plain("system\n", system)
                        .marked("<|im_end|>")
                        .plain("\n");
                out.marked("<|im_start|>").plain("user\n", user).marked("<|im_end|>");
                out.plain("\n").marked("<|im_start|>").plain("assistant\n");
                break;
            case Kind::llama3:
                if (first && !system.empty()) {
                    out.marked("<|start_header_id|>").plain("system").marked("<|end_header_id|>");
                    out.plain("\n\n", system).marked("<|eot_id|>");
                }
                out.marked("<|start_header_id|>").plain("user").marked("<|end_header_id|>");
                out.plain("\n\n", user).marked("<|eot_id|>").marked("<|start_header_id|>");
                out.plain("assistant").marked("<|end_header_id|>").plain("\n\n");
                break;
            case Kind::llama2:
                if (!first) out.marked("<s>");
                if (first && !system.empty())
                    out.plain("[INST] <<SYS>>\n" + std::string(system) + "\n<</SYS>>\n\n", user)
                        .plain(" [/INST]");
                else
                    out.plain("[INST] ", user).plain(" [/INST]");
                break;
            case Kind::mistral:
                out.either("[INST]").plain(" ");
                if (first && !system.empty()) out.plain(std::string(system) + "\n\n");
                out.plain(user).either("[/INST]");
                break;
            case Kind::zephyr:
                if (first && !system.empty())
                    out.either("<|system|>").plain("\n", system).marked("</s>").plain("\n");
                out.either("<|user|>").plain("\n", user).marked("</s>").plain("\n");
                out.either("<|assistant|>").plain("\n");
                break;
            case Kind::gemma:
                out.marked("<start_of_turn>").plain("user\n");
                if (first && !system.empty()) out.plain(std::string(system) + "\n\n");
                out.plain(user).marked("<end_of_turn>").plain("\n");
                out.marked("<start_of_turn>").plain("model\n");
                break;
        }
        return std::move(out.ids);
    }
    /// What closes the model's answer, to be fed before the next turn. The end token itself is fed
    /// too, whether the model said it or was cut off.
    std::vector<Token> close(const Tokenizer& tokenizer) const {
        Writer out{tokenizer, {}};
        switch (kind_) {
            case Kind::chatml: out.marked("<|im_end|>").plain("\n"); break;
            case Kind::llama3: out.marked("<|eot_id|>"); break;
            case Kind::gemma: out.marked("<end_of_turn>").plain("\n"); break;
            case Kind::zephyr: out.marked("</s>").plain("\n"); break;
            default: out.marked("</s>");
        }
        return std::move(out.ids);
    }

  private:
    enum class Kind : std::uint8_t { chatml, llama2, llama3, mistral, zephyr, gemma };
    explicit ChatFormat(Kind kind) : kind_(kind) {}

    struct Writer {
        const Tokenizer& tokenizer;
        std::vector<Token> ids;

        // A marker that must be a token of the vocabulary.
        Writer& marked(std::string_view name) {
            const Token id = tokenizer.id_of(name);
            require(id >= 0, ErrorCode::unsupported, "chat: the vocabulary has no token ", name);
            ids.push_back(id);
            return *this;
        }
        // A marker that some vocabularies spell with ordinary tokens.
        Writer& either(std::string_view name) {
            const Token id = tokenizer.id_of(name);
            if (id < 0) return plain(name);
            ids.push_back(id);
            return *this;
        }
        // Text of the format and of a message in one piece, as one text tokenizes.
        Writer& plain(std::string_view a, std::string_view b = {}) {
            const std::vector<Token> part = tokenizer.encode(std::string(a).append(b));
            ids.insert(ids.end(), part.begin(), part.end());
            return *this;
        }
    };
    static std::string list() {
        std::string result;
        for (const std::string_view name : names) (result += result.empty() ? "" : ", ") += name;
        return result;
    }
    Kind kind_;
};

}}  // namespace cairn
