"""An article's body as sections: each paragraph once, in its order, under the headings it has."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rl.data.papers.jats import Element, Unusable, text_of

FLOATS = {
    "fig": "figure",
    "table-wrap": "table",
    "supplementary-material": "supplement",
    "media": "supplement",
}
HEADED = ("sec", "boxed-text")
HEADINGS = {
    "background": r"intro\b|introduction|background|objectives?|aims?\b|rationale|"
    r"literature review",
    "methods": r"methods?\b|methodology|materials|study design|statistical analys[ei]s",
    "results": r"results?\b|findings",
    "discussion": r"discussion|conclusions?|concluding|limitations|implications",
    "case": r"case (?:report|presentation|description|series|history|study|\d)|^(?:the )?cases?$|"
    r"case-report|(?:patient|clinical) (?:presentation|information|course)",
    "guideline": r"guidelines?|recommendations?|consensus|clinical pathway|algorithm",
    "other": r"competing|conflicts? of|contributions?|acknowledge?ments?|funding|abbreviations?|"
    r"supplementa|supporting information|consent|ethic|availability|publication history|appendix|"
    r"disclosure|author",
}
"""What a heading says of what stands under it. The leftmost of several is meant."""
_HEADING = re.compile("|".join(f"(?P<{kind}>{words})" for kind, words in HEADINGS.items()), re.I)
_GUIDELINE = re.compile(r"guidelines?|(?:consensus|position) statement", re.I)
TYPES = tuple(HEADINGS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Float:
    kind: str
    label: str
    caption: str
    notes: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    path: tuple[str, ...]
    """Its headings, the outermost first. Empty where there is none."""
    type: str
    paragraphs: tuple[str, ...]
    floats: tuple[Float, ...]


def sections_of(article: Element) -> list[Section]:
    """A section that goes on after one inside it is two, so that the order is the article's."""
    body = article.find("body")
    kind = _kind_of(article)
    sections = list(_sections(body, (), (), kind)) if body is not None else []
    if not any(section.paragraphs for section in sections):
        raise Unusable("no body", "there is no paragraph in it")
    group = article.find("floats-group")
    if group is not None and (floats := tuple(_floats(group))):
        sections.append(Section(path=(), type=kind, paragraphs=(), floats=floats))
    return sections


def _sections(
    place: Element, path: tuple[str, ...], headings: tuple[str, ...], kind: str
) -> Iterator[Section]:
    paragraphs: list[str] = []
    floats: list[Float] = []

    def held() -> Iterator[Section]:
        if paragraphs or floats:
            yield Section(
                path=path,
                type=_type(headings) or ("background" if is_lead else kind),
                paragraphs=tuple(paragraphs),
                floats=tuple(floats),
            )
        paragraphs.clear()
        floats.clear()

    is_lead = not headings and place.find("sec") is not None
    for child in place:
        if child.tag in HEADED:
            yield from held()
            is_lead = False
            title = text_of(_title(child))
            says = f"{child.get('sec-type', '')} {title}".replace("|", " ").strip()
            yield from _sections(child, (*path, title) if title else path, (*headings, says), kind)
        else:
            paragraphs += _paragraphs(child)
            floats += _floats(child)
    yield from held()


def _title(section: Element) -> Element | None:
    found = (section.find(where) for where in ("title", "caption/title", "label"))
    return next((title for title in found if title is not None), None)


def _paragraphs(element: Element) -> Iterator[str]:
    """A list in a paragraph is part of it."""
    if element.tag in FLOATS:
        return
    if element.tag == "p":
        if text := text_of(element, without=frozenset(FLOATS)):
            yield text
        return
    for child in element:
        yield from _paragraphs(child)


def _floats(element: Element) -> Iterator[Float]:
    if element.tag not in FLOATS:
        for child in element:
            yield from _floats(child)
        return
    label = text_of(element.find("label"))
    caption = " ".join(map(text_of, element.iter("caption")))
    notes = text_of(element.find("table-wrap-foot"))
    if label or caption or notes:
        yield Float(kind=FLOATS[element.tag], label=label, caption=caption, notes=notes)


def _type(headings: tuple[str, ...]) -> str | None:
    """The outermost heading that says anything decides."""
    for heading in headings:
        if found := _HEADING.search(heading):
            return found.lastgroup
    return None


def _kind_of(article: Element) -> str:
    """What its sections are where no heading says it."""
    declared = article.get("article-type", "")
    meta = "front/article-meta"
    titles = " ".join(
        text_of(element)
        for where in (f"{meta}/article-categories//subject", f"{meta}/title-group/article-title")
        for element in article.findall(where)
    )
    if declared == "case-report" or "case report" in titles.lower():
        return "case"
    if _GUIDELINE.search(titles):
        return "guideline"
    return "background" if declared == "review-article" else "other"
