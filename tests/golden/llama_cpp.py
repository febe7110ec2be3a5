"""llama.cpp through libllama.so, with the declarations of bench/llama_timer.py: ids of texts and logits of ids, in f32
where it can be, for the scripts beside this file."""
import ctypes
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../bench"))
from llama_timer import B, I, P, Upstream  # noqa: E402


class LlamaCpp:
    def __init__(self, library, model, context=1024):
        self.api = Upstream(library)
        lib = self.lib = self.api.lib
        for name, result, arguments in [
                ("llama_model_default_params", self.api.ModelParams, []), ("llama_context_default_params", self.api.ContextParams, []),
                ("llama_model_load_from_file", P, [ctypes.c_char_p, self.api.ModelParams]), ("llama_init_from_model", P, [P, self.api.ContextParams]),
                ("llama_batch_init", self.api.Batch, [I, I, I]), ("llama_decode", I, [P, self.api.Batch]), ("llama_get_logits_ith", P, [P, I]),
                ("llama_model_get_vocab", P, [P]), ("llama_vocab_n_tokens", I, [P]), ("llama_get_memory", P, [P]), ("llama_memory_clear", None, [P, B]),
                ("llama_tokenize", I, [P, ctypes.c_char_p, I, P, I, B, B]), ("llama_log_set", None, [P, P])]:
            getattr(lib, name).restype, getattr(lib, name).argtypes = result, arguments
        self.said = []
        self.log = ctypes.CFUNCTYPE(None, I, ctypes.c_char_p, P)(lambda level, text, data: self.said.append(text.decode(errors="replace")) if level >= 3 else None)
        lib.llama_log_set(ctypes.cast(self.log, P), None)
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        self.api.prepare_model(params, 0)
        self.model = lib.llama_model_load_from_file(os.fsencode(model), params)
        if not self.model:
            raise RuntimeError("llama.cpp refuses the file: " + "".join(self.said).strip())
        self.vocab = lib.llama_model_get_vocab(self.model)
        params = lib.llama_context_default_params()
        params.n_ctx = context
        params.n_batch = params.n_ubatch = 64
        params.n_threads = params.n_threads_batch = 2
        params.type_k = params.type_v = 0  # f32
        params.swa_full = True
        params.flash_attn = 0
        self.context = lib.llama_init_from_model(self.model, params)
        if not self.context:
            raise RuntimeError("llama.cpp makes no context: " + "".join(self.said).strip())
        self.words = lib.llama_vocab_n_tokens(self.vocab)
        self.batch = lib.llama_batch_init(64, 0, 1)
        self.length = 0

    def clear(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)
        self.length = 0

    def tokenize(self, text):
        raw, room = text.encode(), len(text.encode()) + 8
        ids = (I * room)()
        n = self.lib.llama_tokenize(self.vocab, raw, len(raw), ids, room, True, True)
        return list(ids[:n])

    def feed(self, tokens):
        """Logits of every token [n][words], in pieces of at most 64: a generator of rows."""
        view = lambda name, kind: ctypes.cast(getattr(self.batch, name), ctypes.POINTER(kind))
        token, pos, ids, sequence, logits = (view(*x) for x in (("token", I), ("pos", I), ("n_seq_id", I), ("seq_id", ctypes.POINTER(I)), ("logits", ctypes.c_int8)))
        for at in range(0, len(tokens), 64):
            piece = tokens[at:at + 64]
            for i, t in enumerate(piece):
                token[i], pos[i], ids[i], sequence[i][0], logits[i] = t, self.length + i, 1, 0, 1
            self.batch.n_tokens = len(piece)
            if self.lib.llama_decode(self.context, self.batch) != 0:
                raise RuntimeError("llama_decode failed: " + "".join(self.said).strip())
            self.length += len(piece)
            for i in range(len(piece)):
                row = ctypes.cast(self.lib.llama_get_logits_ith(self.context, i), ctypes.POINTER(ctypes.c_float))
                yield np.ctypeslib.as_array(row, (self.words,)).copy()
