#!/usr/bin/env python3
"""Draws bench/results/*.json as SVG that reads on light and dark pages.  bench/plot.py FOLDER"""
import json
import os
import statistics
import sys

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402
import matplotlib.ticker  # noqa: E402

GREY = "#808890"
plt.rcParams.update({
    "svg.fonttype": "none", "svg.hashsalt": "cairn", "font.size": 11, "font.family": "sans-serif", "text.color": GREY,
    "axes.labelcolor": GREY, "axes.edgecolor": GREY, "xtick.color": GREY, "ytick.color": GREY, "axes.spines.top": False,
    "axes.spines.right": False, "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "grid.color": GREY, "grid.alpha": 0.25, "axes.grid": True,
})
COLOURS = {"shakespeare 3M f16": "#e8710a", "GPT-2 124M f32": "#1a9c8c", "GPT-2 124M f16": "#4c8ee8"}


def save(figure, path):
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    print("wrote", path)


def main():
    folder = sys.argv[1]
    with open(os.path.join(folder, "lengths.json")) as f:
        data = json.load(f)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    for name, colour in COLOURS.items():
        rows = [r for r in data["rows"] if r["model"] == name]
        x = [r["generated"] for r in rows]
        if name != "shakespeare 3M f16":
            left.plot(x, [r["cached_tokens_per_second"] for r in rows], "o-", color=colour, label=f"{name}, cached")
            left.plot(x, [r["uncached_tokens_per_second"] for r in rows], "o:", color=colour, label="same, without cache")
        right.plot(x, [r["ratio"] for r in rows], "o-", color=colour, label=name)
        right.plot(x, [r["predicted"] for r in rows], "--", color=colour, alpha=0.6)
    for axis in (left, right):
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xticks([16, 64, 256, 960], ["16", "64", "256", "960"])
        axis.set_xlabel(f"generated tokens (prompt of {data['prompt']})")
    left.set_ylabel("tokens / s")
    left.set_title("Same tokens, bit for bit", color=GREY)
    right.set_ylabel("speedup of the cache")
    right.set_title("measured; dashed: what the machine's limits predict", color=GREY, fontsize=10)
    left.legend(frameon=False, fontsize=8, loc="best")
    right.legend(frameon=False, fontsize=9)
    right.set_yticks([2, 5, 10, 20, 50, 100], ["2x", "5x", "10x", "20x", "50x", "100x"])
    save(figure, os.path.join(folder, "lengths.svg"))

    with open(os.path.join(folder, "machine.json")) as f:
        data = json.load(f)
    figure, axis = plt.subplots(figsize=(10, 3.6))
    items = list(reversed(data["items"]))
    colours = ["#4c8ee8" if i["limit"] == "read" else "#e8710a" for i in items]
    axis.barh(range(len(items)), [100 * i["share"] for i in items], color=colours, height=0.6)
    for y, item in enumerate(items):
        if item["bar"]:
            axis.plot([100 * item["bar"]] * 2, [y - 0.4, y + 0.4], color=GREY, linewidth=2)
        axis.text(100 * item["share"] + 1, y, f"{100 * item['share']:.0f} %", va="center")
    axis.set_yticks(range(len(items)), [i["name"] for i in items])
    axis.set_xlabel(f"% of read bandwidth (blue, {data['read_bandwidth'] / 1e9:.0f} GB/s)\n"
                    f"or of FMA peak (orange, {data['fma_peak'] / 1e9:.0f} GFLOP/s); marks: the bars set")
    axis.set_xlim(0, 110)
    axis.grid(axis="y", visible=False)
    save(figure, os.path.join(folder, "machine.svg"))


def peers(folder):
    with open(os.path.join(folder, "peers.json")) as f:
        data = json.load(f)
    if "processor" not in data:
        return  # of an older program
    long(folder, data)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.6))
    programs = {"llama.cpp": "#1a9c8c", "ik_llama.cpp": "#4c8ee8", "OpenVINO": "#e8710a"}
    for axis, kind in zip(axes, ("decode", "prefill")):
        rows = [r for r in reversed(data["speed"]) if r["what"].startswith(kind)]
        for at, (program, colour) in enumerate(programs.items()):
            places = [y + 0.26 - 0.26 * at for y, r in enumerate(rows) if program in r["ratios"]]
            ratios = [r["ratios"][program] for r in rows if program in r["ratios"]]
            axis.barh(places, ratios, color=colour, height=0.24, label=program)
            for y, ratio in zip(places, ratios):
                axis.text(ratio + 0.05, y, f"{ratio:.2f}x", va="center", fontsize=7)
        axis.axvline(1, color=GREY, linewidth=1)
        axis.set_yticks(range(len(rows)), [r["name"] for r in rows], fontsize=9)
        axis.set_title(f"{kind}, Cairn's tokens/s against each program's = 1", color=GREY, fontsize=10)
        axis.grid(axis="y", visible=False)
    axes[0].legend(frameon=False, fontsize=9, loc="lower right")
    save(figure, os.path.join(folder, "peers.svg"))


def long(folder, data):
    """Decoding behind long texts: a line a cache and program."""
    colours = {"f16": "#4c8ee8", "q8_0": "#1a9c8c", "q4_0": "#e8710a"}
    styles = {"Cairn": ("o-", 1.0), "llama.cpp": ("s--", 0.75), "ik_llama.cpp": ("^:", 0.6)}
    names = list(dict.fromkeys(r["name"] for r in data.get("long", [])))
    if not names:
        return
    figure, axes = plt.subplots(1, len(names), figsize=(10, 4.2), squeeze=False)
    for axis, name in zip(axes[0], names):
        for cache, colour in colours.items():
            rows = sorted((r for r in data["long"] if r["name"] == name and r["cache"] == cache), key=lambda r: r["depth"])
            for program, (style, alpha) in styles.items():
                points = [(r["depth"], statistics.median(r["rates"][program])) for r in rows if r["rates"].get(program)]
                if points:
                    axis.plot(*zip(*points), style, color=colour, alpha=alpha, label=f"{program}, {cache}", markersize=4)
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        depths = sorted({r["depth"] for r in data["long"] if r["name"] == name})
        axis.set_xticks(depths, [f"{d // 1000}k" for d in depths])
        axis.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        ticks = [t for t in (5, 10, 20, 50, 100, 200, 400) if axis.get_ylim()[0] <= t <= axis.get_ylim()[1]]
        axis.set_yticks(ticks, [str(t) for t in ticks])
        axis.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        axis.set_title(name, color=GREY, fontsize=10)
        axis.set_xlabel("tokens in the cache")
    axes[0][0].set_ylabel("decoding, tokens / s")
    axes[0][-1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1))
    save(figure, os.path.join(folder, "long.svg"))


def articles(folder):
    with open(os.path.join(folder, "articles.json")) as f:
        data = json.load(f)
    quoted = {"gpt2-xl": (3.75, "#e8710a"), "gpt-j": (4.0, "#b04ad8"), "mistral-7b": (3.5, "#1a9c8c"), "llama-13b": (4.1, "#4c8ee8")}
    figure, axis = plt.subplots(figsize=(8, 4))
    for name, d in data.items():
        value, colour = quoted[name]
        solid = [r for r in d["rows"] if not r["extrapolated"]]
        axis.plot([r["tokens"] for r in d["rows"]], [r["speedup"] for r in d["rows"]], ":", color=colour)
        axis.plot([r["tokens"] for r in solid], [r["speedup"] for r in solid], "o-", color=colour, label=f"{name} (articles: {value:g}x)")
        axis.axhline(value, color=colour, linewidth=1, alpha=0.6)
    axis.text(256, 3.4, "what articles quote, without lengths", ha="right", va="top", fontsize=9)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log")
    axis.set_xticks([16, 32, 64, 128, 256], ["16", "32", "64", "128", "256"])
    axis.set_yticks([1, 2, 5, 10, 20, 50], ["1x", "2x", "5x", "10x", "20x", "50x"])
    axis.set_xlabel("generated tokens (prompt of 32); dotted: extrapolated")
    axis.set_ylabel("speedup of the cache")
    axis.legend(frameon=False, fontsize=9)
    save(figure, os.path.join(folder, "articles.svg"))


def caches(folder):
    with open(os.path.join(folder, "caches.json")) as f:
        data = json.load(f)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.2))
    for row in data["caches"]:
        name = row["cache"].replace("contiguous:", "")
        if "=" in name and not name.startswith(("tiered", "contiguous,disk")) or name in ("f32", "mapped:f32", "paged=16:f32"):
            continue
        left.plot(row["bytes_at_4096"] / 4096 / 1024, max(row["kl"], 1e-7), "o", color="#4c8ee8")
        left.annotate(name, (row["bytes_at_4096"] / 4096 / 1024, max(row["kl"], 1e-7)), textcoords="offset points",
                      xytext=(5, 3), fontsize=8, color=GREY)
    left.set_xlabel("KiB a token (memory in use at 4096 tokens)")
    left.set_ylabel("KL to the f32 cache, nats a token")
    left.set_yscale("log")
    shown = {"contiguous:f32": "#808890", "contiguous:f16": "#4c8ee8", "contiguous:q8_0": "#1a9c8c", "contiguous:q4_0+rot": "#e8710a",
             "contiguous:f16:h2o=512,recent=256": "#b04ad8"}
    for row in data["caches"]:
        if row["cache"] in shown and row["tokens_per_second"]:
            depths = sorted(map(int, row["tokens_per_second"]))
            rates = [sorted(row["tokens_per_second"][str(d)])[len(row["tokens_per_second"][str(d)]) // 2] for d in depths]
            right.plot(depths, rates, "o-", color=shown[row["cache"]], label=row["cache"])
    right.set_xscale("log", base=2)
    right.set_xticks([512, 4096, 8192], ["512", "4096", "8192"])
    right.set_ylim(bottom=0)
    right.set_xlabel("tokens in the cache")
    right.set_ylabel("tokens / s")
    right.legend(frameon=False, fontsize=8)
    save(figure, os.path.join(folder, "caches.svg"))


def codecs(folder):
    """Perplexity and KL against bytes a token: every codec, a column a model; the line joins those that lose least."""
    with open(os.path.join(folder, "codecs.json")) as f:
        data = json.load(f)
    kinds = (("kvquant", "#e8710a", "KVQuant"), ("+inputs", "#1a9c8c", "XQuant, inputs"), ("+svd", "#60a830", "XQuant, coordinates"),
             ("xlayers", "#b04ad8", "XQuant, codes shared"), ("kivi", "#c0a020", "KIVI"), ("", "#4c8ee8", "others"))
    figure, rows = plt.subplots(2, len(data["models"]), figsize=(13, 10.5), squeeze=False)
    for m, model in enumerate(data["models"]):
        upper, lower = rows[0][m], rows[1][m]
        best = {upper: [], lower: []}
        for e in sorted(model["codecs"], key=lambda e: (e["bytes"], e["kl"])):
            colour = next(colour for word, colour, _ in kinds if word in e["codec"])
            name = e["codec"].replace("={kvq}", "").replace("{few}", "1.37 bits")
            for panel, loss in ((upper, 100 * (e["perplexity"] / e["perplexity_f32"] - 1)), (lower, max(e["kl"], 1e-5))):
                panel.plot(e["bytes"], loss, "o", color=colour, markersize=5)
                panel.annotate(name, (e["bytes"], loss), textcoords="offset points", xytext=(4, 3), fontsize=6, color=GREY)
                if not best[panel] or loss < best[panel][-1][1]:
                    best[panel].append((e["bytes"], loss))
        for panel in (upper, lower):
            panel.plot(*zip(*best[panel]), "-", color=GREY, linewidth=0.8)
            panel.set_xscale("log", base=2)
        upper.set_title(model["model"], fontsize=10)
        upper.set_yscale("symlog", linthresh=1)
        lower.set_yscale("log")
        lower.set_xlabel(f"bytes a token, of {model['planned']}")
    rows[0][0].set_ylabel("perplexity above that of f32, %")
    rows[1][0].set_ylabel("KL to the f32 cache, nats a token")
    for _, colour, label in kinds:
        rows[0][0].plot([], [], "o", color=colour, label=label)
    rows[0][0].legend(frameon=False, fontsize=8, loc="upper right")
    save(figure, os.path.join(folder, "codecs.svg"))


def methods(folder):
    """What methods gain: n-gram drafts by the length of a round, and reading few rows by pages and budgets."""
    with open(os.path.join(folder, "methods.json")) as f:
        data = json.load(f)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    colours = ("#e8710a", "#1a9c8c", "#4c8ee8", "#808890")
    for row, colour in zip(data["speculation"]["weights"], colours):
        left.plot(data["speculation"]["guesses"], row["fixed"], "o-", color=colour, label=f"{row['name']}, {row['plain']} tokens/s")
        left.axhline(row["adaptive"], linestyle=":", color=colour)
    left.axhline(1, color=GREY, linewidth=0.8)
    left.set_xticks(data["speculation"]["guesses"])
    left.set_xlabel("guesses a round; dotted: adaptive")
    left.set_ylabel("speed with n-gram drafts, plain = 1")
    left.legend(frameon=False, fontsize=8)
    whole = data["quest"]["all"]
    for rows, colour in ((512, "#b04ad8"), (1024, "#e8710a"), (2048, "#1a9c8c"), (4096, "#4c8ee8")):
        points = [r for r in data["quest"]["reads"] if r["rows"] == rows and r["full"] == 2 and r["speed"]]
        x, y = [[f(r) for r in points] for f in (lambda r: r["speed"] / whole["speed"], lambda r: 100 * (r["perplexity"] / whole["perplexity"] - 1))]
        if points:
            right.plot(x, y, "o-", color=colour, label=f"{rows} rows read")
        for r, a, b in zip(points, x, y):
            right.annotate(f"pages of {r['page']}", (a, b), textcoords="offset points", xytext=(5, 4), fontsize=8, color=GREY)
    right.plot([1], [0], "o", color=GREY, label="all rows")
    right.set_xlabel("decoding behind 8,000 tokens, all rows = 1")
    right.set_ylabel("perplexity above that of all rows, %")
    right.legend(frameon=False, fontsize=8, loc="upper left")
    save(figure, os.path.join(folder, "methods.svg"))


def recall(folder):
    """Keeps forget, a read does not: the question inside the prompt, and one that comes later."""
    with open(os.path.join(folder, "recall.json")) as f:
        data = json.load(f)
    colours = {"recent only": "#808890", "window + 4 sinks": "#a0a8b0", "h2o": "#e8710a", "snapkv": "#1a9c8c", "nacl": "#4c8ee8",
               "hashevict": "#b04ad8", "keydiff": "#c0a020", "expected": "#d04060", "adakv": "#60a030", "pyramidkv": "#8070d0"}
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.2), sharey=True)
    titles = ("the question stands in the prompt", "the question comes later")
    for axis, title in zip(panels, titles):
        axis.set_title(title, color=GREY, fontsize=10)
        axis.axhline(100 * data["full"], linestyle=":", color=GREY)
        axis.set_xlabel("% of the rows that stay, or are read")
    for row in data["keeps"]:
        name = row["keep"].split(",")[0]
        x = sorted(map(int, row["recall"]))
        panels[int("," in row["keep"])].plot(x, [100 * row["recall"][str(p)] for p in x], "o-", color=colours[name], markersize=4)
    for row, style in zip(data.get("reads", []), ("s-", "s--", "s:")):
        x = sorted(map(int, row["recall"]))
        panels[1].plot(x, [100 * row["recall"][str(p)] for p in x], style, color="#20c0c0", markersize=4,
                       label=row["read"].replace(", question later", ""))
    panels[0].set_ylabel("recall, %")
    for name, colour in colours.items():
        panels[1].plot([], [], "o-", color=colour, label=name)
    panels[1].plot([], [], ":", color=GREY, label="all rows")
    panels[1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.02, 1))
    save(figure, os.path.join(folder, "recall.svg"))


if __name__ == "__main__":
    main()
    for name, draw in (("peers", peers), ("articles", articles), ("caches", caches), ("codecs", codecs), ("recall", recall), ("methods", methods)):
        if os.path.exists(os.path.join(sys.argv[1], name + ".json")):
            draw(sys.argv[1])
