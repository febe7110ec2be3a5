#!/usr/bin/env python3
"""chat and generate as a person at a terminal meets them, through a pseudo-terminal.  terminal_test.py BIN MODEL"""
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN, MODEL = sys.argv[1:3]
CTRL_C = b"\x03"
CTRL_D = b"\x04"


def chat_model(folder):
    """The shipped model with the two markers of a chat format in place of its last two pieces of text."""
    for name in os.listdir(MODEL):
        shutil.copy(os.path.join(MODEL, name), folder)
    path = os.path.join(folder, "tokenizer.json")
    with open(path) as f:
        tokenizer = json.load(f)
    vocab, merges = tokenizer["model"]["vocab"], tokenizer["model"]["merges"]
    last = sorted(vocab, key=vocab.get)[-2:]
    tokenizer["model"]["merges"] = merges[:-2]
    for word, marker in zip(last, ("<|im_start|>", "<|im_end|>")):
        id = vocab.pop(word)
        vocab[marker] = id
        tokenizer["added_tokens"].append({"id": id, "content": marker, "special": True, "single_word": False, "lstrip": False,
                                          "rstrip": False, "normalized": False})
    with open(path, "w") as f:
        json.dump(tokenizer, f)


class Terminal:
    """A program whose standard input, output and error are one terminal."""

    def __init__(self, program, *args, slow=False):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            if slow:  # fused multiply-adds in software: an answer takes its time on any machine
                os.environ["CAIRN_ISA"] = "portable"
            os.environ["TERM"] = "xterm"
            os.environ["LC_ALL"] = "C.UTF-8"
            os.execv(os.path.join(BIN, program), [program, *map(str, args)])

    def __enter__(self):
        return self

    def __exit__(self, *error):
        os.close(self.fd)
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)

    def send(self, data):
        os.write(self.fd, data)

    def until(self, pattern, seconds=60):
        """What came up to and with the pattern; it is taken off what was seen."""
        end = time.monotonic() + seconds
        while True:
            found = re.search(pattern, self.seen)
            if found:
                taken, self.seen = self.seen[:found.end()], self.seen[found.end():]
                return taken
            if not select.select([self.fd], [], [], max(0.0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {pattern!r} in {self.seen!r}")
            try:
                self.seen += os.read(self.fd, 65536)
            except OSError:
                raise AssertionError(f"ended without {pattern!r}: {self.seen!r}") from None

    def end(self):
        """The exit code."""
        while True:
            if not select.select([self.fd], [], [], 60)[0]:
                raise AssertionError("it does not end")
            try:
                if not os.read(self.fd, 65536):
                    break
            except OSError:
                break
        _, status = os.waitpid(self.pid, 0)
        self.pid = 0
        return os.waitstatus_to_exitcode(status)


PROMPT = rb">(\x1b\[0m)? "
CLOSING = rb"-- (\d+) tokens?[^\r\n]*stopped: (\w+)[^\r\n]*\r\n"


class TerminalTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        chat_model(cls.folder.name)
        cls.edits = b"(libedit)" in subprocess.run([os.path.join(BIN, "chat"), "--help"], capture_output=True).stdout

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def chat(self, *args, **more):
        return Terminal("chat", "--model", self.folder.name, "--format", "chatml", "--threads", 1, *args, **more)

    def closing(self, terminal):
        tokens, why = re.search(CLOSING, terminal.until(CLOSING)).groups()
        return int(tokens), why.decode()

    def saved(self, terminal, path):
        terminal.send(b"/save " + path.encode() + b"\n")
        terminal.until(rb"saved to [^\r\n]*\r\n")
        terminal.until(PROMPT)  # what comes before the editor reads is lost when it takes the terminal
        with open(path) as f:
            return [turn["content"] for turn in json.load(f)]

    def test_ctrl_c_ends_an_answer_and_only_that_one(self):
        with self.chat("-n", 150, slow=True) as t:
            t.until(PROMPT)
            for _ in range(3):
                t.send(b"Speak.\n")
                t.until(rb"\x1b\[36m[^A-Za-z]*[A-Za-z]")
                t.send(CTRL_C)
                tokens, why = self.closing(t)
                self.assertEqual(why, "cancelled")
                self.assertLess(tokens, 150)
                t.until(PROMPT)
                t.send(b"Speak again.\n")
                tokens, why = self.closing(t)
                self.assertNotEqual(why, "cancelled")
                self.assertGreater(tokens, 0)
                t.until(PROMPT)
                t.send(b"/reset\n")
                t.until(PROMPT)
            t.send(CTRL_D)
            self.assertEqual(t.end(), 0)

    def test_ctrl_c_at_the_prompt_drops_the_line_and_nothing_else(self):
        with self.chat("-n", 4) as t, tempfile.TemporaryDirectory() as folder:
            t.until(PROMPT)
            for _ in range(3):
                t.send(b"not this" + CTRL_C)
                t.until(PROMPT)
                t.send(b"Speak.\n")
                self.assertEqual(self.closing(t), (4, "length"))
                t.until(PROMPT)
                t.send(CTRL_C)
                t.until(PROMPT)
            self.assertEqual(self.saved(t, os.path.join(folder, "s.json"))[::2], ["Speak."] * 3)
            t.send(CTRL_D)
            self.assertEqual(t.end(), 0)

    def test_a_question_cancelled_before_its_answer_is_forgotten(self):
        with self.chat("-n", 4, "--chunk", 1, slow=True) as t, tempfile.TemporaryDirectory() as folder:
            t.until(PROMPT)
            t.send(b"One.\n")
            self.assertEqual(self.closing(t)[1], "length")
            t.until(PROMPT)
            # Long enough for the bar, which says that the question is being read: Ctrl-C is a signal from then on.
            t.send(b"A long one: " + b"and so on " * 135 + b"\n")
            t.until(rb"reading the prompt")
            t.send(CTRL_C)
            self.assertEqual(self.closing(t), (0, "cancelled"))
            t.until(PROMPT)
            t.send(b"Two.\n")
            self.assertEqual(self.closing(t)[1], "length")
            t.until(PROMPT)
            self.assertEqual(self.saved(t, os.path.join(folder, "s.json"))[::2], ["One.", "Two."])

    def test_lines(self):
        with self.chat("-n", 1) as t, tempfile.TemporaryDirectory() as folder:
            lines = [(b"abc\x1b[D\x1b[DX\n", "aXbc" if self.edits else "abcX"),
                     (b"first \\\nsecond\n", "first \nsecond"),
                     ("Grüße, 猫\n".encode(), "Grüße, 猫")]
            if self.edits:
                lines += [(b"\x1b[A\n", "Grüße, 猫"), (b"\x1b[200~pasted\rlines\r\x1b[201~ and more\n", "pasted\nlines and more"),
                          (b"\x1b[A\x1b[A\x01Ho, \n", "Ho, Grüße, 猫")]
            t.until(PROMPT)
            for typed, _ in lines:
                if b"\\\n" in typed:  # a line after the other, as a person types
                    first, typed = typed.split(b"\n", 1)
                    t.send(first + b"\n")
                    t.until(rb"\\\r?\n.* (\x1b\[0m)? ")
                t.send(typed)
                self.closing(t)
                t.until(PROMPT)
            self.assertEqual(self.saved(t, os.path.join(folder, "s.json"))[::2], [line for _, line in lines])

    def test_a_pipe(self):
        command = [os.path.join(BIN, "chat"), "--model", self.folder.name, "--format", "chatml", "-n", "3"]
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s.json")
            r = subprocess.run(command, input=b"one\r\n\x07two\x00 \\\n three\n\n/save " + path.encode() + b"\nlast", capture_output=True, timeout=120)
            self.assertEqual(r.returncode, 0, r.stderr)
            self.assertEqual(len(re.findall(rb"-- 3 tokens", r.stderr)), 3)
            with open(path) as f:
                self.assertEqual([turn["content"] for turn in json.load(f)][::2], ["one", "two \n three"])
            quiet = subprocess.run([*command, "--quiet"], input=b"one\n", capture_output=True, timeout=120)
            self.assertEqual((quiet.returncode, quiet.stderr), (0, b""))

    def test_generate_ends_with_130_and_a_session_that_goes_on(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s.cairn")
            args = ("--model", MODEL, "--threads", 1, "--prompt", "ROMEO:")
            with Terminal("generate", *args, "-n", 400, "--save-session", path, slow=True) as t:
                t.until(rb"ROMEO:[^A-Za-z]*[A-Za-z]")
                t.send(CTRL_C)
                cut, why = self.closing(t)
                self.assertEqual((why, t.end()), ("cancelled", 130))
                self.assertLess(cut, 400)
            rest = self.generate("--load-session", path, "-n", 5)
            whole = self.generate("--prompt", "ROMEO:", "-n", cut + 5)
            self.assertEqual(rest["tokens"], whole["tokens"][cut:])

    def test_generate_cancelled_in_its_prompt_goes_on_from_there(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "s.cairn")
            prompt = "to be or not to be " * 80
            with Terminal("generate", "--model", MODEL, "--threads", 1, "--prompt", prompt, "--chunk", 1, "--save-session", path, slow=True) as t:
                t.until(rb"reading the prompt")
                t.send(CTRL_C)
                self.assertEqual((self.closing(t), t.end()), ((0, "cancelled"), 130))
            rest = self.generate("--load-session", path, "-n", 5)
            self.assertGreater(len(rest["prompt_tokens"]), 1)
            self.assertEqual(rest["tokens"], self.generate("--prompt", prompt, "-n", 5)["tokens"])

    def generate(self, *args):
        return json.loads(subprocess.run([os.path.join(BIN, "generate"), "--model", MODEL, "--json", *map(str, args)],
                                         capture_output=True, check=True, timeout=120).stdout)

    def test_a_long_prompt_shows_a_bar(self):
        with Terminal("generate", "--model", MODEL, "--threads", 1, "--prompt", "to be or not to be " * 80, "-n", 1, "--chunk", 8, slow=True) as t:
            t.until(rb"reading the prompt \[#*\s*\] \d+%")
            t.until(rb"\r\x1b\[K.*to be or not")
            self.closing(t)
            self.assertEqual(t.end(), 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
