#!/usr/bin/env python3
"""Cached decoding of GPT-2 124M's shape in the engines that Python has, and in Cairn, in turns.

  bench/python_peers.py BUILD/bench/decode [--rounds 7]

All have the same shape, random weights, f32, a prompt of 32 tokens and 32 generated ones; Cairn with an
f32 cache and all cores. The peers are Hugging Face transformers and CTranslate2, each where it is
installed. How many threads suit a peer depends on its BLAS, so all sensible settings are tried first, and
the best one is the peer. Prints JSON; bench/table.py makes a table of it.
"""
import argparse
import importlib.util
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

TOKENS = 32
PROMPT = 32
PEERS = ("transformers", "ctranslate2")


def gpt2():
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    import transformers

    transformers.logging.set_verbosity_error()
    return transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()


def serve_transformers(threads):
    """Answers each line with tokens a second."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    model = gpt2()
    prompt = torch.full((1, PROMPT), 11)
    print("transformers", transformers.__version__, "torch", torch.__version__, flush=True)
    for _ in sys.stdin:
        with torch.no_grad():
            out = model(prompt, use_cache=True)
            token = out.logits[:, -1:].argmax(-1)
            start = time.perf_counter()
            for _ in range(TOKENS):
                out = model(token, past_key_values=out.past_key_values, use_cache=True)
                token = out.logits[:, -1:].argmax(-1)
            print(TOKENS / (time.perf_counter() - start), flush=True)


def serve_ctranslate2(threads):
    """The same; the time runs from the first token it hands out to the last."""
    import ctranslate2

    with tempfile.TemporaryDirectory() as folder:
        model = gpt2()
        model.save_pretrained(folder)
        words = {f"t{i}": i for i in range(50256)}
        words["<|endoftext|>"] = 50256
        for name, content in (("vocab.json", words), ("tokenizer_config.json", {"tokenizer_class": "GPT2Tokenizer"})):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                json.dump(content, f)
        with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
            f.write("#version: 0.2\n")
        converted = os.path.join(folder, "converted")
        ctranslate2.converters.TransformersConverter(folder).convert(converted)
        generator = ctranslate2.Generator(converted, compute_type="float32", inter_threads=1, intra_threads=threads)
    print("ctranslate2", ctranslate2.__version__, flush=True)
    for _ in sys.stdin:
        times = []
        length = TOKENS + 1

        def step(_):
            times.append(time.perf_counter())
            return False

        generator.generate_batch([["t11"] * PROMPT], max_length=length, min_length=length,
                                 include_prompt_in_result=False, callback=step)
        print((len(times) - 1) / (times[-1] - times[0]) if len(times) == length else "nan", flush=True)


class Side:
    def __init__(self, command, **environment):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        env={**os.environ, **environment})

    def line(self):
        return self.process.stdout.readline()

    def rate(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        rate = float(self.line())
        time.sleep(0.05)  # let its threads park before the other side runs
        return rate

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def start(name, threads, blas):
    side = Side([sys.executable, __file__, "--serve", name, "--threads", str(threads), "-"],
                OPENBLAS_NUM_THREADS=str(blas), OMP_NUM_THREADS=str(max(threads, blas)), MKL_NUM_THREADS=str(blas))
    words = side.line().split()
    side.versions = dict(zip(words[::2], words[1::2]))
    side.rate()
    return side


def best_setting(name):
    tried = {}
    cores = os.cpu_count()
    for setting in sorted(set(itertools.product((1, cores), (1, cores)))):
        side = start(name, *setting)
        tried[setting] = max(side.rate(), side.rate())
        side.close()
    return max(tried, key=tried.get), tried


def installed(name):
    return all(importlib.util.find_spec(module) for module in {name, "transformers", "torch"})


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("decode")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--serve", choices=PEERS, help=argparse.SUPPRESS)
    p.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.serve:
        {"transformers": serve_transformers, "ctranslate2": serve_ctranslate2}[args.serve](args.threads)
        return
    present = [name for name in PEERS if installed(name)]
    chosen = {name: best_setting(name) for name in present}
    sides = {name: start(name, *chosen[name][0]) for name in present}
    sides["cairn"] = Side([args.decode, "--tokens", str(TOKENS)])
    sides["cairn"].rate()
    samples = {name: [] for name in sides}
    for _ in range(args.rounds):
        for name, side in sides.items():
            samples[name].append(side.rate())
    for side in sides.values():
        side.close()
    result = {name: {"median": statistics.median(s), "least": min(s), "most": max(s)} for name, s in samples.items()}
    for name in present:
        setting, tried = chosen[name]
        result[name]["ratio"] = result["cairn"]["median"] / result[name]["median"]
        result[name]["versions"] = sides[name].versions
        result[name]["threads"], result[name]["blas_threads"] = setting
        result[name]["tried"] = [{"threads": t, "blas_threads": b, "tokens_per_second": rate} for (t, b), rate in tried.items()]
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
