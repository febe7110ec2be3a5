#!/usr/bin/env python3
"""Whether llama.cpp reads what `quantize` writes of the random models beside this script, and answers what transformers
does: the rows of logits that the goldens hold, to 1e-3 of the largest.

  tests/golden/check_exports.py --library FOLDER-OF-LIBLLAMA --quantize PROGRAM [--match WORDS]
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import numpy as np

from llama_cpp import LlamaCpp

HERE = os.path.dirname(os.path.abspath(__file__))
# Where llama.cpp does otherwise than the models' own code, and said so in its source: docs/models.md.
WINDOWS = {"mistral-window": 7, "mixtral-window": 7, "phi3-partial": 9}  # it has none there: rows before they matter
FAR = "it has room for 256 tokens at least, and takes the far factors"
OTHERWISE = {"lite": "it wants compressed queries of all but 26 and 27 layers", "groups": "it chooses groups as DeepSeek V3 does",
             "phi3-longrope-near": FAR, "mistral-longrope-near": FAR}


def check(a, name, folder, item, to):
    made = subprocess.run([a.quantize, folder, to, "--type", "f32"], capture_output=True, text=True)
    if made.returncode != 0:
        return "not offered: " + made.stderr.strip().splitlines()[-1].split(": ", 1)[-1][:110]
    # A process of its own: what llama.cpp asserts ends it.
    asked = subprocess.run([sys.executable, __file__, "--library", a.library, "--ask", to], input=json.dumps(item["tokens"]), capture_output=True, text=True)
    if asked.returncode != 0:
        return "REFUSED: " + (asked.stderr.strip().splitlines() or [str(asked.returncode)])[-1][:300]
    rows = np.array(json.loads(asked.stdout))
    worst = 0.0
    for i, wanted in zip(item["rows"], item["logits"]):
        if i >= WINDOWS.get(name, 1 << 30):
            continue
        wanted = np.array(wanted)
        worst = max(worst, float(np.abs(rows[i] - wanted).max() / np.abs(wanted).max()))
    return f"{'right' if worst < 1e-3 else 'WRONG'}, {worst:.1e}{' below its window' if name in WINDOWS else ''}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--library", required=True)
    p.add_argument("--quantize")
    p.add_argument("--match", default="")
    p.add_argument("--ask", help=argparse.SUPPRESS)
    a = p.parse_args()
    if a.ask:
        rows = [row.tolist() for row in LlamaCpp(a.library, a.ask, 128).feed(json.load(sys.stdin))]
        print(json.dumps(rows), flush=True)
        os._exit(0)  # nothing is freed
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for group in ("models", "architectures", "deepseek"):
            with open(os.path.join(HERE, group + ".json")) as f:
                models = json.load(f)["models"]
            for name, item in models.items():
                if a.match in name:
                    said = check(a, name, os.path.join(HERE, group, name), item, os.path.join(folder, "model.gguf"))
                    if name in OTHERWISE and said[0].isupper():
                        said = f"otherwise: {OTHERWISE[name]}"
                    wrong += said[0].isupper()
                    print(f"{name:20} {said}", flush=True)
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main()
