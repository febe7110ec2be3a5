#!/usr/bin/env python3
"""What the house promises about its own files (docs/house.md): policies are named where they live and
in the registry, nobody asks an object for its type, headers and functions stay short.

Usage: house.py ROOT [--list]   (--list prints every use of a policy's name outside its own file)
"""
import pathlib
import re
import statistics
import sys

# Where else a policy may be named in code, and why.
ALLOWED = {
    "cache/codec/kivi.hpp": "its recent rows are plain rows of 16 bits",
    "cache/codec/kvquant.hpp": "its first row is a plain row of 16 bits",
    "cache/codec/xquant_layers.hpp": "its recent rows are plain rows of 16 bits",
    "cache/codec/quant_spec.hpp": "its recent rows are plain rows of 16 bits",
    "cache/codec/two_tiers.hpp": "the default of its hot tier",
    "cache/store/contiguous.hpp": "the default of its codecs",
    "cache/store/paged.hpp": "the default of its codecs",
    "cache/store/spilled.hpp": "the default of its codecs",
    "cache/store/tiered.hpp": "names for what the parts give together",
    "cache/named/library_words.hpp": "the registry",
    "cache/named/store_words.hpp": "words of the registry whose options choose between stores",
    "cache/kv_cache.hpp": "KvCache<> is the plainest cache: the defaults of its axes",
    "io/tokenizer_json_steps.hpp": "a word of tokenizer.json that is spelt alike",
    "models/audit.hpp": "an audit compares with the plainest store",
}
POLICY_FOLDERS = ("codec", "store", "keep", "read")
# Layers in which words like q8_0 mean formats of weights and of kernels.
OTHER_WORDS = ("core", "numeric", "kernels", "layers", "io")


def without_comments(text):
    return re.sub(r"//[^\n]*", "", text)


def without_internals(text):
    """The text outside blocks of namespace internal."""
    return re.sub(r"\bnamespace internal \{.*?\n\}  // namespace internal", "", text, flags=re.S)


def policies(include):
    """Types and words of the policies: name -> its file."""
    types, words = {}, {}
    for folder in POLICY_FOLDERS:
        for path in sorted((include / "cache" / folder).glob("*.hpp")):
            name = path.relative_to(include).as_posix()
            text = without_comments(without_internals(path.read_text()))
            for found in re.finditer(r"^(?:struct (\w+)(?: : [^{]*)? \{|using (\w+) =)", text, re.M):
                types[found[1] or found[2]] = name
            for found in re.finditer(r'\bword = (.*?);', text, re.S):
                for word in re.findall(r'"(\w+)"', found[1]):
                    words[word] = name
            for found in re.finditer(r'^using \w+ = \w+<.*?"(\w+)">;', text, re.M | re.S):
                words[found[1]] = name
    return types, words


def named_elsewhere(include):
    types, words = policies(include)
    if len(types) < 20 or len(words) < 15:
        return [f"only {len(types)} policies and {len(words)} words were found: the test is blind"], set()
    any_type = re.compile(r"\b(" + "|".join(types) + r")\b")
    any_word = re.compile(r'"(' + "|".join(words) + r')"')
    found, used = [], set()
    for path in sorted(include.rglob("*.hpp")):
        name = path.relative_to(include).as_posix()
        text = without_comments(path.read_text())
        if name.split("/")[0] in OTHER_WORDS:
            text = re.sub(r'"[^"\n]*"', '""', text)
        hits = []
        for number, line in enumerate(text.split("\n"), 1):
            if line.startswith("#"):
                continue
            hits += [(number, hit) for hit in any_type.findall(line) if types[hit] != name]
            hits += [(number, hit) for hit in any_word.findall(line) if words[hit] != name]
        if hits and name in ALLOWED:
            used.add(name)
        elif hits:
            found += [f"{name}:{number}: names the policy {hit}" for number, hit in hits]
        if "--list" in sys.argv:
            for number, hit in hits:
                print(f"{name}:{number}: {hit}")
    found += [f"{name} is allowed to name policies and names none" for name in ALLOWED if name not in used]
    return found, used


def asked_types(root):
    """Uses of dynamic_cast outside internal/ folders."""
    found = []
    for folder in ("include", "tests", "bench", "examples"):
        for path in sorted((root / folder).rglob("*.[hcp]pp")):
            if "internal" not in path.parts and "dynamic_cast" in without_comments(path.read_text()):
                found.append(f"{path.relative_to(root).as_posix()} uses dynamic_cast")
    return found


# Headers of attention/ without a test of their own name, and the test that would notice.
COVERED = {
    "attention": ("attention/engine_test.cpp", "attend"),
    "choose": ("cache/quest_test.cpp", "by_definition"),
    "chosen": ("cache/quest_test.cpp", "NaivePages"),
    "members": ("attention/batch_test.cpp", "shared rows are read once"),
    "open": ("cache/bare_keys_test.cpp", "BareKeys"),
    "parameters": ("attention/engine_test.cpp", "masks and biases"),
    "reduce": ("attention/batch_test.cpp", "attend_batch"),
    "scores": ("cache/keep_test.cpp", "probabilities"),
}


def untested(root):
    """Headers of attention/ that no test is named after, or whose stand-in does not do what it is there for."""
    found = []
    for path in sorted((root / "include/cairn/attention").glob("*.hpp")):
        if (root / "tests/attention" / f"{path.stem}_test.cpp").exists():
            continue
        test, words = COVERED.get(path.stem, ("", ""))
        if not test or words not in (root / "tests" / test).read_text():
            found.append(f"attention/{path.name} has no test")
    return found


def too_long(include, most_lines=400, most_median=110, most_function=80):
    found, lengths = [], []
    opens = re.compile(r"^( *)(?!.*\b(?:namespace|class|struct|enum|union|if|for|while|switch|do|else)\b).*(?<!\{)\{$")
    for path in sorted(include.rglob("*.hpp")):
        name = path.relative_to(include).as_posix()
        lines = path.read_text().split("\n")
        lengths.append(len(lines))
        if len(lines) > most_lines + 1:
            found.append(f"{name} has {len(lines) - 1} lines; {most_lines} is the most")
        for number, line in enumerate(lines):
            start = opens.match(line)
            if not start or len(start[1]) > 8:
                continue
            end = next((i for i in range(number, len(lines)) if lines[i].startswith(start[1] + "}")), number)
            if end - number + 1 > most_function:
                found.append(f"{name}:{number + 1}: {end - number + 1} lines; a function has {most_function} at most")
    if statistics.median(lengths) > most_median:
        found.append(f"the median header has {statistics.median(lengths):.0f} lines; {most_median} is the most")
    return found


def architectures(root):
    """Architectures that docs/models.md does not list, or lists without the library knowing them."""
    source = (root / "include/cairn/models/library_architectures.hpp").read_text()
    known = set(re.findall(r'\{"(\w+)", "([\w-]*)", ', source))
    lines = (root / "docs/models.md").read_text()
    listed = {(hf, gguf.strip("`")) for hf, gguf in re.findall(r"^\|[^|]*\| `(\w+)` \| (`[\w-]+`)? ?\|", lines, re.M)}
    return [f"docs/models.md lists {name}, which the library does not know" for name in sorted(listed - known)] + [
        f"docs/models.md does not list {name}" for name in sorted(known - listed)]


def refused_by_gcc_14(include):
    """g++ 14 ends with an internal error at a constant of a template whose virtual constexpr destructor has a body."""
    return [f"{path.relative_to(include).as_posix()}: a constexpr virtual destructor is `= default`, for g++ 14"
            for path in sorted(include.rglob("*.hpp")) if re.search(r"constexpr ~\w+\(\) override \{", path.read_text())]


def readme_models(root):
    """What README.md lists of models without a row in docs/models.md, and rows that it does not list."""
    plain = lambda name: re.sub(r"[\s-]", "", name).lower()
    said = re.search(r"Hugging Face folder of (.*?) \(\[docs/models.md\]", (root / "README.md").read_text(), re.S)
    names = []
    for name in re.split(r",\s+|\s+or\s+", said[1] if said else ""):
        several = re.fullmatch(r"(\S+)\s+(\d+) and (\d+)", name)
        # The first of a kind has no number: StarCoder.
        names += [plain(several[1] + n.replace("1", "")) for n in several.groups()[1:]] if several else [plain(name)]
    rows = [re.split(r", ", row) for row in re.findall(r"^\| ([^|]*?) \| `", (root / "docs/models.md").read_text(), re.M)][1:]
    has = lambda name, row: any(plain(part).startswith(name) for part in row)
    return [f"README.md lists {name}, docs/models.md does not" for name in names if not any(has(name, row) for row in rows)] + [
        f"README.md does not list {row[0]}" for row in rows if not any(has(name, row) for name in names)]


def main():
    root = pathlib.Path(sys.argv[1])
    include = root / "include" / "cairn"
    found = named_elsewhere(include)[0] + asked_types(root) + untested(root) + too_long(include) + refused_by_gcc_14(include) + architectures(root) + readme_models(root)
    print(*found, sep="\n")
    if not found:
        print("the house is in order")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
