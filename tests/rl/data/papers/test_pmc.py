"""Search and fetch, over HTTP, from a server that misbehaves as real ones do."""

import json
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from rl.config.papers import Papers
from rl.data.papers.collect import collect
from rl.data.papers.pmc import Pmc, Unreachable
from rl.refusal import Refusal

impatient = partial(Pmc, per_second=10_000, backoff_s=0.001)


class Library(ThreadingHTTPServer):
    """Some articles, in two versions each. `troubles` come first, one a request."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.articles: dict[str, str] = {}
        self.not_in_the_bucket: list[str] = []
        self.troubles: list[str | None] = []
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """It hangs up on purpose."""


class Handler(BaseHTTPRequestHandler):
    server: Library

    def do_POST(self):
        fields = self.rfile.read(int(self.headers["content-length"])).decode()
        self.reply({name: values[0] for name, values in parse_qs(fields).items()})

    def do_GET(self):
        query = urlsplit(self.path).query
        self.reply({name: values[0] for name, values in parse_qs(query).items()})

    def reply(self, fields):
        path = urlsplit(self.path).path
        self.server.asked.append((path, fields | {"agent": self.headers["user-agent"]}))
        match self.server.troubles.pop(0) if self.server.troubles else None:
            case "reset":
                self.connection.close()
            case "torn":
                self.send_response(200)
                self.send_header("content-length", "5000")
                self.end_headers()
                self.wfile.write(b"<article>")
                self.connection.close()
            case "page":
                self.say(200, "<html>We are busy</html>")
            case str(status):
                self.say(int(status), "trouble")
            case None:
                self.say(*self.said(path, fields))

    def say(self, status, text):
        self.send_response(status)
        self.send_header("content-length", str(len(text.encode())))
        self.send_header("retry-after", "0")
        self.end_headers()
        self.wfile.write(text.encode())

    def said(self, path, fields):
        articles = self.server.articles
        if path == "/eutils/esearch.fcgi":
            start = int(fields["retstart"])
            ids = [id_.removeprefix("PMC") for id_ in [*articles, *self.server.not_in_the_bucket]]
            page = ids[start : start + min(int(fields["retmax"]), 4)]
            return 200, json.dumps({"esearchresult": {"count": str(len(ids)), "idlist": page}})
        if path == "/":
            id_ = fields["prefix"].rstrip(".")
            found = [f"{id_}.{n}/" for n in (1, 10, 2) if id_ in articles]
            prefixes = "".join(
                f"<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>" for prefix in found
            )
            space = "http://s3.amazonaws.com/doc/2006-03-01/"
            return 200, f'<ListBucketResult xmlns="{space}">{prefixes}</ListBucketResult>'
        folder, _, file = path.strip("/").partition("/")
        is_newest = folder.endswith(".10") and file == f"{folder}.xml"
        return (200, articles[folder.removesuffix(".10")]) if is_newest else (404, "no such key")


@pytest.fixture
def library(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("NCBI_API_KEY", raising=False)
    with Library() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def settings(library, tmp_path):
    return partial(
        Papers,
        out=str(tmp_path / "papers"),
        search="chest pain",
        email="me@example.org",
        eutils=f"{library.url}/eutils",
        bucket=library.url,
    )


def pmc_of(library) -> Pmc:
    return impatient(eutils=f"{library.url}/eutils", bucket=library.url, email="me@example.org")


def rows(tmp_path, name):
    return [json.loads(line) for line in (tmp_path / "papers" / name).read_text().splitlines()]


def test_a_search_goes_through_its_pages_and_says_who_asks(library):
    library.articles = {f"PMC{n}": "" for n in range(10)}
    with pmc_of(library) as pmc:
        assert pmc.search("a b", 7) == [f"PMC{n}" for n in range(7)]
        assert pmc.search("a b", 70) == [f"PMC{n}" for n in range(10)]
    _, fields = library.asked[0]
    assert fields["term"] == "(a b) AND open access[filter]"
    assert (fields["tool"], fields["email"]) == ("gspo-judge", "me@example.org")
    assert "mailto:me@example.org" in fields["agent"]


def test_a_key_goes_along_and_into_no_address(library, monkeypatch):
    monkeypatch.setenv("NCBI_API_KEY", "sesame")
    library.articles = {"PMC1": ""}
    with pmc_of(library) as pmc:
        pmc.search("a", 1)
    (path, fields), *_ = library.asked
    assert fields["api_key"] == "sesame"
    assert "sesame" not in path


@pytest.mark.parametrize("trouble", ["429", "500", "503", "torn", "reset", "page"])
def test_what_may_pass_is_asked_again(library, jats, trouble):
    library.articles = {"PMC1": jats("<body><p>x</p></body>")}
    with pmc_of(library) as pmc:
        library.troubles = [trouble] * 3
        assert pmc.search("a", 1) == ["PMC1"]
        library.troubles = [trouble, trouble, None, trouble, trouble]
        assert pmc.article("PMC1").decode() == library.articles["PMC1"]
        library.troubles = [trouble] * 100
        with pytest.raises(Unreachable, match="6 times"):
            pmc.search("a", 1)


def test_requests_keep_the_distance_that_is_asked_for(library, monkeypatch):
    library.articles = {f"PMC{n}": "" for n in range(12)}
    where = {"eutils": f"{library.url}/eutils", "bucket": library.url, "email": "me@example.org"}
    began = time.monotonic()
    with Pmc(**where, per_second=50) as pmc:
        pmc.search("a", 12)
    assert len(library.asked) == 3
    assert time.monotonic() - began >= 2 / 50
    with Pmc(**where) as pmc:
        assert pmc._apart_s == 1 / 3
    monkeypatch.setenv("NCBI_API_KEY", "sesame")
    with Pmc(**where) as pmc:
        assert pmc._apart_s == 1 / 10


def test_a_search_becomes_sections_and_goes_on_without_asking_twice(
    library, settings, jats, tmp_path
):
    body = "<body><sec><title>Methods</title><p>We asked {}.</p></sec></body>"
    library.articles = {f"PMC{n}": jats(body.format(n), pmc=str(n)) for n in range(1, 6)}
    library.not_in_the_bucket = ["PMC77"]
    library.troubles = ["500", "429"]
    collect(settings(), make=impatient)
    texts = [row["paragraphs"] for row in rows(tmp_path, "sections.jsonl")]
    assert texts == [[f"We asked {n}."] for n in range(1, 6)]
    (left,) = rows(tmp_path, "left_out.jsonl")
    assert (left["article"], left["why"]) == ("PMC77", "not in the bucket")
    before = (tmp_path / "papers" / "sections.jsonl").read_bytes()
    (tmp_path / "papers" / "nxml" / "PMC3.nxml").unlink()
    asked = len(library.asked)
    collect(settings(), make=impatient)
    again = [fields.get("prefix", path) for path, fields in library.asked[asked:]]
    assert again == ["PMC3.", "/PMC3.10/PMC3.10.xml", "PMC77."]
    assert (tmp_path / "papers" / "sections.jsonl").read_bytes() == before


def test_without_a_network_it_says_how_to_do_without(library, settings, tmp_path):
    library.shutdown()
    library.server_close()
    with pytest.raises(Refusal, match=r"eutils.* cannot be reached .*name a folder of .nxml"):
        collect(settings(), make=impatient)


def test_a_bucket_that_is_gone_ends_it_and_keeps_what_was_fetched(
    library, settings, jats, tmp_path
):
    body = "<body><p>x</p></body>"
    library.articles = {f"PMC{n}": jats(body, pmc=str(n)) for n in range(1, 6)}
    gone = settings(bucket="http://127.0.0.1:9")
    with pytest.raises(Refusal, match=r"127.0.0.1:9 cannot be reached .*goes on from there"):
        collect(gone, make=impatient)
    collect(settings(), make=impatient)
    assert len(rows(tmp_path, "sections.jsonl")) == 5


def test_an_empty_search_is_refused(library, settings):
    with pytest.raises(Refusal, match="no open-access article for it"):
        collect(settings(), make=impatient)


def test_articles_that_cannot_be_used_are_left_out_by_name(
    settings, jats, articles, tmp_path, capsys
):
    folder = tmp_path / "in"
    folder.mkdir()
    body = "<body><p>x</p></body>"
    retracted = '<related-article related-article-type="retraction-forward"/></article-meta>'
    nc = '<license xmlns:x="y" x:href="https://creativecommons.org/licenses/by-nc/4.0/"/>'
    texts = {
        "a_fine": jats(body),
        "b_twice": jats(body),
        "c_torn": jats(body, pmc="3")[:-20],
        "d_bomb": '<!DOCTYPE article [<!ENTITY a "b">]><article/>',
        "e_nc": jats(body, pmc="5", licence=nc),
        "f_empty": jats("", pmc="6"),
        "g_unlicensed": jats(body, pmc="7", licence=""),
        "h_retracted": jats(body, pmc="8").replace("</article-meta>", retracted),
    }
    for name, text in texts.items():
        (folder / f"{name}.nxml").write_text(text)
    offline = Papers(out=str(tmp_path / "papers"), folder=str(folder))
    collect(offline)
    assert [row["id"] for row in rows(tmp_path, "sections.jsonl")] == ["PMC1-0"]
    assert {row["article"]: row["why"] for row in rows(tmp_path, "left_out.jsonl")} == {
        "b_twice": "there already",
        "c_torn": "malformed XML",
        "d_bomb": "declares entities",
        "e_nc": "licence cc-by-nc",
        "f_empty": "no body",
        "g_unlicensed": "licence none",
        "h_retracted": "retracted",
    }
    assert "1 licence cc-by-nc" in capsys.readouterr().out
    (folder / "a_fine.nxml").unlink()
    (folder / "b_twice.nxml").unlink()
    with pytest.raises(Refusal, match="no article can be used: 1 malformed XML"):
        collect(offline)


def test_a_folder_without_articles_is_refused(tmp_path):
    for folder, problem in ((tmp_path, "has no .nxml"), (tmp_path / "nowhere", "is no folder")):
        with pytest.raises(Refusal, match=problem):
            collect(Papers(out=str(tmp_path / "out"), folder=str(folder)))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "neither is given"),
        ({"search": "a", "folder": "b", "email": "a@b"}, "both are given"),
        ({"search": "a"}, "whom to write to"),
        ({"folder": "b", "licences": ()}, "licences is empty"),
        ({"folder": "b", "limit": 0}, "limit is 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(given, said):
    with pytest.raises(ValueError, match=said):
        Papers(out="out", **given)
