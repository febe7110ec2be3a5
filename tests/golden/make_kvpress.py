#!/usr/bin/env python3
"""Writes kvpress.json: the rows that the presses of PyPI's kvpress keep of tensors that any language can make again.

Usage: make_kvpress.py   (needs torch, transformers and kvpress 0.5.5; kvpress's own requirements are not
needed: its presses are imported one by one, and what loads data sets is stood in for)
"""
import json
import pathlib
import sys
import types

import torch

HEADS, KV_HEADS, DIMS, LAYERS, THETA = 6, 2, 16, 6, 10000.0
MASK = (1 << 64) - 1


def presses():
    """The modules of kvpress without its package, which imports pipelines and data sets."""
    import importlib
    import importlib.util
    found = importlib.util.find_spec("kvpress")
    package = types.ModuleType("kvpress")
    package.__path__ = list(found.submodule_search_locations)
    sys.modules["kvpress"] = package
    for name in ("datasets", "cachetools", "requests"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["datasets"].load_dataset = None
    sys.modules["cachetools"].LRUCache = dict
    sys.modules["cachetools"].cached = lambda *a, **k: lambda f: f
    if not hasattr(dict, "maxsize"):
        sys.modules["cachetools"].LRUCache = lambda maxsize: {}
    load = lambda name: importlib.import_module(f"kvpress.presses.{name}_press")
    return {name: load(name) for name in
            ("keydiff", "expected_attention", "snapkv", "adakv", "pyramidkv", "observed_attention", "duo_attention")}


def numbers(seed, *shape):
    """Sums of four 16-bit numbers of splitmix64: near normal, exact in any float."""
    count = 1
    for n in shape:
        count *= n
    values = []
    for i in range(count):
        z = (seed * 0x9E3779B97F4A7C15 + (i + 1) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        z ^= z >> 31
        parts = sum((z >> shift) & 0xFFFF for shift in (0, 16, 32, 48))
        values.append((parts - 131070) / 32768)
    return torch.tensor(values, dtype=torch.float64).reshape(shape)


def rotary(positions):
    frequencies = 1.0 / THETA ** (torch.arange(0, DIMS, 2, dtype=torch.float64) / DIMS)
    angles = positions[..., None].double() * frequencies
    angles = torch.cat((angles, angles), -1)
    return angles.cos(), angles.sin()


def rotated(x, cos, sin):
    half = torch.cat((-x[..., DIMS // 2:], x[..., :DIMS // 2]), -1)
    return x * cos + half * sin


class Layer(torch.nn.Module):
    """As much of a Llama attention layer as presses look at: the hidden states are its queries."""

    def __init__(self, index):
        super().__init__()
        self.config = types.SimpleNamespace(num_attention_heads=HEADS, num_key_value_heads=KV_HEADS,
                                            num_hidden_layers=LAYERS, _attn_implementation="sdpa")
        self.head_dim = DIMS
        self.layer_idx = index
        self.q_proj = torch.nn.Identity()
        self.rotary_emb = lambda x, positions: rotary(positions)


def kept_of(press, layer, q, k, v, kwargs, attentions=None):
    """Positions by head: each key row carries its number in a value of its own."""
    n = k.shape[2]
    marked = torch.arange(n, dtype=torch.float64).reshape(1, 1, n, 1).expand(1, KV_HEADS, n, DIMS)
    scores = press.score(layer, q, k, v, attentions, kwargs)
    with_marks = type("Marked", (type(press),), {"score": lambda self, *a: scores.clone()})(**press.__dict__)
    _, kept = with_marks.compress(layer, q, k, marked, attentions, kwargs)
    return [sorted(int(x) for x in kept[0, h, :, 0]) for h in range(KV_HEADS)], scores


def left_of(layer, n):
    """Positions by head that a press's mask leaves."""
    _, heads, rows = layer.masked_key_indices
    gone = set(zip(heads.tolist(), rows.tolist()))
    return [[j for j in range(n) if (h, j) not in gone] for h in range(KV_HEADS)]


def short(scores):
    return [[float(f"{x:.6g}") for x in head] for head in scores[0].tolist()]


def main():
    p = presses()
    cases = []
    for seed, n, ratio, window in ((1, 96, 0.5, 16), (2, 132, 0.75, 8), (3, 64, 0.375, 12)):
        flat = numbers(seed * 10, n, HEADS * DIMS)
        q = flat.reshape(1, n, HEADS * DIMS)
        k = numbers(seed * 10 + 1, n, KV_HEADS, DIMS).permute(1, 0, 2)[None]
        v = numbers(seed * 10 + 2, n, KV_HEADS, DIMS).permute(1, 0, 2)[None]
        # A direction of their own, without which random keys have no mean to be near to.
        k = k + 0.5
        cos, sin = rotary(torch.arange(n)[None])
        kwargs = {"position_embeddings": (cos, sin)}
        turned = rotated(q.reshape(1, n, HEADS, DIMS).transpose(1, 2), cos[:, None], sin[:, None])
        logits = turned @ k.repeat_interleave(HEADS // KV_HEADS, 1).transpose(2, 3) / DIMS ** 0.5
        logits = logits + torch.full((n, n), float("-inf"), dtype=torch.float64).triu(1)
        attentions = logits.softmax(-1)
        case = {"seed": seed, "rows": n, "budget": int(n * (1 - ratio)), "window": window}
        first = seed == 1

        def add(name, press, scores=True, attention=None):
            kept, s = kept_of(press, Layer(0), q, k, v, kwargs, attention)
            case[name] = {"kept": kept}
            if first and scores:
                case[name]["scores"] = short(s)

        add("keydiff", p["keydiff"].KeyDiffPress(ratio))
        add("expected", p["expected_attention"].ExpectedAttentionPress(ratio))
        snap = p["snapkv"].SnapKVPress(ratio, window_size=window, kernel_size=5)
        add("snapkv", snap)
        add("observed", p["observed_attention"].ObservedAttentionPress(ratio), attention=attentions)
        for name, inner in (("adakv", snap), ("adakv_expected", p["expected_attention"].ExpectedAttentionPress(ratio))):
            layer = Layer(0)
            p["adakv"].AdaKVPress(inner, alpha_safeguard=0.2).compress(layer, q, k, v, None, kwargs)
            case[name] = {"kept": left_of(layer, n)}
        pyramid = []
        for index in range(LAYERS):
            press = p["pyramidkv"].PyramidKVPress(ratio, window_size=4, kernel_size=5, beta=4)
            pyramid.append(press.get_layer_budget(Layer(index), n))
            if index in (1, 4):
                case[f"pyramidkv_{index}"] = {"kept": kept_of(press, Layer(index), q, k, v, kwargs)[0]}
        case["pyramidkv_budgets"] = pyramid
        duo = p["duo_attention"].DuoAttentionPress(0.5)
        duo.sink_size, duo.recent_size = 4, 10
        duo.streaming_mask = torch.tensor([[False, True]])
        layer = Layer(0)
        duo.compress(layer, q, k, v, None, kwargs)
        case["duo"] = {"kept": left_of(layer, n)}
        cases.append(case)
    path = pathlib.Path(__file__).with_name("kvpress.json")
    path.write_text(json.dumps({"kvpress": "0.5.5", "heads": HEADS, "kv_heads": KV_HEADS, "dims": DIMS,
                                "layers": LAYERS, "theta": THETA, "cases": cases},
                               separators=(",", ":")) + "\n")
    print(path, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
