#!/usr/bin/env python3
"""CTranslate2 and onnxruntime-genai, which read no GGUF, against Cairn, in turns: prefill of 256 tokens and decoding.

  bench/converted_peers.py build/bench/bench/model_speed build/models/smollm2.q8_0.gguf [FILE...] [--rounds 3] [--folder DIR]

Both are given a Llama of SmolLM2's shape with random weights, made by Hugging Face transformers and converted offline:
to int8 for CTranslate2, to int4 in blocks of 32 for onnxruntime-genai (its builder's `-p int4 -e cpu`). Wants a Python
with torch, transformers, ctranslate2, onnxruntime-genai, onnx and onnx_ir; an engine that is not there is left out and
said. The models are made in --folder (1 GB, a minute), once. Prints tokens/s, one line a program."""
import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time

from programs import command, processor

PROMPT, TOKENS, VOCABULARY = 256, 64, 49152


def make_llama(folder):
    import tokenizers
    import torch
    import transformers

    torch.manual_seed(1)
    config = transformers.LlamaConfig(vocab_size=VOCABULARY, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                                      num_key_value_heads=3, max_position_embeddings=8192, rms_norm_eps=1e-5, tie_word_embeddings=True)
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({f"t{i}": i for i in range(VOCABULARY)}, unk_token="t0"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="t0", bos_token="t1", eos_token="t2").save_pretrained(folder)


def once(folder, make):
    """`folder`, made if it is not whole: it gets its name when it is."""
    if not os.path.isdir(folder):
        make(folder + ".part")
        os.replace(folder + ".part", folder)
    return folder


class CTranslate2:
    modules = ["ctranslate2"]

    def __init__(self, folder, llama, threads):
        import ctranslate2
        converted = once(os.path.join(folder, "ctranslate2"),
                         lambda to: ctranslate2.converters.TransformersConverter(llama).convert(to, quantization="int8", force=True))
        self.name = f"CTranslate2 {ctranslate2.__version__}, int8"
        self.generator = ctranslate2.Generator(converted, compute_type="int8", inter_threads=1, intra_threads=threads)

    def rates(self, tokens):
        times = [time.perf_counter()]
        self.generator.generate_batch([[f"t{t}" for t in tokens]], max_length=TOKENS + 1, min_length=TOKENS + 1, include_prompt_in_result=False,
                                      callback=lambda _: times.append(time.perf_counter()))
        return PROMPT / (times[1] - times[0]), (len(times) - 2) / (times[-1] - times[1])


class OnnxGenai:
    modules = ["onnxruntime_genai", "onnx", "onnx_ir"]

    def __init__(self, folder, llama, threads):
        import onnxruntime_genai
        self.api = onnxruntime_genai
        converted = once(os.path.join(folder, "onnx"), lambda to: subprocess.run(
            [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", llama, "-o", to, "-p", "int4", "-e", "cpu", "-c", os.path.join(folder, "cache")],
            check=True, capture_output=True))
        path = os.path.join(converted, "genai_config.json")
        with open(path, encoding="utf-8") as f:
            config = json.load(f)
        config["model"]["decoder"]["session_options"]["intra_op_num_threads"] = threads
        with open(path, "w", encoding="utf-8") as f:
            json.dump(config, f)
        self.name = f"onnxruntime-genai {onnxruntime_genai.__version__}, int4"
        self.model = onnxruntime_genai.Model(converted)

    def rates(self, tokens):
        params = self.api.GeneratorParams(self.model)
        params.set_search_options(max_length=PROMPT + TOKENS + 1, min_length=PROMPT + TOKENS + 1)
        generator = self.api.Generator(self.model, params)
        start = time.perf_counter()
        generator.append_tokens(tokens)
        generator.generate_next_token()
        first = time.perf_counter()
        for _ in range(TOKENS):
            generator.generate_next_token()
        return PROMPT / (first - start), TOKENS / (time.perf_counter() - first)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model_speed")
    p.add_argument("files", nargs="+", help="the GGUF files that Cairn reads")
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--folder", default="build/converted", help="where the models are made")
    a = p.parse_args()
    os.environ["TRANSFORMERS_OFFLINE"] = os.environ["HF_HUB_OFFLINE"] = "1"
    threads = os.cpu_count()
    missing = [m for m in ("torch", "transformers", "tokenizers") if importlib.util.find_spec(m) is None]
    if missing:
        raise SystemExit(f"left out: this Python has no {', '.join(missing)} to make a model with")
    os.makedirs(a.folder, exist_ok=True)
    llama = once(os.path.join(a.folder, "llama"), make_llama)
    peers = []
    for engine in (CTranslate2, OnnxGenai):
        missing = [m for m in engine.modules if importlib.util.find_spec(m) is None]
        if missing:
            print(f"left out: {engine.__name__}: this Python has no {', '.join(missing)}", flush=True)
        else:
            peers.append(engine(a.folder, llama, threads))
    rates = {name: [] for name in [peer.name for peer in peers] + [os.path.basename(file) for file in a.files]}
    for at in range(-1, a.rounds):  # the first round warms up
        for peer in peers:
            rate = peer.rates([100 + (7 * i + 31 * at) % 40000 for i in range(PROMPT)])
            rates[peer.name] += [rate] if at >= 0 else []
        for file in a.files if at >= 0 else []:
            depths = json.loads(command([a.model_speed, file, "--prefill", str(PROMPT), "--decode", str(TOKENS), "--threads", str(threads),
                                         "--depth", f"0,{PROMPT}"]))["depths"]
            rates[os.path.basename(file)].append((depths[0]["prefill_tokens_per_second"][0], depths[1]["decode_tokens_per_second"][0]))
    print(f"{processor()}, {threads} threads, medians of {a.rounds} rounds: prefill of {PROMPT} tokens, decode of {TOKENS} behind them, tokens/s")
    for name, pairs in rates.items():
        print(f"{name:32} {statistics.median(x for x, _ in pairs):8.0f} {statistics.median(y for _, y in pairs):8.1f}", flush=True)
    os._exit(0)  # the engines' threads end with the process


if __name__ == "__main__":
    main()
