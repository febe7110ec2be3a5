// The conversations that chat models were trained on, as facts: a row a format, compared with what
// the models' own templates write (tests/golden/make_chats.py).
//
// In a pattern, {<|name|>} is a marker: a token of the vocabulary, of several the first one that it
// has; {?[name]} is one that some vocabularies spell with ordinary tokens. {user}, {system} and
// {answer} are messages, {-user} and {user-} without white space at that end. {date: ...} is a text
// that is left out where no date is known; %Y %m %d %B are the parts of one. {thinking:one|other}:
// with a thinking block, and without.
#pragma once

#include <array>
#include <string_view>

#include "cairn/core/config.hpp"

namespace cairn { inline namespace CAIRN_ABI { namespace internal {

/// One format.
struct ChatFacts {
    std::string_view name;
    /// What a template of this format says, and after a '!' what it does not say. Apostrophes stand
    /// for quotation marks, \n for ends of lines.
    std::array<std::string_view, 4> marks;
    std::string_view user;         ///< a user's message
    std::string_view prompt;       ///< what makes the model answer
    std::string_view close;        ///< behind an answer
    std::string_view system = {};  ///< a turn of the system's text, before the first message
    std::string_view user_with_system = {};  ///< without such a turn: the first message
    std::string_view later_user = {};        ///< a message later on, where it is written otherwise
    std::string_view answer = "{answer}";    ///< an answer that is told again
    std::string_view head = {};              ///< before all else
    std::string_view plain_prompt = {};      ///< a prompt for an answer without a thinking block
    std::string_view told_prompt = {};       ///< before an answer that is told again
    std::string_view without_system = {};    ///< written where there is no system's text
    std::string_view last_thought = {};      ///< later turns see what comes after the last of these
};

inline constexpr std::string_view chatml_user = "{<|im_start|>}user\n{user}{<|im_end|>}\n";
inline constexpr std::string_view chatml_system = "{<|im_start|>}system\n{system}{<|im_end|>}\n";
inline constexpr std::string_view chatml_prompt = "{<|im_start|>}assistant\n";
inline constexpr std::string_view chatml_close = "{<|im_end|>}\n";
inline constexpr std::string_view olmo3_system =
    "{<|im_start|>}system\n{system} You do not currently have access to any functions. "
    "<functions></functions>{<|im_end|>}\n";
inline constexpr std::string_view deepseek_eos = "{<｜end▁of▁sentence｜>}";

inline constexpr std::string_view smollm3_head =
    "{<|im_start|>}system\n## Metadata\n\nKnowledge Cutoff Date: June 2025\n"
    "{date:Today Date: %d %B %Y\n}Reasoning Mode: {thinking:/think|/no_think}\n\n## Custom "
    "Instructions\n\n";
inline constexpr std::string_view smollm3_default =
    "{thinking:You are a helpful AI assistant named SmolLM, trained by Hugging Face. Your role as "
    "an assistant "
    "involves thoroughly exploring questions through a systematic thinking process before "
    "providing "
    "the final precise and accurate solutions. This requires engaging in a comprehensive cycle of "
    "analysis, summarizing, exploration, reassessment, reflection, backtracking, and iteration to "
    "develop well-considered thinking process. Please structure your response into two main "
    "sections: Thought and Solution using the specified format: <think> Thought section </think> "
    "Solution section. In the Thought section, detail your reasoning process in steps. Each step "
    "should include detailed considerations such as analysing questions, summarizing relevant "
    "findings, brainstorming new ideas, verifying the accuracy of the current steps, refining any "
    "errors, and revisiting previous steps. In the Solution section, based on various attempts, "
    "explorations, and reflections from the Thought section, systematically present the final "
    "solution that you deem correct. The Solution section should be logical, accurate, and concise "
    "and detail necessary steps needed to reach the conclusion.|You are a helpful AI "
    "assistant named SmolLM, trained by Hugging Face.}\n\n{<|im_end|>}\n";

/// All of them; of those that recognise a template the first one counts.
inline constexpr std::array<ChatFacts, 28> chat_formats{{
    {.name = "gpt-oss",
     .marks = {"<|start|>", "<|channel|>"},
     .user = "{<|start|>}user{<|message|>}{user}{<|end|>}",
     .prompt = "{<|start|>}assistant",
     .close = "{<|end|>}",
     .system = "{<|start|>}developer{<|message|>}# Instructions\n\n{system}\n\n{<|end|>}",
     .answer = "{<|channel|>}final{<|message|>}{answer}",
     .head =
         "{<|start|>}system{<|message|>}You are ChatGPT, a large language model trained by "
         "OpenAI.\nKnowledge cutoff: 2024-06\n{date:Current date: %Y-%m-%d\n}\nReasoning: "
         "medium\n\n# Valid channels: analysis, commentary, final. Channel must be included for "
         "every message.{<|end|>}",
     .plain_prompt = "{<|start|>}assistant{<|channel|>}final{<|message|>}",
     .last_thought = "<|message|>"},
    {.name = "smollm3",
     .marks = {"<|im_start|>", "Reasoning Mode: "},
     .user = chatml_user,
     .prompt = chatml_prompt,
     .close = chatml_close,
     .system = "{system-}\n\n{<|im_end|>}\n",
     .head = smollm3_head,
     .plain_prompt = "{<|im_start|>}assistant\n{?<think>}\n\n{?</think>}\n",
     .without_system = smollm3_default},
    {.name = "phi4",
     .marks = {"<|im_start|>", "<|im_sep|>"},
     .user = "{<|im_start|>}user{<|im_sep|>}{user}{<|im_end|>}",
     .prompt = "{<|im_start|>}assistant{<|im_sep|>}",
     .close = "{<|im_end|>}",
     .system = "{<|im_start|>}system{<|im_sep|>}{system}{<|im_end|>}"},
    {.name = "olmo3-think",
     .marks = {"<|im_start|>", "<functions></functions>", R"(assistant\n<think>)"},
     .user = chatml_user,
     .prompt = "{<|im_start|>}assistant\n{?<think>}",
     .close = chatml_close,
     .system = olmo3_system,
     .told_prompt = chatml_prompt},
    {.name = "olmo3",
     .marks = {"<|im_start|>", "<functions></functions>"},
     .user = chatml_user,
     .prompt = chatml_prompt,
     .close = chatml_close,
     .system = olmo3_system},
    {.name = "qwen3",
     .marks = {"<|im_start|>", "enable_thinking", "</think>"},
     .user = chatml_user,
     .prompt = chatml_prompt,
     .close = chatml_close,
     .system = chatml_system,
     .plain_prompt = "{<|im_start|>}assistant\n{?<think>}\n\n{?</think>}\n\n",
     .told_prompt = chatml_prompt,
     .last_thought = "</think>"},
    {.name = "chatml",
     .marks = {"<|im_start|>"},
     .user = chatml_user,
     .prompt = chatml_prompt,
     .close = chatml_close,
     .system = chatml_system},
    {.name = "llama3",
     .marks = {"<|start_header_id|>"},
     .user = "{<|start_header_id|>}user{<|end_header_id|>}\n\n{-user-}{<|eot_id|>}",
     .prompt = "{<|start_header_id|>}assistant{<|end_header_id|>}\n\n",
     .close = "{<|eot_id|>}",
     .system = "{<|start_header_id|>}system{<|end_header_id|>}\n\n{-system-}{<|eot_id|>}",
     .answer = "{-answer-}"},
    {.name = "gemma",
     .marks = {"<start_of_turn>"},
     .user = "{<start_of_turn>}user\n{-user-}{<end_of_turn>}\n",
     .prompt = "{<start_of_turn>}model\n",
     .close = "{<end_of_turn>}\n",
     .user_with_system = "{<start_of_turn>}user\n{system}\n\n{-user-}{<end_of_turn>}\n",
     .answer = "{-answer-}"},
    {.name = "granite",
     .marks = {"<|start_of_role|>"},
     .user = "{<|start_of_role|>}user{<|end_of_role|>}{user}{<|end_of_text|>}\n",
     .prompt = "{<|start_of_role|>}assistant{<|end_of_role|>}",
     .close = "{<|end_of_text|>}\n",
     .system = "{<|start_of_role|>}system{<|end_of_role|>}{system}{<|end_of_text|>}\n"},
    {.name = "command-r",
     .marks = {"<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "!<|START_RESPONSE|>"},
     .user = "{<|START_OF_TURN_TOKEN|>}{<|USER_TOKEN|>}{-user-}{<|END_OF_TURN_TOKEN|>}",
     .prompt = "{<|START_OF_TURN_TOKEN|>}{<|CHATBOT_TOKEN|>}",
     .close = "{<|END_OF_TURN_TOKEN|>}",
     .system = "{<|START_OF_TURN_TOKEN|>}{<|SYSTEM_TOKEN|>}{system}{<|END_OF_TURN_TOKEN|>}",
     .answer = "{-answer-}"},
    {.name = "deepseek-r1",
     .marks = {R"(<｜Assistant｜><think>\n)"},
     .user = "{<｜User｜>}{user}",
     .prompt = "{<｜Assistant｜>}{?<think>}\n",
     .close = deepseek_eos,
     .system = "{system}",
     .told_prompt = "{<｜Assistant｜>}",
     .last_thought = "</think>"},
    {.name = "deepseek3.1",
     .marks = {"<｜Assistant｜>", "not thinking", "</think>"},
     .user = "{<｜User｜>}{user}",
     .prompt = "{<｜Assistant｜>}{?</think>}",
     .close = deepseek_eos,
     .system = "{system}"},
    {.name = "deepseek3",
     .marks = {"<｜Assistant｜>"},
     .user = "{<｜User｜>}{user}",
     .prompt = "{<｜Assistant｜>}",
     .close = deepseek_eos,
     .system = "{system}",
     .last_thought = "</think>"},
    {.name = "deepseek2",
     .marks = {"'User: ' + message['content']", "Assistant:"},
     .user = "User: {user}\n\n",
     .prompt = "Assistant:",
     .close = "{<｜end▁of▁sentence｜> <|end▁of▁sentence|>}",
     .system = "{system}\n\n",
     .answer = " {answer}"},
    {.name = "phi4-mini",
     .marks = {"<|end|>", "<|assistant|>", "'|>' + message['content']"},
     .user = "{<|user|>}{user}{<|end|>}",
     .prompt = "{<|assistant|>}",
     .close = "{<|end|>}",
     .system = "{<|system|>}{system}{<|end|>}"},
    {.name = "phi3",
     .marks = {"<|end|>", "<|assistant|>"},
     .user = "{<|user|>}\n{user}{<|end|>}\n",
     .prompt = "{<|assistant|>}\n",
     .close = "{<|end|>}\n",
     .system = "{<|system|>}\n{system}{<|end|>}\n"},
    {.name = "olmo2",
     .marks = {"<|user|>", "<|assistant|>", R"(message['content'] + '\n')"},
     .user = "{?<|user|>}\n{user}\n",
     .prompt = "{?<|assistant|>}\n",
     .close = "{<|endoftext|> </s> <|end_of_text|>}\n",
     .system = "{?<|system|>}\n{system}\n"},
    {.name = "zephyr",
     .marks = {"<|user|>", "<|assistant|>", "![gMASK]"},
     .user = "{?<|user|>}\n{user}{</s> <|endoftext|>}\n",
     .prompt = "{?<|assistant|>}\n",
     .close = "{</s> <|endoftext|>}\n",
     .system = "{?<|system|>}\n{system}{</s> <|endoftext|>}\n"},
    {.name = "llama2",
     .marks = {"[INST]", "<<SYS>>"},
     .user = "[INST] {-user-} [/INST]",
     .prompt = "",
     .close = "{</s>}",
     .user_with_system = "[INST] <<SYS>>\n{system}\n<</SYS>>\n\n{user-} [/INST]",
     .later_user = "{<s>}[INST] {-user-} [/INST]",
     .answer = " {-answer-} "},
    {.name = "mistral-v7-tekken",
     .marks = {"[SYSTEM_PROMPT]", "!'[SYSTEM_PROMPT] '"},
     .user = "{?[INST]}{user}{?[/INST]}",
     .prompt = "",
     .close = "{</s>}",
     .system = "{?[SYSTEM_PROMPT]}{system}{?[/SYSTEM_PROMPT]}"},
    {.name = "mistral-v7",
     .marks = {"[SYSTEM_PROMPT]"},
     .user = "{?[INST]} {user}{?[/INST]}",
     .prompt = "",
     .close = "{</s>}",
     .system = "{?[SYSTEM_PROMPT]} {system}{?[/SYSTEM_PROMPT]}",
     .answer = " {answer}"},
    {.name = "mistral-v3-tekken",
     .marks = {"'[INST]'"},
     .user = "{?[INST]}{user}{?[/INST]}",
     .prompt = "",
     .close = "{</s>}",
     .user_with_system = "{?[INST]}{system}\n\n{user}{?[/INST]}"},
    {.name = "mistral-v1",
     .marks = {"' [INST] '", "' [/INST]'"},
     .user = " {?[INST]} {user} {?[/INST]}",
     .prompt = "",
     .close = "{</s>}",
     .user_with_system = " {?[INST]} {system}\n\n{user} {?[/INST]}",
     .answer = " {answer}"},
    {.name = "mistral-v0",
     .marks = {"[INST]", "' [/INST]'"},
     .user = "{?[INST]} {user} {?[/INST]}",
     .prompt = "",
     .close = "{</s>}",
     .user_with_system = "{?[INST]} {system}\n\n{user} {?[/INST]}"},
    {.name = "mistral",
     .marks = {"[INST]"},
     .user = "{?[INST]} {user}{?[/INST]}",
     .prompt = "",
     .close = "{</s>}",
     .user_with_system = "{?[INST]} {system}\n\n{user}{?[/INST]}",
     .answer = " {-answer-}"},
    {.name = "starcoder2",
     .marks = {R"(### Instruction\n)", "exceptionally intelligent coding assistant"},
     .user = "### Instruction\n{user}\n\n",
     .prompt = "### Response\n",
     .close = "{<|endoftext|>}\n\n",
     .user_with_system = "### Instruction\n{system}\n\n{user}\n\n",
     .head = "You are an exceptionally intelligent coding assistant that consistently delivers "
             "accurate and reliable responses to user instructions.\n\n"},
    {.name = "deepseek-coder",
     .marks = {R"(### Instruction:\n)", "<|EOT|>"},
     .user = "### Instruction:\n{user}\n",
     .prompt = "### Response:\n",
     .close = "\n{<|EOT|>}\n",
     .system = "{system}"},
}};

}  // namespace internal

}}  // namespace cairn
