#!/usr/bin/env python3
"""Writes the seeds of the GGUF fuzzer that hold a model's numbers: tests/fuzz/make_seeds.py"""
import os
import struct

SEEDS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seeds", "gguf")
UINT32, FLOAT32, STRING = 4, 6, 8


def text(s):
    return struct.pack("<Q", len(s)) + s.encode()


def gguf(metadata, tensors):
    out = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(metadata))
    for key, value in metadata.items():
        kind = STRING if isinstance(value, str) else UINT32 if isinstance(value, int) else FLOAT32
        out += text(key) + struct.pack("<I", kind)
        out += text(value) if kind == STRING else struct.pack("<I" if kind == UINT32 else "<f", value)
    offset = 0
    for name, shape in tensors.items():  # f32, fastest dimension first
        out += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
        size = 4
        for n in shape:
            size *= n
        offset += (size + 31) // 32 * 32
    out += bytes(-len(out) % 32)
    return out + bytes(offset)


def numbers(architecture, **more):
    result = {"general.architecture": architecture}
    plain = {"block_count": 2, "context_length": 64, "embedding_length": 8, "feed_forward_length": 24, "attention.head_count": 2}
    for key, value in {**plain, **more}.items():
        result[f"{architecture}.{key}"] = value
    return result


EMBEDDING = {"token_embd.weight": (8, 5)}
FILES = {
    "llama-config.gguf": gguf(
        numbers("llama", **{"attention.head_count_kv": 1, "attention.key_length": 6, "attention.value_length": 6, "rope.dimension_count": 6,
                            "attention.layer_norm_rms_epsilon": 1e-5, "rope.freq_base": 5e5, "attention.sliding_window": 16,
                            "rope.scaling.type": "yarn", "rope.scaling.factor": 4.0, "rope.scaling.original_context_length": 16}),
        {**EMBEDDING, "output.weight": (8, 5)}),
    "qwen2-config.gguf": gguf(
        numbers("qwen2", **{"attention.layer_norm_rms_epsilon": 1e-6, "rope.scaling.type": "linear", "rope.scaling.factor": 2.0}), EMBEDDING),
    "gpt2-config.gguf": gguf(numbers("gpt2", **{"attention.layer_norm_epsilon": 1e-5}), EMBEDDING),
}

if __name__ == "__main__":
    for name, data in FILES.items():
        with open(os.path.join(SEEDS, name), "wb") as f:
            f.write(data)
