# What examples/run, tests/run and bench/run share: installing what is missing, building, one-line errors.
# shellcheck shell=bash
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$( (nproc || sysctl -n hw.ncpu) 2>/dev/null | head -1)
export CMAKE_BUILD_PARALLEL_LEVEL=$jobs

say() { printf '\n== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }
trap 'printf "error: %s failed at line %s\n" "$(basename "$0")" "$LINENO" >&2' ERR

# stage NAME: announces a part of the run. where_time_went: a table of all of them, with their seconds.
stage_names=()
stage_starts=()
stage() { say "$1"; stage_names+=("$1"); stage_starts+=("$SECONDS"); }
where_time_went() {
  local i end seconds
  printf '\n== where the time went\n'
  for i in "${!stage_names[@]}"; do
    end=${stage_starts[$((i + 1))]:-$SECONDS}
    seconds=$((end - stage_starts[i]))
    printf '%6d s  %3d %%  %s\n' "$seconds" "$((100 * seconds / (SECONDS > 0 ? SECONDS : 1)))" "${stage_names[$i]}"
  done
  printf '%6d s         in all\n' "$SECONDS"
}

# Without these everything builds, with less: chat's line editing, and a faster build.
optional=" libedit-dev libedit-devel ninja-build "

# install_packages "COMMAND..." PACKAGE...: as root or through sudo; without either it says what to do,
# or goes on if only optional packages are missing.
install_packages() {
  local command=$1 package needed=() prefix=()
  shift
  if [ "$(id -u)" != 0 ]; then
    prefix=(sudo)
    if ! command -v sudo >/dev/null; then
      for package in "$@"; do [[ $optional = *" $package "* ]] || needed+=("$package"); done
      [ ${#needed[@]} = 0 ] && { echo "going on without: $*"; return 0; }
      die "packages are missing, and installing them needs root. As root: $command $*"
    fi
  fi
  say "installing: $*"
  # shellcheck disable=SC2086
  "${prefix[@]}" env DEBIAN_FRONTEND=noninteractive $command "$@" >"$install_log" 2>&1 ||
    die "could not install packages: $(grep -m1 -E '^E:|^Error|rror:' "$install_log" || tail -1 "$install_log") (whole log in build/install.log). As root: $command $*"
}

# need GROUP...: installs the packages of each group through the system's package manager, once.
#   build   compiler, CMake, Eigen, nlohmann/json, PCRE2, utf8proc, CLI11, libedit    test    Catch2, Python
#   clang   the second compiler and its sanitizer runtime           cross   AArch64 compiler and emulator
#   python  Python with pip and venv, to fetch SmolLM2
#   bench   Google Benchmark, matplotlib                            docs    Doxygen
need() {
  local debian=() fedora=() brew=() group
  for group in "$@"; do
    case $group in
      build) debian+=(g++ cmake ninja-build libeigen3-dev nlohmann-json3-dev libpcre2-dev libutf8proc-dev libcli11-dev libedit-dev)
             fedora+=(gcc-c++ cmake ninja-build eigen3-devel json-devel pcre2-devel utf8proc-devel cli11-devel libedit-devel)
             brew+=(cmake ninja eigen nlohmann-json pcre2 utf8proc cli11) ;;
      test)  debian+=(catch2 python3); fedora+=(catch-devel python3); brew+=(catch2) ;;
      clang) debian+=(clang libclang-rt-dev); fedora+=(clang compiler-rt) ;;
      cross) debian+=(g++-aarch64-linux-gnu qemu-user) ;;
      bench) debian+=(libbenchmark-dev python3 python3-matplotlib); fedora+=(google-benchmark-devel python3-matplotlib)
             brew+=(google-benchmark python-matplotlib) ;;
      python) debian+=(python3 python3-venv python3-pip); fedora+=(python3 python3-pip) ;;
      docs)  debian+=(doxygen); fedora+=(doxygen); brew+=(doxygen) ;;
      *) die "unknown package group $group" ;;
    esac
  done
  local missing=() known=() package
  if command -v apt-get >/dev/null; then
    for package in "${debian[@]}"; do
      dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return 0
    if [ "$(id -u)" = 0 ]; then apt-get update -qq || echo "the package lists could not be renewed"
    elif command -v sudo >/dev/null; then sudo apt-get update -qq || echo "the package lists could not be renewed"
    fi
    # One that this release does not know is left to CMake, which downloads it or says what is missing.
    for package in "${missing[@]}"; do
      apt-cache show "$package" >/dev/null 2>&1 && known+=("$package")
    done
    [ ${#known[@]} = 0 ] && known=("${missing[@]}")  # no package lists at all
    for package in "${missing[@]}"; do
      [[ " ${known[*]} " = *" $package "* ]] || echo "no package $package in this release"
    done
    install_packages "apt-get install -y --no-install-recommends" "${known[@]}"
  elif command -v dnf >/dev/null; then
    for package in "${fedora[@]}"; do
      rpm -q --quiet "$package" 2>/dev/null || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return 0
    install_packages "dnf install -y --setopt=install_weak_deps=False --skip-broken" "${missing[@]}"
  elif command -v brew >/dev/null; then
    for package in ${brew[@]+"${brew[@]}"}; do
      brew list --versions "$package" >/dev/null 2>&1 || missing+=("$package")
    done
    [ ${#missing[@]} = 0 ] && return 0
    say "installing: ${missing[*]}"
    brew install -q "${missing[@]}"
  else
    echo "no apt-get, dnf or brew here: relying on what is installed, and on CMake to download the rest"
  fi
}

# Shows [n/m] of a build on one line of a terminal, and nothing elsewhere.
show_steps() {
  local line most
  [ -t 1 ] || { cat >/dev/null; return; }
  most=$(($(tput cols 2>/dev/null || echo 80) - 1))
  while IFS= read -r line; do
    case $line in '['*) printf '\r%s\033[K' "${line:0:most}" ;; esac
  done
  printf '\r\033[K'
}
# Downloads and what is left out, as CMake finds them.
show_notes() {
  local line
  while IFS= read -r line; do
    case $line in '-- cairn: '*) echo "${line#-- cairn: }" ;; esac
  done
}

# build FOLDER CMAKE-OPTION...: configures and builds build/FOLDER.
build() {
  local folder=$root/build/$1 begin=$SECONDS steps
  shift
  local generator=()
  [ -f "$folder/CMakeCache.txt" ] || { command -v ninja >/dev/null && generator=(-G Ninja); }
  stage "building ${folder#"$root"/}"
  cmake -S "$root" -B "$folder" "${generator[@]}" "$@" 2>&1 | tee "$root/build/configure.log" | show_notes ||
    { cat "$root/build/configure.log" >&2; die "CMake could not configure; see above"; }
  cmake --build "$folder" -j "$jobs" 2>&1 | tee "$root/build/build.log" | show_steps ||
    { grep -E 'error|Error|undefined' -A4 "$root/build/build.log" | head -60 >&2; die "the build failed; whole log in build/build.log"; }
  steps=$(grep -cE '^\[' "$root/build/build.log" || true)
  echo "$steps steps, $((SECONDS - begin)) s"
}
mkdir -p "$root/build"
install_log=$root/build/install.log
