#!/usr/bin/env python3
"""Train a small GPT-2 on any text file and write it in Hugging Face's layout.

The model folder gets config.json, model.safetensors (f16), tokenizer.json and
generation_config.json, which `generate --model FOLDER` and transformers both load.

  examples/train/train.py --text shakespeare.txt --out examples/models/shakespeare

Needs PyTorch (Debian: python3-torch is enough) and the packages `tokenizers` and
`safetensors` from PyPI. Stops when the validation loss has not improved for
--patience evaluations, or after --minutes. Run it again to resume: everything it
needs is in OUT.checkpoint.pt beside the model folder.
"""
import argparse
import json
import math
import os
import time

import numpy as np
import torch
from safetensors.numpy import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch import nn
from torch.nn import functional as F

END_OF_TEXT = "<|endoftext|>"


def train_tokenizer(text, vocab):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    return tokenizer


class Conv1D(nn.Module):
    """GPT-2's linear layer, stored [in, out]."""

    def __init__(self, n_out, n_in, std):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out) * std)
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x):
        return F.linear(x, self.weight.t(), self.bias)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.c_attn = Conv1D(3 * c.width, c.width, 0.02)
        self.c_proj = Conv1D(c.width, c.width, 0.02 / math.sqrt(2 * c.layers))

    def forward(self, x, mask):
        b, t, d = x.shape
        h = self.c.heads
        q, k, v = self.c_attn(x).split(d, dim=2)
        q, k, v = (y.view(b, t, h, d // h).transpose(1, 2) for y in (q, k, v))
        s = q @ k.transpose(2, 3) / math.sqrt(d // h) + mask[:t, :t]
        p = F.dropout(F.softmax(s, dim=-1), self.c.dropout, self.training)
        return self.c_proj((p @ v).transpose(1, 2).reshape(b, t, d))


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c_fc = Conv1D(4 * c.width, c.width, 0.02)
        self.c_proj = Conv1D(c.width, 4 * c.width, 0.02 / math.sqrt(2 * c.layers))

    def forward(self, x):
        h = self.c_fc(x)
        h = 0.5 * h * (1 + torch.tanh(math.sqrt(2 / math.pi) * (h + 0.044715 * h * h * h)))
        return self.c_proj(h)


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.ln_1 = nn.LayerNorm(c.width)
        self.attn = Attention(c)
        self.ln_2 = nn.LayerNorm(c.width)
        self.mlp = Mlp(c)

    def forward(self, x, mask):
        x = x + F.dropout(self.attn(self.ln_1(x), mask), self.c.dropout, self.training)
        return x + F.dropout(self.mlp(self.ln_2(x)), self.c.dropout, self.training)


class Gpt2(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.wte = nn.Embedding(c.vocab, c.width)
        self.wpe = nn.Embedding(c.context, c.width)
        nn.init.normal_(self.wte.weight, std=0.02)
        nn.init.normal_(self.wpe.weight, std=0.02)
        self.h = nn.ModuleList(Block(c) for _ in range(c.layers))
        self.ln_f = nn.LayerNorm(c.width)
        causal = torch.full((c.context, c.context), float("-inf")).triu(1)
        self.register_buffer("causal", causal, persistent=False)

    def forward(self, tokens):
        t = tokens.shape[1]
        x = self.wte(tokens) + self.wpe(torch.arange(t))
        x = F.dropout(x, self.c.dropout, self.training)
        for block in self.h:
            x = block(x, self.causal)
        return F.linear(self.ln_f(x), self.wte.weight)


def loss_of(model, batch):
    logits = model(batch[:, :-1])
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), batch[:, 1:].reshape(-1))


def export(state, c, tokenizer, out):
    os.makedirs(out, exist_ok=True)
    tensors = {k: np.ascontiguousarray(v.numpy().astype(np.float16)) for k, v in state.items()}
    save_file(tensors, os.path.join(out, "model.safetensors"), metadata={"format": "pt"})
    config = {
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2",
        "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
        "n_embd": c.width, "n_head": c.heads, "n_layer": c.layers, "n_positions": c.context,
        "n_ctx": c.context, "n_inner": None, "vocab_size": c.vocab,
        "bos_token_id": 0, "eos_token_id": 0, "tie_word_embeddings": True,
        "attn_pdrop": c.dropout, "embd_pdrop": c.dropout, "resid_pdrop": c.dropout,
        "torch_dtype": "float16",
    }
    with open(os.path.join(out, "config.json"), "w") as f:
        json.dump(config, f, indent=2)
        f.write("\n")
    with open(os.path.join(out, "generation_config.json"), "w") as f:
        json.dump({"bos_token_id": 0, "eos_token_id": 0}, f, indent=2)
        f.write("\n")
    tokenizer.save(os.path.join(out, "tokenizer.json"))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--text", required=True, help="training text, UTF-8")
    p.add_argument("--out", required=True, help="folder for the model")
    p.add_argument("--layers", type=int, default=6)
    p.add_argument("--heads", type=int, default=6)
    p.add_argument("--width", type=int, default=192)
    p.add_argument("--vocab", type=int, default=1024)
    p.add_argument("--context", type=int, default=512)
    p.add_argument("--batch", type=int, default=8)
    p.add_argument("--length", type=int, default=256, help="tokens in a training row; every fourth batch uses the whole context")
    p.add_argument("--rate", type=float, default=1.5e-3)
    p.add_argument("--dropout", type=float, default=0.15)
    p.add_argument("--decay", type=float, default=0.1)
    p.add_argument("--steps", type=int, default=3200, help="length of the cosine schedule")
    p.add_argument("--minutes", type=float, default=120)
    p.add_argument("--patience", type=int, default=6)
    p.add_argument("--every", type=int, default=100, help="steps between evaluations")
    p.add_argument("--seed", type=int, default=1)
    c = p.parse_args()

    torch.manual_seed(c.seed)
    with open(c.text, encoding="utf-8") as f:
        text = f.read()
    cut = int(len(text) * 0.95)
    checkpoint = c.out.rstrip("/") + ".checkpoint.pt"
    resumed = torch.load(checkpoint) if os.path.exists(checkpoint) else None
    tokenizer = Tokenizer.from_str(resumed["tokenizer"]) if resumed else train_tokenizer(text[:cut], c.vocab)
    c.vocab = tokenizer.get_vocab_size()
    train = torch.tensor(tokenizer.encode(text[:cut]).ids)
    valid = torch.tensor(tokenizer.encode(text[cut:]).ids)
    rows = (len(valid) - 1) // c.context
    valid_rows = torch.stack([valid[i * c.context:(i + 1) * c.context + 1] for i in range(rows)])

    model = Gpt2(c)
    decay = [w for w in model.parameters() if w.dim() == 2]
    plain = [w for w in model.parameters() if w.dim() != 2]
    optimizer = torch.optim.AdamW(
        [{"params": decay, "weight_decay": c.decay}, {"params": plain, "weight_decay": 0.0}],
        lr=c.rate, betas=(0.9, 0.98))
    step, best, bad, spent = 0, float("inf"), 0, 0.0
    if resumed:
        model.load_state_dict(resumed["model"])
        optimizer.load_state_dict(resumed["optimizer"])
        step, best, bad, spent = (resumed[k] for k in ("step", "best", "bad", "spent"))
        torch.set_rng_state(resumed["rng"])
    count = sum(w.numel() for w in model.parameters())
    print(f"{count:,} parameters, {len(train):,} training and {len(valid):,} validation tokens, step {step}", flush=True)

    start = time.time() - spent
    running = []
    while step < c.steps and bad < c.patience and time.time() - start < c.minutes * 60:
        rate = c.rate * min(1, (step + 1) / 100) * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / c.steps)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        long = step % 4 == 3
        length, batch = (c.context, max(1, c.batch * c.length // c.context)) if long else (c.length, c.batch)
        starts = torch.randint(len(train) - length - 1, (batch,))
        rows = torch.stack([train[s:s + length + 1] for s in starts])
        model.train()
        loss = loss_of(model, rows)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        running.append(loss.item())
        step += 1
        if step % c.every == 0 or step == c.steps:
            model.eval()
            with torch.no_grad():
                value = float(np.mean([loss_of(model, valid_rows[i:i + 4]).item() for i in range(0, len(valid_rows), 4)]))
            better = value < best
            best, bad = (value, 0) if better else (best, bad + 1)
            if better:
                export(model.state_dict(), c, tokenizer, c.out)
            spent = time.time() - start
            print(f"step {step:5d}  train {np.mean(running):.4f}  valid {value:.4f}{' *' if better else ''}  "
                  f"rate {rate:.2e}  {spent / 60:.1f} min", flush=True)
            running = []
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "best": best,
                        "bad": bad, "spent": spent, "rng": torch.get_rng_state(), "tokenizer": tokenizer.to_str()},
                       checkpoint + ".new")
            os.replace(checkpoint + ".new", checkpoint)
    print(f"best validation loss {best:.4f} nats a token; model in {c.out}")


if __name__ == "__main__":
    main()
