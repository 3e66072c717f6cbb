"""Nothing in a file is obeyed."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from rl.data.papers.jats import Unusable
from rl.data.papers.sections import sections_of

LAUGHS = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(12))
TYPE = "<!DOCTYPE article"
BOMBS = {
    "billion laughs": f'<!DOCTYPE article [<!ENTITY l0 "ha">{LAUGHS}]><article>&l12;</article>',
    "in an attribute": f'<!DOCTYPE article [<!ENTITY l0 "h">{LAUGHS}]><article a="&l12;"/>',
    "quadratic": f'{TYPE} [<!ENTITY a "{"a" * 50000}">]><article>{"&a;" * 9999}</article>',
    "a file": '<!DOCTYPE article [<!ENTITY x SYSTEM "file:///etc/passwd">]><article>&x;</article>',
    "a parameter": f"{TYPE} [<!ENTITY % x \"<!ENTITY y 'z'>\"> %x;]><article>&y;</article>",
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_of_a_files_own_are_refused(article_of, bomb, encoding):
    with pytest.raises(Unusable, match=r"declares entities|malformed XML"):
        article_of(bomb.encode(encoding))


def test_the_doctype_line_of_real_articles_is_no_reason_to_ask_anybody(article_of, jats):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/a.dtd"
        text = jats("<body><p>Read &#x3bc; &amp; all.</p></body>")
        text = text.replace("JATS-archivearticle1.dtd", url)
        (section,) = sections_of(article_of(text))
        server.shutdown()
    assert section.paragraphs == ("Read μ & all.",)
    assert not asked


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "malformed XML"),
        ("<article><body>", "malformed XML"),
        ("<html><body/></html>", "no article: its root is html"),
        ("<articles><article/><article/></articles>", "no article"),
        ('<!DOCTYPE article SYSTEM "a.dtd"><article><p>a&nbsp;b</p></article>', "unknown entities"),
        ('<!DOCTYPE article SYSTEM "a.dtd"><article x="a&nbsp;b"/>', "unknown entities"),
        (f"{'<sec>' * 5000}{'</sec>' * 5000}", "malformed XML"),
    ],
)
def test_what_is_no_article_is_said_to_be_none(article_of, text, why):
    with pytest.raises(Unusable, match=why):
        article_of(text)


def test_an_article_in_a_wrapper_or_a_namespace_is_read_all_the_same(article_of):
    space = "https://jats.nlm.nih.gov/ns/archiving/1.3/"
    body = "<body><!-- a note --><p>One<?pi?> <!-- not --> two.</p></body>"
    text = f'<pmc-articleset><article xmlns="{space}"><front/>{body}</article></pmc-articleset>'
    (section,) = sections_of(article_of(text))
    assert section.paragraphs == ("One two.",)
