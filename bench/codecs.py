#!/usr/bin/env python3
"""What every codec loses for its bytes, on a model with grouped heads and on one without.
codecs.py ROOT SMOLLM2 TEXT TOKENS [SPEC...]

Writes bench/results/codecs.json and prints the table of docs/caches.md: perplexity against f32 rows, KL, and textbook bytes
a token (recent rows and scales counted). SmolLM2 reads TOKENS tokens of TEXT, the small GPT-2 in windows of about
450 tokens of bench/held_out.txt; KVQuant is calibrated on other texts. --only SPEC joins to what is there."""
import json
import math
import os
import subprocess
import sys

PLAIN = ["f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "q4_0+rot", "iq4_nl", "int4+rot", "kivi4", "kivi2"]
# What the papers keep; {kvq} is a model's calibration, {few} the settings of 1.37 equivalent bits.
PAPERS = ["kvquant4={kvq}", "kvquant3={kvq}", "kvquant2={kvq}",
          "uniform=4", "uniform=3", "uniform=2", "uniform=3+bare",
          "xlayers,bits=3,eta2=0", "xlayers,bits=3,eta2=0+bare", "k=kvquant3={kvq},v=uniform=3",
          "uniform=4+inputs", "uniform=3+inputs", "uniform=2+inputs",
          "uniform=4,across=3+inputs", "uniform=3,across=3+inputs", "uniform=2,across=3+inputs",
          "kivi4+svd", "kivi2+svd", "xlayers,bits=3,eta2=0+svd", "uniform=3+svd",
          "xlayers,eta2=0", "xlayers", "xlayers,{few}", "xlayers,{few},eta1=0,eta2=0"]


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, check=True, text=True).stdout


class Model:
    def __init__(self, root, name, path, windows, few, kvq):
        self.bin, self.name, self.path, self.windows, self.few, self.kvq = f"{root}/build/bench/bin", name, path, windows, few, kvq

    def spec(self, codec):
        return "contiguous:" + codec.format(kvq=self.kvq, few=self.few)

    def measure(self, codec):
        print(f"{self.name}: {codec}", file=sys.stderr, flush=True)
        sums = {"nll": 0.0, "nll_f32": 0.0, "kl": 0.0, "same_best": 0.0, "scored": 0}
        for window in self.windows:
            q = json.loads(run(f"{self.bin}/score", "--model", self.path, "--tokens", ",".join(map(str, window)), "--compare-cache",
                               self.spec(codec), "--json"))
            n = q["tokens_scored"]
            for key, value in (("nll", math.log(q["perplexity"])), ("nll_f32", math.log(q["perplexity_f32"])), ("kl", q["kl"]),
                               ("same_best", q["same_best"])):
                sums[key] += value * n
            sums["scored"] += n
        n = sums["scored"]
        plan = json.loads(run(f"{self.bin}/plan", "--model", self.path, "--context", self.planned, "--cache", self.spec(codec), "--json"))
        return {"codec": codec, "bytes": plan["caches"][0]["payload_bytes"] / self.planned, "kl": sums["kl"] / n,
                "same_best": sums["same_best"] / n, "perplexity": math.exp(sums["nll"] / n),
                "perplexity_f32": math.exp(sums["nll_f32"] / n), "scored": n}


def equivalent_bits(few, layers):
    """The paper's count for 2 and 1 bit: codes that are stored, scales and recent rows left out."""
    n = {key: int(value) for key, value in (word.split("=") for word in few.split(","))}
    return sum((2 if layer < n[wide] else 1) for wide, shared in (("kq", "km"), ("vq", "vm")) for layer in range(layers)
               if not (layer % 2 == 1 and layer >= n[shared])) / (2 * layers)


def main():
    root, smollm2, text, count = sys.argv[1:5]
    only = sys.argv[5:]
    programs = f"{root}/build/bench/bin"
    results = f"{root}/bench/results/codecs.json"

    def tokens(model, file):
        return json.loads(run(f"{programs}/generate", "--model", model, "--prompt-file", file, "-n", 0, "--json"))["prompt_tokens"]

    work = f"{root}/build/models"
    shakespeare = f"{root}/examples/models/shakespeare"
    held_out = open(f"{root}/bench/held_out.txt").read()
    cut = held_out.index("\n\n", len(held_out) * 5 // 8)
    with open(f"{work}/calibrate.txt", "w") as f:
        f.write(held_out[:cut])
    windows = []
    for at in range(cut, len(held_out) - 1000, 1000):  # about 450 tokens each
        with open(f"{work}/window.txt", "w") as f:
            f.write(held_out[at:at + 1000])
        windows.append(tokens(shakespeare, f"{work}/window.txt"))
    with open(f"{work}/others.txt", "w") as f:
        f.write("".join(open(f"{root}/docs/{page}.md").read() for page in ("extend", "performance", "words")))
    with open(f"{work}/text.txt", "w") as f:
        f.write(open(text).read()[:6 * int(count)])
    run(f"{programs}/calibrate", smollm2, f"{work}/smollm2.kvq", "-f", f"{work}/others.txt")
    run(f"{programs}/calibrate", shakespeare, f"{work}/shakespeare.kvq", "-f", f"{work}/calibrate.txt")
    models = [Model(root, "SmolLM2-135M-Instruct Q4_1", smollm2, [tokens(smollm2, f"{work}/text.txt")[:int(count)]], "kq=28,vq=2,km=30,vm=14",
                    f"{work}/smollm2.kvq"),
              Model(root, "shakespeare (GPT-2)", shakespeare, windows, "kq=5,vq=2,km=6,vm=3", f"{work}/shakespeare.kvq")]
    models[0].planned, models[1].planned = 4096, 512
    old = {}
    if only:
        with open(results) as f:
            old = {m["model"]: m["codecs"] for m in json.load(f)["models"]}
    table = []
    for model in models:
        entries = {e["codec"]: e for e in old.get(model.name, [])}
        for codec in only or PLAIN + PAPERS:
            entries[codec] = model.measure(codec)
        table.append({"model": model.name, "planned": model.planned, "codecs": list(entries.values())})
        with open(results, "w") as f:
            json.dump({"models": table}, f, indent=1)
            f.write("\n")
        print(f"\n{model.name}: perplexity {entries['f16']['perplexity_f32']:.3f}, bytes a token of {model.planned}\n")
        print("| codec | bytes a token | bits a number | KL | same best | perplexity |\n|---|---:|---:|---:|---:|---:|")
        numbers = entries["f16"]["bytes"] / 2
        for e in sorted(entries.values(), key=lambda e: -e["bytes"]):
            name = e["codec"].replace("={kvq}", "=FILE").replace("{few}", model.few)
            change = 100 * (e["perplexity"] / e["perplexity_f32"] - 1)
            print(f"| `{name}` | {e['bytes']:,.0f} | {8 * e['bytes'] / numbers:.2f} | {e['kl']:.5f} | {100 * e['same_best']:.1f} % | {change:+.2f} % |")
        layers = json.loads(run(f"{programs}/plan", "--model", model.path, "--cache", "f16", "--json"))["layers"]
        print(f"\nxlayers,{model.few}: {equivalent_bits(model.few, layers):.3f} bits by the paper's count\n")


if __name__ == "__main__":
    main()
