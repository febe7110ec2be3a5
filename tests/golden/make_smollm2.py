#!/usr/bin/env python3
"""Makes smollm2.json beside this script: greedy text of SmolLM2-135M-Instruct from llama.cpp, on the
F32 file that `quantize SMOLLM2.gguf OUT.gguf --type f32` writes.

  tests/golden/make_smollm2.py --llama-completion PATH --model F32.gguf
"""
import argparse
import json
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
PROMPTS = ["The capital of France is", "Once upon a time there was a small robot who", "def fibonacci(n):\n", "Water boils at",
           "The three most important things about caching are", "In 1969, Neil Armstrong"]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--llama-completion", required=True)
    p.add_argument("--model", required=True)
    a = p.parse_args()
    cases = []
    for prompt in PROMPTS:
        done = subprocess.run([a.llama_completion, "-m", a.model, "-p", prompt, "-n", "64", "--temp", "0", "-no-cnv", "--no-display-prompt", "-t", "2", "--no-escape", "-ctk", "f32", "-ctv", "f32", "-fa", "off"],
                              capture_output=True, check=True)
        text = done.stdout.decode()
        ended = text.endswith(" [end of text]\n\n\n")
        cases.append({"prompt": prompt, "text": text[:-len(" [end of text]\n\n\n")] if ended else text[:-2], "ended": ended})
    with open(os.path.join(HERE, "smollm2.json"), "w") as f:
        json.dump({"tokens": 64, "cases": cases}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
