"""What an article may be used for: its licence's name, as strict as anything that is said of it."""

import re
from dataclasses import dataclass

from rl.data.papers.jats import Element, text_of

NONE = "none"
_CC_URL = re.compile(
    r"creativecommons\.org/(?:licenses/(?P<terms>by[a-z-]*)(?:/(?P<version>\d\.\d))?"
    r"|publicdomain/(?P<free>zero|mark))"
)
_CC_TEXT = re.compile(
    r"\bCC[ -]?BY(?P<short>(?:[ -](?:NC|ND|SA))*)\b"
    r"|Creative\s+Commons[\s\W]+Attribution",
    re.IGNORECASE,
)
_NOT_SOLD = re.compile(r"\bnon[- ]?commercial", re.IGNORECASE)
_EITHER_WAY = re.compile(
    r"\bcommercial(?:ly)?,?\s+(?:or|and)\s+non[- ]?commercial\w*", re.IGNORECASE
)
_UNCHANGED = re.compile(r"\bno[- ]?deriv|not altered or transformed", re.IGNORECASE)
_SHARED_ALIKE = re.compile(r"\bshare[- ]?alike", re.IGNORECASE)
_FREE = re.compile(r"\bpublic domain\b|\bCC0\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Licence:
    name: str
    """cc-by, cc-by-nc-nd, cc0, public-domain; `none`, or the beginning of what is said instead."""
    version: str = ""
    url: str = ""

    def __str__(self) -> str:
        return f"{self.name}-{self.version}" if self.version else self.name


def licence_of(article: Element) -> Licence:
    """Of the article itself: a figure may have another, and so may its data (often CC0)."""
    stated = [
        place
        for meta in article.findall("front/article-meta")
        for where in (meta, *meta.findall("permissions"))
        for place in where
        if place.tag in ("license", "copyright-statement")
    ]
    said = " ".join(map(text_of, stated))
    urls = " ".join(
        [
            said,
            *(str(value) for place in stated for e in place.iter() for value in e.attrib.values()),
        ]
    ).lower()
    links = [*_CC_URL.finditer(urls)]
    if terms := [link for link in links if link["terms"]]:
        versions = {link["version"] for link in terms} - {None}
        return Licence(
            name=_name("-".join(link["terms"] for link in terms), said),
            version=versions.pop() if len(versions) == 1 else "",
            url=f"https://{terms[0][0]}/",
        )
    if named := _CC_TEXT.search(said):
        return Licence(name=_name((named["short"] or "").lower().replace(" ", "-"), said))
    if links or _FREE.search(said):
        is_zero = any(link["free"] == "zero" for link in links) or "CC0" in said
        url = f"https://{links[0][0]}/" if links else ""
        return Licence(name="cc0" if is_zero else "public-domain", url=url)
    return Licence(name=said[:60] or NONE)


def _name(terms: str, said: str) -> str:
    """The strictest of what the link and the words say."""
    parts = set(terms.split("-"))
    limits = {
        "nc": _NOT_SOLD.search(_EITHER_WAY.sub("", said)),
        "nd": _UNCHANGED.search(said),
        "sa": _SHARED_ALIKE.search(said),
    }
    return "-".join(
        ["cc-by", *(limit for limit, found in limits.items() if found or limit in parts)]
    )
