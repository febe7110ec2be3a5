#!/usr/bin/env python3
"""Makes architectures/ and architectures.json beside this script: random tiny models of every dense
architecture with odd shapes, as Hugging Face folders (weights in f16) and, where llama.cpp has the
architecture, as GGUF files whose tensor names come from the package gguf; and their logits from Hugging
Face transformers on those weights in float32.

  tests/golden/make_architectures.py [NAME...]      (needs torch, transformers 5.24 or newer, gguf 0.17 or newer)
"""
import json
import math
import os
import shutil
import sys

import gguf
import numpy as np
import safetensors.torch
import torch
import transformers as hf

HERE = os.path.dirname(os.path.abspath(__file__))
WORDS = 41
SMALL = dict(vocab_size=WORDS, bos_token_id=1, eos_token_id=2, pad_token_id=0)
BASE = dict(SMALL, num_hidden_layers=2, max_position_embeddings=96, hidden_size=24, intermediate_size=20,
            num_attention_heads=4, num_key_value_heads=2)
A = gguf.MODEL_ARCH


def of(config, model, arch=None, **options):
    return dict(config=config, model=model, arch=arch, **options)


def yarn(theta, factor, original, **more):
    return {"rope_type": "yarn", "rope_theta": theta, "factor": factor, "original_max_position_embeddings": original, "beta_fast": 32.0, "beta_slow": 1.0, **more}


def longrope(partial):
    return {"rope_type": "longrope", "rope_theta": 1000.0, "partial_rotary_factor": partial, "short_factor": [1.0, 1.1, 1.3], "long_factor": [1.5, 2.5, 4.25]}


MODELS = {
    "llama-longrope": lambda: of(hf.LlamaConfig(**BASE, rope_parameters={**longrope(1.0), "original_max_position_embeddings": 24, "factor": 4.0}), hf.LlamaForCausalLM, A.LLAMA),
    "mistral-longrope-near": lambda: of(hf.MistralConfig(**BASE, head_dim=6, sliding_window=7, tie_word_embeddings=True, rope_parameters={**longrope(1.0), "original_max_position_embeddings": 64, "attention_factor": 1.3}), hf.MistralForCausalLM),
    "qwen2-yarn-ramp": lambda: of(hf.Qwen2Config(**{**BASE, "hidden_size": 64}, rope_parameters=yarn(1500.0, 8.0, 24, truncate=False)), hf.Qwen2ForCausalLM),
    "qwen3": lambda: of(hf.Qwen3Config(**BASE, head_dim=10, rope_theta=300.0), hf.Qwen3ForCausalLM, A.QWEN3),
    "qwen3-bias-tied": lambda: of(hf.Qwen3Config(**{**BASE, "num_key_value_heads": 1}, head_dim=6, attention_bias=True, tie_word_embeddings=True), hf.Qwen3ForCausalLM),
    "qwen3-window": lambda: of(hf.Qwen3Config(**{**BASE, "num_hidden_layers": 3}, head_dim=8, use_sliding_window=True, sliding_window=5, max_window_layers=1), hf.Qwen3ForCausalLM),
    "mixtral": lambda: of(hf.MixtralConfig(**BASE, num_local_experts=5), hf.MixtralForCausalLM, A.LLAMA),
    "mixtral-window": lambda: of(hf.MixtralConfig(**{**BASE, "num_key_value_heads": 4}, num_local_experts=3, num_experts_per_tok=3, sliding_window=7), hf.MixtralForCausalLM),
    "qwen3-moe": lambda: of(hf.Qwen3MoeConfig(**BASE, head_dim=8, num_experts=6, num_experts_per_tok=3, moe_intermediate_size=12, norm_topk_prob=True), hf.Qwen3MoeForCausalLM, A.QWEN3MOE),
    "qwen3-moe-mixed": lambda: of(hf.Qwen3MoeConfig(**{**BASE, "num_hidden_layers": 4}, num_experts=4, num_experts_per_tok=1, moe_intermediate_size=8, decoder_sparse_step=2, mlp_only_layers=[1], norm_topk_prob=False, attention_bias=True), hf.Qwen3MoeForCausalLM),
    "gemma2": lambda: of(hf.Gemma2Config(**{**BASE, "num_hidden_layers": 3}, head_dim=10, sliding_window=6, query_pre_attn_scalar=10, attn_logit_softcapping=3.0, final_logit_softcapping=4.0), hf.Gemma2ForCausalLM, A.GEMMA2),
    "gemma2-scalar": lambda: of(hf.Gemma2Config(**BASE, head_dim=8, sliding_window=7, query_pre_attn_scalar=13, final_logit_softcapping=None), hf.Gemma2ForCausalLM),
    "gemma3": lambda: of(hf.Gemma3TextConfig(**{**BASE, "num_hidden_layers": 7}, head_dim=10, sliding_window=6, query_pre_attn_scalar=10), hf.Gemma3ForCausalLM, A.GEMMA3),
    "gemma3-pictures": lambda: of(hf.Gemma3TextConfig(**{**BASE, "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 4}, head_dim=6, sliding_window=6, sliding_window_pattern=2), hf.Gemma3ForCausalLM, pictures="language_model."),
    "phi3": lambda: of(hf.Phi3Config(**BASE, sliding_window=None), hf.Phi3ForCausalLM, A.PHI3),
    "phi3-partial": lambda: of(hf.Phi3Config(**{**BASE, "hidden_size": 32, "num_key_value_heads": 1}, partial_rotary_factor=0.75, sliding_window=9, tie_word_embeddings=True), hf.Phi3ForCausalLM),
    "phi3-longrope": lambda: of(hf.Phi3Config(**{**BASE, "hidden_size": 32}, partial_rotary_factor=0.75, sliding_window=None, original_max_position_embeddings=24, rope_scaling=longrope(0.75)), hf.Phi3ForCausalLM, A.PHI3),
    "phi3-longrope-near": lambda: of(hf.Phi3Config(**BASE, sliding_window=None, original_max_position_embeddings=64, rope_scaling=longrope(1.0)), hf.Phi3ForCausalLM, A.PHI3),
    "smollm3": lambda: of(hf.SmolLM3Config(**{**BASE, "num_hidden_layers": 5}), hf.SmolLM3ForCausalLM, A.SMOLLM3),
    "smollm3-list": lambda: of(hf.SmolLM3Config(**{**BASE, "num_hidden_layers": 3}, no_rope_layers=[0, 1, 0], use_sliding_window=True, sliding_window=5, attention_bias=True, mlp_bias=True), hf.SmolLM3ForCausalLM),
    "olmo2": lambda: of(hf.Olmo2Config(**BASE, rope_theta=500.0), hf.Olmo2ForCausalLM, A.OLMO2),
    "olmo3": lambda: of(hf.Olmo3Config(**{**BASE, "num_hidden_layers": 5, "max_position_embeddings": 128}, sliding_window=6, rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32, "attention_factor": 1.2, "beta_fast": 16.0, "beta_slow": 1.0}), hf.Olmo3ForCausalLM),
    "olmo3-marks": lambda: of(hf.Olmo3Config(**{**BASE, "num_hidden_layers": 3}, sliding_window=6, layer_types=["full_attention", "sliding_attention", "full_attention"], rope_parameters={"rope_type": "default", "rope_theta": 700.0}), hf.Olmo3ForCausalLM, A.OLMO2),
    "granite": lambda: of(hf.GraniteConfig(**BASE, embedding_multiplier=3.0, residual_multiplier=0.4, attention_multiplier=0.3, logits_scaling=2.5, tie_word_embeddings=True), hf.GraniteForCausalLM, A.GRANITE),
    "granite-bias": lambda: of(hf.GraniteConfig(**BASE, attention_bias=True, mlp_bias=True), hf.GraniteForCausalLM),
    "gpt-neox": lambda: of(hf.GPTNeoXConfig(**{k: v for k, v in BASE.items() if k != "num_key_value_heads"}, rotary_pct=0.7), hf.GPTNeoXForCausalLM, A.GPTNEOX),
    "gpt-neox-serial": lambda: of(hf.GPTNeoXConfig(**{k: v for k, v in BASE.items() if k != "num_key_value_heads"}, rotary_pct=1.0, use_parallel_residual=False, attention_bias=False, hidden_act="gelu_new"), hf.GPTNeoXForCausalLM),
    "gpt-bigcode": lambda: of(hf.GPTBigCodeConfig(**SMALL, n_positions=96, n_embd=24, n_layer=2, n_head=4), hf.GPTBigCodeForCausalLM, A.STARCODER),
    "gpt-bigcode-heads": lambda: of(hf.GPTBigCodeConfig(**SMALL, n_positions=96, n_embd=24, n_layer=2, n_head=3, n_inner=50, multi_query=False), hf.GPTBigCodeForCausalLM),
    "starcoder2": lambda: of(hf.Starcoder2Config(**BASE), hf.Starcoder2ForCausalLM, A.STARCODER2),
    "starcoder2-window": lambda: of(hf.Starcoder2Config(**BASE, sliding_window=6, use_bias=False, tie_word_embeddings=False), hf.Starcoder2ForCausalLM),
    "cohere": lambda: of(hf.CohereConfig(**BASE, logit_scale=0.4), hf.CohereForCausalLM, A.COMMAND_R),
    "cohere-norms": lambda: of(hf.CohereConfig(**BASE, use_qk_norm=True), hf.CohereForCausalLM, A.COMMAND_R),
    "stablelm": lambda: of(hf.StableLmConfig(**{**BASE, "hidden_size": 32}, partial_rotary_factor=0.5, use_qkv_bias=True), hf.StableLmForCausalLM, A.STABLELM),
    "stablelm-parallel": lambda: of(hf.StableLmConfig(**{**BASE, "hidden_size": 32}, use_parallel_residual=True, qk_layernorm=True), hf.StableLmForCausalLM, A.STABLELM),
    "bloom": lambda: of(hf.BloomConfig(**SMALL, hidden_size=24, n_layer=2, n_head=6), hf.BloomForCausalLM, A.BLOOM),
    "bloom-normed": lambda: of(hf.BloomConfig(**SMALL, hidden_size=24, n_layer=2, n_head=3, apply_residual_connection_post_layernorm=True), hf.BloomForCausalLM),
    "mpt": lambda: of(hf.MptConfig(**SMALL, d_model=24, n_heads=3, n_layers=2, max_seq_len=96), hf.MptForCausalLM, A.MPT),
    "mpt-clip": lambda: of(hf.MptConfig(**SMALL, d_model=24, n_heads=4, n_layers=2, max_seq_len=96, attn_config={"clip_qkv": 1.5}), hf.MptForCausalLM, A.MPT),
    "gpt-oss": lambda: of(hf.GptOssConfig(**{**BASE, "num_hidden_layers": 3}, head_dim=6, num_local_experts=5, num_experts_per_tok=3, sliding_window=6, rope_parameters=yarn(1500.0, 8.0, 24, truncate=False)), hf.GptOssForCausalLM, A.GPT_OSS),
    "gpt-oss-other": lambda: of(hf.GptOssConfig(**{**BASE, "num_key_value_heads": 1}, head_dim=10, num_local_experts=3, num_experts_per_tok=3, sliding_window=5, layer_types=["full_attention", "sliding_attention"], attention_bias=False, swiglu_limit=0.4, swiglu_alpha=1.3, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 300.0}), hf.GptOssForCausalLM),
    "gpt-oss-mxfp4": lambda: of(hf.GptOssConfig(**{**BASE, "hidden_size": 64, "intermediate_size": 32}, head_dim=8, num_local_experts=4, num_experts_per_tok=2, sliding_window=7, rope_parameters=yarn(150000.0, 32.0, 32, truncate=False)), hf.GptOssForCausalLM, A.GPT_OSS, mxfp4=True),
    "mpt-scale": lambda: of(hf.MptConfig(**SMALL, d_model=24, n_heads=4, n_layers=2, max_seq_len=96, attn_config={"softmax_scale": 0.3}), hf.MptForCausalLM),
}


def permuted(w, heads):
    """The row order of queries and keys in GGUF files of Llama's kin: pairs side by side."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(w.shape)


def by_part(w, heads):
    """Rows of queries, keys, values of a head in turn, to all queries, all keys, all values."""
    return w.reshape(heads, 3, w.shape[0] // heads // 3, -1).swapaxes(0, 1).reshape(w.shape)


def numbers(w, arch, c):
    """The metadata that converters write."""
    get = lambda *names, default=None: next((getattr(c, n) for n in names if getattr(c, n, None) is not None), default)
    heads = get("num_attention_heads", "n_head", "n_heads")
    width = get("hidden_size", "n_embd", "d_model")
    kv = 1 if arch == A.STARCODER else get("num_key_value_heads", default=heads)
    head = get("head_dim", default=width // heads)
    w.add_block_count(get("num_hidden_layers", "n_layer", "n_layers"))
    w.add_context_length(get("max_position_embeddings", "n_positions", "max_seq_len", default=width))
    w.add_embedding_length(width)
    w.add_feed_forward_length(get("intermediate_size", "n_inner", default=4 * width))
    w.add_head_count(heads)
    if arch not in (A.GPTNEOX, A.BLOOM, A.MPT):
        w.add_head_count_kv(kv)
    if arch in (A.QWEN3MOE, A.GPT_OSS) or c.model_type == "mixtral":
        w.add_expert_count(get("num_local_experts", "num_experts"))
        w.add_expert_used_count(c.num_experts_per_tok)
    if arch in (A.QWEN3MOE, A.GPT_OSS):
        w.add_expert_feed_forward_length(get("moe_intermediate_size", "intermediate_size"))
    if arch in (A.QWEN3, A.QWEN3MOE, A.GEMMA2, A.GEMMA3, A.GPT_OSS):
        w.add_key_length(head)
        w.add_value_length(head)
    rms = get("rms_norm_eps")
    if rms is not None:
        w.add_layer_norm_rms_eps(rms)
    else:
        w.add_layer_norm_eps(get("layer_norm_eps", "norm_epsilon", "layer_norm_epsilon"))
    rope = getattr(c, "rope_parameters", None) or {}
    full = rope.get("full_attention", rope)
    if "rope_theta" in full:
        w.add_rope_freq_base(float(full["rope_theta"]))
        if arch not in (A.GEMMA2, A.GEMMA3):
            w.add_rope_dimension_count(int(head * full.get("partial_rotary_factor", 1.0)))
    if full.get("rope_type") == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(full["factor"])
        w.add_rope_scaling_orig_ctx_len(full["original_max_position_embeddings"])
    if full.get("rope_type") == "longrope":
        original = full["original_max_position_embeddings"]
        w.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        scale = c.max_position_embeddings / original
        w.add_rope_scaling_orig_ctx_len(original)
        w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(scale) / math.log(original)))
        for name in ("long", "short"):
            w.add_tensor(f"rope_factors_{name}.weight", np.array(full[name + "_factor"], np.float32))
    w.add_tokenizer_model("no_vocab")
    if arch == A.GEMMA2:
        w.add_attn_logit_softcapping(c.attn_logit_softcapping)
        w.add_final_logit_softcapping(c.final_logit_softcapping)
    if arch in (A.GEMMA2, A.GEMMA3, A.GPT_OSS):
        w.add_sliding_window(c.sliding_window)
    if arch == A.OLMO2 and getattr(c, "sliding_window", None):
        w.add_sliding_window(c.sliding_window)
        w.add_sliding_window_pattern([kind == "sliding_attention" for kind in c.layer_types])
    if arch == A.GRANITE:
        w.add_embedding_scale(c.embedding_multiplier)
        w.add_residual_scale(c.residual_multiplier)
        w.add_attention_scale(c.attention_multiplier)
        w.add_logit_scale(c.logits_scaling)
    if arch == A.COMMAND_R:
        w.add_logit_scale(c.logit_scale)
    if arch in (A.GPTNEOX, A.STABLELM):
        w.add_parallel_residual(c.use_parallel_residual)
    if arch == A.MPT:
        w.add_max_alibi_bias(8.0)
        if c.attn_config.clip_qkv:
            w.add_clamp_kqv(c.attn_config.clip_qkv)


FP4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)


def to_mxfp4(x):
    """Codes and scale bytes of the nearest MXFP4 numbers of rows of x."""
    x = x.reshape(*x.shape[:-1], -1, 32)
    scale = np.clip(np.floor(np.log2(np.abs(x).max(-1))) - 2, -127, 120)
    codes = np.abs(x[..., None] / 2.0 ** scale[..., None, None] - FP4).argmin(-1).astype(np.uint8)
    return codes, (scale + 127).astype(np.uint8)


def from_mxfp4(codes, scales):
    x = FP4[codes] * np.exp2(scales.astype(np.float32) - 127)[..., None]
    return x.reshape(*x.shape[:-2], -1)


def pack_experts(state):
    """Rounds a gpt-oss's experts to MXFP4, in place; beside them how the published files hold them."""
    files = {}
    for name, tensor in state.items():
        if not name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            files[name] = tensor
            continue
        codes, scales = to_mxfp4(tensor.float().numpy().swapaxes(1, 2))
        tensor.copy_(torch.from_numpy(np.ascontiguousarray(from_mxfp4(codes, scales).swapaxes(1, 2))))
        files[name + "_blocks"] = torch.from_numpy(np.ascontiguousarray(codes[..., 0::2] | codes[..., 1::2] << 4))
        files[name + "_scales"] = torch.from_numpy(np.ascontiguousarray(scales))
    return files


def add_gpt_oss_experts(w, name, x, mxfp4):
    """The experts of a layer as the converter writes them: gate and up apart, [out][in]."""
    layer = name.split(".layers.")[1].split(".")[0]
    kind = "bias" if name.endswith("_bias") else "weight"
    x = x if kind == "bias" else x.swapaxes(1, 2)
    parts = {"gate": x[:, 0::2], "up": x[:, 1::2]} if "gate_up" in name else {"down": x}
    for part, of_all in parts.items():
        to = f"blk.{layer}.ffn_{part}_exps.{kind}"
        if kind == "weight" and mxfp4:
            codes, scales = to_mxfp4(of_all)
            blocks = np.concatenate([scales[..., None], codes[..., :16] | codes[..., 16:] << 4], -1)
            w.add_tensor(to, np.ascontiguousarray(blocks.reshape(*blocks.shape[:-2], -1)), raw_dtype=gguf.GGMLQuantizationType.MXFP4)
        else:
            w.add_tensor(to, np.ascontiguousarray(of_all if kind == "bias" else of_all.astype(np.float16)))


def write_gguf(path, arch, c, state, mxfp4=False):
    heads = getattr(c, "num_attention_heads", None) or getattr(c, "n_head", None) or c.n_heads
    kv = getattr(c, "num_key_value_heads", None) or heads
    layers = getattr(c, "num_hidden_layers", None) or getattr(c, "n_layer", None) or c.n_layers
    w = gguf.GGUFWriter(path, gguf.MODEL_ARCH_NAMES[arch])
    numbers(w, arch, c)
    names = gguf.get_tensor_name_map(arch, layers)
    stacked = {}
    for name, tensor in state.items():
        x = tensor.numpy().astype(np.float32)
        if name == "lm_head.weight" and getattr(c, "tie_word_embeddings", False):
            continue
        if arch == A.STABLELM and ".norms." in name:  # a norm a head, side by side
            front, head = name[: -len(".weight")].split(".norms.")
            stacked.setdefault(front + ".weight", {})[int(head)] = x
            continue
        if arch == A.GPT_OSS and ".experts." in name:
            add_gpt_oss_experts(w, name, x, mxfp4)
            continue
        if name.endswith(".sinks"):
            w.add_tensor(names.get_name(name) + ".weight", x)
            continue
        if ".experts." in name:  # in memory all experts of a layer are one tensor, gate above up
            layer = name.split(".layers.")[1].split(".")[0]
            parts = {"gate": x[:, : x.shape[1] // 2], "up": x[:, x.shape[1] // 2 :]} if "gate_up" in name else {"down": x}
            for part, of_all in parts.items():
                w.add_tensor(f"blk.{layer}.ffn_{part}_exps.weight", np.ascontiguousarray(of_all.astype(np.float16)))
            continue
        if arch in (A.LLAMA, A.GRANITE, A.SMOLLM3) and (".q_proj." in name or ".k_proj." in name):
            x = permuted(x, heads if ".q_proj." in name else kv)
        if arch in (A.GPTNEOX, A.BLOOM) and ".query_key_value." in name:
            x = by_part(x, heads)
        if arch in (A.GEMMA2, A.GEMMA3) and name.endswith("norm.weight"):
            x = x + 1.0
        short = name.removeprefix("transformer.") if arch == A.BLOOM else name
        to = names.get_name(short, try_suffixes=(".weight", ".bias"))
        assert to, name
        w.add_tensor(to, np.ascontiguousarray(x if x.ndim == 1 else x.astype(np.float16)))
    for name, parts in stacked.items():
        w.add_tensor(names.get_name(name, try_suffixes=(".weight",)), np.stack([parts[i] for i in sorted(parts)]))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def nest(folder, front):
    """The text part inside a model that sees pictures: as published, numbers that are the class's left out."""
    path = os.path.join(folder, "model.safetensors")
    state = {front + k: v for k, v in safetensors.torch.load_file(path).items()}
    state["vision_tower.post_layernorm.weight"] = torch.ones(5, dtype=torch.float16)
    safetensors.torch.save_file(state, path, metadata={"format": "pt"})
    path = os.path.join(folder, "config.json")
    with open(path) as f:
        text = json.load(f)
    for key in ("architectures", "num_attention_heads", "num_key_value_heads", "eos_token_id", "bos_token_id", "max_position_embeddings"):
        text.pop(key)
    with open(path, "w") as f:
        json.dump({"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "eos_token_id": [2, 5], "text_config": text, "vision_config": {"model_type": "siglip_vision_model"}}, f, indent=2)
        f.write("\n")


def make(name, item, out):
    config, rng = item["config"], np.random.default_rng(sum(map(ord, name)))
    torch.manual_seed(sum(map(ord, name)))
    config._attn_implementation = "eager"
    model = item["model"](config).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    model.tie_weights()
    model = model.half()
    packed = pack_experts(model.state_dict()) if item.get("mxfp4") else None
    folder = os.path.join(out, name)
    model.save_pretrained(folder)
    if os.path.exists(os.path.join(folder, "generation_config.json")):
        os.remove(os.path.join(folder, "generation_config.json"))
    os.chmod(os.path.join(folder, "model.safetensors"), 0o644)
    # Loaded anew: half() has rounded constants too, as the factor of Gemma's embedding.
    model = item["model"].from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    if item["arch"] is not None:
        write_gguf(os.path.join(out, name + ".gguf"), item["arch"], config, model.state_dict(), packed is not None)
    if item.get("pictures"):
        nest(folder, item["pictures"])
    if packed is not None:  # the published files' form, which transformers reads on a GPU only
        safetensors.torch.save_file(packed, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
        with open(os.path.join(folder, "config.json")) as f:
            settings = json.load(f)
        settings["quantization_config"] = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]}
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(settings, f, indent=2)
            f.write("\n")
    tokens = [int(t) for t in rng.integers(0, WORDS, 40)]
    with torch.no_grad():
        logits = model(torch.tensor([tokens])).logits[0].float().numpy()
    rows = [0, 5, 11, 39]
    return {"tokens": tokens, "rows": rows, "logits": [[float(f"{x:.7g}") for x in logits[r]] for r in rows]}


def main():
    out = os.path.join(HERE, "architectures")
    wanted = sys.argv[1:] or list(MODELS)
    path = os.path.join(HERE, "architectures.json")
    golden = {}
    if sys.argv[1:] and os.path.exists(path):
        with open(path) as f:
            golden = json.load(f)["models"]
    for name in wanted:
        if os.path.exists(os.path.join(out, name + ".gguf")):
            os.remove(os.path.join(out, name + ".gguf"))
        shutil.rmtree(os.path.join(out, name), ignore_errors=True)
        golden[name] = make(name, MODELS[name](), out)
        print(name, flush=True)
    with open(path, "w") as f:
        json.dump({"versions": {"transformers": hf.__version__}, "models": golden}, f)
        f.write("\n")


if __name__ == "__main__":
    main()
