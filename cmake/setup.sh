# What examples/run, tests/run and bench/run share: installing what is missing, building, one-line errors.
# shellcheck shell=bash
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$( (nproc || sysctl -n hw.ncpu) 2>/dev/null | head -1)
export CMAKE_BUILD_PARALLEL_LEVEL=$jobs

say() { printf '\n== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
trap 'printf "error: %s failed at line %s\n" "$(basename "$0")" "$LINENO" >&2' ERR

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo "$@"
  else die "installing packages needs root: run '$*' yourself, then try again"
  fi
}

# need GROUP...: installs the packages of each group through the system's package manager, once.
#   build   compiler, CMake, Eigen, nlohmann/json, PCRE2, utf8proc, CLI11    test    Catch2, Python
#   clang   the second compiler and its sanitizer runtime           cross   AArch64 compiler and emulator
#   python  Python with pip and venv, to fetch SmolLM2
#   bench   Google Benchmark, matplotlib                            format  clang-format     docs  Doxygen
need() {
  local debian=() fedora=() brew=() group
  for group in "$@"; do
    case $group in
      build) debian+=(g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev libpcre2-dev libutf8proc-dev libcli11-dev)
             fedora+=(gcc-c++ cmake ninja-build eigen3-devel json-devel pcre2-devel utf8proc-devel cli11-devel)
             brew+=(cmake ninja eigen nlohmann-json pcre2 utf8proc cli11) ;;
      test)  debian+=(catch2 python3); fedora+=(catch-devel python3); brew+=(catch2) ;;
      clang) debian+=(clang libclang-rt-dev); fedora+=(clang compiler-rt) ;;
      cross) debian+=(g++-aarch64-linux-gnu qemu-user) ;;
      bench) debian+=(libbenchmark-dev python3 python3-matplotlib); fedora+=(google-benchmark-devel python3-matplotlib)
             brew+=(google-benchmark python-matplotlib) ;;
      python) debian+=(python3 python3-venv python3-pip); fedora+=(python3 python3-pip) ;;
      format) debian+=(clang-format-14); fedora+=(clang-tools-extra); brew+=(clang-format) ;;
      docs)  debian+=(doxygen); fedora+=(doxygen); brew+=(doxygen) ;;
      *) die "unknown package group $group" ;;
    esac
  done
  if command -v apt-get >/dev/null; then
    local missing=() package
    for package in "${debian[@]}"; do
      dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' && continue
      missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return 0
    say "installing: ${missing[*]}"
    as_root apt-get update -qq
    # One that this release does not know is left to CMake, which downloads it or says what is missing.
    local known=()
    for package in "${missing[@]}"; do
      if apt-cache show "$package" >/dev/null 2>&1; then known+=("$package"); else echo "no package $package in this release"; fi
    done
    [ ${#known[@]} = 0 ] || as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${known[@]}" >/dev/null
  elif command -v dnf >/dev/null; then
    say "packages: ${fedora[*]}"
    as_root dnf install -y -q --setopt=install_weak_deps=False --skip-broken "${fedora[@]}"
  elif command -v brew >/dev/null; then
    say "packages: ${brew[*]}"
    brew install -q "${brew[@]}"
  else
    echo "no apt-get, dnf or brew here: relying on what is installed, and on CMake to download the rest"
  fi
}

# build FOLDER CMAKE-OPTION...: configures and builds build/FOLDER.
build() {
  local folder=$root/build/$1
  shift
  local generator=()
  [ -f "$folder/CMakeCache.txt" ] || { command -v ninja >/dev/null && generator=(-G Ninja); }
  say "building ${folder#"$root"/}"
  cmake -S "$root" -B "$folder" "${generator[@]}" "$@" >"$root/build/configure.log" 2>&1 ||
    { cat "$root/build/configure.log" >&2; die "CMake could not configure; see above"; }
  cmake --build "$folder" -j "$jobs" >"$root/build/build.log" 2>&1 ||
    { grep -E 'error|Error|undefined' -A4 "$root/build/build.log" | head -60 >&2; die "the build failed; whole log in build/build.log"; }
}
mkdir -p "$root/build"
