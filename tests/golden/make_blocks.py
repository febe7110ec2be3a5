#!/usr/bin/env python3
"""Write blocks.json: random blocks of every format and the numbers they stand for, and the blocks
that ggml's reference quantiser makes, from the Python package gguf (PyPI). make_blocks.py OUT"""
import json
import sys

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import quants

SCALES = {  # byte offsets of f16 scales in a block
    "Q8_0": (34, 32, [0]), "Q4_0": (18, 32, [0]), "Q4_1": (20, 32, [0, 2]), "Q5_0": (22, 32, [0]),
    "Q5_1": (24, 32, [0, 2]), "Q2_K": (84, 256, [80, 82]), "Q3_K": (110, 256, [108]),
    "Q4_K": (144, 256, [0, 2]), "Q5_K": (176, 256, [0, 2]), "Q6_K": (210, 256, [208]),
    "IQ4_NL": (18, 32, [0]), "IQ4_XS": (136, 256, [0]),
    "MXFP4": (17, 32, []),
}


def main():
    rng = np.random.default_rng(1)
    decode, encode = {}, {}
    for name, (size, values, scales) in SCALES.items():
        blocks = rng.integers(0, 256, (2, size), dtype=np.uint8)
        for at in scales:
            blocks[:, at:at + 2] = rng.uniform(-0.1, 0.1, (2, 1)).astype("<f2").view(np.uint8)
        if name == "MXFP4":
            blocks[:, 0] = rng.integers(100, 130, 2)
        x = quants.dequantize(blocks, T[name]).astype("<f4")
        decode[name.lower()] = {"blocks": blocks.tobytes().hex(), "values": x.tobytes().hex()}
    for name in ("Q8_0", "Q4_0", "Q4_1"):
        x = rng.normal(0, 1, (1, 128)).astype("<f4")
        x[0, 32:64] = 0
        encode[name.lower()] = {"values": x.tobytes().hex(), "blocks": quants.quantize(x, T[name]).tobytes().hex()}
    with open(sys.argv[1], "w") as f:
        json.dump({"decode": decode, "encode": encode}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
