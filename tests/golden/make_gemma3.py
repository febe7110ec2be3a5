#!/usr/bin/env python3
"""Makes gemma3.json beside this script: greedy text of Gemma 3 270M from llama.cpp, its best logits along a text longer
than its windows and the text's perplexity, on the F32 file that `quantize GEMMA.gguf OUT.gguf --type f32` writes.

  tests/golden/make_gemma3.py --library FOLDER-OF-LIBLLAMA --model F32.gguf
"""
import argparse
import json
import os

import numpy as np

from llama_cpp import LlamaCpp

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPTS = ["The capital of France is", "Once upon a time there was a small robot who", "def fibonacci(n):\n", "Water boils at",
           "Les trois choses les plus importantes sont", "In 1969, Neil Armstrong"]
TOKENS = 48
ROWS = [1, 100, 510, 511, 512, 513, 600, 767]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--library", required=True)
    p.add_argument("--model", required=True)
    a = p.parse_args()
    llama = LlamaCpp(a.library, a.model)
    cases = []
    for prompt in PROMPTS:
        llama.clear()
        ids = llama.tokenize(prompt)
        *_, row = llama.feed(ids)
        written = []
        for _ in range(TOKENS):
            written.append(int(row.argmax()))
            (row,) = llama.feed(written[-1:])
        cases.append({"prompt": prompt, "ids": ids, "written": written})
    # Token ids of a text of its own: what is measured stays when the file changes.
    with open(os.path.join(HERE, "../../bench/held_out.txt"), encoding="utf-8") as f:
        ids = llama.tokenize(f.read(4000))[:768]
    assert len(ids) == 768
    llama.clear()
    best, loss = [], 0.0
    for i, row in enumerate(llama.feed(ids)):
        row = row.astype(np.float64)
        if i + 1 < len(ids):
            loss += np.log(np.exp(row - row.max()).sum()) + row.max() - row[ids[i + 1]]
        if i in ROWS:
            top = np.argsort(-row)[:8]
            best.append({"row": i, "ids": top.tolist(), "logits": [round(float(x), 5) for x in row[top]], "largest": round(float(np.abs(row).max()), 4)})
    text = {"ids": ids, "perplexity": float(np.exp(loss / (len(ids) - 1))), "best": best}
    with open(os.path.join(HERE, "gemma3.json"), "w") as f:
        json.dump({"cases": cases, "text": text}, f)
        f.write("\n")


if __name__ == "__main__":
    main()
