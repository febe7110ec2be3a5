#!/usr/bin/env python3
"""Makes deepseek/ and deepseek.json beside this script: random tiny DeepSeek V2 models with odd shapes, as Hugging Face
folders and as GGUF files, and their logits from Hugging Face transformers.

  tests/golden/make_deepseek.py         (needs torch, transformers 5.0 or newer, gguf 0.17 or newer)

lite    as V2-Lite: queries as they are, greedy choice, YaRN; config.json as transformers 4 and the published models spell it
groups  as V2: compressed queries, experts in groups, a scale; config.json as transformers 5 writes it
v3      as V3: experts scored by sigmoids with a bias, in groups; v3-other: no groups, weights as they are, config.json as published
v3-fp8  as V3's own folders hold it: matrices in eight-bit floats with a scale for each block, ragged ones at the ends
bias    what neither has and the code knows: biases, YaRN whose two magnitudes differ, tied embedding, dense layers last but one
"""
import json
import os
import shutil

import gguf
import numpy as np
import safetensors.torch
import torch
import transformers as hf

HERE = os.path.dirname(os.path.abspath(__file__))
SMALL = dict(vocab_size=41, max_position_embeddings=96, bos_token_id=1, eos_token_id=2, hidden_size=18, num_attention_heads=3,
             qk_nope_head_dim=6, qk_rope_head_dim=4, v_head_dim=7, kv_lora_rank=10, intermediate_size=22, moe_intermediate_size=6)


def yarn(factor, mscale, all_dim):
    return {"rope_type": "yarn", "rope_theta": 10000.0, "factor": factor, "beta_fast": 16.0, "beta_slow": 1.0, "mscale": mscale,
            "mscale_all_dim": all_dim, "original_max_position_embeddings": 24}


MODELS = {
    "lite": dict(num_hidden_layers=3, q_lora_rank=None, first_k_dense_replace=1, n_routed_experts=6, num_experts_per_tok=2, n_shared_experts=2,
                 topk_method="greedy", n_group=1, topk_group=1, rope_parameters=yarn(4.0, 0.707, 0.707)),
    "groups": dict(num_hidden_layers=2, q_lora_rank=9, first_k_dense_replace=0, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1,
                   topk_method="group_limited_greedy", n_group=4, topk_group=2, routed_scaling_factor=2.5, rms_norm_eps=1e-5,
                   rope_parameters={"rope_type": "default", "rope_theta": 500.0}),
    "bias": dict(num_hidden_layers=3, q_lora_rank=8, first_k_dense_replace=2, n_routed_experts=4, num_experts_per_tok=4, n_shared_experts=1,
                 topk_method="greedy", attention_bias=True, tie_word_embeddings=True, rope_parameters=yarn(8.0, 1.0, 0.4)),
}
BIG = dict(num_key_value_heads=3, n_shared_experts=1, n_routed_experts=8, num_experts_per_tok=3)
THIRD = {
    "v3": dict(BIG, num_hidden_layers=3, q_lora_rank=9, first_k_dense_replace=1, n_group=4, topk_group=2, rope_parameters=yarn(4.0, 1.0, 1.0)),
    "v3-other": dict(BIG, num_hidden_layers=2, q_lora_rank=None, first_k_dense_replace=0, n_group=1, topk_group=1, n_routed_experts=6, n_shared_experts=2,
                     norm_topk_prob=False, routed_scaling_factor=1.5, num_experts_per_tok=4, rope_parameters=yarn(8.0, 1.0, 0.4)),
    "v3-fp8": dict(BIG, num_hidden_layers=2, q_lora_rank=9, first_k_dense_replace=1, n_group=2, topk_group=1, rope_parameters=yarn(4.0, 1.0, 1.0)),
}
BLOCK = [8, 5]
NAMES = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.q_a_proj": "attn_q_a",
         "self_attn.q_a_layernorm": "attn_q_a_norm", "self_attn.q_b_proj": "attn_q_b", "self_attn.kv_a_proj_with_mqa": "attn_kv_a_mqa",
         "self_attn.kv_a_layernorm": "attn_kv_a_norm", "self_attn.kv_b_proj": "attn_kv_b", "self_attn.o_proj": "attn_output",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp",
         "mlp.shared_experts.gate_proj": "ffn_gate_shexp", "mlp.shared_experts.up_proj": "ffn_up_shexp", "mlp.shared_experts.down_proj": "ffn_down_shexp"}


def old_config(path, third=False):
    """The spelling of transformers 4 and of the published models."""
    c = json.load(open(path))
    rope = c.pop("rope_parameters")
    c["rope_theta"] = rope.pop("rope_theta")
    rope["type"] = rope.pop("rope_type")
    c["rope_scaling"] = rope
    c.pop("head_dim", None)
    c["torch_dtype"] = c.pop("dtype")
    c.update(moe_layer_freq=1, scoring_func="sigmoid" if third else "softmax", seq_aux=True, aux_loss_alpha=0.001, ep_size=1, transformers_version="4.33.1")
    if third:
        c.pop("rope_interleave", None)
        c.update(topk_method="noaux_tc", num_nextn_predict_layers=1)
    with open(path, "w") as f:
        json.dump(c, f, indent=2)
        f.write("\n")


def write_gguf(path, c, state, apart):
    """As llama.cpp's converter does; `apart`: as it does now, with keys and values of all heads apart."""
    w = gguf.GGUFWriter(path, "deepseek2")
    n, r, v, rank, heads = c.qk_nope_head_dim, c.qk_rope_head_dim, c.v_head_dim, c.kv_lora_rank, c.num_attention_heads
    w.add_block_count(c.num_hidden_layers)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(heads)
    w.add_head_count_kv(1 if apart else heads)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    w.add_rope_freq_base(float(c.rope_parameters["rope_theta"]))
    w.add_rope_dimension_count(r)
    w.add_leading_dense_block_count(c.first_k_dense_replace)
    w.add_vocab_size(c.vocab_size)
    if c.q_lora_rank is not None:
        w.add_q_lora_rank(c.q_lora_rank)
    w.add_kv_lora_rank(rank)
    w.add_key_length(rank + r if apart else n + r)
    w.add_value_length(rank if apart else v)
    if apart:
        w.add_key_length_mla(n + r)
        w.add_value_length_mla(v)
    w.add_expert_feed_forward_length(c.moe_intermediate_size)
    w.add_expert_count(c.n_routed_experts)
    w.add_expert_used_count(c.num_experts_per_tok)
    w.add_expert_shared_count(c.n_shared_experts)
    w.add_expert_weights_scale(c.routed_scaling_factor)
    third = c.model_type == "deepseek_v3"
    w.add_expert_weights_norm(third and c.norm_topk_prob)
    if apart:
        w.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID if third else gguf.ExpertGatingFuncType.SOFTMAX)
        if c.n_group is not None:
            w.add_expert_group_count(c.n_group)
            w.add_expert_group_used_count(c.topk_group)
    if c.rope_parameters["rope_type"] == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(c.rope_parameters["factor"])
        w.add_rope_scaling_orig_ctx_len(c.rope_parameters["original_max_position_embeddings"])
        w.add_rope_scaling_yarn_beta_fast(c.rope_parameters["beta_fast"])
        w.add_rope_scaling_yarn_log_mul(0.1 * c.rope_parameters["mscale_all_dim"])
    w.add_tokenizer_model("no_vocab")
    for name, tensor in state.items():
        x = tensor.numpy().astype(np.float32)
        if name in ("model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"):
            w.add_tensor({"model.e": "token_embd", "model.n": "output_norm", "lm_head": "output"}[name[:7]] + ".weight", x)
            continue
        layer, rest = name[len("model.layers."):].split(".", 1)
        at = f"blk.{layer}."
        if rest == "mlp.experts.gate_up_proj":
            w.add_tensor(at + "ffn_gate_exps.weight", np.ascontiguousarray(x[:, : c.moe_intermediate_size]))
            w.add_tensor(at + "ffn_up_exps.weight", np.ascontiguousarray(x[:, c.moe_intermediate_size:]))
        elif rest == "mlp.experts.down_proj":
            w.add_tensor(at + "ffn_down_exps.weight", x)
        elif rest == "mlp.gate.e_score_correction_bias":
            w.add_tensor(at + "exp_probs_b.bias", x)
        elif rest == "self_attn.kv_b_proj.weight" and apart:
            both = x.reshape(heads, n + v, rank)
            w.add_tensor(at + "attn_k_b.weight", np.ascontiguousarray(both[:, :n].swapaxes(1, 2)))
            w.add_tensor(at + "attn_v_b.weight", np.ascontiguousarray(both[:, n:]))
        else:
            part, kind = rest.rsplit(".", 1)
            w.add_tensor(f"{at}{NAMES[part]}.{kind}", x)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def to_fp8(folder):
    """Matrices but embedding, router and output become eight-bit floats with scales; the numbers those stand for are returned."""
    path = os.path.join(folder, "model.safetensors")
    files, numbers = {}, {}
    for name, x in safetensors.torch.load_file(path).items():
        if x.ndim != 2 or name in ("model.embed_tokens.weight", "lm_head.weight") or name.endswith("mlp.gate.weight"):
            files[name] = numbers[name] = x
            continue
        rows, columns = (-(-n // b) for n, b in zip(x.shape, BLOCK))
        scales = torch.empty(rows, columns)
        files[name], numbers[name] = torch.empty_like(x, dtype=torch.float8_e4m3fn), torch.empty_like(x)
        for r in range(rows):
            for c in range(columns):
                at = (slice(r * BLOCK[0], (r + 1) * BLOCK[0]), slice(c * BLOCK[1], (c + 1) * BLOCK[1]))
                scales[r, c] = x[at].abs().max() / 448.0
                files[name][at] = (x[at] / scales[r, c]).to(torch.float8_e4m3fn)
                numbers[name][at] = files[name][at].float() * scales[r, c]
        files[name + "_scale_inv"] = scales
    safetensors.torch.save_file(files, path, {"format": "pt"})
    os.chmod(path, 0o644)
    path = os.path.join(folder, "config.json")
    c = json.load(open(path))
    c["quantization_config"] = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": BLOCK}
    with open(path, "w") as f:
        json.dump(c, f, indent=2)
        f.write("\n")
    return numbers


def plain_model(folder, numbers, kind):
    """The model of those numbers, in float32. transformers itself reads such folders on some GPUs only, and no ragged blocks."""
    plain = os.path.join(folder, "plain")
    os.makedirs(plain)
    safetensors.torch.save_file(numbers, os.path.join(plain, "model.safetensors"), {"format": "pt"})
    c = json.load(open(os.path.join(folder, "config.json")))
    del c["quantization_config"]
    json.dump(c, open(os.path.join(plain, "config.json"), "w"))
    model = kind.from_pretrained(plain, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager").eval()
    shutil.rmtree(plain)
    return model


def main():
    torch.manual_seed(4)
    rng = np.random.default_rng(4)
    out = os.path.join(HERE, "deepseek")
    shutil.rmtree(out, ignore_errors=True)
    golden = {}
    for name, settings in {**MODELS, **THIRD}.items():
        third = name in THIRD
        config = (hf.DeepseekV3Config if third else hf.DeepseekV2Config)(**{**SMALL, **settings})
        config._attn_implementation = config._experts_implementation = "eager"
        model = (hf.DeepseekV3ForCausalLM if third else hf.DeepseekV2ForCausalLM)(config).eval()
        for p in model.parameters():
            torch.nn.init.normal_(p, std=0.3)
        for key, buffer in model.named_buffers():
            if key.endswith("e_score_correction_bias"):
                torch.nn.init.normal_(buffer, std=0.3)
        model.tie_weights()
        folder = os.path.join(out, name)
        model.save_pretrained(folder)
        os.remove(os.path.join(folder, "generation_config.json"))
        os.chmod(os.path.join(folder, "model.safetensors"), 0o644)
        if name == "lite":
            old_config(os.path.join(folder, "config.json"))
            write_gguf(folder + "-old.gguf", config, model.state_dict(), False)
        if name == "v3-other":
            old_config(os.path.join(folder, "config.json"), third)
        if name in ("lite", "groups", "v3"):
            write_gguf(folder + ".gguf", config, model.state_dict(), True)
        if name == "v3-fp8":
            model = plain_model(folder, to_fp8(folder), type(model))
        tokens = [int(t) for t in rng.integers(0, 41, 60)]
        with torch.no_grad():
            logits = model(torch.tensor([tokens])).logits[0].float().numpy()
        rows = [0, 7, 33, 59]
        golden[name] = {"tokens": tokens, "rows": rows, "logits": [[float(np.float32(x)) for x in logits[r]] for r in rows]}
    with open(os.path.join(HERE, "deepseek.json"), "w") as f:
        json.dump({"versions": {"transformers": hf.__version__}, "models": golden}, f)
        f.write("\n")


if __name__ == "__main__":
    main()
