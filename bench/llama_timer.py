#!/usr/bin/env python3
"""Prefill and decode speed of llama.cpp or ik_llama.cpp through their llama.h, as one JSON object.
llama_timer.py FILE --library FOLDER [--prefill 256] [--decode 64] [--depth 0,4096] [--cache f16] [--rounds 3]

ik_llama.cpp: runs in the Python that has ik-llama-cpp-python (whose declarations it takes), without --library.
llama.cpp: --library is the folder of libllama.so; the declarations are those of b11434 below.

--made-up: rows behind which is decoded are those of 200 tokens, again and again, copied and shifted:
the time does not depend on them, and a prompt of 16384 would take minutes. The first round warms up."""
import argparse
import ctypes
import json
import os
import random
import time

TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8}
P, I, U, F, B = ctypes.c_void_p, ctypes.c_int32, ctypes.c_uint32, ctypes.c_float, ctypes.c_bool


def structure(name, layout):
    """A struct whose fields stand as "type name name ..." in lines."""
    types = {"p": P, "i": I, "u": U, "f": F, "b": B, "z": ctypes.c_size_t}
    return type(name, (ctypes.Structure,), {"_fields_": [(field, types[line.split()[0]]) for line in layout.strip().splitlines() for field in line.split()[1:]]})


class Upstream:
    """llama.cpp b11434."""

    ModelParams = structure("ModelParams", """
        p devices overrides
        i gpu_layers split_mode load_mode lazy_mode main_gpu
        p tensor_split progress progress_data kv_overrides
        b vocab_only check_tensors use_extra_bufts no_host no_alloc load_mtp""")

    ContextParams = structure("ContextParams", """
        u n_ctx n_batch n_ubatch n_seq_max n_rs_seq n_outputs_max n_outputs_max_per_seq
        i n_threads n_threads_batch context_type rope_scaling pooling attention flash_attn
        f rope_base rope_scale yarn_ext yarn_attn yarn_fast yarn_slow
        u yarn_ctx
        f defrag
        p cb_eval cb_eval_data
        i type_k type_v
        p abort abort_data
        b embeddings offload_kqv no_perf op_offload swa_full kv_unified
        p samplers
        z n_samplers
        p ctx_other""")

    Batch = structure("Batch", """
        i n_tokens
        p token embd pos n_seq_id seq_id logits""")

    def __init__(self, folder):
        self.lib = ctypes.CDLL(os.path.join(folder, "libllama.so"))
        self.prefix = "llama_memory_seq"

    def prepare_model(self, params, repack):
        params.use_extra_bufts = repack

    def prepare_context(self, params, flash):
        params.flash_attn, params.n_seq_max, params.kv_unified = int(flash), 2, True

    def memory(self, context):
        return self.lib.llama_get_memory(context)


class Ik:
    """ik_llama.cpp, as its Python package declares it."""

    def __init__(self):
        from ik_llama_cpp import _ctypes_api as api
        self.lib, self.ModelParams, self.ContextParams, self.Batch = api._lib, api.llama_model_params, api.llama_context_params, api.llama_batch
        self.prefix = "llama_kv_cache_seq"

    def prepare_model(self, params, repack):
        params.repack_tensors = repack

    def prepare_context(self, params, flash):
        params.flash_attn, params.n_seq_max = bool(flash), 2

    def memory(self, context):
        return context


class Timer:
    def __init__(self, api, a):
        self.api, self.numbers = api, random.Random(1)
        lib = self.lib = api.lib
        for name, result, arguments in [
                ("llama_model_default_params", api.ModelParams, []), ("llama_context_default_params", api.ContextParams, []),
                ("llama_model_load_from_file", P, [ctypes.c_char_p, api.ModelParams]), ("llama_init_from_model", P, [P, api.ContextParams]),
                ("llama_batch_init", api.Batch, [I, I, I]), ("llama_decode", I, [P, api.Batch]), (api.prefix + "_rm", B, [P, I, I, I]),
                ("llama_get_logits_ith", P, [P, I]), ("llama_synchronize", None, [P]), ("llama_log_set", None, [P, P]),
                ("llama_state_seq_get_size", ctypes.c_size_t, [P, I, U]), ("llama_state_seq_get_data", ctypes.c_size_t, [P, P, ctypes.c_size_t, I, U]),
                ("llama_state_seq_set_data", ctypes.c_size_t, [P, P, ctypes.c_size_t, I, U]), ("llama_get_memory", P, [P]),
                (api.prefix + "_cp", None, [P, I, I, I, I]), (api.prefix + "_add", None, [P, I, I, I, I])]:
            if hasattr(lib, name):
                getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments
        self.quiet = ctypes.CFUNCTYPE(None, I, ctypes.c_char_p, P)(lambda level, text, data: None)
        lib.llama_log_set(ctypes.cast(self.quiet, P), None)
        lib.llama_backend_init()
        model_params = lib.llama_model_default_params()
        api.prepare_model(model_params, a.repack)
        model = lib.llama_model_load_from_file(a.model.encode(), model_params)
        params = lib.llama_context_default_params()
        params.n_ctx = (max(a.depth) + max(a.prefill, a.decode + 1, 512) + 255) // 256 * 256
        params.n_batch, params.n_ubatch, params.n_threads, params.n_threads_batch = 2048, 512, a.threads, a.threads
        params.type_k = params.type_v = TYPES[a.cache]
        api.prepare_context(params, a.flash)
        self.context = model and lib.llama_init_from_model(model, params)
        if not self.context:
            raise SystemExit("error: no model or no context")
        self.batch = lib.llama_batch_init(2048, 0, 1)
        self.length = 0

    def feed(self, count):
        """Tokens behind the last one, logits of the last."""
        while count > 0:
            n = min(count, 2048)
            view = lambda name, kind: ctypes.cast(getattr(self.batch, name), ctypes.POINTER(kind))
            token, pos, ids, sequence, logits = (view(*x) for x in (("token", I), ("pos", I), ("n_seq_id", I), ("seq_id", ctypes.POINTER(I)), ("logits", ctypes.c_int8)))
            for i in range(n):
                token[i], pos[i], ids[i], sequence[i][0], logits[i] = self.numbers.randrange(10, 30000), self.length + i, 1, 0, i + 1 == count
            self.batch.n_tokens = n
            if self.lib.llama_decode(self.context, self.batch) != 0:
                raise SystemExit("error: llama_decode failed")
            self.length += n
            count -= n
        self.lib.llama_synchronize(self.context)

    def edit(self, what, *numbers):
        return getattr(self.lib, f"{self.api.prefix}_{what}")(self.api.memory(self.context), *numbers)

    def fill(self, depth, made_up):
        """Brings the cache to `depth` tokens."""
        piece = 200
        copies = made_up and depth - self.length > piece
        self.length = self.length // piece * piece if copies else min(depth, self.length)
        self.edit("rm", 0, self.length, -1)
        if copies:
            if self.length == 0:
                self.feed(piece)
                # ik_llama.cpp's calls have flags at their end; llama.cpp's ignore them.
                self.size = self.lib.llama_state_seq_get_size(self.context, 0, 0)
                self.state = ctypes.create_string_buffer(self.size)
                self.size = self.lib.llama_state_seq_get_data(self.context, self.state, self.size, 0, 0)
            while self.length + piece <= depth:
                if self.lib.llama_state_seq_set_data(self.context, self.state, self.size, 1, 0) != self.size:
                    raise SystemExit(f"error: rows could not be copied behind {self.length}")
                self.edit("add", 1, 0, -1, self.length)
                self.edit("cp", 1, 0, -1, -1)
                self.edit("rm", 1, -1, -1)
                self.length += piece
        self.feed(depth - self.length)

    def time(self, count, step):
        """Tokens a second; decoding takes the best token as a program that writes text does."""
        start = time.perf_counter()
        for _ in range(count // step):
            self.feed(step)
            self.lib.llama_get_logits_ith(self.context, self.batch.n_tokens - 1)
        return count / (time.perf_counter() - start)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("model")
    p.add_argument("--library", help="folder of llama.cpp's libllama.so; without: ik_llama.cpp")
    p.add_argument("--prefill", type=int, default=256)
    p.add_argument("--decode", type=int, default=64)
    p.add_argument("--depth", type=lambda text: [int(x) for x in text.split(",")], default=[0])
    p.add_argument("--cache", choices=TYPES, default="f16")
    p.add_argument("--flash", type=int, choices=[0, 1], default=1, help="flash attention")
    p.add_argument("--repack", type=int, choices=[0, 1], default=1, help="weights repacked when they are loaded")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--made-up", action="store_true", help="fill the cache with the rows of 200 tokens")
    a = p.parse_args()
    timer = Timer(Upstream(a.library) if a.library else Ik(), a)
    result = []
    for depth in a.depth:
        prefills, decodes = [], []
        for round in range(-1, a.rounds):
            limited = lambda n, most: min(n, most) if round < 0 else n
            if a.prefill:
                timer.fill(depth, a.made_up)
                n = limited(a.prefill, 256)
                prefills.append(timer.time(n, n))
            if a.decode:
                timer.fill(depth, a.made_up)
                timer.feed(1)
                decodes.append(timer.time(limited(a.decode, 8), 1))
            if round < 0:
                prefills, decodes = [], []
        result.append({"depth": depth, "prefill_tokens_per_second": prefills, "decode_tokens_per_second": decodes})
    print(json.dumps({"depths": result}), flush=True)
    os._exit(0)  # nothing is freed: the libraries' threads end with the process


if __name__ == "__main__":
    main()
