"""From a search, or a folder of files, to one file of sections; and what was left out, by name."""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from judges.commands.flags import counted
from judges.commands.jsonl import as_line
from rl.config.papers import Papers
from rl.data.papers.clinical import is_clinical
from rl.data.papers.jats import Element, Unusable, read_article, text_of
from rl.data.papers.licence import licence_of
from rl.data.papers.pmc import Pmc, Unreachable
from rl.data.papers.sections import sections_of
from rl.refusal import Refusal

Row = dict[str, Any]
IN_A_ROW = 3
"""So many articles that cannot be fetched one after another are a network that is gone."""
REPORT_EVERY = 50
OFFLINE = "Without a network, name a folder of .nxml files with --folder"


def collect(settings: Papers, *, make: Callable[..., Pmc] = Pmc) -> None:
    out = Path(settings.out)
    out.mkdir(parents=True, exist_ok=True)
    left_out: list[Row] = []
    if settings.search is None:
        files = _in_folder(settings)
    else:
        with make(eutils=settings.eutils, bucket=settings.bucket, email=settings.email) as pmc:
            files = _fetched(settings, out, pmc, left_out)
    sections = list(_sections(files, settings.licences, left_out))
    write_rows(out / "left_out.jsonl", left_out)
    reasons = counted(Counter(_reason(row) for row in left_out))
    if not sections:
        raise Refusal(f"no article can be used: {reasons}. They are named in {out}/left_out.jsonl")
    write_rows(out / "sections.jsonl", sections)
    print(_described(sections))
    if left_out:
        print(f"left out {len(left_out)}: {reasons} ({out}/left_out.jsonl)")
    print(f"sections in {out}/sections.jsonl")


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    write_whole(path, "".join(as_line(row) + "\n" for row in rows).encode())


def write_whole(path: Path, content: bytes) -> None:
    """All of it or nothing, whenever it is killed."""
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(content)
    os.replace(beside, path)


def _in_folder(settings: Papers) -> list[Path]:
    folder = Path(settings.folder or "")
    files = [p for p in sorted(folder.rglob("*")) if p.suffix in (".nxml", ".xml") and p.is_file()]
    if not files:
        problem = "has no .nxml or .xml file" if folder.is_dir() else "is no folder"
        raise Refusal(f"--folder {settings.folder} {problem}. Name one that holds articles as JATS")
    return files


def _fetched(settings: Papers, out: Path, pmc: Pmc, left_out: list[Row]) -> list[Path]:
    """What is there already is not asked for again."""
    folder = out / "nxml"
    folder.mkdir(exist_ok=True)
    files: list[Path] = []
    failed_in_a_row = 0
    ids = _found(settings, out, pmc)
    for place, id_ in enumerate(ids, 1):
        file = folder / f"{id_}.nxml"
        try:
            if not file.exists():
                write_whole(file, pmc.article(id_))
            files.append(file)
            failed_in_a_row = 0
        except Unusable as unusable:
            left_out.append(_left_out(id_, unusable))
        except Unreachable as error:
            failed_in_a_row += 1
            left_out.append(_left_out(id_, Unusable("not fetched", str(error))))
            if failed_in_a_row == IN_A_ROW:
                raise Refusal(
                    f"--bucket {settings.bucket} cannot be reached ({error}). What was fetched is "
                    f"in {folder}, and the same command goes on from there. {OFFLINE}"
                ) from None
        if place % REPORT_EVERY == 0:
            print(f"{place} of {len(ids)} articles", file=sys.stderr, flush=True)
    return files


def _found(settings: Papers, out: Path, pmc: Pmc) -> list[str]:
    """A search that goes on is of the articles that it was of."""
    asked = {"search": settings.search, "limit": settings.limit}
    file = out / "found.json"
    if file.exists() and (known := json.loads(file.read_text())).items() >= asked.items():
        return known["ids"]
    try:
        ids = pmc.search(settings.search or "", settings.limit)
    except Unreachable as error:
        raise Refusal(
            f"--eutils {settings.eutils} cannot be reached ({error}). {OFFLINE}"
        ) from None
    if not ids:
        raise Refusal(
            f"--search {settings.search!r}: PubMed Central has no open-access article for it. "
            "Try fewer words, or OR between them"
        )
    write_whole(file, json.dumps({**asked, "ids": ids}).encode())
    return ids


def _sections(
    files: Iterable[Path], licences: tuple[str, ...], left_out: list[Row]
) -> Iterator[Row]:
    seen: set[str] = set()
    for file in files:
        try:
            article = read_article(file)
            about = _about(article, file)
            if about["article"] in seen:
                raise Unusable("there already", about["article"])
            licence = licence_of(article)
            if licence.name not in licences:
                raise Unusable(f"licence {licence.name}", licence.url)
            if _is_retracted(article):
                raise Unusable("retracted")
            sections = sections_of(article)
        except Unusable as unusable:
            left_out.append(_left_out(file.stem, unusable))
            continue
        seen.add(about["article"])
        text = " ".join(text for section in sections for text in section.paragraphs)
        about |= {"licence": str(licence), "licence_url": licence.url}
        about |= {"clinical": is_clinical(text, about["article_type"])}
        for number, section in enumerate(sections):
            yield {"id": f"{about['article']}-{number}", **about, **asdict(section)}


def _about(article: Element, file: Path) -> Row:
    meta = article.find("front/article-meta")
    if meta is None:
        raise Unusable("no article", "it has no article-meta")
    ids = {id_.get("pub-id-type"): text_of(id_) for id_ in meta.findall("article-id")}
    pmc = ids.get("pmcid") or ids.get("pmc") or ""
    doi = ids.get("doi", "")
    return {
        "article": f"PMC{pmc.removeprefix('PMC')}" if pmc else doi or file.stem,
        "doi": doi,
        "title": text_of(meta.find("title-group/article-title")),
        "journal": text_of(article.find("front/journal-meta//journal-title")),
        "year": min((text_of(year) for year in meta.findall("pub-date/year")), default=""),
        "article_type": article.get("article-type", ""),
    }


def _is_retracted(article: Element) -> bool:
    related = article.findall("front/article-meta/related-article")
    return article.get("article-type") in ("retraction", "retracted-article") or any(
        each.get("related-article-type") in ("retraction-forward", "retracted-by")
        for each in related
    )


def _left_out(name: str, unusable: Unusable) -> Row:
    return {"article": name, "why": unusable.why, "detail": unusable.detail}


def _reason(row: Row) -> str:
    return row["why"]


def _described(sections: list[Row]) -> str:
    articles = {row["article"]: row["clinical"] for row in sections}
    types = Counter(row["type"] for row in sections)
    licences = Counter({row["article"]: row["licence"] for row in sections}.values())
    paragraphs = sum(len(row["paragraphs"]) for row in sections)
    return (
        f"{len(articles)} articles, {sum(articles.values())} of them clinical: {len(sections)} "
        f"sections, {paragraphs} paragraphs\n"
        f"licences {counted(licences)}\nsections {counted(types)}"
    )
