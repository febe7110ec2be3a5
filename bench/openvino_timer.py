#!/usr/bin/env python3
"""Prefill and decode speed of OpenVINO GenAI over a GGUF file, as one JSON object; runs in its own Python.
openvino_timer.py FILE --prefill 256 --decode 64 --depth 0 --rounds 3

Prefix caching is off and every prompt is another one. The time of a prompt is the library's time to the first token,
decode is its mean time of the tokens after that. Depth: the prompt before decoding. Its cache is bytes (u8) unless told."""
import argparse
import json
import random

import numpy
import openvino
import openvino_genai


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--prefill", type=int, default=256)
    p.add_argument("--decode", type=int, default=64)
    p.add_argument("--depth", type=lambda text: [int(x) for x in text.split(",")], default=[0])
    p.add_argument("--cache", choices=["default", "f16", "u8"], default="default")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--precision", choices=["default", "f32"], default="default", help="of its products: as it chooses, or f32")
    a = p.parse_args()
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.enable_prefix_caching = False
    scheduler.max_num_batched_tokens = max(256, a.prefill, *a.depth)  # a prompt in one piece
    more = {name: value for name, value in (("INFERENCE_PRECISION_HINT", a.precision), ("KV_CACHE_PRECISION", a.cache)) if value != "default"}
    pipe = openvino_genai.LLMPipeline(a.model, "CPU", scheduler_config=scheduler, INFERENCE_NUM_THREADS=a.threads, **more)
    numbers = random.Random(1)

    def run(prompt, tokens):
        ids = numpy.array([[numbers.randrange(10, 30000) for _ in range(prompt)]], dtype=numpy.int64)
        inputs = openvino_genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids)))
        config = openvino_genai.GenerationConfig(max_new_tokens=tokens, ignore_eos=True, do_sample=False)
        metrics = pipe.generate(inputs, config).perf_metrics
        if metrics.get_num_generated_tokens() != tokens:
            raise RuntimeError("OpenVINO stopped early")
        return metrics

    result = []
    for depth in a.depth:
        prefills, decodes = [], []
        for round in range(-1, a.rounds):  # the first warms up
            if a.prefill > 0:
                t = run(a.prefill if round >= 0 else min(a.prefill, 256), 1).get_ttft().mean
                prefills.append(1e3 * a.prefill / t)
            if a.decode > 0:
                metrics = run(max(depth, 1) if round >= 0 else 16, a.decode + 1)
                decodes.append(1e3 / metrics.get_tpot().mean)
            if round < 0:
                prefills, decodes = [], []
        result.append({"depth": depth, "prefill_tokens_per_second": prefills, "decode_tokens_per_second": decodes})
    print(json.dumps({"depths": result}))


if __name__ == "__main__":
    main()
