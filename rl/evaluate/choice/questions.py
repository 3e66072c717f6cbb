"""Questions with options and the right one of them, as a hub's columns or a file's rows give them.

A row that breaks the rules stops the reading and is named by its line. One that keeps them and has
no single right answer is left out, and that is said.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rl.config import DataConfig
from rl.data.source import Record, Source, content_sha, is_hub_id, read_source
from rl.evaluate.choice.describe import Description
from rl.refusal import Refusal

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
WANTED = '{"question": ..., "options": [...], "answer": a letter, an index from 0 or an option}'
SEVERAL = "several answers"
EMPTY_OPTION = "an empty option"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    item: str
    question: str
    options: tuple[str, ...]
    gold: int
    context: str = ""

    @property
    def letters(self) -> list[str]:
        return list(LETTERS[: len(self.options)])

    @property
    def lettered(self) -> str:
        """The options as they are listed, a line each."""
        return "".join(
            f"{letter}. {option}\n"
            for letter, option in zip(self.letters, self.options, strict=True)
        )


@dataclass(frozen=True, kw_only=True)
class Questions:
    source: str
    sha: str
    rows: Sequence[Question]
    left_out: Mapping[str, Sequence[int]]
    """Lines, by what is wrong with them."""


class _Fault(Exception):
    pass


class _LeftOut(Exception):
    pass


def read_questions(description: Description, file: str | None = None) -> Questions:
    """Of the hub, or of a file in its place."""
    name, flag, config = file or description.hub, "--tasks", DataConfig()
    if is_hub_id(name):
        flag = f"--tasks {description.name}:"
        config = DataConfig(subset=description.subset, split=description.split)
    source = read_source(name, config, flag=flag)
    fields_of = _fields_of(source, description)
    rows: list[Question] = []
    left_out: dict[str, list[int]] = {}
    for record in source.records:
        try:
            rows.append(_question(record, fields_of, description))
        except _Fault as fault:
            raise Refusal(
                f"{source.where(record.line)}: {fault}. For {description.name} each row is {WANTED}"
            ) from None
        except _LeftOut as why:
            left_out.setdefault(str(why), []).append(record.line)
    if not rows:
        told = "; ".join(f"{why} in {len(lines)}" for why, lines in left_out.items())
        raise Refusal(
            f"{source.name}: no question to ask{f' ({told})' if told else ''}. For "
            f"{description.name} each row is {WANTED}"
        )
    return Questions(
        source=source.name,
        sha=content_sha(name, config, flag=flag),
        rows=rows,
        left_out=left_out,
    )


Fields = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def _fields_of(source: Source, description: Description) -> Fields:
    """Ours of a row: by the description's expressions where their columns are there."""
    import jinja2.meta
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment()
    environment.filters["unbracketed"] = _unbracketed
    columns_of = {
        ours: jinja2.meta.find_undeclared_variables(environment.parse(f"{{{{ {expression} }}}}"))
        for ours, expression in description.columns.items()
    }
    has = {column for record in source.records for column in record.values}
    if not columns_of or not set().union(*columns_of.values()) <= has:
        return lambda values: values
    compiled = {
        ours: environment.compile_expression(expression)
        for ours, expression in description.columns.items()
    }

    def fields(values: Mapping[str, Any]) -> Mapping[str, Any]:
        for ours, columns in columns_of.items():
            lost = sorted(column for column in columns if values.get(column) is None)
            if lost and ours != "options":
                raise _Fault(f"{lost[0]!r} is missing")
        try:
            return {**values} | {ours: read(**values) for ours, read in compiled.items()}
        except (ValueError, TypeError, jinja2.UndefinedError) as error:
            raise _Fault(
                f"its columns do not read as those of {description.hub} ({error})"
            ) from None

    return fields


def _unbracketed(text: str) -> str:
    """Without the section marks that how-to articles leave behind."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def _question(record: Record, fields_of: Fields, description: Description) -> Question:
    if record.fault:
        raise _Fault(record.fault)
    values = fields_of(record.values)
    options = _options(values, description)
    gold = _gold(_given(values, "answer"), options)
    if not all(options.values()):
        raise _LeftOut(EMPTY_OPTION)
    found = Question(
        item=f"{description.name}-{record.line}",
        question=_text(values, "question"),
        options=tuple(options.values()),
        gold=gold,
        context=_text(values, "context") if description.needs_context else "",
    )
    if description.form == "blank" and found.question.count("_") != 1:
        raise _Fault("'question' must have one _ where an option goes")
    return _without_list(found)


def _without_list(found: Question) -> Question:
    """Some files list the options in the question already, and would show them twice."""
    text = found.question.removesuffix(found.lettered.rstrip()).rstrip()
    return Question(
        item=found.item,
        question=text or found.question,
        options=found.options,
        gold=found.gold,
        context=found.context,
    )


def _options(values: Mapping[str, Any], description: Description) -> dict[str, str]:
    """By what a row calls them: letters, unless it has names of its own."""
    if description.options and values.get("options") is None:
        return dict(zip(LETTERS, description.options, strict=False))
    given = _given(values, "options")
    if isinstance(given, list) and all(isinstance(each, dict) for each in given):
        given = {each.get("key"): each.get("value") for each in given}
    if isinstance(given, dict):
        # Parquet gives every row the keys of all of them
        named = {str(key): value for key, value in given.items() if value is not None}
    elif isinstance(given, list):
        named = dict(zip(LETTERS, given, strict=False))
    else:
        raise _Fault("'options' must be a list, or texts by their letters")
    if not 2 <= len(given) <= len(LETTERS):
        raise _Fault(f"'options' has {len(given)}: 2 to {len(LETTERS)} are wanted")
    return {key: "" if value is None else str(value).strip() for key, value in named.items()}


def _gold(answer: Any, options: Mapping[str, str]) -> int:
    names, texts = list(options), list(options.values())
    if isinstance(answer, int) and not isinstance(answer, bool):
        if not 0 <= answer < len(names):
            raise _Fault(f"'answer' is {answer}, and its {len(names)} options go from 0")
        return answer
    said = str(answer).strip()
    for known in (names, texts):
        if said in known:
            return known.index(said)
    letters = re.sub(r"[\s,，、;；]", "", said)
    if len(letters) > 1 and set(letters) <= set(names):
        raise _LeftOut(SEVERAL)
    raise _Fault(f"'answer' is {said!r}, which is none of {', '.join(names)} and no option's text")


def _given(values: Mapping[str, Any], name: str) -> Any:
    value = values.get(name)
    if value is None:
        raise _Fault(f"{name!r} is missing")
    return value


def _text(values: Mapping[str, Any], name: str) -> str:
    value = _given(values, name)
    if not isinstance(value, str) or not value.strip():
        raise _Fault(f"{name!r} is empty or no text")
    return value.strip()
