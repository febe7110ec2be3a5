#!/usr/bin/env python3
"""The scripts' advice, in a folder whose programs are stand-ins.  scripts_test.py ROOT"""
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = sys.argv[1]
TOOLS = ("bash", "cat", "cp", "tee", "grep", "sed", "head", "tail", "nproc", "dirname", "basename", "mkdir", "env", "rm", "tput", "sysctl")


class Scripts(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.root = self.folder.name
        self.bin = os.path.join(self.root, "bin")
        os.mkdir(self.bin)
        for tool in TOOLS:
            if shutil.which(tool):
                os.symlink(shutil.which(tool), os.path.join(self.bin, tool))
        shutil.copytree(os.path.join(ROOT, "cmake"), os.path.join(self.root, "cmake"))

    def tearDown(self):
        self.folder.cleanup()

    def stand_in(self, name, body):
        path = os.path.join(self.bin, name)
        with open(path, "w") as f:
            f.write("#!/bin/bash\n" + body + "\n")
        os.chmod(path, 0o755)

    def run_bash(self, body, **more):
        script = os.path.join(self.root, "script")
        with open(script, "w") as f:
            f.write("source cmake/setup.sh\n" + body + "\n")
        return subprocess.run(["bash", script], cwd=self.root, env={"PATH": self.bin}, capture_output=True, text=True, timeout=60, **more)

    def debian(self, missing, user):
        self.stand_in("dpkg-query", f'case " {missing} " in *" ${{@: -1}} "*) exit 1 ;; esac; echo "install ok installed"')
        self.stand_in("id", f"echo {user}")
        self.stand_in("apt-cache", '[ "$2" != libcli11-dev ]')
        self.stand_in("apt-get", "[ $1 = update ] || { echo 'E: Could not get lock'; exit 100; }")

    def test_without_root_exactly_what_is_missing_is_named(self):
        self.debian("g++ libpcre2-dev libcli11-dev libedit-dev", 1000)
        r = self.run_bash("need build; echo went on")
        self.assertEqual((r.returncode, r.stderr), (1, "error: packages are missing, and installing them needs root. "
                                                    "As root: apt-get install -y --no-install-recommends g++ libpcre2-dev libedit-dev\n"))
        self.assertEqual(r.stdout, "no package libcli11-dev in this release\n")

    def test_without_root_what_is_optional_is_left_out(self):
        self.debian("libedit-dev ninja-build", 1000)
        r = self.run_bash("need build; echo went on")
        self.assertEqual((r.returncode, r.stdout, r.stderr), (0, "going on without: ninja-build libedit-dev\nwent on\n", ""))

    def test_an_installation_that_fails_names_reason_and_log(self):
        self.debian("cmake", 0)
        r = self.run_bash("need build; echo went on")
        self.assertEqual(r.returncode, 1)
        self.assertIn("could not install packages: E: Could not get lock (whole log in build/install.log). As root: apt-get install", r.stderr)

    def test_a_fetch_that_fails_names_reason_and_log(self):
        said = {
            "WARNING: Retrying after connection broken by NewConnectionError('<x>: Failed: [Errno -3] Temporary failure in name resolution'): /simple\n"
            "ERROR: Could not find a version that satisfies the requirement\nERROR: No matching distribution found": "[Errno -3] Temporary failure in name resolution",
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device": "[Errno 28] No space left on device",
            "/usr/bin/python3: No module named pip": "No module named pip",
            "ERROR: Something else\nnotice: a new release of pip": "ERROR: Something else",
        }
        for text, reason in said.items():
            self.stand_in("python3", f"[ \"$2\" = venv ] && exit 1; cat >&2 <<'END'\n{text}\nEND\nexit 1")
            r = subprocess.run(["bash", os.path.join(self.root, "cmake/fetch_model.sh"), "smollm2"], env={"PATH": self.bin}, capture_output=True, text=True, timeout=60)
            self.assertEqual(r.returncode, 1)
            self.assertIn(f"could not be fetched: {reason} (whole log in build/models/pip.log", r.stderr)

    def test_a_licence_is_named_and_nothing_fetched_without_consent(self):
        self.stand_in("python3", f"[ \"$1\" = -c ] || echo \"$@\" >>{self.root}/asked; exit 1")
        fetch = lambda **more: subprocess.run(["bash", os.path.join(self.root, "cmake/fetch_model.sh"), "gemma3"], env={"PATH": self.bin, **more},
                                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        for more in ({}, {"CAIRN_ACCEPT_GEMMA_TERMS": "no"}):
            r = fetch(**more)
            self.assertEqual(r.returncode, 1)
            self.assertRegex(r.stderr, r"^Gemma is .* Gemma Terms of Use found at ai.google.dev/gemma/terms\nerror: without consent nothing is fetched")
            self.assertFalse(os.path.exists(os.path.join(self.root, "asked")))
        self.assertIn("fetching Gemma 3 270M (246 MB)", fetch(CAIRN_ACCEPT_GEMMA_TERMS="yes").stderr)
        self.assertTrue(os.path.exists(os.path.join(self.root, "asked")))

    def test_what_cmake_downloads_has_a_hash(self):
        found = 0
        for name in ("CMakeLists.txt", "examples/CMakeLists.txt", "tests/CMakeLists.txt", "bench/CMakeLists.txt"):
            with open(os.path.join(ROOT, name)) as f:
                for call in re.findall(r"cairn_package\(([^)]*)\)", f.read()):
                    self.assertRegex(call, r"URL https://\S+\s+SHA256 [0-9a-f]{64}$")
                    found += 1
        self.assertGreaterEqual(found, 6)

    def test_builds_say_where_they_are(self):
        self.stand_in("cmake", """case $1 in
  -S) echo "-- Found x"; echo "-- cairn: Eigen3 is not installed, downloading URL" ;;
  *) echo "[1/2] Building one"; echo "a warning"; echo "[2/2] Linking" ;;
esac""")
        r = self.run_bash("build release; stage tests; where_time_went")
        self.assertEqual(r.returncode, 0, r.stderr)
        lines = r.stdout.splitlines()
        self.assertEqual(lines[1:3], ["== building build/release", "Eigen3 is not installed, downloading URL"])
        self.assertRegex(lines[3], r"^2 steps, \d+ s$")
        self.assertRegex("\n".join(lines[-3:]), r"^ +\d+ s +\d+ %  building build/release\n +\d+ s +\d+ %  tests\n +\d+ s +in all$")
        master, slave = pty.openpty()
        subprocess.run(["bash", os.path.join(self.root, "script")], cwd=self.root, env={"PATH": self.bin, "TERM": "xterm"}, stdout=slave, check=True, timeout=60)
        os.close(slave)
        seen = os.read(master, 65536)
        os.close(master)
        self.assertIn(b"\r[1/2] Building one\x1b[K\r[2/2] Linking\x1b[K\r\x1b[K", seen)

    def test_a_build_that_fails_ends_with_its_error(self):
        self.stand_in("cmake", "[ $1 = -S ] || { echo 'x.cpp:1: error: no'; exit 1; }")
        r = self.run_bash("build release; echo went on")
        self.assertEqual(r.returncode, 1)
        self.assertIn("x.cpp:1: error: no", r.stderr)
        self.assertTrue(r.stderr.endswith("error: the build failed; whole log in build/build.log\n"), r.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=1)
