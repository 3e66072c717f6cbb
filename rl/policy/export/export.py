"""A run's policy in the forms that others use, each loaded again and held against the policy."""

import gc
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rl.config.export import Export
from rl.policy.adapter import SETTINGS, WEIGHTS
from rl.policy.export.card import card_of
from rl.policy.export.gguf_file import BITS, check_gguf, write_gguf
from rl.policy.export.gguf_served import served
from rl.policy.export.proof import Fidelity, Said, compared, say
from rl.policy.export.trained import Trained, questions, trained_by
from rl.policy.files import sha256, whole_folder
from rl.policy.load import has_cuda, load_policy, readable

BYTES = {"float32": 4, "bfloat16": 2}
ADAPTER, MERGED = "adapter", "merged"


def export(asked: Export) -> None:
    trained = trained_by(asked.run)
    model_type, parameters = _size(trained)
    if "gguf" in asked.to:
        check_gguf(model_type, trained.tokenizer, asked.quant)
    dtype = asked.dtype or trained.policy.dtype
    cards = {
        ADAPTER: card_of(trained, library="peft"),
        MERGED: card_of(trained, library="transformers"),
    }
    with whole_folder(asked.out, nbytes=_nbytes(asked, trained, parameters, dtype)) as folder:
        proofs = _made(asked, trained, dtype, folder)
        for form in set(asked.to) & cards.keys():
            (folder / form / "README.md").write_text(cards[form], encoding="utf-8")
        report = {
            "run": str(trained.run),
            "base": trained.policy.model,
            "proof": [asdict(proof) for proof in proofs],
            "files": {
                str(file.relative_to(folder)): sha256(file)
                for file in sorted(folder.rglob("*"))
                if file.is_file()
            },
        }
        (folder / "export.json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"made {asked.out}")


def _made(asked: Export, trained: Trained, dtype: str, folder: Path) -> list[Fidelity]:
    """The policy speaks first, in float32 whatever its weights are rounded to; then each form."""
    messages = [trained.messages(question) for question in questions(trained, asked.prompts)]
    policy = load_policy(trained.policy, trained.tokenizer, trained.config.seed)
    model = policy.model.float().eval()
    said = say(model, [trained.prompt(each) for each in messages], asked.new_tokens)
    whole = model.merge_and_unload()
    gguf = folder / f"{trained.run.name}-{asked.quant.upper()}.gguf"
    if "gguf" in asked.to:
        write_gguf(whole, trained.tokenizer, gguf, asked.quant)
    if "merged" in asked.to:
        _save_merged(whole, trained, dtype, folder / MERGED)
    del policy, model, whole
    gc.collect()

    proofs: list[Fidelity] = []

    def prove(proof: Fidelity) -> None:
        print(proof.told())
        proof.hold()
        proofs.append(proof)

    if "adapter" in asked.to:
        _copy_adapter(trained, folder / ADAPTER)
        prove(_proven_adapter(folder / ADAPTER, trained, said, asked))
    if "merged" in asked.to:
        prove(_proven_merged(folder / MERGED, said, asked, dtype))
    if "gguf" in asked.to:
        prove(
            served(
                gguf,
                trained.tokenizer,
                messages,
                said,
                new_tokens=asked.new_tokens,
                quant=asked.quant,
                thinks=trained.thinks,
            )
        )
    return proofs


def _copy_adapter(trained: Trained, folder: Path) -> None:
    folder.mkdir()
    for name in (SETTINGS, WEIGHTS):
        shutil.copyfile(trained.adapter / name, folder / name)
    trained.tokenizer.save_pretrained(folder)


def _proven_adapter(
    folder: Path, trained: Trained, said: Sequence[Said], asked: Export
) -> Fidelity:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, trained.policy.dtype)
    base = readable(trained.policy, AutoModelForCausalLM, dtype=dtype).float().to(_device())
    model = PeftModel.from_pretrained(base, str(folder)).eval()
    return compared(
        model, said, asked.new_tokens, form="adapter", loaded_by="PEFT", dtype="float32"
    )


def _save_merged(model: Any, trained: Trained, dtype: str, folder: Path) -> None:
    import torch

    model.to(getattr(torch, dtype)).save_pretrained(folder)
    trained.tokenizer.save_pretrained(folder)


def _proven_merged(folder: Path, said: Sequence[Said], asked: Export, dtype: str) -> Fidelity:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder).to(_device()).eval()
    return compared(
        model, said, asked.new_tokens, form="merged", loaded_by="transformers", dtype=dtype
    )


def _device() -> str:
    return "cuda" if has_cuda() else "cpu"


def _size(trained: Trained) -> tuple[str, int]:
    """Of the language model that was trained, before a weight is read."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(readable(trained.policy, AutoConfig))
    return model.config.get_text_config().model_type, model.num_parameters()


def _nbytes(asked: Export, trained: Trained, parameters: int, dtype: str) -> int:
    of = {
        "adapter": (trained.adapter / WEIGHTS).stat().st_size,
        "merged": parameters * BYTES[dtype],
        "gguf": int(parameters * BITS[asked.quant] / 8),
    }
    return sum(of[form] for form in set(asked.to))
