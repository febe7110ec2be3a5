#!/usr/bin/env python3
"""Measures every cache on one model and prints the table of docs/caches.md.  caches.py ROOT MODEL TEXT TOKENS [SPEC...|keeps]"""
import json
import os
import statistics
import subprocess
import sys

LOSSLESS = ["contiguous:f32", "mapped:f32", "paged=16:f32"]
CODECS = ["f16", "bf16", "fp8_e4m3", "fp8_e5m2", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "q4_0+rot", "iq4_nl", "int8",
          "int4", "int4+rot", "kivi4", "kivi2"]
CACHES = LOSSLESS + [f"contiguous:{c}" for c in CODECS] + ["tiered=512:q4_0+rot", "contiguous,disk=1024:f16"]
KEEPS = [f"contiguous:f16:{k}" for k in ("window=512,sinks=4", "window=512", "h2o=512", "snapkv=512", "nacl=512", "hashevict=512", "keydiff=512",
                                             "expected=512", "adakv=512", "adakv=512,law=1", "pyramidkv=512")]
DEPTHS = [512, 4096, 8192]


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, check=True, text=True).stdout


def chooses_by_score(cache):
    """Whether a cache wants its prompt announced."""
    return any(keep in cache for keep in ("h2o", "snapkv", "nacl", "hashevict", "keydiff", "expected", "adakv", "pyramidkv", "duo"))


def measure_quality(programs, model, ids, cache):
    print(f"quality of {cache}", file=sys.stderr, flush=True)
    count = len(ids)
    extra = ["--prompt-tokens", count * 3 // 4] if chooses_by_score(cache) else []
    return json.loads(run(f"{programs}/bin/score", "--model", model, "--tokens", ",".join(map(str, ids)),
                          "--compare-cache", cache, "--json", *extra))


def measure_speed(programs, model, caches):
    """Depths by cache; all caches and f32 decode in turns."""
    print("speed, in turns", file=sys.stderr, flush=True)
    caches = ["contiguous:f32"] + [c for c in caches if c != "contiguous:f32"]
    depths = sum((["--depth", d] for d in DEPTHS), [])
    words = sum((["--cache", c] for c in caches), [])
    announce = ["--announce"] if any(map(chooses_by_score, caches)) else []
    entries = json.loads(run(f"{programs}/bench/cache_speed", model, *words, *depths, "--rounds", 5, "--decode", 8, *announce))
    return {entry["cache"]: entry["depths"] for entry in entries}


def entry_of(quality, speed):
    depths = {d["depth"]: d for d in speed.get(quality["cache"], [])}
    return {"cache": quality["cache"], "perplexity": quality["perplexity"], "perplexity_f32": quality["perplexity_f32"],
            "kl": quality["kl"], "same_best": quality["same_best"], "scored": quality["tokens_scored"],
            "bytes_at_4096": depths.get(4096, {}).get("bytes"),
            "tokens_per_second": {str(d): depths[d]["tokens_per_second"] for d in depths}}


def print_table(entries):
    print("| cache | bytes a token | KL | same best | perplexity | tokens/s at " + " | ".join(map(str, DEPTHS)) + " |")
    print("|---|---:|---:|---:|---:|" + "---:|" * len(DEPTHS))
    for r in entries:
        rates = [f"{statistics.median(r['tokens_per_second'][str(d)]):.0f}" if str(d) in r["tokens_per_second"] else "" for d in DEPTHS]
        size = r["bytes_at_4096"] / 4096 if r["bytes_at_4096"] else 0
        change = 100 * (r["perplexity"] / r["perplexity_f32"] - 1)
        print(f"| `{r['cache']}` | {size:,.0f} | {r['kl']:.5f} | {100 * r['same_best']:.1f} % | {change:+.2f} % | " + " | ".join(rates) + " |")


def write(path, value):
    with open(path, "w") as f:
        json.dump(value, f, indent=1)
        f.write("\n")


def print_keeps(programs, model, ids):
    """Quality alone, of every keep on the same tokens: seconds a row, where speeds take minutes."""
    print("| rows that stay | KL | same best | perplexity |\n|---|---:|---:|---:|")
    for cache in ["contiguous:f16"] + KEEPS:
        count = len(ids)
        q = json.loads(run(f"{programs}/bin/score", "--model", model, "--tokens", ",".join(map(str, ids)), "--compare-cache", cache,
                           "--prompt-tokens", count * 3 // 4, "--json"))
        change = 100 * (q["perplexity"] / q["perplexity_f32"] - 1)
        print(f"| `{cache.split(':', 2)[-1]}` | {q['kl']:.5f} | {100 * q['same_best']:.1f} % | {change:+.2f} % |", flush=True)


def main():
    root, model, text, count = sys.argv[1:5]
    only = sys.argv[5:]
    count = int(count)
    programs = os.path.join(root, "build/bench")
    results = os.path.join(root, "bench/results/caches.json")
    ids = json.loads(run(f"{programs}/bin/generate", "--model", model, "--prompt-file", text, "-n", 0, "--json"))["prompt_tokens"]
    if len(ids) < count:
        sys.exit(f"error: the text has {len(ids)} tokens, {count} are asked for")
    ids = ids[:count]
    if only == ["keeps"]:
        print_keeps(programs, model, ids)
        return
    if only:
        quality = [measure_quality(programs, model, ids, cache) for cache in only]
        speed = measure_speed(programs, model, [q["cache"] for q in quality])
        entries = [entry_of(q, speed) for q in quality]
        with open(results) as f:
            table = json.load(f)
        names = [e["cache"] for e in entries]
        table["caches"] = [next((e for e in entries if e["cache"] == old["cache"]), old) for old in table["caches"]]
        known = [old["cache"] for old in table["caches"]]
        table["caches"] += [e for e in entries if e["cache"] not in known]
        write(results, table)
        print_table(entries)
        rates = " ".join(f"{statistics.median(d['tokens_per_second']):.0f}" for d in speed["contiguous:f32"])
        print(f"\nf32 in the same turns: {rates} tokens/s; joined: {', '.join(names)}")
        return
    # What was measured is kept: a run that was stopped goes on where it was.
    partial = os.path.join(root, f"build/bench/quality-{count}.json")
    quality = json.load(open(partial)) if os.path.exists(partial) else {}
    for cache in CACHES + KEEPS:
        if cache not in quality:
            quality[cache] = measure_quality(programs, model, ids, cache)
            write(partial, quality)
    speed = {}
    for group in (CACHES[:10], CACHES[10:], KEEPS):
        for name, depths in measure_speed(programs, model, group).items():
            speed.setdefault(name, depths)
    entries = [entry_of(quality[cache], speed) for cache in CACHES + KEEPS]
    write(results, {"model": "SmolLM2-135M-Instruct Q4_1", "tokens": count, "caches": entries})
    os.remove(partial)
    recall = json.loads(run(f"{programs}/bench/recall", "--model", os.path.join(root, "examples/models/recall"), "--json"))
    write(os.path.join(root, "bench/results/recall.json"), recall)
    print(f"f32 perplexity {quality['contiguous:f32']['perplexity_f32']:.3f} on {count} tokens\n")
    print_table(entries)
    print("\n| rows that stay | 70 % | 50 % | 30 % | 20 % |\n|---|---:|---:|---:|---:|")
    for row in recall["keeps"]:
        print(f"| {row['keep']} | " + " | ".join(f"{100 * row['recall'][p]:.1f} %" for p in ("70", "50", "30", "20")) + " |")


if __name__ == "__main__":
    main()
