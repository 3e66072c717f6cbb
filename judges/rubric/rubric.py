"""Rubrics as data: tiers with a label, a score and a meaning, and the words a judge is told.

A rubric is a TOML file in `rubrics/` or anywhere; any number of tiers, any scores. The wording that
all rubrics of one language share is in `templates/`. Both have a hash that goes into every key.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from judges.names import did_you_mean

log = logging.getLogger("judges")
HERE = Path(__file__).parent
RULES = ("same", "reasonable", "off_domain", "contradicts", "incoherent")
"""What the rule judge can find. A tier names the findings it stands for; only `rules` needs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    question: str
    truth: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    label: str
    score: float
    meaning: str
    ask: str = ""
    """Its question on a ladder, to be answered yes or no."""
    examples: tuple[Example, ...] = ()
    rules: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """The words around a rubric, in one language."""

    tiers: str
    example: str
    schema: str
    bare_schema: str
    labels: str
    authority: str
    answer: str
    schema_closing: str
    labels_closing: str
    commit: str
    ladder: str
    generated: str
    sha: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # hashed by identity: it is loaded once
class Rubric:
    name: str
    lang: str
    task: str
    tiers: tuple[Tier, ...]
    template: Template
    sha: str
    siblings: Mapping[str, Rubric] = field(default_factory=dict[str, "Rubric"])
    """The same tiers in other languages: a request is graded in its own where there is one."""

    def in_language(self, lang: str) -> Rubric:
        return self.siblings.get(lang, self)

    @property
    def template_sha(self) -> str:
        return _sha([self.template.sha, *(other.template.sha for other in self.siblings.values())])

    def tier(self, label: str) -> Tier:
        return next(tier for tier in self.tiers if tier.label == label)

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(tier.label for tier in self.tiers)

    @property
    def rungs(self) -> tuple[Tier, ...]:
        """On a ladder the last tier is what is left, and needs no question."""
        return self.tiers[:-1]

    def label_for_rule(self, finding: str) -> str:
        return next(tier.label for tier in self.tiers if finding in tier.rules)

    def check_words(self) -> None:
        """Graded by labels, a tier is known by its first token, which may be short."""
        begun: dict[str, str] = {}
        for label in self.labels:
            if other := begun.get(label[:2]):
                raise ValueError(
                    f"rubric {self.name}: the tiers {other!r} and {label!r} begin alike, and with "
                    "judge.grading labels a tier is read from its first token. Rename one, or use "
                    "--judge.grading schema"
                )
            begun[label[:2]] = label

    def say_what_is_generated(self) -> None:
        """What a tier means is seldom as plain a question as one that was written."""
        for own in {self.lang: self, **self.siblings}.values():
            if generated := [tier.label for tier in own.rungs if not tier.ask]:
                log.warning(
                    "rubric %s has no `ask` for %s: its question on the ladder is made of its "
                    "meaning. Write one that is answered yes or no",
                    own.name,
                    ", ".join(generated),
                )

    def check_rules(self) -> None:
        """The rules judge needs a tier for each of its findings, and only one."""
        for finding in RULES:
            owners = [tier.label for tier in self.tiers if finding in tier.rules]
            if len(owners) != 1:
                raise ValueError(
                    f"rubric {self.name}: {len(owners)} tiers have {finding!r} in their `rules`, "
                    f"and the rules judge needs one. Add rules = [{finding!r}] to one tier, or "
                    "choose another judge.backend"
                )


def shipped_rubrics() -> list[str]:
    return sorted(path.stem for path in (HERE / "rubrics").glob("*.toml"))


def load_rubric(name: str) -> Rubric:
    """A shipped rubric by name, or any .toml file by path."""
    path = Path(name) if name.endswith(".toml") else HERE / "rubrics" / f"{name}.toml"
    if not path.is_file():
        raise ValueError(
            f"judge.rubric is {name!r}: no such rubric.{did_you_mean(name, shipped_rubrics())} "
            f"Shipped: {', '.join(shipped_rubrics())}; or give a path that ends in .toml"
        )
    data = _read(path)
    rubric = _rubric(path, data)
    siblings: dict[str, Rubric] = {}
    for lang, name in data.get("siblings", {}).items():
        beside = path.parent / f"{name}.toml"
        siblings[lang] = other = _rubric(beside, _read(beside))
        if [(t.label, t.score) for t in other.tiers] != [(t.label, t.score) for t in rubric.tiers]:
            raise ValueError(
                f"rubric {rubric.name}: its sibling {other.name} has other labels or scores. "
                "Give both the same tiers in the same order"
            )
    if not siblings:
        return rubric
    shas = [rubric.sha, *(other.sha for other in siblings.values())]
    return replace(rubric, sha=_sha(shas), siblings={rubric.lang: rubric, **siblings})


def _read(path: Path) -> dict[str, Any]:
    import tomllib

    if not path.is_file():
        raise ValueError(f"rubric file {path}: no such file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"rubric file {path}: not valid TOML ({error})") from error


def _rubric(path: Path, data: dict[str, Any]) -> Rubric:
    where = f"rubric {path}"
    _check_keys(where, data, known=("lang", "task", "tiers", "siblings", "template"))
    for key in ("lang", "task", "tiers"):
        if not data.get(key):
            raise ValueError(f"{where}: `{key}` is missing")
    _check_texts(where, data, ("lang", "task"))
    for key in ("siblings", "template"):
        if not isinstance(table := data.get(key, {}), dict):
            raise ValueError(f"{where}: `{key}` is {table!r}: write it as a table, [{key}]")
        _check_texts(f"{where}, {key}", cast(dict[str, Any], table))
    tiers = tuple(_tier(where, row) for row in _tables(where, "tiers", data["tiers"]))
    labels = [tier.label for tier in tiers]
    if len(set(labels)) != len(labels):
        raise ValueError(f"{where}: two tiers have the same label; labels are {labels}")
    if len(tiers) < 2:
        raise ValueError(f"{where}: one tier says nothing about an answer; give it two or more")
    return Rubric(
        name=path.stem,
        lang=data["lang"],
        task=data["task"].strip(),
        tiers=tiers,
        template=_template(data["lang"], data.get("template", {})),
        sha=_sha({key: data[key] for key in ("lang", "task", "tiers")}),
    )


def _check_keys(where: str, table: dict[str, Any], known: Iterable[str]) -> None:
    if unknown := sorted(set(table) - set(known)):
        raise ValueError(f"{where}: unknown key {unknown[0]!r}; use {', '.join(sorted(known))}")


def _check_texts(where: str, table: dict[str, Any], keys: Iterable[str] | None = None) -> None:
    for key in table if keys is None else keys:
        if not isinstance(table[key], str):
            raise ValueError(f"{where}: `{key}` is {table[key]!r}: it must be text, in quotes")


def _tables(where: str, key: str, value: object) -> list[dict[str, Any]]:
    tables = cast(list[object], value) if isinstance(value, list) else [value]
    if not isinstance(value, list) or not all(isinstance(table, dict) for table in tables):
        raise ValueError(f"{where}: write each of its {key.split('.')[-1]} as a table, [[{key}]]")
    return cast(list[dict[str, Any]], tables)


def _example(where: str, row: dict[str, Any]) -> Example:
    wanted = tuple(Example.__dataclass_fields__)
    if set(row) != set(wanted):
        raise ValueError(
            f"{where} has an example of {', '.join(row) or 'nothing'}; it needs "
            f"{', '.join(wanted)} and nothing else"
        )
    _check_texts(f"{where}, an example", row)
    return Example(**row)


def _tier(where: str, row: dict[str, Any]) -> Tier:
    label, score, rules = row.get("label"), row.get("score"), row.get("rules", [])
    if not isinstance(label, str) or not re.fullmatch(r"[a-z][a-z0-9_]*", label):
        raise ValueError(f"{where}: tier label {label!r} must be lower-case letters, digits and _")
    if label == "fault":
        raise ValueError(f"{where}: a tier cannot be called fault: that is no verdict at all")
    where = f"{where}: tier {label}"
    if not isinstance(score, int | float) or isinstance(score, bool) or not math.isfinite(score):
        raise ValueError(f"{where} has score {score!r}; it must be a number")
    if not row.get("meaning"):
        raise ValueError(f"{where} has no `meaning`; say when it applies")
    _check_texts(where, {"ask": "", **row}, ["meaning", "ask"])
    _check_keys(where, row, known=Tier.__dataclass_fields__)
    if not isinstance(rules, list):
        raise ValueError(f"{where}: `rules` is {rules!r}: it must be a list, such as ['same']")
    if unknown := [rule for rule in cast(list[object], rules) if rule not in RULES]:
        raise ValueError(f"{where} has rules {unknown}; known are {', '.join(RULES)}")
    examples = _tables(where, "tiers.examples", row.get("examples", []))
    return Tier(
        label=label,
        score=float(score),
        meaning=row["meaning"].strip(),
        ask=row.get("ask", "").strip(),
        examples=tuple(_example(where, example) for example in examples),
        rules=tuple(cast(list[str], rules)),
    )


def _template(lang: str, own: dict[str, str]) -> Template:
    """The shared wording of the language, with what the rubric says in its own words instead."""
    shared = HERE / "templates" / f"{lang}.toml"
    words = {**(_read(shared) if shared.is_file() else {}), **own}
    for place in ("{question}", "{truth}", "{response}", "{ask}"):
        if place not in words.get("ladder", place):
            raise ValueError(
                f"rubric language {lang!r}: its `ladder` has no {place}, so a judge would not be "
                "shown it. Write all four, as judges/rubric/templates/en.toml does"
            )
    try:
        return Template(**{key: text.strip() for key, text in words.items()}, sha=_sha(words))
    except TypeError as error:
        raise ValueError(
            f"rubric language {lang!r}: its wording is incomplete ({error}). "
            f"See judges/rubric/templates/en.toml for what a [template] table needs"
        ) from error


def _sha(value: object) -> str:
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
