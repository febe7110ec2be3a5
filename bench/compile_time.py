#!/usr/bin/env python3
"""Seconds of processor time to parse the umbrella header and to compile hello.  bench/compile_time.py [ROOT]"""
import argparse
import os
import resource
import shutil
import statistics
import subprocess
import tempfile


def seconds(command):
    samples = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        samples.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(samples)


def main():
    parser = argparse.ArgumentParser(description="Seconds of processor time to parse the umbrella header and to compile hello, with each compiler.",
                                     epilog="Example:  bench/compile_time.py")
    parser.add_argument("root", nargs="?", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."),
                        help="the project's folder (default: the one this file is in)")
    root = os.path.abspath(parser.parse_args().root)
    eigen = subprocess.run([os.path.join(root, "cmake/eigen_folder.sh")], capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as work:
        source = os.path.join(work, "umbrella.cpp")
        with open(source, "w") as f:
            f.write("#include <cairn/cairn.hpp>\n")
        for compiler in ("g++", "clang++"):
            if not shutil.which(compiler):
                continue
            base = [compiler, "-std=c++20", "-I", os.path.join(root, "include"), "-isystem", eigen]
            umbrella = seconds(base + ["-fsyntax-only", source])
            hello = seconds(base + ["-O2", "-c", os.path.join(root, "examples/programs/hello.cpp"), "-o", os.path.join(work, "hello.o")])
            print(f"{compiler}: umbrella parsed in {umbrella:.1f} s (bar 3), hello compiled at -O2 in {hello:.1f} s (bar 8)")


if __name__ == "__main__":
    main()
