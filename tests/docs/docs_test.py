#!/usr/bin/env python3
"""What README.md and docs/ say is true: code compiles, links lead somewhere, flags exist.
docs_test.py ROOT CXX [--include FOLDER:FOLDER...] [--bin FOLDER]

A block of ```cpp is
- a program of its own, if it has a main;
- a piece of a header or of a test, if <!-- from cairn/FOLDER/NAME.hpp --> (or tests/...) stands above it: its paragraphs, or else their lines, must
  stand there, white space and comments aside;
- else a fragment: declarations if it begins (behind comments and #include) with class, struct, template, enum or namespace,
  and statements of a function if not. A fragment sees what earlier ones of its page declare and the names of
  tests/docs/names.hpp. All fragments are one translation unit."""
import argparse
import functools
import glob
import os
import re
import subprocess
import sys
import tempfile
import unittest

parser = argparse.ArgumentParser()
parser.add_argument("root")
parser.add_argument("cxx")
parser.add_argument("--include", default="")
parser.add_argument("--bin")
options, rest = parser.parse_known_args()
ROOT = options.root
PAGES = ["README.md", *sorted(os.path.relpath(p, ROOT) for p in glob.glob(os.path.join(ROOT, "docs/**/*.md"), recursive=True))]
DECLARATIONS = re.compile(r"(\s*//.*\n)*\s*(class|struct|template|enum|namespace)\b")


@functools.lru_cache(None)
def read(path):
    with open(os.path.join(ROOT, path)) as f:
        return f.read()


def exists(path):
    return os.path.exists(os.path.join(ROOT, path))


def blocks(text, language):
    """(line of the first line, text of the line above, body) of every block of a page."""
    for m in re.finditer(r"(?:^[ ]*(<!--[^\n]*-->)[ ]*\n)?^([ ]*)```" + language + r"\n(.*?)^[ ]*```", text, re.S | re.M):
        body = "".join(line[len(m[2]):] if line.startswith(m[2]) else line for line in m[3].splitlines(True))
        yield text[:m.start(3)].count("\n") + 1, m[1] or "", body


def plain_code(text):
    return re.sub(r"\s+", "", re.sub(r"//.*", "", text))


class Code:
    """The blocks of some pages, sorted into what is done with them."""

    def __init__(self, pages, names='#include "names.hpp"'):
        self.programs, self.pieces = [], []
        lines = [names]
        spaces = []
        for number, (page, text) in enumerate(pages):
            lines_of_page = []
            for at, comment, body in blocks(text, "cpp"):
                header = re.fullmatch(r"<!-- from (\S+) -->", comment)
                if header:
                    self.pieces.append((page, at, header[1], body))
                elif re.search(r"^int main\(", body, re.M):
                    self.programs.append(f'#line {at} "{page}"\n{body}')
                else:
                    includes = re.findall(r"^#include.*\n", body, re.M)
                    lines += [f'#line {at} "{page}"\n' + include.rstrip() for include in includes]
                    body = re.sub(r"^#include.*$", "", body, flags=re.M)
                    declares = DECLARATIONS.match(body) or includes and not body.strip()
                    lines_of_page.append(f'#line {at} "{page}"\n{body}' if declares
                                         else f'[[maybe_unused]] static void block_{at}() {{\n#line {at} "{page}"\n{body}}}')
            spaces.append(f"namespace page_{number} {{\nusing namespace names;\n" + "\n".join(lines_of_page) + "\n}")
        self.fragments = "\n".join(lines + spaces) + "\n"

    def wrong(self):
        """What does not compile, or does not stand in its header: a list of texts."""
        found = []
        for page, at, header, body in self.pieces:
            path = header if header.startswith("tests/") else "include/" + header
            code = plain_code(read(path)) if exists(path) else ""
            for piece in re.split(r"\n\s*\n", body):
                if plain_code(piece) not in code and not all(plain_code(line) in code for line in piece.splitlines()):
                    found.append(f"{page}:{at}: not in {header}: {piece.strip()}")
        with tempfile.TemporaryDirectory() as work:
            for i, text in enumerate([self.fragments, *self.programs]):
                path = os.path.join(work, f"{i}.cpp")
                with open(path, "w") as f:
                    f.write(text)
                folders = [x for folder in options.include.split(":") if folder not in ("", "/usr/include") for x in ("-isystem", folder)]
                run = subprocess.run([options.cxx, "-std=c++20", "-fsyntax-only", "-DCAIRN_EXTERN_KERNELS", "-DCAIRN_EXTERN_IO", "-I", os.path.join(ROOT, "include"),
                                      "-I", os.path.join(ROOT, "tests/docs"), *folders, path], stderr=subprocess.PIPE, text=True)
                if run.returncode != 0:
                    found.append(run.stderr)
        return found


class Docs(unittest.TestCase):
    def test_every_block_of_code_compiles(self):
        found = Code([(page, read(page)) for page in PAGES]).wrong()
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_a_block_that_does_not_compile_is_found(self):
        bad = ["```cpp\nsession.prefil(prompt);\n```\n", "<!-- from cairn/core/error.hpp -->\n```cpp\nclass Errors;\n```\n",
               "```cpp\nint main() { return cairn::no; }\n```\n"]
        names = "namespace names { struct Fed { void prefill(int); }; extern Fed session; extern int prompt; }"
        found = Code([("page.md", "\n".join(bad))], names).wrong()
        self.assertEqual(len(found), 3, found)
        self.assertIn("page.md:2:", found[1])
        self.assertIn("not in cairn/core/error.hpp: class Errors;", found[0])
        self.assertEqual(Code([("page.md", "```cpp\nsession.prefill(prompt);\n```\n<!-- from cairn/core/error.hpp -->\n```cpp\n"
                                "class Error : public std::runtime_error {\n\nErrorCode code() const noexcept  // why\n```\n")], names).wrong(), [])

    def test_links_lead_somewhere(self):
        def anchors(text):
            text = re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)
            return {re.sub(r"[^\w\- ]", "", h.strip().lower()).replace(" ", "-") for h in re.findall(r"^#+ (.*)$", text, re.M)}

        bad = []
        for path in self.all_pages():
            for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"^```.*?^```", "", read(path), flags=re.S | re.M)):
                if re.match(r"[a-z]+:", target):
                    continue
                file, _, anchor = target.partition("#")
                file = os.path.normpath(os.path.join(os.path.dirname(path), file)) if file else path
                if not exists(file) or anchor and anchor not in anchors(read(file)):
                    bad.append(f"{path}: {target}")
        self.assertEqual(bad, [])

    def all_pages(self):
        listed = subprocess.run(["git", "-C", ROOT, "ls-files", "*.md"], capture_output=True, text=True)
        return sorted(set(PAGES) | set(listed.stdout.split() if listed.returncode == 0 else []))

    def test_every_page_is_linked(self):
        linked = {os.path.normpath(os.path.join(os.path.dirname(page), target.partition("#")[0]))
                  for page in PAGES for target in re.findall(r"\]\(([^)\s]+\.md[^)\s]*)\)", read(page))}
        self.assertEqual([page for page in PAGES if page not in linked and page != "README.md"], [])

    def test_files_that_are_named_are_there(self):
        files = [os.path.relpath(os.path.join(folder, name), ROOT) for top in ("include", "tests", "docs", "examples", "bench", "cmake")
                 for folder, _, names in os.walk(os.path.join(ROOT, top)) for name in names]
        bad = []
        for page in PAGES + ["CONTRIBUTING.md", "SECURITY.md"]:
            for name in re.findall(r"`([\w./-]+)`", read(page)):
                if "LAYER" in name:
                    continue
                if re.match(r"(include|tests|docs|examples|bench|cmake)/\w", name):
                    there = exists(name)
                elif re.search(r"\w\.(hpp|cpp|py|cmake)$", name) and name not in ("you.cpp",):
                    there = any(("/" + file).endswith("/" + name) for file in files)
                else:
                    continue
                if not there:
                    bad.append(f"{page}: {name}")
        self.assertEqual(bad, [])

    def test_types_that_are_named_exist(self):
        headers = glob.glob(os.path.join(ROOT, "include/**/*.hpp"), recursive=True)
        words = set(re.findall(r"\w+", " ".join(read(os.path.relpath(header, ROOT)) for header in headers)))
        bad = []
        for page in PAGES:
            if page in ("docs/caches.md", "docs/words.md", "docs/tour.md") or page.startswith("docs/reference/"):
                named = re.findall(r"`(?:cairn::)?([A-Z]\w*[a-z]\w*)(?:<[^`]*>|::\w+|\([^`]*\))?`", read(page))
                bad += [f"{page}: {name}" for name in named if name not in words]
        self.assertEqual(bad, [])

    def test_the_page_of_names_is_what_the_headers_say(self):
        told = subprocess.run([sys.executable, os.path.join(ROOT, "tests/docs/names.py")], capture_output=True, text=True, check=True).stdout
        self.assertTrue(told == read("docs/reference/names.md"), "the headers say something else: run tests/docs/names.py --write")
        for name in ("KvCache", "generate", "beam_search", "prefill", "Error", "CodecPolicy", "cache_words", "H2O", "load_model"):
            self.assertIn(f"| `{name}` |", told)

    def test_programs_and_flags_exist(self):
        self.assertEqual(self.unknown_flags("```\nscore --no-such-flag\n```\n`tests/run --never` `-Q`"),
                         ["score --no-such-flag", "tests/run --never", "-Q"] if options.bin else ["tests/run --never"])
        bad = [f"{page}: {flag}" for page in PAGES + ["CONTRIBUTING.md"] for flag in self.unknown_flags(read(page))]
        self.assertEqual(bad, [])

    @functools.lru_cache(None)
    def help_of(self, name):
        """What a program says, or the text of a script or of a program that everyday builds leave out."""
        name = name.removeprefix("build/bin/")
        for path in (name, f"bench/{name}.cpp", f"bench/{name}.py"):
            if os.path.isfile(os.path.join(ROOT, path)):
                return read(path) + (read(path + ".py") if exists(path + ".py") else "")
        if options.bin and os.path.isfile(os.path.join(options.bin, name)):
            return subprocess.run([os.path.join(options.bin, name), "--help"], capture_output=True, text=True, timeout=60).stdout
        return None

    def unknown_flags(self, text):
        commands = [line for _, _, body in blocks(text, "(?:bash|sh)?") for line in body.splitlines()]
        commands += re.findall(r"`([^`\n]+)`", re.sub(r"^ *```.*?^ *```", "", text, flags=re.S | re.M))
        programs = [os.path.basename(p)[:-4] for p in glob.glob(os.path.join(ROOT, "examples/programs/*.cpp"))]
        found = []
        for command in commands:
            words = re.split(r"[\s=\[\]|]+", re.sub(r"#.*", "", command).strip())
            flags = [w for w in words if re.fullmatch(r"--[a-z][\w-]*|-[a-zA-Z]", w)]
            if re.fullmatch(r"(examples|tests|bench|cmake)/[\w./]+|build/bin/\w+", words[0]) and "NAME" not in words[0]:
                if self.help_of(words[0]) is None:
                    if not os.path.isdir(os.path.join(ROOT, words[0])) and (options.bin or not words[0].startswith("build")):
                        found.append(words[0])
                    continue
            elif words[0].startswith("-"):
                if options.bin and flags and flags[0] == words[0]:
                    if not any(re.search(rf"(?<![\w-]){flags[0]}\b", self.help_of(p) or "") for p in programs + ["tests/run", "examples/run", "bench/peers", "bench/machine"]):
                        found.append(flags[0])
                continue
            elif self.help_of(words[0]) is None:
                continue
            for flag in flags:
                if not re.search(rf"(?<![\w-]){flag}\b", self.help_of(words[0])):
                    found.append(f"{words[0]} {flag}")
        return found


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + rest, verbosity=1)
