#!/usr/bin/env python3
"""The programs of examples/cookbook, by what they print.  cookbook_test.py BIN MODEL"""
import os
import re
import subprocess
import sys
import tempfile
import unittest

BIN, MODEL = sys.argv[1:3]
SOURCES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples", "cookbook")


class Cookbook(unittest.TestCase):
    def run_program(self, name, *args):
        return subprocess.run([os.path.join(BIN, "cookbook", name), *args], capture_output=True, text=True, timeout=60)

    def printed(self, name, *args):
        r = self.run_program(name, *args)
        self.assertEqual((r.returncode, r.stderr), (0, ""), r)
        return r.stdout

    def test_complete_text(self):
        out = self.printed("complete_text", MODEL)
        first, second = out.split("\n[stop]\n")
        self.assertGreater(len(first), 10)
        self.assertNotIn("\n\n", first)
        self.assertTrue(second.endswith("\n[cancelled after 10 tokens]\n"), out)

    def test_attention_layer(self):
        self.assertEqual(self.printed("attention_layer").splitlines(), [
            "40 rows at once and one by one: the same bits", "40 rows, 5120 bytes", "keys as an Eigen matrix: 40 x 16"])

    def test_shared_prompt(self):
        out = self.printed("shared_prompt", MODEL)
        counts = [tuple(map(int, c)) for c in re.findall(r": (\d+) tokens, (\d+) of them shared", out)]
        self.assertEqual(len(counts), 3, out)
        self.assertEqual(counts[0][1], 0)
        for all_tokens, shared in counts[1:]:
            self.assertTrue(30 < shared < all_tokens, out)
        # Every answer is that of a user alone.
        prompt = "First Citizen:\nBefore we proceed any further, hear me speak.\n\nAll:\nSpeak, speak.\n\n"
        for name, answer in zip(("ROMEO:", "JULIET:", "GLOUCESTER:"), out.split("---")[1:]):
            alone = subprocess.run([os.path.join(BIN, "generate"), "-m", MODEL, "-p", prompt + name, "-n", "24", "--quiet", "--temperature", "0",
                                    "--cache", "f16"], capture_output=True, text=True, timeout=60, check=True).stdout
            self.assertEqual(answer.strip(), alone.strip())

    def test_beams_and_samples(self):
        out = self.printed("beams_and_samples", MODEL)
        scores = [float(x) for x in re.findall(r"beam, log p (\S+): ", out)]
        self.assertEqual((len(scores), scores), (2, sorted(scores, reverse=True)), out)
        texts = re.findall(r"sample: (.*?)\n---\n", out, re.S)
        self.assertEqual((len(texts), len(set(texts))), (3, 3), out)
        self.assertTrue(out.endswith("the second sample alone: equal\n"), out)

    def test_save_and_resume(self):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "romeo.cairn")
            out = self.printed("save_and_resume", MODEL, file)
            self.assertTrue(out.startswith("ROMEO:\n"), out)
            self.assertTrue(out.endswith("\nwithout stopping: the same text\n"), out)
            self.assertEqual(os.listdir(folder), ["romeo.cairn"])

    def test_plan_and_audit(self):
        out = self.printed("plan_and_audit", MODEL)
        caches = re.findall(r"(\S+)\n  planned (\d+) bytes, allocated (\d+), the rows themselves (\d+)\n  KL (\S+),", out)
        self.assertEqual([c[0] for c in caches], ["paged=16:f32", "paged=16:q8_0", "contiguous:q4_0+rot", "contiguous:f16:window=48,sinks=4"])
        for _, planned, allocated, payload, _ in caches:
            self.assertEqual(planned, allocated)
            self.assertLessEqual(int(payload), int(allocated))
        kl = [float(c[4]) for c in caches]
        self.assertEqual((kl[0], kl), (0.0, sorted(kl)))
        self.assertRegex(out, r"tokens that fit 1 MiB: 416\n$")

    def test_embeddings(self):
        out = self.printed("embeddings", MODEL)
        self.assertEqual(re.findall(r"nearest: (.*)", out), ["My lord, the king is dead.", "I love thee, sweet lady, more than my life."])

    def test_own_keep(self):
        first, second = self.printed("own_keep", MODEL).splitlines()
        self.assertRegex(first, r"^24 of \d+ rows stay: 0 1 2 3 ")
        self.assertEqual(len(first.split(": ")[1].split()), 24)
        self.assertEqual(second, "contiguous:q8_0:famous=30: the same bits in 8 ways of feeding")

    def programs(self):
        return sorted(name[:-4] for name in os.listdir(SOURCES) if name.endswith(".cpp"))

    def test_every_program_is_run_here(self):
        self.assertLessEqual({"test_" + name for name in self.programs()}, set(dir(self)))

    def test_errors_are_one_line(self):
        for name in self.programs():
            if name == "attention_layer":
                continue
            r = self.run_program(name, "/nowhere/model")
            self.assertEqual((r.returncode, r.stdout, r.stderr), (1, "", "error[io]: /nowhere/model: no such file or folder\n"), name)

    def test_every_program_says_how_it_is_built_and_run(self):
        for name in self.programs():
            with open(os.path.join(SOURCES, name + ".cpp")) as f:
                text = f.read()
            head = text.split("#include")[0]
            self.assertIn(f"//   cmake --build build/release --target {name}\n", head)
            self.assertIn(f"//   build/release/bin/cookbook/{name}", head)
            self.assertLessEqual(text.count("\n"), 80, name)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
