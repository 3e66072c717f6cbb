"""Written answers to learn from: what was asked, in one of four forms, and what is wanted.

{"question": ..., "answer": ...}, {"question": ..., "reasoning": ..., "answer": ...}
{"messages": [...]}                      each turn of the assistant, after those before it
{"prompt": ..., "completion": ...}       two texts, or messages and the assistant's next one
{"text": ...}                            all of it is learnt
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from rl.config import DataConfig
from rl.data.heldout import parted
from rl.data.mixture import is_mixture, read_ingredient, read_mixture
from rl.data.rows import Message, messages_of
from rl.data.source import Record, Source, read_source
from rl.refusal import Refusal

FORMS = "question and answer, messages, prompt and completion, or text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """`prompt` is messages for the chat template, or plain text that goes on in `answer`."""

    id: str
    where: str
    prompt: tuple[Message, ...] | str
    answer: str
    reasoning: str = ""
    split: str = "train"
    domain: str = ""
    """The source that it is of, where there are several."""
    fault: str = ""
    """Why nothing can be learnt from it."""

    @property
    def asked(self) -> str:
        """What a person would say it is about."""
        if isinstance(self.prompt, str):
            return self.prompt or self.answer
        return "\n".join(message["content"] for message in self.prompt if message["role"] == "user")


class _Fault(Exception):
    pass


def load_examples(config: DataConfig) -> tuple[list[Example], list[Example]]:
    """To learn from and to measure on; nothing is asked in both. Broken ones are among them."""
    train, heldout = parted(config, lambda name, flag: _read(name, config, flag))
    if not train:
        raise Refusal(f"--data.train {config.train}: no row to learn from. A row is {FORMS}")
    return train, heldout


def _read(name: str, config: DataConfig, flag: str) -> list[Example]:
    if not is_mixture(name):
        return _examples_of(read_source(name, config, flag=flag), config)
    return [
        replace(example, domain=ingredient.name)
        for ingredient in read_mixture(name, flag)
        for example in _examples_of(read_ingredient(ingredient, config, flag), config)
    ]


def _examples_of(source: Source, config: DataConfig) -> list[Example]:
    return [
        example
        for record in source.records
        for example in _examples(
            record, config, f"{source.stem}-{record.line}", source.where(record.line)
        )
    ]


def _examples(record: Record, config: DataConfig, id_: str, where: str) -> list[Example]:
    values = record.values
    split = str(values.get("split", "train"))
    id_ = str(values.get("id", id_))
    try:
        if record.fault:
            raise _Fault(record.fault)
        return [
            Example(
                id=id_ if n == 1 else f"{id_}-{n}",
                where=where,
                prompt=prompt,
                answer=answer,
                reasoning=reasoning,
                split=split,
            )
            for n, (prompt, answer, reasoning) in enumerate(_turns(values, config), 1)
        ]
    except _Fault as fault:
        broken = Example(id=id_, where=where, prompt=id_, answer="", split=split, fault=str(fault))
        return [broken]


Turn = tuple[tuple[Message, ...] | str, str, str]


def _turns(values: Any, config: DataConfig) -> Iterator[Turn]:
    has = {name for name, value in values.items() if value is not None}
    if "messages" in has:
        yield from _of_messages(_messages(values["messages"], "messages"))
    elif {"prompt", "completion"} <= has:
        yield _of_prompt(values["prompt"], values["completion"])
    elif {"question", "answer"} <= has:
        reasoning = _text(values, "reasoning") if "reasoning" in values else ""
        yield (
            tuple(messages_of(_text(values, "question"), config)),
            _text(values, "answer"),
            reasoning,
        )
    elif "text" in has:
        yield "", _text(values, "text"), ""
    else:
        lacking = {"question", "answer"} - has
        if len(lacking) == 1:
            raise _Fault(f"{lacking.pop()!r} is missing")
        raise _Fault(f"it has {', '.join(sorted(has)) or 'nothing'}; wanted is {FORMS}")


def _of_messages(messages: list[Message]) -> Iterator[Turn]:
    spoken = [n for n, message in enumerate(messages) if message["role"] == "assistant"]
    if not spoken or spoken[0] == 0:
        raise _Fault("'messages' has no answer of an assistant after something that was asked")
    for n in spoken:
        yield _of_prompt(messages[:n], messages[n : n + 1])


def _of_prompt(prompt: Any, completion: Any) -> Turn:
    if isinstance(prompt, str) and isinstance(completion, str):
        if not completion.strip():
            raise _Fault("'completion' is empty")
        return prompt, completion, ""
    said = _messages(completion, "completion")
    if len(said) != 1 or said[0]["role"] != "assistant":
        raise _Fault("'completion' must be one message of the assistant, or text as 'prompt' is")
    reasoning = said[0].get("reasoning_content", "")
    return tuple(_messages(prompt, "prompt")), said[0]["content"].strip(), reasoning.strip()


def _messages(value: Any, name: str) -> list[Message]:
    wanted = [{"role": "...", "content": "..."}]
    if not isinstance(value, list) or not value:
        raise _Fault(f"{name!r} must be a list such as {wanted}")
    messages = []
    for message in value:
        given = {k: v for k, v in dict(message).items() if v is not None}
        if not all(isinstance(given.get(key), str) for key in ("role", "content")):
            raise _Fault(f"{name!r} must be a list such as {wanted}")
        if given["role"] == "assistant" and not given["content"].strip():
            raise _Fault(f"{name!r} has an empty answer")
        messages.append(given)
    return messages


def _text(values: Any, name: str) -> str:
    value = values[name]
    if value is not None and not isinstance(value, str):
        raise _Fault(f"{name!r} is not text")
    if not value or not value.strip():
        raise _Fault(f"{name!r} is empty")
    return value if name == "text" else value.strip()
