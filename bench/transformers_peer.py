#!/usr/bin/env python3
"""Cached decoding of GPT-2 124M's shape in Hugging Face transformers and in Cairn, in turns.

  bench/transformers_peer.py BUILD/bench/decode [--rounds 7] [--json]

Both have the same shape, random weights, f32, a prompt of 32 tokens and 32 generated ones; Cairn with an
f32 cache and all cores. How many threads suit torch depends on its BLAS, so all sensible settings are
tried first, and the best one is the peer.
"""
import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import time

TOKENS = 32


def serve(threads):
    """The peer itself: answers each line with tokens a second."""
    os.environ["TRANSFORMERS_OFFLINE"] = "1"
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(threads)
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()
    prompt = torch.full((1, 32), 11)
    print(torch.__version__, transformers.__version__, flush=True)
    for _ in sys.stdin:
        with torch.no_grad():
            out = model(prompt, use_cache=True)
            token = out.logits[:, -1:].argmax(-1)
            start = time.perf_counter()
            for _ in range(TOKENS):
                out = model(token, past_key_values=out.past_key_values, use_cache=True)
                token = out.logits[:, -1:].argmax(-1)
            print(TOKENS / (time.perf_counter() - start), flush=True)


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


def peer(threads, blas):
    side = Side([sys.executable, __file__, "--serve", str(threads), "-"], OPENBLAS_NUM_THREADS=str(blas),
                OMP_NUM_THREADS=str(max(threads, blas)), MKL_NUM_THREADS=str(blas))
    side.versions = side.line().split()
    side.rate()
    return side


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("decode")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--json", action="store_true")
    p.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    args = p.parse_args()
    if args.serve:
        serve(args.serve)
        return
    tried = {}
    cores = os.cpu_count()
    for setting in sorted(set(itertools.product((1, cores), (1, cores)))):
        side = peer(*setting)
        tried[setting] = max(side.rate(), side.rate())
        side.close()
    best = max(tried, key=tried.get)
    theirs = peer(*best)
    ours = Side([args.decode, "--tokens", str(TOKENS)])
    ours.rate()
    samples = {"transformers": [], "cairn": []}
    for _ in range(args.rounds):
        samples["transformers"].append(theirs.rate())
        samples["cairn"].append(ours.rate())
    theirs.close()
    ours.close()
    result = {name: {"median": statistics.median(s), "least": min(s), "most": max(s)} for name, s in samples.items()}
    result["ratio"] = result["cairn"]["median"] / result["transformers"]["median"]
    result["versions"] = {"torch": theirs.versions[0], "transformers": theirs.versions[1]}
    result["peer_settings"] = [{"torch_threads": t, "blas_threads": b, "tokens_per_second": rate} for (t, b), rate in tried.items()]
    if args.json:
        print(json.dumps(result, indent=2))
        return
    for name in samples:
        r = result[name]
        print(f"  {name:<14}{r['median']:8.1f} tokens/s  ({r['least']:.1f}..{r['most']:.1f})")
    print(f"  ratio         {result['ratio']:8.2f}x   (torch {theirs.versions[0]}, transformers {theirs.versions[1]}; "
          f"best of {len(tried)} thread settings: torch {best[0]}, BLAS {best[1]})")


if __name__ == "__main__":
    main()
