"""Plain text from several sources, each with its share: a TOML file, a table a source.

[pubmed]
share = 0.15
data = "pubmed.jsonl"        a set of ours, a file, its place told from this one, or a hub id
fields = ["text=abstract"]   where its texts are called something else; subset and split, too
"""

import dataclasses
import hashlib
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.config import DataConfig
from rl.data.source import SHIPPED, Source, content_sha, is_hub_id, read_source
from rl.names import did_you_mean
from rl.refusal import Refusal


@dataclass(frozen=True, kw_only=True)
class Ingredient:
    name: str
    share: float
    data: str
    fields: tuple[str, ...] = ()
    subset: str | None = None
    split: str | None = None

    def config(self, config: DataConfig) -> DataConfig:
        return dataclasses.replace(config, fields=self.fields, subset=self.subset, split=self.split)


def is_mixture(name: str) -> bool:
    return name.endswith(".toml")


def read_mixture(name: str, flag: str) -> list[Ingredient]:
    file = Path(name).expanduser()
    if not file.is_file() and (SHIPPED / name).is_file():
        file = SHIPPED / name
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refusal(f"{flag} {name}: no mixture can be read there ({error})") from None
    ingredients = [_ingredient(file, source, table) for source, table in tables.items()]
    total = math.fsum(ingredient.share for ingredient in ingredients)
    if not math.isclose(total, 1, abs_tol=1e-6):
        raise Refusal(f"{name}: its shares add up to {total:g}. They must add up to 1")
    return ingredients


def _ingredient(file: Path, source: str, table: Any) -> Ingredient:
    known = [field.name for field in dataclasses.fields(Ingredient)][1:]
    where = f"{file}, [{source}]"
    if not isinstance(table, dict) or not {"share", "data"} <= table.keys():
        raise Refusal(f'{where}: a source wants share = 0.5 and data = "FILE.jsonl"')
    for name in table:
        if name not in known:
            raise Refusal(f"{where}: {name!r} is not a setting{did_you_mean(name, known)}")
    share, data = table["share"], str(table["data"])
    if not isinstance(share, int | float) or not 0 < share <= 1:
        raise Refusal(f"{where}: share is {share!r}. It must be above 0 and at most 1")
    beside = file.parent / data
    is_named = is_hub_id(data) or (SHIPPED / f"{data}.jsonl").is_file()
    return Ingredient(
        name=source,
        share=share,
        data=data if is_named else str(beside),
        fields=tuple(table.get("fields", ())),
        subset=table.get("subset"),
        split=table.get("split"),
    )


def read_ingredient(ingredient: Ingredient, config: DataConfig, flag: str) -> Source:
    """Its texts, and nothing else of its rows. One without any is refused."""
    source = read_source(
        ingredient.data, ingredient.config(config), flag=f"{flag}, [{ingredient.name}]"
    )
    if not source.records:
        raise Refusal(
            f"{flag}, [{ingredient.name}]: {ingredient.data} is empty, and {ingredient.share:.0%} "
            "is to come from it. Fill it, or take it out and give its share to others"
        )
    kept = ("text", "id", "split")
    records = [
        dataclasses.replace(
            record, values={key: record.values[key] for key in kept if key in record.values}
        )
        for record in source.records
    ]
    return dataclasses.replace(source, records=records)


def content_of(name: str, config: DataConfig, *, flag: str) -> str:
    """Of what stands behind a name today, behind all names of a mixture."""
    if not is_mixture(name):
        return content_sha(name, config, flag=flag)
    parts = [
        f"{each.name} {each.share} {content_sha(each.data, each.config(config), flag=flag)}"
        for each in read_mixture(name, flag)
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
