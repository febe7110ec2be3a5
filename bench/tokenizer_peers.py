#!/usr/bin/env python3
"""Cairn's tokenizer against Hugging Face tokenizers and llama.cpp, in turns, on the same texts. Called by
bench/tokenizers: tokenizer_peers.py TIMER MODEL.gguf TEXT [--json OUT]"""
import argparse
import json
import os
import struct
import subprocess
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
SIZES = [100_000, 200_000, 400_000, 800_000, 1_600_000]
HARD = 1 << 20


def metadata(path):
    """Tokens, merges and the pre-tokenizer's name of a GGUF file."""
    plain = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
    with open(path, "rb") as f:
        def number(code):
            return struct.unpack("<" + code, f.read(struct.calcsize("<" + code)))[0]

        def value(kind):
            if kind == 8:
                return f.read(number("Q")).decode()
            if kind == 9:
                inner, count = number("I"), number("Q")
                return [value(inner) for _ in range(count)]
            return number(plain[kind])

        f.read(16)
        result = {}
        for _ in range(number("Q")):
            key = value(8)
            result[key] = value(number("I"))
    return result


def hash_of(ids):
    h = 0x811C9DC5
    for i in ids:
        for byte in range(4):
            h = ((h ^ (i >> (8 * byte) & 255)) * 0x01000193) & 0xFFFFFFFF
    return h


def hugging_face(path):
    from tokenizers import Tokenizer, __version__, models, pre_tokenizers

    data = metadata(path)
    assert data["tokenizer.ggml.pre"] == "smollm", "the pre-tokenizer of SmolLM2 is spelt out here"
    tokens = data["tokenizer.ggml.tokens"]
    merges = [tuple(m.split(" ")) for m in data["tokenizer.ggml.merges"]]
    t = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    return f"Hugging Face tokenizers {__version__}", lambda text: t.encode_batch_fast([text], add_special_tokens=False)[0].ids


def llama_cpp(path):
    from importlib.metadata import version

    from cyllama.llama import llama_cpp as c

    c.disable_logging()
    model = c.LlamaModel(path, c.LlamaModelParams(), verbose=False)
    vocabulary = model.get_vocab()
    llama_cpp.kept = model
    return f"llama.cpp (cyllama {version('cyllama')})", lambda text: vocabulary.tokenize(text, False, False)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("timer")
    p.add_argument("model")
    p.add_argument("text")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--json", help="write the figures to this file")
    a = p.parse_args()
    with open(a.text, "rb") as f:
        unit = f.read().decode()
    assert unit.isascii(), "sizes are bytes"
    text = unit * (SIZES[-1] // len(unit) + 1)
    peers = []
    for make in (hugging_face, llama_cpp):
        try:
            peers.append(make(a.model))
        except ImportError as error:
            print(f"left out: {error}")

    def cairn(*arguments):
        out = subprocess.run([a.timer, "--tokenizer", a.model, "--text", a.text, *arguments], capture_output=True, text=True, check=True).stdout
        return [json.loads(line) for line in out.splitlines()]

    rows = []
    for size in SIZES:
        best = {"Cairn": 1e9, **{name: 1e9 for name, _ in peers}}
        hashes = set()
        for _ in range(a.rounds):
            row = cairn("--sizes", str(size), "--rounds", "3")[0]  # a process of its own: its first run is cold
            best["Cairn"] = min(best["Cairn"], row["seconds"])
            hashes.add(row["hash"])
            for name, encode in peers:
                start = time.process_time()
                ids = encode(text[:size])
                best[name] = min(best[name], time.process_time() - start)
                hashes.add(hash_of(ids))
        rows.append({"bytes": size, "ids": row["ids"], "same_ids": len(hashes) == 1, "seconds": best})
    names = ["Cairn"] + [name for name, _ in peers]
    print("| English, KB | ids | " + " | ".join(f"{n}, MB/s" for n in names) + " | " + " | ".join(f"Cairn / {n}" for n in names[1:]) + " | twice the text, Cairn |")
    print("|" + "---|" * (3 + 2 * len(names) - 1))
    for before, row in zip([None] + rows, rows):
        s = row["seconds"]
        cells = [f"{row['bytes'] // 1000}", f"{row['ids']}" + ("" if row["same_ids"] else " (not the same)")]
        cells += [f"{row['bytes'] / s[n] / 1e6:.1f}" for n in names] + [f"{s[n] / s['Cairn']:.1f}x" for n in names[1:]]
        cells += [f"{s['Cairn'] / before['seconds']['Cairn']:.2f}x" if before else ""]
        print("| " + " | ".join(cells) + " |")
    hard = cairn("--hard", str(HARD), "--rounds", str(a.rounds))
    print("\n| 1 MB of | MB/s | twice the text |\n|---|---|---|")
    for half, full in zip(hard[::2], hard[1::2]):
        print(f"| {full['text']} | {full['bytes'] / full['seconds'] / 1e6:.1f} | {full['seconds'] / half['seconds']:.2f}x |")
    if a.json:
        with open(a.json, "w") as f:
            json.dump({"text": rows, "hard": hard}, f, indent=1)


if __name__ == "__main__":
    main()
