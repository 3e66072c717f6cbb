"""Whose names a model's weights have, as data, and every tensor's place by them."""

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from rl.config.convert import Conversion, Rotary
from rl.names import did_you_mean
from rl.refusal import Refusal

HERE = Path(__file__).parent
LAYER = "{i}"
NUMBERS: Mapping[str, type] = {
    "head_dim": int,
    "rope_theta": float,
    "eps": float,
    "context": int,
}
EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What no shape tells."""

    tied: bool
    rotary: Rotary
    head_dim: int
    rope_theta: float
    eps: float
    context: int


@dataclass(frozen=True, kw_only=True)
class Names:
    name: str
    tensors: Mapping[str, tuple[str, ...]]
    """By transformers' names; the first is what a tensor is called on the way back."""
    declared: Declared


def read_names(name: str) -> Names:
    shipped = {file.stem: file for file in HERE.glob("*.toml")}
    file = shipped.get(name) or Path(name).expanduser()
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
        tensors = {ours: tuple(theirs) for ours, theirs in raw["tensors"].items()}
        return Names(name=file.stem, tensors=tensors, declared=Declared(**raw["model"]))
    except OSError as error:
        raise Refusal(
            f"--names {name}: cannot be read ({error.strerror}){did_you_mean(name, shipped)}"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refusal(
            f"--names {name}: not a table of names ({error!r}). Copy {HERE / 'medslm.toml'} and "
            "change it"
        ) from None


def declared_by(names: Names, said_by_file: Mapping[str, str], asked: Conversion) -> Declared:
    """What the names say, or the file of itself, or a flag; these two must not differ."""
    says: dict[str, Any] = {}
    for field in fields(Declared):
        word = said_by_file.get(field.name)
        if word is not None:
            says[field.name] = NUMBERS.get(field.name, str)(word)
        flag = getattr(asked, field.name, None)
        if flag is None:
            continue
        if says.get(field.name, flag) != flag:
            raise Refusal(
                f"--{field.name.replace('_', '-')} is {flag}, and {asked.from_} says of itself "
                f"that it is {word}. Leave the flag out"
            )
        says[field.name] = flag
    return replace(names.declared, **says)


def said_of(declared: Declared) -> dict[str, str]:
    """For a file to say of itself."""
    return {name: str(value) for name, value in asdict(declared).items() if name != "tied"}


def places(names: Names, found: Collection[str], where: str) -> dict[str, str]:
    """What each tensor is called in the file, by transformers' names: every tensor once."""
    layers = _layers(names, found)
    taken: dict[str, str] = {}
    for ours, theirs in names.tensors.items():
        for i in range(layers) if LAYER in ours else [0]:
            called = [each.replace(LAYER, str(i)) for each in theirs]
            at = [name for name in called if name in found]
            if len(at) > 1:
                raise Refusal(
                    f"{where} has both {at[0]} and {at[1]}, which by the names of {names.name} are "
                    "one tensor. Take out the one that the model does not use"
                )
            if at:
                taken[ours.replace(LAYER, str(i))] = at[0]
            elif not (ours == HEAD and names.declared.tied):
                raise Refusal(
                    f"{where} has no {' or '.join(called)}, and nothing else may stand for it: "
                    f"{_told(found)}. Give the whole model, or other names with --names"
                )
    if spare := sorted(set(found) - set(taken.values())):
        raise Refusal(
            f"{where} has {spare[0]} ({len(spare)} such), which no name of {names.name} is for. "
            "What it does would be lost: give names that have it, or weights without"
        )
    return taken


def _layers(names: Names, found: Iterable[str]) -> int:
    """One more than the highest number; none still wants the first, so that it is missed."""
    patterns = [
        re.compile(re.escape(each).replace(re.escape(LAYER), r"(\d+)"))
        for theirs in names.tensors.values()
        for each in theirs
        if LAYER in each
    ]
    numbers = (int(at[1]) for name in found for each in patterns if (at := each.fullmatch(name)))
    return 1 + max(numbers, default=0)


def _told(found: Collection[str]) -> str:
    return f"it has {len(found)} tensors, first {min(found)}" if found else "it has no tensor"
