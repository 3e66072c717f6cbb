"""An article's XML, read with nothing of it obeyed: no entity, no DTD, no network."""

from pathlib import Path
from typing import Any

from lxml import etree

Element = Any
"""lxml's."""
APART = frozenset(
    "p list-item def term disp-quote disp-formula title caption label table-wrap-foot fn tr td "
    "th sec break attrib verse-line".split()
)
"""What begins on a line of its own, whether or not the file has white space there."""


class Unusable(Exception):
    """Why nothing is taken of an article. `why` is counted, `detail` is said of this one."""

    def __init__(self, why: str, detail: str = "") -> None:
        super().__init__(f"{why}: {detail}" if detail else why)
        self.why = why
        self.detail = detail


def read_article(path: Path) -> Element:
    """Its `article` element. Entities of its own are refused unread, and unknown ones too."""
    parser = etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    try:
        root = etree.fromstring(path.read_bytes(), parser)
    except etree.XMLSyntaxError as error:
        raise Unusable("malformed XML", str(error)) from None
    dtd = root.getroottree().docinfo.internalDTD
    if declared := [entity.name for entity in dtd.iterentities()] if dtd is not None else []:
        raise Unusable("declares entities", ", ".join(map(str, declared[:3])))
    if unknown := parser.error_log.filter_types(etree.ErrorTypes.WAR_UNDECLARED_ENTITY):
        raise Unusable("unknown entities", unknown[0].message)
    for element in root.iter(etree.Element):
        name = etree.QName(element)
        if "nlm.nih.gov" in (name.namespace or ""):
            element.tag = name.localname
    articles = [root] if root.tag == "article" else root.findall("article")
    if len(articles) != 1:
        raise Unusable("no article", f"its root is {root.tag}")
    return articles[0]


def text_of(element: Element | None, *, without: frozenset[str] = frozenset()) -> str:
    """On one line, without some of what is in it."""
    if element is None:
        return ""
    return " ".join("".join(_texts(element, without)).split())


def _texts(element: Element, without: frozenset[str]) -> list[str]:
    texts = [_formula(element) if element.tag == "tex-math" else element.text or ""]
    for child in element:
        if child.tag not in without and not _is_typesetting(child):
            texts += _texts(child, without)
        if child.tag in APART:
            texts.append(" ")
        texts.append(child.tail or "")
    return [" ", *texts] if element.tag in APART else texts


def _formula(element: Element) -> str:
    """Without the preamble of the LaTeX document that it comes in."""
    text = element.text or ""
    return text.partition("\\begin{document}")[2].partition("\\end{document}")[0] or text


def _is_typesetting(element: Element) -> bool:
    """A formula in LaTeX, where MathML beside it says the same."""
    return element.tag == "tex-math" and any(
        str(sibling.tag).endswith("}math") for sibling in element.getparent()
    )
