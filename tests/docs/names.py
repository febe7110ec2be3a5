#!/usr/bin/env python3
"""The public names of the library, a line each, from what stands above them in the headers.
names.py            prints docs/reference/names.md
names.py --write    writes it"""
import glob
import os
import re
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
LAYERS = [
    ("serve", "Many sequences"), ("io", "Files, tokenizers"), ("generate", "Sampling"), ("models", "Models and sessions"), ("layers", "Layers"),
    ("attention", "Attention"), ("cache", "Caches"), ("cache/named", "Caches by name"), ("cache/store", "Stores"), ("cache/codec", "Codecs"),
    ("cache/keep", "Keeps"), ("cache/read", "Reads"), ("cache/seam", "What a part of one's own implements"), ("numeric", "Numbers"), ("core", "Errors, memory, threads")]
NAME = [re.compile(pattern) for pattern in (
    r"^(?:class|struct|enum class)\s+(?:\[\[\w+\]\]\s+)?(\w+)", r"^concept (\w+)", r"^using (\w+) =", r"^inline constexpr [\w:<>*& ]+?(\w+)(?:\[\])? ?[={]", r"^[^=;{]*?\b(\w+)\(")]


def sentence(comment):
    """The first sentence of a comment."""
    text = " ".join(line.strip()[3:].strip() for line in comment)
    m = re.match(r"(.*?[.:])(\s+[A-Z(]|$)", text)
    return (m[1] if m else text).rstrip(".:")


def names_of(text):
    """(name, sentence) of everything at the top of namespace cairn that has a comment."""
    found = {}
    inside = False  # a namespace that is not for users
    comment = []
    for line in text.splitlines():
        if line.startswith("namespace "):
            inside = "namespace cairn { inline namespace CAIRN_ABI {" != line
        elif re.match(r"\}+  // namespace", line):
            inside = False
        elif line.startswith("///"):
            comment.append(line)
        elif comment and (line.startswith("requires") or line.startswith("template") and line.endswith(">")):
            continue  # the name comes in a later line
        elif comment and not line.startswith((" ", "#", "}", "//")) and line and not inside:
            for pattern in NAME:
                if m := pattern.match(line):
                    found.setdefault(m[1], sentence(comment))
                    break
            comment = []
        elif not line.startswith(" "):
            comment = []
    return found


def page():
    lines = ["# Names", "", "Every public name with the first sentence that its header says of it. Written by `tests/docs/names.py`; a test compares."]
    for folder, title in LAYERS:
        rows = []
        for path in sorted(glob.glob(os.path.join(ROOT, "include/cairn", folder, "*.hpp"))):
            with open(path) as f:
                found = names_of(f.read())
            header = os.path.basename(path)
            rows += [f"| `{name}` | `{header}` | {text.replace('|', chr(92) + '|')} |" for name, text in found.items()]
        lines += ["", f"## {title}: `cairn/{folder}/`", "", "| name | header | |", "|---|---|---|", *rows]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        with open(os.path.join(ROOT, "docs/reference/names.md"), "w") as file:
            file.write(page())
    else:
        sys.stdout.write(page())
