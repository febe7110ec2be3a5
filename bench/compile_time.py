#!/usr/bin/env python3
"""Seconds of processor time to parse the umbrella header, to compile hello and a program that loads a model.  bench/compile_time.py [ROOT]"""
import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

LOAD = """\
#include <iostream>
#include <cairn/io/io.hpp>
int main(int, char** arguments) {
    const auto loaded = cairn::load_model(arguments[1]);
    auto session = loaded.model.session<cairn::KvCache<cairn::Contiguous<cairn::F16>>>(2048);
    cairn::TextStream text(*loaded.tokenizer);
    cairn::Greedy greedy;
    cairn::generate(session, loaded.tokenizer->encode(arguments[2]), greedy, {.max_tokens = 48},
                    [&](cairn::Token t) { std::cout << text.feed(t) << std::flush; });
}
"""


def cost(command):
    """Median processor seconds of three runs, and the most memory in MB."""
    seconds, memory = [], 0
    for _ in range(3):
        process = subprocess.Popen(command)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            sys.exit(f"error: {' '.join(command)} failed")
        seconds.append(usage.ru_utime + usage.ru_stime)
        memory = max(memory, usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3))
    return statistics.median(seconds), memory


def main():
    parser = argparse.ArgumentParser(description="Seconds of processor time and memory to parse the umbrella header and to compile hello and a program that loads a model, with each compiler.",
                                     epilog="Example:  bench/compile_time.py")
    parser.add_argument("root", nargs="?", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."),
                        help="the project's folder (default: the one this file is in)")
    root = os.path.abspath(parser.parse_args().root)
    eigen = subprocess.run([os.path.join(root, "cmake/eigen_folder.sh")], capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as work:
        def source(name, text):
            path = os.path.join(work, name)
            with open(path, "w") as f:
                f.write(text)
            return path

        umbrella = source("umbrella.cpp", "#include <cairn/cairn.hpp>\n")
        load = source("load.cpp", LOAD)
        hello = os.path.join(root, "examples/programs/hello.cpp")
        compiled = ["-DCAIRN_EXTERN_KERNELS", "-DCAIRN_EXTERN_IO"]
        for compiler in ("g++", "clang++"):
            if not shutil.which(compiler):
                continue
            base = [compiler, "-std=c++20", "-I", os.path.join(root, "include"), "-isystem", eigen]
            optimised = ["-O2", "-o", os.path.join(work, "out.o"), "-c"]
            print(f"{compiler}, processor seconds and memory:")
            for what, bar, command in (
                ("umbrella header parsed", "3 s", ["-fsyntax-only", umbrella]),
                ("hello at -O2", "8 s", [*optimised, hello]),
                ("load_model at -O2, with cairn::io_compiled", "15 s, 600 MB", [*compiled, *optimised, load]),
                ("load_model at -O2, headers alone", "none", [*optimised, load]),
            ):
                seconds, memory = cost(base + command)
                print(f"  {what:44} {seconds:5.1f} s {memory:6.0f} MB   (bar: {bar})", flush=True)


if __name__ == "__main__":
    main()
