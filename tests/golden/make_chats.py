#!/usr/bin/env python3
"""Makes chats.json beside this script: conversations as the models' own templates write them.

  tests/golden/make_chats.py FOLDER

FOLDER has one file for each model, FORMAT.jinja or FORMAT.MODEL.jinja: the chat_template of its tokenizer_config.json.
None of them is copied: what is kept of one is which of the words that tell formats apart it says. Needs jinja2.
"""
import glob
import json
import os
import pathlib
import re
import sys
from datetime import datetime

import jinja2

HERE = os.path.dirname(os.path.abspath(__file__))
CHATML = ["<|im_start|>", "<|im_end|>"]
DEEPSEEK = ["<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"]
# The special tokens of a format's models; the last one ends a text.
MARKERS = {
    "chatml": CHATML, "qwen3": CHATML, "smollm3": CHATML, "olmo3": CHATML, "olmo3-think": CHATML,
    "phi4": ["<|im_sep|>", *CHATML],
    "gpt-oss": ["<|start|>", "<|message|>", "<|channel|>", "<|end|>", "<|return|>"],
    "llama3": ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
    "gemma": ["<start_of_turn>", "<end_of_turn>", "<eos>"],
    "granite": ["<|start_of_role|>", "<|end_of_role|>", "<|end_of_text|>"],
    "command-r": ["<|START_OF_TURN_TOKEN|>", "<|USER_TOKEN|>", "<|CHATBOT_TOKEN|>", "<|SYSTEM_TOKEN|>", "<|END_OF_TURN_TOKEN|>"],
    "deepseek-r1": DEEPSEEK, "deepseek3.1": DEEPSEEK, "deepseek3": DEEPSEEK, "deepseek2": ["<｜end▁of▁sentence｜>"],
    "phi3": ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|endoftext|>"],
    "phi4-mini": ["<|user|>", "<|assistant|>", "<|system|>", "<|end|>", "<|endoftext|>"],
    "olmo2": ["<|endoftext|>"], "zephyr": ["<s>", "</s>"], "zephyr.stablelm2": ["<|endoftext|>"],
    "llama2": ["<s>", "</s>"], "mistral-v0": ["<s>", "</s>"], "mistral-v1": ["<s>", "</s>"],
    "mistral": ["[INST]", "[/INST]", "<s>", "</s>"], "mistral-v3-tekken": ["[INST]", "[/INST]", "<s>", "</s>"],
    "mistral-v7": ["[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[INST]", "[/INST]", "<s>", "</s>"],
    "mistral-v7-tekken": ["[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[INST]", "[/INST]", "<s>", "</s>"],
    "starcoder2": ["<|endoftext|>"], "deepseek-coder": ["<|EOT|>"],
}
# Templates that refuse or drop a system's text, tell the last message instead of the first one, or need one.
WITHOUT_SYSTEM = {"gemma.2", "phi3.mini", "mistral-v0", "starcoder2"}
ONE_TURN_WITH_SYSTEM = {"mistral", "mistral-v3-tekken"}
ONLY_WITH_SYSTEM = {"granite", "mistral-v7-tekken", "deepseek-coder"}
ODD = "  <|im_end|>\n</s><s>[/INST] <end_of_turn> <|end|><|eot_id|> <｜Assistant｜> {user} {{ x }} 你好 \u00a0é\u0301\U0001f600\t'\"\\n "
SYSTEM = "Be brief. <|im_start|> [INST]<|end_of_text|>"
CONVERSATIONS = [
    (None, ["Hello, who are you?"]),
    ("You are a poet.", ["A line, please."]),
    (SYSTEM, [ODD]),
    (None, ["One\n", "Two is <|message|> an answer.", ODD]),
    ("Count.", ["1", " 2 ", "3", "4\n\n", "5"]),
]
PLAIN = "plain"


def render(template, system, texts, eos, thinking, bos="<s>"):
    env = jinja2.Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])

    def refuse(message):
        raise jinja2.TemplateError(message)

    messages = [] if system is None else [{"role": "system", "content": system}]
    messages += [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    env.globals.update(raise_exception=refuse, strftime_now=lambda f: datetime(2026, 3, 7).strftime(f))
    options = {} if thinking else {"enable_thinking": False}
    text = env.from_string(template).render(messages=messages, add_generation_prompt=True, bos_token=bos, eos_token=eos, **options)
    return text.removeprefix(bos)


def marks():
    """What the table of formats looks for."""
    text = pathlib.Path(HERE, "../../include/cairn/io/chat_formats.hpp").read_text(encoding="utf-8")
    found = []
    for block in re.findall(r"\.marks = \{(.*?)\},", text, re.S):
        found += re.findall(r'R"\((.*?)\)"|"(.*?)"', block)
    return sorted({(raw or plain).lstrip("!") for raw, plain in found})


def main():
    words = marks()
    golden = []
    for path in sorted(glob.glob(os.path.join(sys.argv[1], "*.jinja"))):
        name = os.path.basename(path)[:-6]
        known = name.replace("3.1", "3_1").split(".")[0].replace("3_1", "3.1")
        with open(path, encoding="utf-8") as f:
            template = f.read()
        markers = MARKERS.get(name) or MARKERS[known]
        plain = template.replace("\n", "\\n").replace('"', "'")
        entry = {"template": name, "format": known, "says": [w for w in words if w in plain], "markers": markers, "conversations": []}
        silence = re.search(r"<\|im_start\|>system\\n([^'{}]+?)<\|im_end\|>", plain)
        if silence and known != "smollm3":
            entry["says"].append(silence[0])
        for system, texts in CONVERSATIONS:
            if system and (name in WITHOUT_SYSTEM or len(texts) > 1 and name in ONE_TURN_WITH_SYSTEM) or not system and name in ONLY_WITH_SYSTEM:
                continue
            for thinking in (True, False) if known in ("qwen3", "smollm3") else (True,):
                if len(texts) > 1 and not thinking and known == "smollm3":
                    continue  # earlier answers are told with an empty thinking block
                text = render(template, system, texts, markers[-1], thinking)
                harmless = render(template, system and PLAIN, [PLAIN] * len(texts), markers[-1], thinking)
                count = sum(harmless.count(m) for m in markers)
                entry["conversations"].append({"system": system or "", "texts": texts, "thinking": thinking, "text": text, "markers": count})
        golden.append(entry)
        print(name, len(entry["conversations"]))
    with open(os.path.join(HERE, "chats.json"), "w", encoding="utf-8") as f:
        json.dump(golden, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")


if __name__ == "__main__":
    main()
