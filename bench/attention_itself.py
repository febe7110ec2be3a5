#!/usr/bin/env python3
"""Prefill attention as torch does it on the CPU: matmul, mask, softmax, matmul, and its fused attention.
attention_itself.py [ROUNDS]   (needs torch; run beside the program of this name)"""
import statistics
import sys
import time

import torch


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    torch.set_num_threads(2)
    rows = 4096
    for heads, kv_heads, dims in ((9, 3, 64), (8, 2, 128)):
        q, k, v = (torch.randn(n, rows, dims) for n in (heads, kv_heads, kv_heads))
        k, v = (x.repeat_interleave(heads // kv_heads, 0) for x in (k, v))
        mask = torch.full((rows, rows), float("-inf")).triu(1)

        def materialised():
            return torch.softmax(torch.matmul(q * dims ** -0.5, k.transpose(1, 2)).add_(mask), -1) @ v

        def by_head():
            return [torch.softmax(torch.addmm(mask, q[h] * dims ** -0.5, k[h].T), -1) @ v[h] for h in range(heads)]

        def fused():
            return torch.nn.functional.scaled_dot_product_attention(q[None], k[None], v[None], is_causal=True)

        times = {f.__name__: [] for f in (materialised, by_head, fused)}
        with torch.no_grad():
            for r in range(rounds + 1):
                for f in (materialised, by_head, fused):
                    start = time.perf_counter()
                    f()
                    if r:
                        times[f.__name__].append(time.perf_counter() - start)
        print(f"torch {torch.__version__}, 2 threads, {heads}/{kv_heads} x {dims}, {rows} rows: " +
              ", ".join(f"{name} {1e3 * statistics.median(t):.1f} ms" for name, t in times.items()), flush=True)


if __name__ == "__main__":
    main()
