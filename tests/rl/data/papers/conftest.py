from pathlib import Path

import pytest

from rl.data.papers.jats import read_article

ARTICLES = Path(__file__).parent / "articles"
DOCTYPE = (
    '<!DOCTYPE article PUBLIC "-//NLM//DTD JATS (Z39.96) Journal Archiving and Interchange DTD '
    'v1.0 20120330//EN" "JATS-archivearticle1.dtd">\n'
)
BY = '<license xmlns:x="http://www.w3.org/1999/xlink" x:href="http://creativecommons.org/licenses/by/4.0/"/>'


def written(body: str, *, licence: str = BY, pmc: str = "1", kind: str = "research-article") -> str:
    return (
        f'{DOCTYPE}<article article-type="{kind}"><front><article-meta>'
        f'<article-id pub-id-type="pmc">{pmc}</article-id>'
        f"<title-group><article-title>On tests</article-title></title-group>"
        f"<permissions>{licence}</permissions></article-meta></front>{body}</article>"
    )


@pytest.fixture
def jats():
    return written


@pytest.fixture
def article_of(tmp_path):
    def read(text: str | bytes):
        file = tmp_path / "article.nxml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_article(file)

    return read


@pytest.fixture(scope="session")
def articles():
    return ARTICLES
