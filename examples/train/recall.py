#!/usr/bin/env python3
"""Train a tiny GPT-2 on associative recall and write it in Hugging Face's layout.

A row is  BOS k1 v1 k2 v2 ... kn vn  and then questions  ? ki :  whose answer is vi. The model
is taught to know the answer at ki already and to give it again at the colon: a cache that evicts
between the two is measured by what the colon still finds. Used by bench/recall.

  examples/train/recall.py --out examples/models/recall

Needs PyTorch and safetensors. Stops at --goal accuracy on the longest rows, or after --minutes.
"""
import argparse
import json
import math
import os
import time

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.nn import functional as F

from train import Gpt2

BOS, ASK, COLON, FIRST = 0, 1, 2, 3


def rows(c, generator, batch, pairs, questions):
    """Tokens [batch][length] and targets (-100: not scored)."""
    def draw(*shape, high):
        return torch.randint(high, shape, generator=generator)
    keys = torch.rand(batch, c.symbols, generator=generator).argsort(1)[:, :pairs]
    values = draw(batch, pairs, high=c.symbols)
    facts = torch.stack([FIRST + keys, FIRST + c.symbols + values], 2).view(batch, 2 * pairs)
    asked = draw(batch, questions, high=pairs)
    k, v = FIRST + keys.gather(1, asked), FIRST + c.symbols + values.gather(1, asked)
    ask = torch.stack([torch.full_like(k, ASK), k, torch.full_like(k, COLON)], 2).view(batch, 3 * questions)
    answer = torch.stack([torch.full_like(k, -100), v, v], 2).view(batch, 3 * questions)
    start = torch.full((batch, 1), BOS)
    tokens = torch.cat([start, facts, ask], 1)
    targets = torch.cat([torch.full((batch, 1 + 2 * pairs), -100), answer], 1)
    return tokens, targets


def start_with_induction(model, c):
    """From noise, two heads that work together are found late or never; they are there at the start
    and everything, they too, is trained: head 0 of the first layer looks one token back and hands
    on what it saw, head 0 of the second compares that with its own token."""
    size, first, second = c.width // c.heads, model.h[0].attn, model.h[1].attn.c_attn.weight
    turns = 10.0 ** -torch.linspace(0, 0.7, size // 2)
    at = torch.arange(c.context)[:, None] * turns[None]
    model.wpe.weight.zero_()
    model.wpe.weight[:, :size] = 0.15 * torch.stack([at.sin(), at.cos()], 2).view(c.context, size)
    model.wte.weight.mul_(5.0)
    model.wte.weight[:, :size] = 0.0
    attention = first.c_attn.weight
    for part in (0, c.width):
        attention[:, part:part + size] = 0.0
    for j, turn in enumerate(turns.tolist()):
        s, t = 2 * j, 2 * j + 1
        attention[s, s], attention[t, s] = 4.0 * math.cos(turn), -4.0 * math.sin(turn)
        attention[s, t], attention[t, t] = 4.0 * math.sin(turn), 4.0 * math.cos(turn)
        attention[s, c.width + s] = attention[t, c.width + t] = 4.0
    see, tell = torch.linalg.qr(torch.randn(c.width - size, 2 * size))[0].split(size, dim=1)
    attention[:, 2 * c.width:2 * c.width + size] = 0.0
    attention[size:, 2 * c.width:2 * c.width + size] = see
    first.c_proj.weight[:size] = 0.0
    first.c_proj.weight[:size, size:] = 0.25 * tell.t()
    second[:, :size] = second[:, c.width:c.width + size] = 0.0
    second[size:, :size], second[size:, c.width:c.width + size] = 1.5 * see, 1.5 * tell


def accuracy(model, c, questions):
    generator = torch.Generator().manual_seed(999)
    model.eval()
    with torch.no_grad():
        tokens, targets = rows(c, generator, 64, c.pairs, questions)
        best = model(tokens).argmax(2)
    model.train()
    scored = targets >= 0
    return (best[scored] == targets[scored]).float().mean().item()


def export(state, c, out):
    os.makedirs(out, exist_ok=True)
    tensors = {k: np.ascontiguousarray(v.numpy().astype(np.float16)) for k, v in state.items()}
    save_file(tensors, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})
    config = {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5, "n_embd": c.width, "n_head": c.heads, "n_layer": c.layers,
        "n_positions": c.context, "n_ctx": c.context, "n_inner": None, "vocab_size": c.vocab,
        "bos_token_id": BOS, "eos_token_id": BOS, "tie_word_embeddings": True, "torch_dtype": "float16",
    }
    with open(os.path.join(out, "config.json"), "w") as f:
        json.dump(config, f, indent=2)
        f.write("\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", required=True, help="folder for the model")
    p.add_argument("--layers", type=int, default=3)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--width", type=int, default=128)
    p.add_argument("--symbols", type=int, default=64, help="different keys, and different values")
    p.add_argument("--pairs", type=int, default=64)
    p.add_argument("--batch", type=int, default=32)
    p.add_argument("--rate", type=float, default=1e-3)
    p.add_argument("--goal", type=float, default=0.999)
    p.add_argument("--minutes", type=float, default=60)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--seed", type=int, default=1)
    c = p.parse_args()
    c.dropout, c.vocab, c.context = 0.0, FIRST + 2 * c.symbols, 2 * c.pairs + 32
    torch.manual_seed(c.seed)
    torch.set_num_threads(c.threads)
    generator = torch.Generator().manual_seed(c.seed)
    model = Gpt2(c)
    with torch.no_grad():
        start_with_induction(model, c)
    optimizer = torch.optim.AdamW(model.parameters(), lr=c.rate, betas=(0.9, 0.98), weight_decay=0.01)
    start, step, longest, running = time.time(), 0, 12, []
    while time.time() - start < c.minutes * 60:
        # Short rows first: the match is easier to find among few.
        pairs = int(torch.randint(max(2, longest // 2), longest + 1, (1,), generator=generator))
        tokens, targets = rows(c, generator, c.batch, pairs, 8)
        optimizer.param_groups[0]["lr"] = c.rate * min(1.0, (step + 1) / 100)
        logits = model(tokens)
        scored = targets >= 0
        loss = F.cross_entropy(logits[scored], targets[scored])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        running.append(loss.item())
        step += 1
        if step % 100 == 0:
            mean = sum(running) / len(running)
            running = []
            right = accuracy(model, c, 1)
            print(f"step {step}, up to {longest} pairs, loss {mean:.4f}, accuracy at {c.pairs} pairs {right:.4f}, "
                  f"{time.time() - start:.0f} s", flush=True)
            if mean < 0.3 and longest < c.pairs:
                longest = min(c.pairs, longest * 3 // 2)
            elif longest == c.pairs and right >= c.goal and mean < 0.02:
                break
    export(model.state_dict(), c, c.out)


if __name__ == "__main__":
    main()
