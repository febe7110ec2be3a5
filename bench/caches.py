#!/usr/bin/env python3
"""Measures every cache on one model and prints the table of docs/caches.md.  caches.py ROOT MODEL TEXT TOKENS"""
import json
import os
import statistics
import subprocess
import sys

LOSSLESS = ["contiguous:f32", "mapped:f32", "paged=16:f32"]
CODECS = ["f16", "bf16", "fp8_e4m3", "fp8_e5m2", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "q4_0+rot", "iq4_nl", "int8",
          "int4", "int4+rot", "kivi4", "kivi2"]
CACHES = LOSSLESS + [f"contiguous:{c}" for c in CODECS] + ["tiered=512:q4_0+rot"]
KEEPS = [f"contiguous:f16:{k}" for k in ("window=512,sinks=4", "window=512", "h2o=512", "snapkv=512", "nacl=512", "hashevict=512")]
DEPTHS = [512, 4096, 8192]


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, check=True, text=True).stdout


def main():
    root, model, text, count = sys.argv[1:5]
    count = int(count)
    programs = os.path.join(root, "build/bench")
    ids = json.loads(run(f"{programs}/bin/generate", "--model", model, "--prompt-file", text, "-n", 0, "--json"))["prompt_tokens"]
    if len(ids) < count:
        sys.exit(f"error: the text has {len(ids)} tokens, {count} are asked for")
    # What was measured is kept: a run that was stopped goes on where it was.
    partial = os.path.join(root, f"build/bench/quality-{count}.json")
    quality = json.load(open(partial)) if os.path.exists(partial) else {}
    for cache in CACHES + KEEPS:
        if cache in quality:
            continue
        print(f"quality of {cache}", file=sys.stderr, flush=True)
        extra = ["--prompt-tokens", count * 3 // 4] if any(k in cache for k in ("h2o", "snapkv", "nacl", "hashevict")) else []
        audit = json.loads(run(f"{programs}/bin/score", "--model", model, "--tokens", ",".join(map(str, ids[:count])),
                               "--compare-cache", cache, "--json", *extra))
        quality[cache] = audit
        with open(partial, "w") as f:
            json.dump(quality, f)
    print("speed, in turns", file=sys.stderr, flush=True)
    speed = {}
    for group in (CACHES[:10], CACHES[10:], KEEPS):
        group = ["contiguous:f32"] + [c for c in group if c != "contiguous:f32"]
        depths = sum((["--depth", d] for d in DEPTHS), [])
        caches = sum((["--cache", c] for c in group), [])
        announce = ["--announce"] if group[1:] == KEEPS else []
        for entry in json.loads(run(f"{programs}/bench/cache_speed", model, *caches, *depths, "--rounds", 5, "--decode", 8, *announce)):
            speed.setdefault(entry["cache"], entry["depths"])
    result = []
    plain = quality["contiguous:f32"]["perplexity_f32"]
    for cache in CACHES + KEEPS:
        q = quality[cache]
        name = q["cache"]
        s = {d["depth"]: d for d in speed.get(name, [])}
        result.append({"cache": name, "perplexity": q["perplexity"], "perplexity_f32": q["perplexity_f32"], "kl": q["kl"],
                       "same_best": q["same_best"], "scored": q["tokens_scored"],
                       "bytes_at_4096": s.get(4096, {}).get("bytes"),
                       "tokens_per_second": {d: s[d]["tokens_per_second"] for d in s}})
    with open(os.path.join(root, "bench/results/caches.json"), "w") as f:
        json.dump({"model": "SmolLM2-135M-Instruct Q4_1", "tokens": count, "caches": result}, f, indent=1)
        f.write("\n")
    os.remove(partial)
    recall = json.loads(run(f"{programs}/bench/recall", "--model", os.path.join(root, "examples/models/recall"), "--json"))
    with open(os.path.join(root, "bench/results/recall.json"), "w") as f:
        json.dump(recall, f, indent=1)
        f.write("\n")
    print(f"f32 perplexity {plain:.3f} on {count} tokens\n")
    print("| cache | bytes a token | KL | same best | perplexity | tokens/s at " + " | ".join(map(str, DEPTHS)) + " |")
    print("|---|---:|---:|---:|---:|" + "---:|" * len(DEPTHS))
    for r in result:
        rates = [f"{statistics.median(r['tokens_per_second'][d]):.0f}" if d in r["tokens_per_second"] else "" for d in DEPTHS]
        size = r["bytes_at_4096"] / 4096 if r["bytes_at_4096"] else 0
        change = 100 * (r["perplexity"] / r["perplexity_f32"] - 1)
        print(f"| `{r['cache']}` | {size:,.0f} | {r['kl']:.5f} | {100 * r['same_best']:.1f} % | {change:+.2f} % | " + " | ".join(rates) + " |")
    print("\n| rows that stay | 70 % | 50 % | 30 % | 20 % |\n|---|---:|---:|---:|---:|")
    for row in recall["keeps"]:
        print(f"| {row['keep']} | " + " | ".join(f"{100 * row['recall'][p]:.1f} %" for p in ("70", "50", "30", "20")) + " |")


if __name__ == "__main__":
    main()
