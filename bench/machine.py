#!/usr/bin/env python3
"""Cairn against the machine's limits. Called by bench/machine, whose --help says what the parts are.
machine.py ROOT [--rounds N] [--only PART]"""
import argparse
import json
import os
import re
import statistics

from programs import command, processor

FILES = ["SmolLM2-135M-Instruct.Q4_1", "smollm2.q4_0", "smollm2.q8_0", "smollm2.f16", "smollm2.bf16", "llama-1b.q4_0", "llama-1b.q8_0", "llama-1b.q4_k",
         "llama-1b.q6_k"]
PARTS = ["limits", "attention", "weights", "isa", "caches"]


class Machine:
    def __init__(self, a):
        self.a = a
        self.results = os.path.join(a.root, "bench/results/machine.json")
        self.report = {}
        if a.only and os.path.exists(self.results):
            with open(self.results) as f:
                self.report = json.load(f)
        if self.report.get("processor") not in (None, processor()):
            self.report = {}  # of another machine
        self.report["processor"] = processor()
        print(f"{processor()}, {os.cpu_count()} threads, medians of {a.rounds} rounds", flush=True)

    def program(self, name, *arguments, **environment):
        return command([os.path.join(self.a.root, "build/bench/bench", name), *map(str, arguments)], env={**os.environ, **environment})

    def speed(self, file, *arguments, **environment):
        """(answer, its one depth) of model_speed."""
        answer = json.loads(self.program("model_speed", os.path.join(self.a.root, "build/models", file + ".gguf"), *arguments, **environment))
        return answer, answer["depths"][0]

    def turns(self, ways, run):
        """{way: its figures of all rounds}, the ways in turns."""
        rates = {way: [] for way in ways}
        for _ in range(self.a.rounds):
            for way in ways:
                rates[way].append(run(way))
        return rates

    def compare(self, title, rates, base):
        print(f"\n{title}")
        for way, values in rates.items():
            ratio = statistics.median(values) / statistics.median(rates[base])
            print(f"  {way:12} {statistics.median(values):8.1f} ({min(values):.0f}..{max(values):.0f})  {ratio:5.2f}x of {base}", flush=True)

    def limits(self):
        self.report.update(json.loads(self.program("machine", "--rounds", max(self.a.rounds, 3), "--json")))
        self.write()
        print(command(["python3", os.path.join(self.a.root, "bench/table.py"), self.results]), flush=True)

    def attention(self):
        text = self.program("attention", "--rounds", max(self.a.rounds, 3), "--json")
        self.report["attention"] = json.loads(text)["items"]
        print("\nattention of one decoding row, ms (share of read bandwidth)")
        for i in self.report["attention"]:
            print(f"  {i['shape']:36} {i['codec']:9} accurate {1e3 * i['accurate_seconds']:7.3f} ({100 * i['accurate_share']:3.0f} %)   "
                  f"fast {1e3 * i['fast_seconds']:7.3f} ({100 * i['fast_share']:3.0f} %)   of {i['read_bandwidth'] / 1e9:.1f} GB/s", flush=True)

    def weights(self):
        print("\ndecoding behind an empty f16 cache: tokens/s, weights read, share of the read bandwidth of the same minute")
        self.report["weights"] = []
        for file in FILES:
            answer, depth = self.speed(file, "--prefill", 0, "--decode", 24 if file.startswith("llama") else 96, "--rounds", self.a.rounds, "--limits")
            rates, limits = depth["decode_tokens_per_second"], answer["read_bytes_per_second"]
            share = statistics.median(rate * answer["decode_bytes"] / limit for rate, limit in zip(rates, limits))
            self.report["weights"].append({"file": file, "tokens_per_second": rates, "decode_bytes": answer["decode_bytes"], "read_bytes_per_second": limits,
                                           "share": share})
            rate = statistics.median(rates)
            print(f"  {file:28} {rate:8.1f} ({min(rates):.0f}..{max(rates):.0f})  {rate * answer['decode_bytes'] / 1e9:5.1f} GB/s  {100 * share:3.0f} % of "
                  f"{statistics.median(limits) / 1e9:.1f} GB/s", flush=True)

    def isa(self):
        try:
            self.program("attention", "--rounds", 1, CAIRN_ISA="all")
        except RuntimeError as error:  # it names those that there are, the slowest first
            sets = re.search("there are portable, (.*)", str(error))[1].split(", ")
        self.report["isa_prefill"] = {}
        for file in FILES[:5]:
            rates = self.turns(sets, lambda name: self.speed(file, "--decode", 0, CAIRN_ISA=name)[1]["prefill_tokens_per_second"][0])
            self.report["isa_prefill"][file] = rates
            self.compare(f"prefill of 256 tokens of {file}, tokens/s by CAIRN_ISA", rates, sets[0])

    def caches(self):
        codecs = ["f16", "bf16", "bf16 fast", "q8_0", "q4_0"]  # fast: keys, queries and weights p in bf16
        rates = self.turns(codecs, lambda codec: self.speed("smollm2.q8_0", "--prefill", 4096, "--decode", 0, "--cache", f"contiguous:{codec.split()[0]}",
                           "--attention", "fast" if "fast" in codec else "accurate")[1]["prefill_tokens_per_second"][0])
        self.report["cache_prefill"] = rates
        self.compare("prefill of 4096 tokens of smollm2.q8_0 by cache, tokens/s", rates, "f16")

    def write(self):
        with open(self.results, "w") as f:
            json.dump(self.report, f, indent=1)
            f.write("\n")


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("root")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--only", choices=PARTS)
    a = p.parse_args()
    machine = Machine(a)
    for part in [a.only] if a.only else PARTS:
        getattr(machine, part)()
        machine.write()


if __name__ == "__main__":
    main()
