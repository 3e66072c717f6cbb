"""Each paragraph of a body once, in its order, under its headings."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from rl.data.papers.clinical import is_clinical
from rl.data.papers.jats import Unusable, read_article
from rl.data.papers.licence import licence_of
from rl.data.papers.sections import TYPES, sections_of

ARTICLES = sorted((Path(__file__).parent / "articles").glob("*.nxml"))
NOT_IN_THE_TEXT = {"p", "fig", "table-wrap", "supplementary-material"}


def counted_by_the_standard_library(file: Path) -> list[tuple[tuple[str, ...], str]]:
    """Headings and letters of each outermost paragraph of the body."""
    body = ET.parse(file).getroot().find("body")
    parents = {child: parent for parent in body.iter() for child in parent}

    def above(element):
        while element in parents:
            element = parents[element]
            yield element

    def letters(element):
        return "".join("".join(element.itertext()).split())

    return [
        (
            tuple(letters(sec.find("title")) for sec in reversed([*above(p)]) if sec.tag == "sec"),
            letters(p),
        )
        for p in body.iter("p")
        if not NOT_IN_THE_TEXT & {element.tag for element in above(p)} and letters(p)
    ]


@pytest.mark.parametrize("file", ARTICLES, ids=lambda file: file.stem)
def test_every_paragraph_of_a_real_article_is_there_once_and_where_it_was(file):
    ours = [
        (tuple("".join(title.split()) for title in section.path), "".join(text.split()))
        for section in sections_of(read_article(file))
        for text in section.paragraphs
    ]
    assert len(ours) > 30
    assert ours == counted_by_the_standard_library(file)


def test_real_articles_are_read_as_a_person_reads_them():
    oral, fish = map(read_article, ARTICLES)
    assert [str(licence_of(article)) for article in (oral, fish)] == ["cc-by-2.0", "public-domain"]
    sections = sections_of(oral)
    assert [s.type for s in sections] == [
        *("background", *["methods"] * 8, "results", "discussion", "discussion", "other", "other"),
    ]
    assert [f.label for s in sections for f in s.floats] == [f"Table {n}" for n in range(1, 5)]
    first, *_, last = sections_of(fish)
    assert (first.path, first.type, len(first.paragraphs)) == ((), "background", 5)
    assert [f.kind for f in last.floats] == ["figure"] * 3
    texts = [" ".join(p for s in sections_of(a) for p in s.paragraphs) for a in (oral, fish)]
    assert [is_clinical(text, "research-article") for text in texts] == [True, False]


def test_what_stands_in_a_paragraph_is_part_of_it_and_what_floats_is_not(jats, article_of):
    body = """<body><p>Before.</p><sec><title>Methods</title>
      <p>We took <list><list-item><p>one</p></list-item><list-item><p>two</p></list-item></list>
      of them<fig><label>Figure 1</label><caption><p>A cell.</p></caption></fig>, and
      x<sub>2</sub>.</p>
      <sec><title>Statistics</title><p>By hand.</p></sec>
      <p>Afterwards.</p>
      <boxed-text><caption><title>Box 1</title><p>Aside.</p></caption><p>Boxed.</p></boxed-text>
      <list><list-item><p>Alone.</p></list-item></list>
      <table-wrap><label>Table 1</label><caption><p>Counts.</p></caption><table><tr><td>
      <p>7</p></td></tr></table>
      <table-wrap-foot><fn><p>In mg.</p></fn></table-wrap-foot></table-wrap>
      </sec><sec sec-type="results"><p>Found.</p></sec><supplementary-material><caption><p>More.</p>
      </caption><media><caption><p>Open it.</p></caption></media></supplementary-material></body>"""
    sections = sections_of(article_of(jats(body)))
    assert [(s.path, s.type, s.paragraphs) for s in sections] == [
        ((), "background", ("Before.",)),
        (("Methods",), "methods", ("We took one two of them, and x2.",)),
        (("Methods", "Statistics"), "methods", ("By hand.",)),
        (("Methods",), "methods", ("Afterwards.",)),
        (("Methods", "Box 1"), "methods", ("Aside.", "Boxed.")),
        (("Methods",), "methods", ("Alone.",)),
        ((), "results", ("Found.",)),
        ((), "other", ()),
    ]
    floats = [f for s in sections for f in s.floats]
    assert [(f.kind, f.label, f.caption, f.notes) for f in floats] == [
        ("figure", "Figure 1", "A cell.", ""),
        ("table", "Table 1", "Counts.", "In mg."),
        ("supplement", "", "More. Open it.", ""),
    ]


def test_a_formula_is_said_once_and_without_its_latex_document(jats, article_of):
    tex = r"<tex-math>\documentclass{a} \begin{document}$x^2$\end{document}</tex-math>"
    mathml = '<m:math xmlns:m="http://www.w3.org/1998/Math/MathML"><m:mi>x</m:mi></m:math>'
    body = f"<body><p>A {tex} B <alternatives>{mathml}{tex}</alternatives> C</p></body>"
    (section,) = sections_of(article_of(jats(body)))
    assert section.paragraphs == ("A $x^2$ B x C",)


@pytest.mark.parametrize(
    ("heading", "kind"),
    [
        ("Results and discussion", "results"),
        ("2.1 Patients and Methods", "methods"),
        ("Case presentation", "case"),
        ("Case 2", "case"),
        ("Conclusions", "discussion"),
        ("Aims of the study", "background"),
        ("Key recommendations", "guideline"),
        ("Competing interests", "other"),
        ("Pathogens of the gut", "other"),
    ],
)
def test_a_heading_says_what_stands_under_it(jats, article_of, heading, kind):
    body = f"<body><sec><title>{heading}</title><sec><title>More</title><p>x</p></sec></sec></body>"
    (section,) = sections_of(article_of(jats(body)))
    assert section.type == kind
    assert kind in TYPES


def test_where_no_heading_says_it_the_article_does(jats, article_of):
    body = "<body><sec><title>The fall</title><p>x</p></sec></body>"
    kinds = {"case-report": "case", "review-article": "background", "research-article": "other"}
    for declared, kind in kinds.items():
        (section,) = sections_of(article_of(jats(body, kind=declared)))
        assert section.type == kind


@pytest.mark.parametrize("body", ["", "<body/>", "<body><sec><title>T</title></sec></body>"])
def test_an_article_without_a_paragraph_has_no_body(jats, article_of, body):
    with pytest.raises(Unusable, match="no body"):
        sections_of(article_of(jats(body)))
