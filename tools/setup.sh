#!/usr/bin/env bash
# Makes .venv with exactly what constraints.txt locks. Says nothing and spends milliseconds when that is there already.
#   tools/setup.sh            set up
#   tools/setup.sh --which    print the Python that a new .venv would be made with
# PYTHON chooses the interpreter. An interrupted set-up leaves .venv/installing behind and is redone from nothing.
set -euo pipefail
cd "${BASH_SOURCE[0]%/*}/.."

fits() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1; }
die() { echo "setup: $1" >&2; exit 1; }

choose() {
  local candidate
  if [[ -n ${PYTHON:-} ]]; then
    fits "$PYTHON" || die "PYTHON=$PYTHON is not a working Python 3.11 or 3.12 (found: $( ("$PYTHON" --version 2>&1 || true) | sed 's/.*line [0-9]*: //; 1q')); name one that is."
    echo "$PYTHON"
    return
  fi
  for candidate in python3.12 python3.11 python3; do
    if fits "$candidate"; then echo "$candidate"; return; fi
  done
  die "no Python 3.11 or 3.12 found (python3.12, python3.11 and python3 were tried); install one or name it: make PYTHON=/path/to/python."
}

same_python() {  # the .venv was made with the Python that was asked for, if one was
  [[ -z ${PYTHON:-} ]] && return
  fits "$PYTHON" || choose >/dev/null
  grep -qE "^version(_info)? = $("$PYTHON" -c 'import sys; print("%d\\.%d" % sys.version_info[:2])')" .venv/pyvenv.cfg
}

stamp() { cat constraints.txt pyproject.toml packages/*/pyproject.toml; echo "# in $PWD"; }  # console scripts carry the path: a moved checkout is set up again

if [[ ${1:-} == --which ]]; then choose; exit; fi
if [[ ! -e .venv/installing && -x .venv/bin/python ]] && stamp | cmp -s - .venv/installed.txt && same_python; then exit 0; fi

python=$(choose)
"$python" -c 'import venv, ensurepip' 2>/dev/null \
  || die "$python has no venv module; install it (Debian, Ubuntu: apt-get install python3-venv) and run make again."
if [[ -e .venv/installing || ! -x .venv/bin/uv ]] || ! fits .venv/bin/python || ! same_python; then
  rm -rf .venv
fi
started=$SECONDS
mkdir -p .venv
touch .venv/installing
rm -f .venv/installed.txt
if [[ ! -x .venv/bin/uv ]]; then
  echo "setup: making .venv with $("$python" --version)"
  "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check "$(grep '^uv==' constraints.txt)"
fi
(umask 077 && "$python" packages/localaws/src/localaws/engine/pip_settings.py >.venv/registry.sh)
# shellcheck source=/dev/null
. .venv/registry.sh
echo "setup: installing the $(grep -c == constraints.txt) packages of constraints.txt"
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps -r constraints.txt
stamp >.venv/installed.txt
rm -f .venv/installing
echo "setup: done in $((SECONDS - started)) s"
