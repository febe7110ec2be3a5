#!/usr/bin/env python3
"""Makes tokenizers/ and tokenizers.json beside this script: small vocabularies for every
pre-tokenizer and for SentencePiece, as tokenizer.json and as GGUF, and the ids that Hugging Face
tokenizers and llama.cpp give to many strings.

  tests/golden/make_tokenizers.py --nfc            only tokenizers_nfc.json: NFC before the qwen2 vocabulary
  tests/golden/make_tokenizers.py --more --llama-tokenize PATH
                                                   only tokenizers_more.json: thousands of strings in many scripts
                                                   over the committed vocabularies, each answer as a hash of its ids
  tests/golden/make_tokenizers.py --names --llama-tokenize PATH
                                                   only tokenizers_names.json: the other pre-tokenizers that GGUF files
                                                   name, over the same strings and the committed vocabulary
  tests/golden/make_tokenizers.py --models --text ANY.txt --llama-tokenize PATH
                                                   only tokenizers_models.json and its vocabularies: Unigram and
                                                   WordPiece over the same strings (needs sentencepiece, too)
  tests/golden/make_tokenizers.py --text ANY.txt --llama-tokenize PATH [--smollm2 FILE.gguf]

Needs tokenizers and gguf from PyPI, and llama.cpp's llama-tokenize.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor

import gguf
import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "tokenizers")
WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def split(pattern):
    return pre_tokenizers.Split(Regex(pattern), "isolated")


PRE = {
    "gpt-2": [pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "smollm": [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)],
    "llama-bpe": [split(WORDS + r"\p{N}{1,3}" + REST), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)],
    "qwen2": [split(WORDS + r"\p{N}" + REST), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)],
    "default": None,
}
MORE = """Съешь же ещё этих мягких французских булок. Ξεσκεπάζω την ψυχοφθόρα βδελυγμία. 敏捷的棕色狐狸跳过了懒狗。いろはにほへと ちりぬるを
키스의 고유조건은 입술끼리 만나야 하고. نص حكيم له سر قاطع. דג סקרן שט בים. ऋषियों को सताने वाले. เป็นมนุษย์สุดประเสริฐ. Příliš žluťoučký kůň. Zażółć gęślą jaźń.
for (int i = 0; i < 10; ++i) { x[i] += 3.14e-5; } // 100000 12 345 2026-11-23 \t\t def f(x):\n    return x ** 2
😀😃😄 🏳️‍🌈 ½ ² Ⅷ ٣ ₿ € £ — “quotes” ‘single’ … ¿qué? ¡sí! l'été d'août I'LL WE'VE it's o'clock"""


def strings():
    from make_golden import nasty_strings  # needs torch and transformers, which --more does not

    rng = np.random.default_rng(5)
    pieces = re.findall(r"\S+|\s+", MORE)
    result = [s for s in nasty_strings() if s] + MORE.split("\n")
    for _ in range(330):
        result.append("".join(rng.choice(pieces, rng.integers(1, 9))))
    # llama-tokenize cannot be given NUL, and reads escapes.
    return [s for s in dict.fromkeys(result) if "\0" not in s and "\\" not in s]


def new_gguf(path):
    """A file with the numbers of some model, for its tokenizer alone."""
    w = gguf.GGUFWriter(path, "llama")
    w.add_block_count(1)
    w.add_context_length(64)
    w.add_embedding_length(8)
    w.add_feed_forward_length(8)
    w.add_head_count(1)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(8)
    return w


def write_gguf(path, name, tokens, types, merges=None, scores=None):
    w = new_gguf(path)
    w.add_tokenizer_model("llama" if scores else "gpt2")
    if not scores:
        w.add_tokenizer_pre(name)
    w.add_token_list(tokens)
    if scores:
        w.add_token_scores(scores)
    w.add_token_types(types)
    if merges is not None:
        w.add_token_merges(merges)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_unk_token_id(0)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def llama_ids(program, path, text):
    # ignore_merges and friends are the library's own; special tokens are plain text here.
    done = subprocess.run([program, "-m", path, "--stdin", "--ids", "--no-bos", "--no-parse-special", "--log-disable"],
                          input=text.encode(), capture_output=True)
    return json.loads(done.stdout.decode().strip().splitlines()[-1])


def vocabulary(tokenizer):
    data = json.loads(tokenizer.to_str())["model"]
    tokens = [None] * len(data["vocab"])
    for token, i in data["vocab"].items():
        tokens[i] = token
    return tokens, [m if isinstance(m, str) else " ".join(m) for m in data["merges"]]


def nfc():
    """NFC as Qwen's tokenizer.json asks for it: strings, what they become, and their ids."""
    with open(os.path.join(OUT, "qwen2.json"), encoding="utf-8") as f:
        config = json.load(f)
    config["normalizer"] = {"type": "NFC"}
    t = Tokenizer.from_str(json.dumps(config))
    t.encode_special_tokens = True
    rng = np.random.default_rng(7)
    texts = [unicodedata.normalize(form, line) for line in MORE.split("\n") for form in ("NFD", "NFC", "NFKD")]
    texts += ["\u212b \u2126 \u00c5", "e\u0301\u0323 e\u0323\u0301", "a\u0315\u0300\u05ae\u0062", "\u1100\u1161\u11a8 \uac00\u11a8", "\u0958 \ufb1d \u2adc",
              "\u0344 \u0340", "q\u0307\u0323", "\u0308\u0301 alone", "\ufb2c\u0307", "a\u0301b\u0302" * 20, "\u0f71\u0f72\u0f80", "\U0001d15e \U0002f800"]
    ranges = [(0x20, 0x7f), (0xc0, 0x250), (0x300, 0x370), (0x590, 0x600), (0x900, 0x980), (0xf00, 0xfd0), (0x1100, 0x1200), (0x1e00, 0x2000), (0xac00, 0xad00), (0xf900, 0xfb50), (0x11090, 0x110c0), (0x1d150, 0x1d1c0)]
    for _ in range(400):
        codes = [int(rng.integers(*ranges[rng.integers(len(ranges))])) for _ in range(rng.integers(1, 16))]
        texts.append("".join(chr(c) for c in codes if unicodedata.category(chr(c)) != "Cn"))
    texts = [s for s in dict.fromkeys(texts) if s]
    golden = {"strings": texts, "normalized": [t.normalizer.normalize_str(s) for s in texts],
              "ids": [t.encode(s, add_special_tokens=False).ids for s in texts]}
    with open(os.path.join(HERE, "tokenizers_nfc.json"), "w") as f:
        json.dump(golden, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")
    print(f"{len(texts)} strings, {sum(a != b for a, b in zip(texts, golden['normalized']))} of them change")


# Letters, digits and marks of many scripts, and what stands between them.
SCRIPTS = [(0x21, 0x7f), (0x41, 0x5b), (0x61, 0x7b), (0x30, 0x3a), (0xa1, 0x180), (0x180, 0x250), (0x250, 0x2b0), (0x2b0, 0x370), (0x370, 0x400),
           (0x400, 0x530), (0x530, 0x590), (0x590, 0x600), (0x600, 0x700), (0x700, 0x780), (0x780, 0x800), (0x900, 0x980), (0x980, 0xa00), (0xa00, 0xa80),
           (0xb80, 0xc00), (0xc00, 0xd00), (0xd80, 0xe00), (0xe00, 0xe80), (0xe80, 0xf00), (0xf00, 0x1000), (0x1000, 0x10a0), (0x10a0, 0x1100),
           (0x1100, 0x1200), (0x1200, 0x1380), (0x13a0, 0x1400), (0x1780, 0x1800), (0x1800, 0x18b0), (0x1e00, 0x2000), (0x2000, 0x2070), (0x2070, 0x2100),
           (0x2100, 0x2190), (0x2190, 0x2400), (0x2460, 0x2500), (0x2600, 0x2700), (0x3000, 0x3100), (0x3100, 0x3400), (0x4e00, 0x9fa0), (0xa000, 0xa490),
           (0xac00, 0xd7a0), (0xf900, 0xfb00), (0xfb00, 0xfe00), (0xfe20, 0xff00), (0xff00, 0xffe0), (0x10330, 0x10350), (0x10400, 0x10450),
           (0x1d400, 0x1d7ff), (0x1f300, 0x1f650), (0x1f900, 0x1fa00), (0x20000, 0x20100)]


def more_strings():
    rng = np.random.default_rng(11)
    spaces = [" ", " ", " ", "  ", "\n", " \n", "\t", "\u00a0", "\u3000", "'", "'s ", "-", ", ", ". ", "...", "1", "23", "456 "]
    result = []
    while len(result) < 2400:
        script = SCRIPTS[len(result) % len(SCRIPTS)]
        text = ""
        for _ in range(int(rng.integers(1, 5))):
            low, high = script if rng.random() < 0.8 else SCRIPTS[rng.integers(len(SCRIPTS))]
            word = "".join(chr(int(c)) for c in rng.integers(low, high, rng.integers(1, 8)))
            text += "".join(c for c in word if unicodedata.category(c) not in ("Cn", "Cs", "Co")) + spaces[rng.integers(len(spaces))]
        if text.strip() and "\\" not in text:
            result.append(text)
    return list(dict.fromkeys(result))


def hash_of(ids):
    """FNV-1a, 32 bits, over the ids as little-endian 32-bit numbers."""
    h = 0x811C9DC5
    for byte in np.asarray(ids, "<i4").tobytes():
        h = (h ^ byte) * 0x01000193 & 0xFFFFFFFF
    return h


def more(program):
    texts = more_strings()
    golden = {"strings": texts, "vocabularies": {}}
    for name in [*PRE, "sentence"]:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            ids = list(pool.map(lambda s: llama_ids(program, os.path.join(OUT, name + ".gguf"), s), texts))
        entry = {"llama.cpp": [hash_of(i) for i in ids]}
        path = os.path.join(OUT, name + ".json")
        if os.path.exists(path):
            t = Tokenizer.from_file(path)
            t.encode_special_tokens = True
            entry["tokenizers"] = [hash_of(t.encode(s, add_special_tokens=False).ids) for s in texts]
            off = [s for s, x, y in zip(texts, entry["llama.cpp"], entry["tokenizers"]) if x != y]
            print(f"{name}: {len(texts)} strings, the two references differ on {len(off)}: {off[:8]}", flush=True)
            if not off:
                del entry["tokenizers"]  # the same as llama.cpp's
        golden["vocabularies"][name] = entry
    with open(os.path.join(HERE, "tokenizers_more.json"), "w", encoding="utf-8") as f:
        json.dump(golden, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")


BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
WORDS_OF_GPT2 = {**BYTES, "use_regex": True}
DIGIT = {"type": "Digits", "individual_digits": True}
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
CASES = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+%s|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*%s|"
SHORT = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
LAST = r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
HAN = "[一-龥ࠀ-一가-\ud7ff]+"


def cut(*patterns):
    return [{"type": "Split", "pattern": {"Regex": p}, "behavior": "Isolated", "invert": False} for p in patterns]


def letters():
    """What deepseek-llm's tokenizer.json lists as letters, as ranges."""
    import pathlib

    text = pathlib.Path(HERE, "../../include/cairn/io/pre_tokenizer_names.hpp").read_text(encoding="utf-8")
    block = text[text.index("deepseek_letters ="):text.index("deepseek_punctuation =")]
    pattern = "".join(re.findall(r'R"\((.*?)\)"', block))
    return re.sub(r"\\x\{([0-9A-F]+)\}", lambda m: chr(int(m[1], 16)), pattern)


def named():
    """Pre-tokenizers as the models' tokenizer.json have them, by the names that GGUF files have."""
    v3 = (r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*"""
          r"""|\s*[\r\n]+|\s+(?!\S)|\s+""").replace("\\r", "\r").replace("\\n", "\n")  # in the file they are themselves
    qwen35 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    result = {
        "deepseek-llm": [*cut("[\r\n]", letters(), "\\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", HAN), {**DIGIT, "individual_digits": False}, BYTES],
        "deepseek-coder": [*cut("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", HAN), DIGIT, BYTES],
        "deepseek-v3": [*cut(r"\p{N}{1,3}", "[一-龥\u3040-ゟ゠-ヿ]+", v3), BYTES],
        "falcon": [{"type": "Punctuation", "behavior": "Contiguous"}, WORDS_OF_GPT2, *cut("[0-9][0-9][0-9]")],
        "dbrx": [*cut(WORDS + r"\p{N}{1,3}" + REST), BYTES],
        "qwen35": [*cut(qwen35), BYTES],
        "gpt-4o": [*cut(CASES % (SHORT, SHORT) + r"\p{N}{1,3}" + LAST), BYTES],
        "tekken": [*cut(CASES % ("", "") + r"\p{N}" + LAST), BYTES],
        "bloom": [*cut(r" ?[^(\s|[.,!?…。，、।۔،])]+"), BYTES],
        "stablelm2": [*cut(WORDS + r"\p{N}" + REST), BYTES],
    }
    result.update({name: [WORDS_OF_GPT2] for name in ("mpt", "olmo")})
    result.update({name: [DIGIT, WORDS_OF_GPT2] for name in ("refact", "starcoder", "command-r")})
    return result


def names(program):
    """One hash of ids for every 24 strings."""
    with open(os.path.join(HERE, "tokenizers_more.json"), encoding="utf-8") as f:
        texts = json.load(f)["strings"]
    with open(os.path.join(OUT, "qwen2.json"), encoding="utf-8") as f:
        config = json.load(f)
    tokens = [token for token, _ in sorted(config["model"]["vocab"].items(), key=lambda item: item[1])]
    merges = [m if isinstance(m, str) else " ".join(m) for m in config["model"]["merges"]]
    golden = {}
    for name, steps in named().items():
        config["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": steps}
        config["model"]["ignore_merges"] = name == "tekken"
        t = Tokenizer.from_str(json.dumps(config))
        t.encode_special_tokens = True
        ids = [t.encode(s, add_special_tokens=False).ids for s in texts]
        path = os.path.join("/tmp", f"cairn-{name}.gguf")
        write_gguf(path, name, tokens, [2, 3, 3] + [1] * (len(tokens) - 3), merges)
        done = subprocess.run([program, "-m", path, "--stdin", "--ids", "--no-bos", "--log-disable"],
                              input="<s>".join(texts).encode(), capture_output=True)
        os.remove(path)
        other, row = [], []
        for i in json.loads(done.stdout.decode().strip().splitlines()[-1]):
            if i == 1:
                other.append(row)
                row = []
            else:
                row.append(i)
        other.append(row)
        assert len(other) == len(texts), (len(other), len(texts))
        off = [s for s, x, y in zip(texts, ids, other) if x != y]
        print(f"{name}: {len(texts)} strings, llama.cpp differs on {len(off)}: {off[:6]}", flush=True)
        golden[name] = {"pre_tokenizer": config["pre_tokenizer"], "llama.cpp differs on": len(off),
                        "hashes": [hash_of(sum(ids[i:i + 24], [])) for i in range(0, len(ids), 24)]}
    with open(os.path.join(HERE, "tokenizers_names.json"), "w", encoding="utf-8") as f:
        json.dump(golden, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")


def write_words(path, model, tokens, types, scores, numbers, flags, charsmap=None):
    w = new_gguf(path)
    w.add_tokenizer_model(model)
    w.add_token_list(tokens)
    if scores:
        w.add_token_scores(scores)
    w.add_token_types(types)
    for key, number in numbers.items():
        w.add_uint32(f"tokenizer.ggml.{key}_token_id", number)
    for key, flag in flags.items():
        w.add_bool(f"tokenizer.ggml.{key}", flag)
    if charsmap:
        w.add_precompiled_charsmap(charsmap)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def charsmap():
    """A small map of characters as SentencePiece compiles them: its trie, and texts that end in NUL."""
    import io
    import tempfile

    import sentencepiece

    rules = {"\ufb01": "fi", "\u00bd": "1/2", "\u212b": "\u00c5", "\uff21": "A", "\uff22": "B", "\u3000": " ", "\t": " ", "\n": " ",
             "\u2026": "...", "\u00b2": "2", "\uff41\uff42": "<ab>", "\uff41": "a", "\uff42": "b", "\u200b": "", "\u00e9": "e", "e\u0301": "E",
             "'\u0301": "'"}
    with tempfile.NamedTemporaryFile("w", suffix=".tsv", encoding="utf-8") as f:
        for a, b in rules.items():
            f.write(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n")
        f.flush()
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(["a b c"] * 9), model_writer=model, vocab_size=7, model_type="unigram",
                                                 normalization_rule_tsv=f.name, hard_vocab_limit=False, minloglevel=2)
    blob = model.getvalue()
    # ModelProto.normalizer_spec (3), in it precompiled_charsmap (2)
    proto = fields(blob)
    return fields(proto[3])[2]


def fields(blob):
    result, at = {}, 0

    def varint():
        nonlocal at
        n = shift = 0
        while True:
            byte = blob[at]
            at += 1
            n |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return n

    while at < len(blob):
        tag = varint()
        if tag & 7 == 2:
            size = varint()
            result[tag >> 3] = blob[at:at + size]
            at += size
        elif tag & 7 == 0:
            varint()
        else:
            at += 4 if tag & 7 == 5 else 8
    return result


def models_of_words(text, program):
    import base64

    with open(os.path.join(HERE, "tokenizers_more.json"), encoding="utf-8") as f:
        texts = json.load(f)["strings"]
    with open(os.path.join(HERE, "tokenizers.json"), encoding="utf-8") as f:
        texts = texts + json.load(f)["strings"]
    texts += [f"x{m}y {m} ab{m}" for m in ("\ufb01", "\u00bd", "\u212b", "\uff21\uff22", "\uff41\uff42", "\uff41", "\u00e9", "e\u0301", "\u200b",
                                          "\u2026", "'\u0301", "\u0130", "\u03a3\u0391\u03a3", "\u01c5", "\u1e9e")]
    blob = charsmap()
    precompiled = {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(blob).decode()}
    words = text.split("\n") + MORE.split("\n") * 20 + texts[:600]
    golden = {}
    # Marks and punctuation of a younger Unicode than that of Hugging Face's BERT steps.
    cut, clean = pre_tokenizers.BertPreTokenizer(), normalizers.BertNormalizer(lowercase=False, strip_accents=True)
    newer = {c for c in set("".join(texts)) if not c.isspace()
             and ((len(cut.pre_tokenize_str(f"a{c}a")) == 3) != (unicodedata.category(c)[0] == "P" or c in "$+<=>^`|~")
                  or (clean.normalize_str(f"a{c}a") == "aa") != (unicodedata.category(c) in ("Mn", "Cc", "Cf") or c == "\ufffd"))}
    print(f"characters of a younger Unicode: {sorted(newer)}")

    def save(name, t, change, file_words=None):
        config = json.loads(t.to_str())
        change(config)
        t = Tokenizer.from_str(json.dumps(config))
        t.encode_special_tokens = True
        t.save(os.path.join(OUT, name + ".json"), pretty=False)
        ids = [t.encode(s, add_special_tokens=False).ids for s in texts]
        skip = [i for i, s in enumerate(texts) if (newer if name.startswith("wordpiece") else {"\u32ff"}) & set(s)]
        for i in skip:
            ids[i] = []
        entry = {"hashes": [hash_of(sum(ids[i:i + 24], [])) for i in range(0, len(ids), 24)], "left out": skip,
                 "around": [t.encode("a", add_special_tokens=True).ids, t.encode("a", add_special_tokens=False).ids]}
        if file_words:
            path = os.path.join(OUT, name + ".gguf")
            file_words(path, config)
            done = subprocess.run([program, "-m", path, "--stdin", "--ids", "--no-bos", "--log-disable"], input="[SEP]".join(texts).encode(), capture_output=True)
            rows = [[]]
            sep = config["model"]["vocab"]["[SEP]"] if isinstance(config["model"]["vocab"], dict) else [v[0] for v in config["model"]["vocab"]].index("[SEP]")
            for i in json.loads(done.stdout.decode().strip().splitlines()[-1]):
                if i == sep:
                    rows.append([])
                else:
                    rows[-1].append(i)
            rows = [[] if i in skip else row for i, row in enumerate(rows[:len(texts)])]
            off = [(s, x, y) for s, x, y in zip(texts, ids, rows) if x != y]
            print(f"{name}: llama.cpp differs on {len(off)}: {off[:3]}")
            if off:
                entry["llama.cpp"] = [hash_of(sum(rows[i:i + 24], [])) for i in range(0, len(rows), 24)]
        golden[name] = entry
        print(name, len(texts), t.encode("A caf\u00e9 \u4f60.").tokens, flush=True)

    unigram = Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.NFKC()
    unigram.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    unigram.train_from_iterator(words[:-600], trainers.UnigramTrainer(vocab_size=600, special_tokens=["<pad>", "</s>", "<unk>", "[SEP]"], unk_token="<unk>", show_progress=False))

    def as_t5(config):
        config["normalizer"] = {"type": "Sequence", "normalizers": [precompiled, {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}
        config["decoder"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
        config["post_processor"] = {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                                    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}], "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}}

    def file_t5(path, config):
        vocab = config["model"]["vocab"]
        write_words(path, "t5", [v[0] for v in vocab], [3, 3, 2, 3] + [1] * (len(vocab) - 4), [float(v[1]) for v in vocab],
                    {"eos": 1, "unknown": 2, "padding": 0}, {"add_space_prefix": True, "remove_extra_whitespaces": True}, blob)

    save("unigram", unigram, as_t5, file_t5)

    def with_bytes(config):
        config["normalizer"] = {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": False, "strip_right": True}]}
        config["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
        config["decoder"] = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]}
        config["model"]["vocab"] = config["model"]["vocab"][:300] + [[f"<0x{b:02X}>", -20.0 - b / 100] for b in range(256)]
        config["model"]["byte_fallback"] = True

    save("unigram-bytes", unigram, with_bytes)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    for name, lower in (("wordpiece", True), ("wordpiece-cased", False)):
        piece = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        piece.normalizer = normalizers.BertNormalizer(lowercase=lower)
        if not lower:
            piece.normalizer = normalizers.Sequence([piece.normalizer, normalizers.NFD(), normalizers.StripAccents()])
        piece.pre_tokenizer = pre_tokenizers.BertPreTokenizer() if lower else pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Punctuation()])
        piece.train_from_iterator(words, trainers.WordPieceTrainer(vocab_size=700, limit_alphabet=250, special_tokens=special, show_progress=False))
        piece.decoder = decoders.WordPiece()
        piece.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))

        def file_bert(path, config):
            vocab = sorted(config["model"]["vocab"].items(), key=lambda item: item[1])
            tokens = [t if i < 5 else t[2:] if t.startswith("##") else "▁" + t for t, i in vocab]
            write_words(path, "bert", tokens, [3, 2, 3, 3, 3] + [1] * (len(tokens) - 5), None,
                        {"bos": 2, "seperator": 3, "unknown": 1, "padding": 0, "cls": 2, "mask": 4}, {})

        save(name, piece, lambda config: None, file_bert if lower else None)
    with open(os.path.join(HERE, "tokenizers_models.json"), "w", encoding="utf-8") as f:
        json.dump({"strings": texts[2399:] if len(texts) > 2399 else [], "models": golden}, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--text")
    p.add_argument("--more", action="store_true", help="only tokenizers_more.json")
    p.add_argument("--models", action="store_true", help="only tokenizers_models.json and its vocabularies")
    p.add_argument("--names", action="store_true", help="only tokenizers_names.json")
    p.add_argument("--llama-tokenize", required=True)
    p.add_argument("--smollm2", help="also SmolLM2's own vocabulary")
    a = p.parse_args()
    if a.names:
        names(a.llama_tokenize)
        return
    if a.more:
        more(a.llama_tokenize)
        return
    if not a.text:
        p.error("--text is needed for new vocabularies")
    if a.models:
        with open(a.text, encoding="utf-8") as f:
            models_of_words(f.read()[:200000], a.llama_tokenize)
        return
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    with open(a.text, encoding="utf-8") as f:
        text = f.read()[:300000] + MORE * 20
    special = ["<unk>", "<s>", "</s>"]
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.Sequence([split(WORDS + r"\p{N}{1,3}" + REST), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    trained.train_from_iterator([text], trainers.BpeTrainer(vocab_size=700, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tokens, merges = vocabulary(trained)
    texts = strings()
    golden = {"strings": texts, "vocabularies": {}}
    for name, pre in PRE.items():
        path = os.path.join(OUT, name + ".gguf")
        write_gguf(path, name, tokens, [2, 3, 3] + [1] * (len(tokens) - 3), merges)
        ids = {"llama.cpp": [llama_ids(a.llama_tokenize, path, s) for s in texts]}
        if pre is not None:
            t = Tokenizer.from_str(trained.to_str())
            t.pre_tokenizer = pre_tokenizers.Sequence(pre)
            t.decoder = decoders.ByteLevel()
            t.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
            config = json.loads(t.to_str())
            config["model"]["ignore_merges"] = name == "llama-bpe"
            t = Tokenizer.from_str(json.dumps(config))
            for s in special:  # plain text where the user wrote it
                t.encode_special_tokens = True
            t.save(os.path.join(OUT, name + ".json"))
            ids["tokenizers"] = [t.encode(s, add_special_tokens=False).ids for s in texts]
        golden["vocabularies"][name] = ids
    # SentencePiece as Llama 2 has it: byte fallback, visible spaces, a space in front.
    sentence = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    sentence.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    plain = Tokenizer(models.BPE(unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Metaspace()
    plain.train_from_iterator([text], trainers.BpeTrainer(vocab_size=700, special_tokens=special + [f"<0x{b:02X}>" for b in range(256)], limit_alphabet=120, show_progress=False))
    data = json.loads(plain.to_str())["model"]
    config = json.loads(sentence.to_str())
    config["model"]["vocab"], config["model"]["merges"] = data["vocab"], data["merges"]
    config["decoder"] = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
    config["added_tokens"] = [{"id": i, "content": s, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True} for i, s in enumerate(special)]
    t = Tokenizer.from_str(json.dumps(config))
    t.encode_special_tokens = True
    t.save(os.path.join(OUT, "sentence.json"))
    tokens, merges = vocabulary(plain)
    order = {m.replace(" ", ""): i for i, m in reversed(list(enumerate(merges)))}
    scores = [float(-1 - order[s]) if s in order else 0.0 if i < 259 else -1e6 for i, s in enumerate(tokens)]
    types = [2, 3, 3] + [6] * 256 + [1] * (len(tokens) - 259)
    path = os.path.join(OUT, "sentence.gguf")
    write_gguf(path, "", tokens, types, scores=scores)
    golden["vocabularies"]["sentence"] = {"llama.cpp": [llama_ids(a.llama_tokenize, path, s) for s in texts], "tokenizers": [t.encode(s, add_special_tokens=False).ids for s in texts]}
    if a.smollm2:
        golden["smollm2"] = [llama_ids(a.llama_tokenize, a.smollm2, s) for s in texts]
    with open(os.path.join(HERE, "tokenizers.json"), "w") as f:
        json.dump(golden, f, ensure_ascii=True, separators=(",", ":"))
        f.write("\n")
    for name, ids in golden["vocabularies"].items():
        if "tokenizers" in ids:
            off = [s for s, x, y in zip(texts, ids["llama.cpp"], ids["tokenizers"]) if x != y]
            print(f"{name}: {len(texts)} strings, the two references differ on {len(off)}: {off[:8]}")


if __name__ == "__main__":
    nfc() if sys.argv[1:] == ["--nfc"] else main()
