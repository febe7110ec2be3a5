#!/usr/bin/env python3
"""Cached decoding of GPT-2 124M's shape in Hugging Face transformers and in Cairn, in turns.

  bench/transformers_peer.py BUILD/bench/decode [--rounds 7] [--json]

Both have the same shape, random weights, all cores, f32, a prompt of 32 tokens and 32 generated ones.
"""
import argparse
import json
import os
import statistics
import subprocess
import time

os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")
import torch  # noqa: E402
import transformers  # noqa: E402


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("decode")
    p.add_argument("--rounds", type=int, default=7)
    p.add_argument("--json", action="store_true")
    args = p.parse_args()
    tokens = 32
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(os.cpu_count())
    model = transformers.GPT2LMHeadModel(transformers.GPT2Config()).eval()
    prompt = torch.full((1, 32), 11)

    def peer():
        with torch.no_grad():
            out = model(prompt, use_cache=True)
            token = out.logits[:, -1:].argmax(-1)
            start = time.perf_counter()
            for _ in range(tokens):
                out = model(token, past_key_values=out.past_key_values, use_cache=True)
                token = out.logits[:, -1:].argmax(-1)
            return tokens / (time.perf_counter() - start)

    ours = subprocess.Popen([args.decode, "--tokens", str(tokens)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def cairn():
        ours.stdin.write("go\n")
        ours.stdin.flush()
        rate = float(ours.stdout.readline())
        time.sleep(0.05)  # let its threads park before the other side runs
        return rate

    samples = {"transformers": [], "cairn": []}
    peer(), cairn()
    for _ in range(args.rounds):
        samples["transformers"].append(peer())
        samples["cairn"].append(cairn())
    ours.stdin.close()
    ours.wait()
    result = {name: {"median": statistics.median(s), "least": min(s), "most": max(s)} for name, s in samples.items()}
    result["ratio"] = result["cairn"]["median"] / result["transformers"]["median"]
    result["versions"] = {"torch": torch.__version__, "transformers": transformers.__version__}
    if args.json:
        print(json.dumps(result, indent=2))
        return
    print(f"cached decoding, GPT-2 124M shape, f32, {os.cpu_count()} threads, medians of {args.rounds} alternating rounds")
    for name in samples:
        r = result[name]
        print(f"  {name:<14}{r['median']:8.1f} tokens/s  ({r['least']:.1f}..{r['most']:.1f})")
    print(f"  ratio         {result['ratio']:8.2f}x   (torch {torch.__version__}, transformers {transformers.__version__})")


if __name__ == "__main__":
    main()
