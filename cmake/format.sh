#!/usr/bin/env bash
# cmake/format.sh [--check]: lays out all sources as .clang-format says, with the version that it is
# written for (from PyPI, put into build/format); --check only says what it would change, and fails.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
version=18.1.8
format=$root/build/format/bin/clang-format
how=(-i)
case "${1:-}" in
  "") ;;
  --check) how=(--dry-run -Werror) ;;
  --help|-h) sed -n '2,3s/^# //p' "$0"; exit 0 ;;
  *) echo "error: unknown argument $1 (see --help)" >&2; exit 2 ;;
esac
if ! "$format" --version 2>/dev/null | grep -qF "version $version"; then
  mkdir -p "$root/build"
  log=$root/build/format.log
  { python3 -m venv "$root/build/format" && "$root/build/format/bin/pip" install -q --disable-pip-version-check --no-deps "clang-format==$version"; } >"$log" 2>&1 ||
    { echo "error: clang-format $version could not be installed from PyPI: $(tail -1 "$log")" >&2; exit 1; }
fi
cd "$root"
# hello.cpp is README's program, laid out as there; what must not compile is laid out by hand.
git ls-files 'include/*.hpp' 'examples/programs/*.[ch]pp' 'examples/cookbook/*.cpp' 'bench/*.[ch]pp' 'tests/*.[ch]pp' |
  grep -v -e programs/hello.cpp -e '^tests/compile/' | xargs "$format" "${how[@]}"
