#!/usr/bin/env bash
# Makes .venv: audiorec, editable, with what its tests need, at the versions of tools/constraints.txt. Needs Python with
# venv and nothing else, writes inside the clone only, is safe to repeat. PYTHON=python3.12 chooses the interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
  echo "tools/setup.sh: $*" >&2
  exit 1
}

usable() { "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; }

find_python() {
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11 python3.10 python3.14 python; do
    if usable "$candidate"; then
      echo "$candidate"
      return
    fi
  done
  fail "no Python 3.10 to 3.14 with venv and pip found; install one (Debian: apt install python3-venv) or set PYTHON=…"
}

# The stamp says what .venv was made of; a set-up that is under way, or was cut off, has an empty one.
stamp=.venv/audiorec-setup
made_for() { echo "$("$1" -V 2>&1) in $PWD"; }
made_from() { cksum pyproject.toml tools/constraints.txt kernels/cmake/CMakeLists.txt kernels/csrc/*; }

if [ -x .venv/bin/python ] && [ "$(cat $stamp 2>/dev/null)" = "$(made_for "${PYTHON:-.venv/bin/python}"; made_from)" ]; then
  exit 0
fi
if [ -d .venv ] && [ ! -e $stamp ]; then
  fail ".venv is not of my making: move it away and run this again, or use it as it is"
fi

# What could lead pip out of .venv.
unset PYTHONPATH PIP_USER PIP_TARGET PIP_PREFIX

if [ "$(head -n 1 $stamp 2>/dev/null)" = "$(made_for "${PYTHON:-.venv/bin/python}")" ]; then
  : >$stamp # only the packages or the kernels changed: install over the old ones
else
  python=${PYTHON:-$(find_python)}
  usable "$python" || fail "PYTHON=$python is not a Python 3.10 to 3.14 with venv and pip"
  rm -rf .venv
  mkdir .venv
  : >$stamp
  echo "setup 1/2: .venv with $("$python" -V)"
  "$python" -m venv .venv || fail "$python cannot make a virtual environment, see above"
fi

# Downloads and unpacked wheels stay in the clone, on one file system with .venv, so that uv links instead of copying.
scratch=$PWD/.venv/scratch
mkdir -p "$scratch"
export TMPDIR=$scratch UV_CACHE_DIR=$scratch/uv UV_PYTHON_DOWNLOADS=never PIP_DISABLE_PIP_VERSION_CHECK=1
export PIP_CONSTRAINT=tools/constraints.txt PIP_BUILD_CONSTRAINT=tools/constraints.txt # the build's environment too

packages=(--editable ".[dev]" torchaudio)
with_pip() { .venv/bin/python -m pip install --no-cache-dir "$@"; }
with_uv() {
  with_pip --quiet uv &&
    .venv/bin/uv pip install --python .venv/bin/python --constraints tools/constraints.txt \
      --build-constraints tools/constraints.txt "${packages[@]}"
}
# uv reads no pip configuration: whoever chose an index for pip gets pip.
own_index() { .venv/bin/python -m pip config list | grep -Eq '(^:env:\.extra-|\.)index-url='; }

# Until November 2026 the distribution was called audiorec; the two would share files.
if .venv/bin/python -m pip show --quiet audiorec >/dev/null 2>&1; then
  .venv/bin/python -m pip uninstall --quiet --yes audiorec
fi

echo "setup 2/2: packages (on Linux about 2 GB to fetch, 5 GB on disk: torch comes with CUDA)"
if own_index || ! with_uv; then
  echo "setup 2/2: with pip"
  with_pip "${packages[@]}" || fail "the packages did not install, see above; mend it and run this again"
fi

rm -rf "$scratch"
(made_for .venv/bin/python; made_from) >$stamp
echo "setup: done; . .venv/bin/activate gives you the audiorec command"
