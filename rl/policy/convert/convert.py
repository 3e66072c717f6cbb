"""Weights under other names to a Llama's folder, and back: every tensor once, and proven."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl.config.convert import Conversion
from rl.policy.convert.llama import check_shapes, declared_of, inferred_config, shell, turned
from rl.policy.convert.names import (
    EMBEDDING,
    HEAD,
    LAYER,
    Declared,
    Names,
    declared_by,
    places,
    read_names,
    said_of,
)
from rl.policy.convert.proof import check_logits, check_text
from rl.policy.convert.report import Report, ranges
from rl.policy.convert.weights import Tensors, check_numbers, read_shards, read_weights
from rl.policy.files import whole_folder
from rl.policy.models import EMBEDDED, resolve_model
from rl.refusal import Refusal

FORTH_ALONE = ("key", "head_dim", "rope_theta", "eps", "context", "logits", "text")


def convert(asked: Conversion) -> None:
    names = read_names(asked.names)
    embedded = asked.from_ in EMBEDDED
    source = Path(resolve_model(asked.from_) if embedded else asked.from_).expanduser()
    if source.is_dir():
        _to_names(source, names, asked)
    else:
        _to_llama(source, names, asked)


def _to_llama(file: Path, names: Names, asked: Conversion) -> None:
    theirs, says = read_weights(file, asked.key)
    declared = declared_by(names, says, asked)
    tensors, config = as_llama(theirs, names, declared, str(file))
    tokenizer = _tokenizer(asked.tokenizer, config.vocab_size) if asked.tokenizer else None
    if tokenizer:
        config.bos_token_id, config.eos_token_id = tokenizer.bos_token_id, tokenizer.eos_token_id
        config.pad_token_id = tokenizer.pad_token_id
    with whole_folder(asked.out, nbytes=_nbytes(tensors)) as folder:
        _save(tensors, config, folder)
        if tokenizer:
            tokenizer.save_pretrained(folder)
        layout = declared.rotary
        report = Report(
            source=[file],
            names=names.name,
            declared=declared,
            config=config,
            tensors=len(tensors),
            parameters=_count(tensors),
            ranges=ranges(tensors),
            logits=check_logits(folder, asked.logits, layout) if asked.logits else None,
            text=check_text(folder, asked.text, layout) if asked.text else None,
        )
        report.write(folder)
    print(f"{report.told()}\nmade {asked.out}")


def _to_names(folder: Path, names: Names, asked: Conversion) -> None:
    from safetensors.torch import save_file

    if vain := [name for name in FORTH_ALONE if getattr(asked, name) is not None]:
        raise Refusal(
            f"--{vain[0].replace('_', '-')} does nothing where a folder is given the names of "
            f"{names.name}: its config says it, and its logits are those it has. Leave it out"
        )
    if not (folder / "config.json").is_file():
        raise Refusal(f"--from {folder}: no config.json there. Give a model's folder, or a file")
    config, declared = declared_of(folder, asked.rotary or names.declared.rotary)
    ours = read_shards(folder)
    theirs = as_named(ours, config, declared, names, str(folder))
    with whole_folder(asked.out, nbytes=_nbytes(theirs)) as made:
        file = made / "model.safetensors"
        save_file(theirs, file, metadata={"format": "pt", **said_of(declared)})
        again, _ = as_llama(read_weights(file, None)[0], names, declared, str(file))
        for name, tensor in again.items():
            assert tensor.equal(ours[name]), f"{name} does not come back as it was"
        if asked.tokenizer:
            _tokenizer(asked.tokenizer, config.vocab_size).save_pretrained(made)
        report = Report(
            source=sorted(folder.glob("*.safetensors")),
            names=names.name,
            declared=declared,
            config=config,
            tensors=len(theirs),
            parameters=_count(theirs),
            ranges=ranges(ours),
        )
        report.write(made)
    print(f"{report.told()}\nmade {asked.out}")


def as_llama(theirs: Tensors, names: Names, declared: Declared, where: str) -> tuple[Tensors, Any]:
    """The tensors under transformers' names and in its layout, and their config."""
    called = places(names, theirs.keys(), where)
    tensors = {name: theirs[at] for name, at in called.items()}
    if declared.tied and HEAD in tensors:
        _check_tied(tensors, called, names, where)
        del tensors[HEAD]
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    config = inferred_config(shapes, declared)
    check_shapes(shapes, config, called, where)
    if declared.rotary == "pairs":
        tensors = turned(tensors, declared.head_dim, to="halves")
    return tensors, config


def as_named(ours: Tensors, config: Any, declared: Declared, names: Names, where: str) -> Tensors:
    """A Llama's tensors under the other names and in their layout."""
    tensors = dict(ours)
    if declared.tied and HEAD in tensors:
        _check_tied(tensors, {name: name for name in tensors}, names, where)
        del tensors[HEAD]
    if declared.tied != names.declared.tied:
        is_tied, is_meant = ("is", "has its own") if declared.tied else ("is not", "is it")
        raise Refusal(
            f"{HEAD} of {where} {is_tied} its embedding, and in a model of {names.name} the head "
            f"{is_meant}. Give names with tied = {str(declared.tied).lower()}"
        )
    check_shapes({name: tuple(tensor.shape) for name, tensor in tensors.items()}, config, {}, where)
    for name, tensor in tensors.items():
        check_numbers(tensor, f"{name} of {where}")
    if declared.rotary == "pairs":
        tensors = turned(tensors, declared.head_dim, to="pairs")
    other = _other_names(names, config.num_hidden_layers)
    if missing := [name for name in tensors if name not in other]:
        raise Refusal(f"{missing[0]} of {where} has no name in {names.name}: give names that do")
    return {other[name]: tensor.contiguous() for name, tensor in tensors.items()}


def _other_names(names: Names, layers: int) -> Mapping[str, str]:
    return {
        ours.replace(LAYER, str(i)): theirs[0].replace(LAYER, str(i))
        for ours, theirs in names.tensors.items()
        for i in range(layers)
    }


def _check_tied(tensors: Tensors, called: Mapping[str, str], names: Names, where: str) -> None:
    head, embedding = tensors[HEAD], tensors[EMBEDDING]
    if head.shape != embedding.shape or not head.equal(embedding):
        raise Refusal(
            f"{called[HEAD]} of {where} is not {called[EMBEDDING]}, and by the names of "
            f"{names.name} the head is the embedding. Where this model has its own, give names "
            "with tied = false"
        )


def _save(tensors: Tensors, config: Any, folder: Path) -> None:
    import torch

    model = shell(config)
    tied = {HEAD: tensors[EMBEDDING]} if config.tie_word_embeddings else {}
    model.load_state_dict(tensors | tied, assign=True)
    model.tie_weights()
    # the widest, so that loading rounds nothing
    dtypes = {tensor.dtype for tensor in tensors.values()}
    model.config.dtype = functools.reduce(torch.promote_types, dtypes)
    model.save_pretrained(folder)


def _tokenizer(name: str, vocabulary: int) -> Any:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(resolve_model(name) if name in EMBEDDED else name)
    except (OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise Refusal(f"--tokenizer {name} cannot be loaded: {first}") from None
    if len(tokenizer) > vocabulary:
        raise Refusal(
            f"--tokenizer {name} has {len(tokenizer)} tokens, and the model {vocabulary}: it is "
            "another model's"
        )
    return tokenizer


def _count(tensors: Tensors) -> int:
    return sum(tensor.numel() for tensor in tensors.values())


def _nbytes(tensors: Tensors) -> int:
    return sum(tensor.nbytes for tensor in tensors.values())
