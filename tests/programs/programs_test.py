#!/usr/bin/env python3
"""The programs as a person meets them: words, exit codes, silly arguments.  programs_test.py BIN MODEL"""
import json
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

BIN, MODEL = sys.argv[1:3]
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")


def run(program, *args, text=None):
    return subprocess.run([os.path.join(BIN, program), *map(str, args)], capture_output=True, timeout=300, input=text)


class Programs(unittest.TestCase):
    def good(self, program, *args):
        r = run(program, *args)
        self.assertEqual(r.returncode, 0, r.stderr)
        return r.stdout

    def bad(self, exit_code, code, program, *args):
        r = run(program, *args)
        lines = r.stderr.decode().splitlines()
        self.assertEqual((r.returncode, len(lines), r.stdout), (exit_code, 1, b""), (args, r))
        self.assertTrue(lines[0].startswith(f"error[{code}]: "), lines)
        return lines[0]

    def generate(self, *args):
        return json.loads(self.good("generate", "--model", MODEL, "--json", *args))

    def test_help(self):
        for program in ("generate", "score", "compare"):
            out = self.good(program, "--help").decode()
            self.assertIn("Examples:", out)
            self.assertIn("--cache", out)

    def test_other_programs_help(self):
        for program in ("quantize", "inspect", "plan", "chat", "calibrate"):
            self.assertIn("Examples:", self.good(program, "--help").decode())

    def test_outputs_that_cannot_be_written(self):
        def limited(size):
            return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

        tokens = ",".join(map(str, range(40)))
        with tempfile.TemporaryDirectory() as work:
            for program, *args in (("score", "--model", MODEL, "--tokens", tokens), ("inspect", MODEL), ("score", "--help")):
                command = [os.path.join(BIN, program), *args]
                for size in (0, 100):
                    with open(os.path.join(work, "out"), "wb") as out:
                        r = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, preexec_fn=limited(size), timeout=300)
                    self.assertEqual((r.returncode, r.stderr), (1 if r.stderr else 0, r.stderr[:200]), r)
                    self.assertTrue(size == 100 and not r.stderr or b"error[io]: standard output: File too large" in r.stderr, r)
                with open("/dev/full", "wb") as out:
                    r = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, timeout=300)
                self.assertEqual((r.returncode, r.stderr), (1, b"error[io]: standard output: No space left on device\n"))
            # A cut array never replaces a whole one.
            path = os.path.join(work, "a.npy")
            self.good("score", "--model", MODEL, "--tokens", tokens, "--logits", path)
            with open(path, "rb") as file:
                whole = file.read()
            command = [os.path.join(BIN, "score"), "--model", MODEL, "--tokens", tokens + ",1", "--logits", path]
            r = subprocess.run(command, capture_output=True, preexec_fn=limited(50_000), timeout=300)
            self.assertEqual((r.returncode, r.stdout), (1, b""))
            self.assertIn(b"error[io]: " + path.encode() + b": writing: File too large", r.stderr)
            with open(path, "rb") as file:
                self.assertEqual(file.read(), whole)
            self.assertEqual(sorted(os.listdir(work)), ["a.npy", "out"])

    def test_outputs_never_replace_the_model(self):
        with tempfile.TemporaryDirectory() as work:
            model = os.path.join(work, "model")
            shutil.copytree(MODEL, model)
            before = {name: os.path.getsize(os.path.join(model, name)) for name in os.listdir(model)}
            os.symlink("model", os.path.join(work, "link"))
            os.symlink("loop", os.path.join(work, "loop"))
            for name in ("model/model.safetensors", "model/config.json", "link/tokenizer.json", "model/new.json"):
                target = os.path.join(work, name)
                self.bad(2, "usage", "quantize", model, target)
                self.bad(2, "usage", "score", "--model", model, "--tokens", "1,2", "--logits", target)
                self.bad(2, "usage", "generate", "--model", model, "--tokens", "1,2", "--save-session", target)
            self.assertEqual({name: os.path.getsize(os.path.join(model, name)) for name in os.listdir(model)}, before)
            loop = os.path.join(work, "loop")
            for line in (self.bad(1, "io", "quantize", loop, os.path.join(work, "x.gguf")), self.bad(1, "io", "quantize", model, loop),
                         self.bad(1, "io", "inspect", loop), self.bad(1, "io", "score", "--model", loop, "--tokens", "1")):
                self.assertIn("symbolic links", line)

    def test_help_of_programs_without_flags(self):
        for program in ("hello", "host_project"):
            self.assertIn(b"Examples:", self.good(program, "--help"))
            self.bad(2, "usage", program, "--bogus")
            with open("/dev/full", "wb") as full:
                r = subprocess.run([os.path.join(BIN, program)], stdout=full, stderr=subprocess.PIPE)
            self.assertEqual((r.returncode, r.stderr), (1, b"error[io]: standard output cannot be written\n"))
            r = subprocess.run([os.path.join(BIN, program)], capture_output=True, env={**os.environ, "CAIRN_ISA": "none"})
            self.assertEqual((r.returncode, r.stderr.count(b"\n"), r.stderr[:20]), (1, 1, b"error[unsupported]: "), r)
        out = subprocess.run([sys.executable, os.path.join(ROOT, "bench/compile_time.py"), "--help"], capture_output=True)
        self.assertEqual((out.returncode, out.stderr), (0, b""))

    def test_hello_is_the_first_program_of_readme(self):
        with open(os.path.join(ROOT, "README.md")) as f:
            readme = f.read().split("```cpp\n")[1].split("```")[0].splitlines()
        with open(os.path.join(ROOT, "examples/programs/hello.cpp")) as f:
            hello = [line.replace("int argc, char** argv", "") for line in f.read().splitlines()]
        at = 0
        for line in readme:
            self.assertIn(line, hello[at:])
            at = hello.index(line, at) + 1

    def test_a_help_names_no_flag_that_is_refused(self):
        for program, refused in (("chat", ("--json", "--no-cache")), ("compare", ("--no-cache",))):
            out = self.good(program, "--help").decode()
            for flag in refused:
                self.assertNotIn(flag, out)
                self.assertIn("unknown argument " + flag, self.bad(2, "usage", program, "--model", MODEL, flag))

    def test_inspect_says_what_of_the_files_is_ignored(self):
        with tempfile.TemporaryDirectory() as work:
            model = os.path.join(work, "model")
            shutil.copytree(MODEL, model)
            self.assertEqual(json.loads(self.good("inspect", model, "--json"))["notes"], [])
            path = os.path.join(model, "config.json")
            with open(path) as f:
                config = json.load(f)
            with open(path, "w") as f:
                json.dump(config | {"eos_token_id": 50256}, f)
            # One tensor more, behind the others.
            path = os.path.join(model, "model.safetensors")
            with open(path, "rb") as f:
                size, = struct.unpack("<Q", f.read(8))
                header, data = json.loads(f.read(size)), f.read()
            header["stranger.weight"] = {"dtype": "F32", "shape": [2], "data_offsets": [len(data), len(data) + 8]}
            text = json.dumps(header).encode()
            with open(path, "wb") as f:
                f.write(struct.pack("<Q", len(text)) + text + data + bytes(8))
            seen = json.loads(self.good("inspect", model, "--json"))
            self.assertEqual(seen["unread_tensors"], ["stranger.weight"])
            self.assertEqual(len(seen["notes"]), 1)
            self.assertIn("50256", seen["notes"][0])
            shown = self.good("inspect", model).decode()
            self.assertIn("note: " + seen["notes"][0], shown)
            self.assertIn("stranger.weight", shown)
            self.assertEqual(self.good("generate", "--model", model, "--prompt", "ROMEO:", "-n", "8"),
                             self.good("generate", "--model", MODEL, "--prompt", "ROMEO:", "-n", "8"))

    def test_the_same_words_everywhere(self):
        asked = self.generate("--prompt", "ROMEO:", "-n", 5)
        short = json.loads(self.good("generate", "-m", MODEL, "-p", "ROMEO:", "-n", 5, "-t", 1, "-c", 512, "--json"))
        self.assertEqual(short["tokens"], asked["tokens"])
        one = self.good("inspect", MODEL, "--json")
        for args in (("--model", MODEL), ("-m", MODEL), ("--model=" + MODEL,)):
            self.assertEqual(self.good("inspect", *args, "--json"), one)
        self.bad(2, "usage", "inspect", MODEL, "--model", MODEL)
        self.bad(2, "usage", "inspect", "--model")
        with tempfile.TemporaryDirectory() as work:
            out = os.path.join(work, "out.gguf")
            sizes = set()
            for args in ((MODEL, out), ("--model", MODEL, out), (out, "--model", MODEL), ("--out", out, MODEL), (out, "-m", MODEL, "--type", "q8_0"),
                         (MODEL, "-o", out), ("--model=" + MODEL, "--out=" + out)):
                self.good("quantize", *args)
                sizes.add(os.path.getsize(out))
                os.remove(out)
            self.assertEqual(len(sizes), 1)
            self.bad(2, "usage", "quantize", "--model", MODEL)
            self.bad(2, "usage", "quantize", MODEL, out, out)
        spec = lambda *args: json.loads(self.good("generate", "-m", MODEL, "-p", "x", "-n", 1, "--json", *args))["cache"]["spec"]
        for short, long in (("q8_0", "contiguous:q8_0"), ("q4_0+rot", "contiguous:q4_0+rot"), ("k=f16,v=q8_0", "contiguous:k=f16,v=q8_0"),
                            ("f16:window=64,sinks=4", "contiguous:f16:window=64,sinks=4")):
            self.assertEqual(spec("--cache", short), long)
        audit = json.loads(self.good("score", "-m", MODEL, "--tokens", "1,2,3,4,5,6,7,8", "--compare-cache", "q4_0+rot", "--json"))
        self.assertEqual(audit["cache"], "contiguous:q4_0+rot")

    def test_prompts_from_pipes(self):
        asked = self.generate("--prompt", "ROMEO:", "-n", 5)
        r = run("generate", "-m", MODEL, "-f", "-", "-n", 5, "--json", text=b"ROMEO:")
        self.assertEqual(json.loads(r.stdout)["tokens"], asked["tokens"], r.stderr)
        with tempfile.TemporaryDirectory() as folder:
            pipe = os.path.join(folder, "pipe")
            os.mkfifo(pipe)
            with subprocess.Popen(["sh", "-c", f"(printf ROM; sleep 0.2; printf EO:) >{pipe}"]) as writer:
                got = self.generate("--prompt-file", pipe, "-n", 5)
                self.assertEqual((got["tokens"], writer.wait()), (asked["tokens"], 0))
        scored = [json.loads(run("score", "-m", MODEL, "-f", "-", "--json", text=b"To be, or not to be").stdout),
                  json.loads(run("score", "-m", MODEL, "--text-file", "/dev/stdin", "--json", text=b"To be, or not to be").stdout)]
        self.assertEqual(scored[0], scored[1])
        r = run("generate", "-m", MODEL, "-f", "-", text=b"")
        self.assertEqual((r.returncode, r.stdout), (1, b""))
        self.assertIn(b"error[empty_prompt]", r.stderr)

    def test_quantize_inspect_and_generate(self):
        with tempfile.TemporaryDirectory() as work:
            wanted = self.generate("--prompt", "ROMEO:", "-n", "8")["tokens"]
            for kind in ("f32", "f16", "bf16", "q8_0", "q4_0", "q4_1"):
                out = os.path.join(work, kind + ".gguf")
                made = json.loads(self.good("quantize", MODEL, out, "--type", kind, "--json"))
                self.assertEqual((made["bytes"], made["fallbacks"]), (os.path.getsize(out), []))
                seen = json.loads(self.good("inspect", out, "--json"))
                self.assertEqual((seen["architecture"], seen["layers"], seen["vocabulary"]), ("gpt2", 6, 1024))
                self.assertEqual(len(seen["tensors"]), made["tensors"])
                self.assertIn(kind, {t["type"] for t in seen["tensors"]})
                got = json.loads(self.good("generate", "--model", out, "--prompt", "ROMEO:", "-n", "8", "--json"))
                if kind in ("f32", "f16"):
                    self.assertEqual(got["tokens"], wanted)
                for compute in ("fast", "accurate"):  # each is one answer, however the prompt is cut
                    texts = {self.good("generate", "--model", out, "--prompt", "JULIET:\nO", "-n", "12", "--compute", compute, *more)
                             for more in ((), ("--chunk", "1"), ("--no-cache",), ("--threads", "1"))}
                    self.assertEqual(len(texts), 1)
            # A GGUF file again, and rows that do not divide.
            again = os.path.join(work, "again.gguf")
            self.good("quantize", os.path.join(work, "f32.gguf"), again, "--type", "q8_0")
            with open(again, "rb") as a, open(os.path.join(work, "q8_0.gguf"), "rb") as b:
                self.assertEqual(len(a.read()), len(b.read()))
            self.bad(2, "usage", "quantize", again, again)
            self.bad(2, "usage", "quantize", MODEL, again, "--type", "q6_k")
            self.bad(1, "io", "quantize", "/nowhere", again)
            self.bad(1, "io", "quantize", MODEL, "/nowhere/x.gguf")
            self.bad(1, "io", "inspect", "/nowhere")
            self.bad(1, "capacity", "inspect", MODEL, "--context", "9999")
            self.bad(1, "unsupported", "chat", "--model", MODEL)
            self.bad(2, "usage", "chat", "--model", MODEL, "--format", "alpaca")
            compared = json.loads(self.good("score", "--model", again, "--text-file", __file__, "--compare", "--chunks", "64", "--json"))
            self.assertLess(compared["kl"], 0.02)
            self.assertGreater(compared["same_best"], 0.9)
            self.assertAlmostEqual(compared["perplexity_fast"] / compared["perplexity_accurate"], 1.0, delta=0.02)

    def test_calibrate_and_generate(self):
        with tempfile.TemporaryDirectory() as work:
            out = os.path.join(work, "model.kvq")
            made = json.loads(self.good("calibrate", MODEL, out, "-f", __file__, "--tokens", "600", "--json"))
            self.assertEqual((made["bytes"], made["tokens"], made["layers"]), (os.path.getsize(out), 600, 6))
            with open(out, "rb") as f:
                first = f.read()
            self.good("calibrate", "-m", MODEL, "-o", out, "-f", __file__, "--tokens", "600", "-t", "1")
            with open(out, "rb") as f:
                self.assertEqual(f.read(), first)
            wanted = self.generate("--prompt", "ROMEO:", "-n", "8")["tokens"]
            self.assertEqual(self.generate("--prompt", "ROMEO:", "-n", "8", "--cache", "kvquant4=" + out)["tokens"], wanted)
            texts = {str(self.generate("--prompt", "JULIET: O", "-n", "40", "--cache", f"paged=16:kvquant3={out}", *more)["tokens"])
                     for more in ((), ("--chunk", "1"), ("--threads", "1"))}
            self.assertEqual(len(texts), 1)
            saved = os.path.join(work, "session")
            self.generate("--prompt", "ROMEO:", "-n", "8", "--cache", "kvquant3=" + out, "--save-session", saved)
            self.generate("--prompt", "x", "-n", "3", "--cache", "kvquant3=" + out, "--load-session", saved)
            self.bad(1, "model_mismatch", "generate", "--model", MODEL, "--prompt", "x", "--cache", "kvquant2=" + out, "--load-session", saved)
            with open(out, "wb") as f:
                f.write(first[:-9] + b"x" + first[-8:])
            self.bad(1, "bad_file", "generate", "--model", MODEL, "--prompt", "x", "--cache", "kvquant3=" + out)
            self.bad(1, "io", "generate", "--model", MODEL, "--prompt", "x", "--cache", "kvquant3=/nowhere")
            self.bad(2, "usage", "generate", "--model", MODEL, "--prompt", "x", "--cache", "kvquant3")
            self.bad(2, "usage", "calibrate", MODEL, os.path.join(MODEL, "config.json"), "-f", __file__)

    def test_usage_errors(self):
        m = ("--model", MODEL)
        for args in [(), ("--prompt", "x"), m, m + ("--prompt", "x", "--tokens", "1"), m + ("--tokens", "1", "--prompt-file", "x"),
                     m + ("--prompt", "x", "--wat"), m + ("--prompt", "x", "-n", "-1"), m + ("--prompt", "x", "-n", "many"),
                     m + ("--tokens", "1,,2"), m + ("--tokens", "1,2,"), m + ("--tokens", "99999999999"), m + ("--tokens", ""),
                     m + ("--prompt", "x", "--cache", "pages"), m + ("--prompt", "x", "--cache", "paged=8:f16"),
                     m + ("--prompt", "x", "--cache", "contiguous:kivi4:h2o=40"), m, m + ("--load-session", "x", "--no-cache"), m + ("--prompt", "x", "--cache", "contiguous:q9"),
                     m + ("--prompt", "x", "--cache", "contiguous", "--no-cache"), m + ("--prompt", "x", "--temperature", "-1"),
                     m + ("--prompt", "x", "--temperature", "nan"), m + ("--prompt", "x", "--top-p", "2"), m + ("--prompt", "x", "--top-k", "-3"),
                     m + ("--prompt", "x", "--logit-bias", "5"), m + ("--prompt", "x", "--logit-bias", "5=x"), m + ("--prompt", "x", "--stop", ""),
                     m + ("--prompt", "x", "--draft", ""), m + ("--prompt", "x", "--draft-tokens", "4"), m + ("--prompt", "x", "--draft-rule", "law"),
                     m + ("--prompt", "x", "--draft", "ngram", "--draft-tokens", "0"), m + ("--prompt", "x", "--draft", "ngram", "--draft-tokens", "65"),
                     m + ("--prompt", "x", "--draft", "ngram", "--draft-tokens", "x"), m + ("--prompt", "x", "--draft", "ngram", "--draft-rule", "any"),
                     m + ("--prompt", "x", "--draft", "ngram", "--draft-lengths", "long"), m + ("--prompt", "x", "--draft", "ngram", "--no-cache"),
                     m + ("--prompt", "x", "--draft", "self:"), m + ("--prompt", "x", "--draft", "view:"), m + ("--prompt", "x", "--draft", "self:pages"), m + ("--prompt", "x", "--draft", "self:contiguous:q9"),
                     m + ("--prompt", "x", "--threads", "0"), m + ("--prompt", "x", "--compute", "slow"), m + ("--prompt", "x", "stray")]:
            self.bad(2, "usage", "generate", *args)
        self.assertIn("-n: -5 is not >= 1 ", self.bad(2, "usage", "compare", *m, "-n", "-5"))
        self.assertIn("does not fit", self.bad(2, "usage", "compare", *m, "-n", "9" * 30))
        self.assertIn("unknown argument --bogus", self.bad(2, "usage", "generate", "--bogus"))
        self.bad(2, "usage", "score", *m)
        self.bad(2, "usage", "score", *m, "--tokens", "1,2", "--window", "5")
        self.bad(2, "usage", "score", *m, "--tokens", "1,2", "--window", "5", "--stride", "6")
        self.bad(2, "usage", "score", *m, "--tokens", "1,2", "--window", "5", "--stride", "5", "--logits", "x.npy")
        self.bad(2, "usage", "compare")

    def test_failures(self):
        m = ("--model", MODEL)
        self.bad(1, "io", "generate", "--model", "/nowhere", "--prompt", "x")
        self.bad(1, "bad_file", "generate", "--model", MODEL + "/config.json", "--prompt", "x")
        self.bad(1, "io", "generate", *m, "--prompt-file", "/nowhere")
        self.bad(1, "io", "generate", *m, "--prompt-file", "/")
        self.bad(1, "empty_prompt", "generate", *m, "--prompt", "")
        self.bad(1, "token_range", "generate", *m, "--tokens", "1024")
        self.bad(1, "token_range", "generate", *m, "--tokens", "-1")
        self.bad(1, "token_range", "generate", *m, "--tokens", "1", "--logit-bias", "1024=1")
        self.bad(1, "capacity", "generate", *m, "--tokens", "1,2,3", "--context", "2")
        self.bad(1, "capacity", "generate", *m, "--tokens", "1", "--context", "100000")
        self.bad(1, "io", "generate", *m, "--prompt", "x", "--draft", "/nowhere")
        self.bad(1, "bad_file", "generate", *m, "--prompt", "x", "--draft", MODEL + "/config.json")
        self.bad(1, "unsupported", "generate", *m, "--prompt", "x", "--draft", "ngram", "--cache", "contiguous:f32:h2o=40")
        self.bad(1, "capacity", "score", *m, "--tokens", ",".join(["1"] * 513))
        self.bad(1, "io", "score", *m, "--tokens", "1,2", "--logits", "/nowhere/x.npy")

    def test_a_draft_changes_no_token(self):
        prompt = ("--prompt", "ROMEO:\nWhat, ho!\n\nROMEO:\nWhat", "-n", 60)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s.cairn")
            for sampling in ((), ("--temperature", "0.8", "--top-p", "0.9", "--repetition-penalty", "1.1", "--seed", "4")):
                plain = self.generate(*prompt, *sampling)
                self.assertIsNone(plain["draft"])
                for draft in ("ngram", "self", "self:contiguous:kivi2", "self:paged=16:f16:window=20,sinks=2", "view", "view:" + MODEL, MODEL):
                    for more in (("--draft-lengths", "fixed", "--draft-tokens", 5), ("--draft-tokens", 3)):
                        got = self.generate(*prompt, *sampling, "--draft", draft, *more)
                        self.assertEqual((got["tokens"], got["text"], got["stop_reason"]), (plain["tokens"], plain["text"], plain["stop_reason"]))
                        d = got["draft"]
                        self.assertEqual(d["rounds"] + d["steps"] + d["accepted"] + 1, 60)
                        self.assertLessEqual(d["accepted"], d["guesses"])
                        if draft == MODEL and more[1] == "fixed":
                            self.assertGreater(d["acceptance"], 0.9)
                            self.assertGreater(d["tokens_per_forward"], 5)
                # A stop string, and a session that goes on.
                stop = plain["text"][20:24]
                cut = [self.generate(*prompt, *sampling, "--stop", stop, *d)["text"] for d in ((), ("--draft", "self", "--draft-lengths", "fixed"))]
                self.assertEqual(cut[0], cut[1])
                half = ("--prompt", prompt[1], "-n", 30)
                first = self.generate(*half, *sampling, "--draft", "self", "--draft-lengths", "fixed", "--save-session", path)
                rest = self.generate("--load-session", path, "-n", 30, "--draft", "ngram", "--draft-lengths", "fixed")
                self.assertEqual(first["tokens"] + rest["tokens"], plain["tokens"])
            law = self.generate(*prompt, "--temperature", "0.8", "--draft", "self", "--draft-lengths", "fixed", "--draft-rule", "law")
            self.assertEqual(len(law["tokens"]), 60)
            line = run("generate", "--model", MODEL, *prompt, "--draft", "ngram").stderr.decode()
            self.assertRegex(line, r"draft: \d+ of \d+ guesses came true, \d+\.\d\d tokens a forward")

    def test_generate_is_the_same_whatever_the_path(self):
        base = self.generate("--prompt", "ROMEO:", "-n", 60)
        self.assertEqual(len(base["tokens"]), 60)
        self.assertEqual(base["stop_reason"], "length")
        self.assertEqual(base["cache"]["spec"], "contiguous:f32")
        self.assertEqual(base["cache"]["tokens"], len(base["prompt_tokens"]) + 59)
        self.assertEqual(base["cache"]["payload_bytes"], base["cache"]["tokens"] * 6 * 2 * 192 * 4)
        self.assertGreaterEqual(base["cache"]["bytes"], base["cache"]["payload_bytes"])
        self.assertEqual(base["model"]["architecture"], "gpt2")
        self.assertEqual(base["model"]["parameters"], 2964480)
        for args in (("--no-cache",), ("--chunk", 1), ("--chunk", 3), ("--threads", 1), ("--threads", 5), ("--no-cache", "--chunk", 2)):
            other = self.generate("--prompt", "ROMEO:", "-n", 60, *args)
            self.assertEqual(other["tokens"], base["tokens"], args)
            self.assertEqual(other["text"], base["text"])
        none = self.generate("--prompt", "ROMEO:", "-n", 5, "--no-cache")["cache"]
        self.assertEqual(none, {"spec": "none", "tokens": 0, "bytes": 0, "payload_bytes": 0})
        half = [self.generate("--prompt", "ROMEO:", "-n", 60, "--cache", "contiguous:k=f16,v=f16", *a) for a in ((), ("--chunk", 2))]
        self.assertEqual(half[0]["tokens"], half[1]["tokens"])
        self.assertEqual(half[0]["cache"]["spec"], "contiguous:f16")
        by_id = self.generate("--tokens", ",".join(map(str, base["prompt_tokens"])), "-n", 60)
        self.assertEqual(by_id["tokens"], base["tokens"])
        plain = self.good("generate", "--model", MODEL, "--prompt", "ROMEO:", "-n", 60)
        self.assertEqual(plain.decode(), "ROMEO:" + base["text"] + "\n")
        ids = self.good("generate", "--model", MODEL, "--tokens", ",".join(map(str, base["prompt_tokens"])), "-n", 60)
        self.assertEqual(ids, plain)
        quiet = run("generate", "--model", MODEL, "--prompt", "ROMEO:", "-n", 60, "--quiet")
        self.assertEqual((quiet.stdout.decode(), quiet.stderr), (base["text"] + "\n", b""))

    def test_how_it_went(self):
        def closing(*args):
            lines = run("generate", "--model", MODEL, "--prompt", "ROMEO:", *args).stderr.decode().splitlines()
            self.assertEqual(len(lines), 1, lines)
            return lines[0]
        self.assertRegex(closing("-n", 60), r"^-- 60 tokens \(prompt 2\), [0-9.]+ tokens/s, cache [0-9.]+ MiB, stopped: length$")
        self.assertRegex(closing("-n", 60, "--logit-bias", "0=1000"), r"^-- 1 token \(prompt 2\), cache [0-9.]+ MiB, stopped: eos$")
        self.assertRegex(closing("-n", 60, "--context", 10), "stopped: context$")
        self.assertRegex(closing("-n", 3, "--no-cache"), "cache 0.00 MiB")

    def test_seeds_and_limits(self):
        args = ("--prompt", "KING", "-n", 40, "--temperature", 1.1, "--top-k", 50, "--typical-p", 0.95, "--top-p", 0.9, "--min-p", 0.01,
                "--repetition-penalty", 1.1, "--presence-penalty", 0.1, "--frequency-penalty", 0.1)
        a, b, c = (self.generate(*args, "--seed", s) for s in (1, 1, 2))
        self.assertEqual(a["tokens"], b["tokens"])
        self.assertNotEqual(a["tokens"], c["tokens"])
        zero = self.generate("--prompt", "KING", "-n", 0)
        self.assertEqual((zero["tokens"], zero["text"], zero["stop_reason"], zero["decode_tokens_per_second"]), ([], "", "length", None))
        full = self.generate("--prompt", "KING", "--context", 20, "-n", 100)
        self.assertEqual(full["stop_reason"], "context")
        self.assertEqual(len(full["tokens"]) + len(full["prompt_tokens"]), 21)
        text = self.generate("--prompt", "ROMEO:", "-n", 60)["text"]
        stop = text[5:9]
        cut = self.generate("--prompt", "ROMEO:", "-n", 60, "--stop", stop)
        self.assertEqual((cut["stop_reason"], cut["text"]), ("stop", text[:text.index(stop)]))
        eos = self.generate("--prompt", "ROMEO:", "-n", 60, "--logit-bias", "0=1000")
        self.assertEqual((eos["tokens"], eos["text"], eos["stop_reason"]), ([0], "", "eos"))
        on = self.generate("--prompt", "ROMEO:", "-n", 5, "--logit-bias", "0=1000", "--ignore-eos")
        self.assertEqual(on["tokens"], [0] * 5)
        special = [len(self.generate("--prompt", "<|endoftext|>", "-n", 1, *a)["prompt_tokens"]) for a in ((), ("--special",))]
        self.assertGreater(special[0], special[1])
        self.assertEqual(special[1], 1)

    def test_prompt_files_and_bytes(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "p")
            with open(path, "wb") as f:
                f.write(b"\xff\xfe\x00 \xc3")
            out = self.generate("--prompt-file", path, "-n", 3)
            self.assertGreaterEqual(len(out["prompt_tokens"]), 5)
            out["text"].encode()  # valid UTF-8

    def npy(self, path):
        with open(path, "rb") as f:
            data = f.read()
        self.assertEqual(data[:8], b"\x93NUMPY\x01\x00")
        n = struct.unpack("<H", data[8:10])[0]
        self.assertEqual((10 + n) % 64, 0)
        header = eval(data[10:10 + n], {}, {})
        self.assertEqual((header["descr"], header["fortran_order"]), ("<f4", False))
        return header["shape"], data[10 + n:]

    def test_score(self):
        with tempfile.TemporaryDirectory() as folder:
            tokens = ",".join(str(i * 7 % 1024) for i in range(90))
            files = []
            for i, args in enumerate(((), ("--chunk", 1), ("--chunk", 7), ("--no-cache", "--chunk", 11), ("--threads", 1))):
                path = os.path.join(folder, f"{i}.npy")
                out = json.loads(self.good("score", "--model", MODEL, "--tokens", tokens, "--logits", path, "--json", *args))
                self.assertEqual((out["token_count"], out["tokens_scored"]), (90, 89))
                files.append((out, self.npy(path)))
            self.assertEqual(files[0][1][0], (90, 1024))
            for other in files[1:]:
                self.assertEqual(other, files[0])
            text = os.path.join(folder, "t.txt")
            with open(text, "w") as f:
                f.write("To be, or not to be: that is the question.\n" * 60)
            whole = json.loads(self.good("score", "--model", MODEL, "--text-file", text, "--json", "--window", 200, "--stride", 100))
            self.assertEqual(whole["tokens_scored"], whole["token_count"] - 1)
            self.assertGreater(whole["perplexity"], 1.0)
            one = json.loads(self.good("score", "--model", MODEL, "--tokens", "5", "--json"))
            self.assertEqual((one["tokens_scored"], one["nll"], one["perplexity"]), (0, None, None))

    def test_the_others(self):
        out = json.loads(self.good("compare", "--model", MODEL, "-n", 20, "--json"))
        self.assertTrue(out["same_tokens"])
        self.assertIn(b"identical", self.good("compare", "--model", MODEL, "-n", 20))
        self.assertIn(b"the same bits", self.good("host_project"))
        hello = self.good("hello")
        self.assertTrue(hello.endswith(b"79 tokens in 262144 bytes\n"), hello[-40:])

    def test_caches_and_sessions(self):
        prompt = ("--prompt", "ROMEO:\nBut soft, what light through yonder window breaks?", "--temperature", 0.8, "--seed", 5)
        plain = self.generate(*prompt, "-n", 40)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s.cairn")
            for spec in ("contiguous:f32", "mapped:f32", "paged=32:f32", "paged=16:q8_0", "tiered=20:q4_0+rot", "tiered=20,disk=32:q4_0+rot", "contiguous:k=q8_0,v=kivi2",
                         "paged=16:f16:window=30,sinks=4", "contiguous:f16:h2o=24,recent=8", "paged:q8_0:snapkv=20", "contiguous::nacl=20",
                         "mapped:f16:hashevict=30"):
                cut = self.generate(*prompt, "-n", 15, "--cache", spec, "--save-session", path)
                rest = self.generate("--load-session", path, "-n", 25, "--cache", spec, "--threads", 1)
                whole = self.generate(*prompt, "-n", 40, "--cache", spec, "--chunk", 3)
                self.assertEqual(whole["tokens"], cut["tokens"] + rest["tokens"], spec)
                if spec.endswith(":f32"):
                    self.assertEqual(whole["tokens"], plain["tokens"])
            self.bad(1, "model_mismatch", "generate", "--model", MODEL, "--load-session", path, "--cache", "contiguous:f16")
            with open(path, "r+b") as f:
                f.truncate(1000)
            self.bad(1, "bad_file", "generate", "--model", MODEL, "--load-session", path, "--cache", "mapped:f16:hashevict=30")
            self.bad(1, "io", "generate", "--model", MODEL, "--load-session", folder)
            self.bad(1, "io", "generate", "--model", MODEL, *prompt, "-n", 1, "--save-session", "/no/such/folder/x")
        ids = ",".join(str(i * 7 % 1024) for i in range(200))
        audit = json.loads(self.good("score", "--model", MODEL, "--tokens", ids, "--compare-cache", "contiguous:q4_0", "--json"))
        self.assertGreater(audit["kl"], 0.0)
        self.assertEqual(len(audit["attention_error_by_layer"]), 6)
        same = json.loads(self.good("score", "--model", MODEL, "--tokens", ids, "--compare-cache", "paged:f32", "--json", "--max-kl", 0))
        self.assertEqual((same["kl"], same["same_best"], same["perplexity"]), (0.0, 1.0, same["perplexity_f32"]))
        self.assertEqual(run("score", "--model", MODEL, "--tokens", ids, "--compare-cache", "contiguous:q4_0", "--attention", "fast").returncode, 2)
        self.assertEqual(run("score", "--model", MODEL, "--tokens", ids, "--compare", "--compute", "accurate").returncode, 2)
        integers = json.loads(self.good("score", "--model", MODEL, "--tokens", ids, "--compare", "--compute", "accurate", "--attention", "fast", "--cache", "q8_0", "--json"))
        self.assertGreater(integers["kl"], 0)
        self.assertEqual(run("score", "--model", MODEL, "--tokens", ids, "--compare-cache", "contiguous:q4_0", "--max-kl", "1e-9").returncode, 1)
        self.bad(2, "usage", "score", "--model", MODEL, "--tokens", "1,2", "--max-kl", "1")

    def test_plan(self):
        out = json.loads(self.good("plan", "--model", MODEL, "--cache", "paged=16:q8_0", "--context", 100, "--json"))
        used = self.generate("--tokens", ",".join(["5"] * 100), "-n", 0, "--cache", "paged=16:q8_0")["cache"]
        self.assertEqual((out["caches"][0]["bytes"], out["caches"][0]["payload_bytes"]), (used["bytes"], used["payload_bytes"]))
        out = json.loads(self.good("plan", "--shape", "32,32,8,128", "--context", 8192, "--cache", "contiguous:f16", "--budget", "4G", "--json"))
        self.assertEqual(out["caches"][0]["payload_bytes"], 1 << 30)
        self.assertEqual((out["caches"][0]["longest_context"], out["caches"][0]["most_sequences"]), (32768, 4))
        for args in ((), ("--shape", "1,2"), ("--shape", "4,4,3,64"), ("--shape", "4,4,4,64", "--budget", "5X"), ("--shape", "4,4,4,64", "--cache", "x")):
            self.bad(2, "usage", "plan", *args)
        self.bad(1, "io", "plan", "--model", "/nowhere")
        # A model's own context bounds what fits; a shape has none.
        out = json.loads(self.good("plan", "-m", MODEL, "--cache", "f16", "--budget", "64G", "--json"))
        self.assertEqual(out["caches"][0]["longest_context"], 512)
        self.assertGreater(json.loads(self.good("plan", "--shape", "6,6,6,32", "--cache", "f16", "--budget", "64G", "--json"))["caches"][0]["longest_context"], 1 << 20)
        self.bad(1, "capacity", "plan", "--model", MODEL, "-c", 513)
        prompts = [json.loads(self.good("plan", "--shape", "4,4,4,64", flag, 10, "--json"))["prompt"] for flag in ("--prompt", "--prompt-tokens")]
        self.assertEqual(prompts, [10, 10])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
