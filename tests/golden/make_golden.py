#!/usr/bin/env python3
"""Makes the golden files of this folder from Hugging Face transformers and tokenizers.

  tests/golden/make_golden.py            (in the repository; needs torch, transformers >= 4.40, tokenizers)

gpt2-*/     random tiny GPT-2s with odd shapes: config.json, model.safetensors; logits in golden.json
golden.json tokens and logits of those and of the shipped model, its greedy text, token ids of nasty strings
"""
import json
import os

import numpy as np
import torch
import transformers
import tokenizers

HERE = os.path.dirname(os.path.abspath(__file__))
SHIPPED = os.path.join(HERE, "..", "..", "examples", "models", "shakespeare")

SHAPES = {
    "gpt2-a": dict(n_layer=2, n_head=3, n_embd=39, n_positions=50, vocab_size=61, n_inner=None),
    "gpt2-b": dict(n_layer=1, n_head=1, n_embd=20, n_positions=33, vocab_size=17, n_inner=50),
    "gpt2-c": dict(n_layer=3, n_head=5, n_embd=40, n_positions=80, vocab_size=100, n_inner=72, tie_word_embeddings=False),
}


def rounded(row):
    return [float(np.float32(x)) for x in row]


def logits_of(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].float().numpy()


def nasty_strings():
    singles = [chr(c) for c in list(range(0x20)) + [0x7F, 0x85, 0xA0, 0xAD, 0x1680, 0x180E, 0x2003, 0x2028, 0x200B, 0x3000, 0xFEFF, 0xFFFD]]
    words = ["", " ", "  ", "a", " a", "  a", "a ", "a  b", "\n", "\n\n", " \n", "\r\n", "\t\tx", "it's", "IT'S", "we'll've", "'s", "''s",
             "don't can't I'm you're he'd", "1234567890", "3.14159", "x1y2", "١٢٣", "½²", "é", "e\u0301", "naïve café", "Ünïcödé",
             "привет мир", "你好，世界", "こんにちは", "안녕하세요", "שלום", "مرحبا", "नमस्ते", "ไทย", "😀", "👨‍👩‍👧‍👦", "🇩🇪", "a😀b", "\u200d", "A\u030A",
             "...", "!!!", "?!", "--", "—", "“quoted”", "(a)[b]{c}", "<|endoftext|>", "<|endoftext", "a_b-c", "C++20", "#include <x>", "\\n", "%s%d",
             "http://a.b/c?d=e&f=g", "a" * 50, "ab" * 40, " " * 40, "\n" * 20, "x \n y", "x\n \ny", "\u2003a\u2003b", "\u00a0a", "a\u00a0 b",
             "ROMEO:\nBut, soft! what light through yonder window breaks?", "To be, or not to be: that is the question:", "ſtrange", "ﬁne", "ΑΒΓ", "ǅ",
             "\u0000a\u0000", "a\u0085b", "a\u180eb", " \u180e", "tab\tsep", "ⅷ", "①", "x²", "𝔘𝔫𝔦", "\U0001F468\u200D\U0001F52C", "ﷺ", "\uFFFD"]
    rng = np.random.default_rng(1)
    pool = list("abcXYZ019 '.,\n\t-") + ["é", "ж", "中", "😀", "\u0301", "\u00a0", "\u2003", "'s", "'ll", "  "]
    mixed = ["".join(rng.choice(pool, rng.integers(1, 25))) for _ in range(200)]
    return singles + [" " + s + "x" for s in singles] + words + mixed


def main():
    torch.manual_seed(7)
    golden = {"versions": {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}, "models": {}}
    for name, shape in SHAPES.items():
        config = transformers.GPT2Config(**shape, bos_token_id=0, eos_token_id=0, activation_function="gelu_new")
        model = transformers.GPT2LMHeadModel(config).eval()
        for p in model.parameters():
            torch.nn.init.normal_(p, std=0.25)
        folder = os.path.join(HERE, name)
        model.save_pretrained(folder)
        extra = os.path.join(folder, "generation_config.json")
        if os.path.exists(extra):
            os.remove(extra)
        rng = np.random.default_rng(3)
        tokens = rng.integers(0, config.vocab_size, config.n_positions - 3).tolist()
        logits = logits_of(model, tokens)
        rows = [0, 1, len(tokens) // 2, len(tokens) - 1]
        golden["models"][name] = {"tokens": tokens, "rows": rows, "logits": [rounded(logits[r]) for r in rows]}

    model = transformers.AutoModelForCausalLM.from_pretrained(SHIPPED, torch_dtype=torch.float32).eval()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_file=os.path.join(SHIPPED, "tokenizer.json"))
    prompt = tokenizer("ROMEO:\nBut, soft! what light").input_ids
    logits = logits_of(model, prompt)
    out = model.generate(torch.tensor([prompt]), attention_mask=torch.ones(1, len(prompt), dtype=torch.long), do_sample=False,
                         max_new_tokens=200, pad_token_id=0)[0].tolist()[len(prompt):]
    golden["models"]["shakespeare"] = {"tokens": prompt, "rows": [0, len(prompt) - 1], "logits": [rounded(logits[0]), rounded(logits[-1])],
                                       "greedy": out, "text": tokenizer.decode(out)}
    raw = tokenizers.Tokenizer.from_file(os.path.join(SHIPPED, "tokenizer.json"))
    no_special = json.loads(raw.to_str())
    no_special["added_tokens"] = []
    plain = tokenizers.Tokenizer.from_str(json.dumps(no_special))
    golden["strings"] = [{"text": s, "ids": plain.encode(s).ids, "special": raw.encode(s).ids} for s in nasty_strings()]
    with open(os.path.join(HERE, "golden.json"), "w") as f:
        json.dump(golden, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")
    print(f"{len(golden['strings'])} strings, {len(golden['models'])} models")


if __name__ == "__main__":
    main()
