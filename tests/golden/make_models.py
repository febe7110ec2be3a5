#!/usr/bin/env python3
"""Makes models/ and models.json beside this script: random tiny models of every architecture with odd
shapes, as Hugging Face folders and as GGUF files, and their logits from Hugging Face transformers.

  tests/golden/make_models.py         (needs torch, transformers 4.44 or newer, gguf 0.10 or newer)
"""
import json
import os
import shutil

import gguf
import numpy as np
import torch
import transformers as hf

HERE = os.path.dirname(os.path.abspath(__file__))
SMALL = dict(num_hidden_layers=2, vocab_size=41, max_position_embeddings=96, bos_token_id=1, eos_token_id=2)


def llama(**kw):
    return hf.LlamaConfig(**{**SMALL, "hidden_size": 24, "intermediate_size": 40, "num_attention_heads": 3, "num_key_value_heads": 1, "rms_norm_eps": 1e-5, **kw}), hf.LlamaForCausalLM


MODELS = {
    "gptj": (hf.GPTJConfig(n_layer=2, n_head=3, n_embd=36, n_positions=96, rotary_dim=8, vocab_size=41, n_inner=50, bos_token_id=1, eos_token_id=2), hf.GPTJForCausalLM),
    "llama-mqa": llama(),
    "llama-gqa-tied": llama(hidden_size=32, num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True, rope_theta=500.0),
    "llama-mha": llama(num_key_value_heads=3),
    "llama-linear": llama(rope_scaling={"type": "linear", "factor": 4.0}),
    "llama-llama3": llama(hidden_size=48, rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}),
    "llama-yarn": llama(hidden_size=48, rope_scaling={"rope_type": "yarn", "factor": 4.0}),
    "mistral-window": (hf.MistralConfig(**SMALL, hidden_size=28, intermediate_size=36, num_attention_heads=6, num_key_value_heads=3, head_dim=10, sliding_window=7, rms_norm_eps=1e-5), hf.MistralForCausalLM),
    "mistral": (hf.MistralConfig(**SMALL, hidden_size=24, intermediate_size=36, num_attention_heads=4, num_key_value_heads=2, sliding_window=None, tie_word_embeddings=True), hf.MistralForCausalLM),
    "qwen2": (hf.Qwen2Config(**SMALL, hidden_size=24, intermediate_size=36, num_attention_heads=4, num_key_value_heads=2, rope_theta=1e6, tie_word_embeddings=True), hf.Qwen2ForCausalLM),
}
NAMES = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def permuted(w, heads):
    """The row order of queries and keys in GGUF files of Llama: pairs side by side."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(w.shape)


def write_gguf(path, config, state):
    arch = "qwen2" if config.model_type == "qwen2" else "llama"
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    w = gguf.GGUFWriter(path, arch)
    w.add_block_count(config.num_hidden_layers)
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_key_length(head)
    w.add_value_length(head)
    w.add_rope_dimension_count(head)
    w.add_rope_freq_base(float(config.rope_theta))
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    w.add_tokenizer_model("no_vocab")
    if getattr(config, "sliding_window", None) and config.model_type == "mistral":
        w.add_sliding_window(config.sliding_window)
    scaling = getattr(config, "rope_scaling", None) or {}
    kind = scaling.get("rope_type", scaling.get("type"))
    if kind in ("linear", "yarn"):
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR if kind == "linear" else gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(scaling["factor"])
        if kind == "yarn":
            w.add_rope_scaling_orig_ctx_len(config.max_position_embeddings)  # transformers 4.44 knows no other
    if kind == "llama3":  # divisors of the frequencies, as converters write them
        inverse = 1.0 / config.rope_theta ** (np.arange(0, head, 2) / head)
        wavelength = 2 * np.pi / inverse
        low = scaling["original_max_position_embeddings"] / scaling["low_freq_factor"]
        high = scaling["original_max_position_embeddings"] / scaling["high_freq_factor"]
        smooth = (scaling["original_max_position_embeddings"] / wavelength - scaling["low_freq_factor"]) / (scaling["high_freq_factor"] - scaling["low_freq_factor"])
        divisors = np.where(wavelength < high, 1.0, np.where(wavelength > low, scaling["factor"], 1.0 / ((1 - smooth) / scaling["factor"] + smooth)))
        w.add_tensor("rope_freqs.weight", divisors.astype(np.float32))
    for name, tensor in state.items():
        x = tensor.numpy().astype(np.float32)
        if name == "model.embed_tokens.weight":
            w.add_tensor("token_embd.weight", x)
        elif name == "model.norm.weight":
            w.add_tensor("output_norm.weight", x)
        elif name == "lm_head.weight":
            if not config.tie_word_embeddings:
                w.add_tensor("output.weight", x)
        else:
            layer, rest = name[len("model.layers."):].split(".", 1)
            part, kind = rest.rsplit(".", 1)
            if arch == "llama" and NAMES[part] in ("attn_q", "attn_k"):
                x = permuted(x, config.num_attention_heads if NAMES[part] == "attn_q" else config.num_key_value_heads)
            w.add_tensor(f"blk.{layer}.{NAMES[part]}.{kind}", np.ascontiguousarray(x))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    torch.manual_seed(3)
    rng = np.random.default_rng(3)
    out = os.path.join(HERE, "models")
    shutil.rmtree(out, ignore_errors=True)
    golden = {}
    for name, (config, kind) in MODELS.items():
        config._attn_implementation = "eager"
        model = kind(config).eval()
        for p in model.parameters():
            torch.nn.init.normal_(p, std=0.3)
        model.tie_weights()
        model.save_pretrained(os.path.join(out, name))
        os.remove(os.path.join(out, name, "generation_config.json"))
        os.chmod(os.path.join(out, name, "model.safetensors"), 0o644)
        if config.model_type != "gptj":
            write_gguf(os.path.join(out, name + ".gguf"), config, model.state_dict())
        tokens = [int(t) for t in rng.integers(0, 41, 60)]
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0].float().numpy()
        rows = [0, 6, 7, 8, 33, 59]
        golden[name] = {"tokens": tokens, "rows": rows, "logits": [[float(np.float32(x)) for x in logits[r]] for r in rows]}
    with open(os.path.join(HERE, "models.json"), "w") as f:
        json.dump({"versions": {"transformers": hf.__version__}, "models": golden}, f)
        f.write("\n")


if __name__ == "__main__":
    main()
