"""A writer over HTTP that misbehaves, a judge that goes by rule, and sections to write from."""

import asyncio
import hashlib
import json
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial

import pytest
from aiohttp import web

from judges.config import JudgeConfig
from judges.rubric.rubric import load_rubric
from judges.serve.misbehave import Misbehaviour
from judges.serve.rules import Known
from judges.serve.server import RuleJudge, make_app
from rl.config.questions import Questions


@dataclass(frozen=True, kw_only=True)
class StubWriter(RuleJudge):
    """Asks about a sentence of the text. Some of what it writes is fit for nothing."""

    answered: list[str] = field(default_factory=list)

    def _reply(self, request):
        user = request["messages"][-1]["content"]
        self.answered.append(user)
        text = json.loads(user.partition("\n\n")[0])["text"]
        sentences = text.split("\n\n", 1)[1].split(". ")
        drawn = int(hashlib.sha256(user.encode()).hexdigest(), 16)
        sentence = sentences[drawn % len(sentences)]
        written = {
            "sentence": sentence,
            "question": f"What do {drawn % 10**6} nurses make of this: {sentence}?",
            "answer": f"Urgent, because {sentence}",
        }
        match drawn % 10:
            case 0:
                written = dict.fromkeys(written, "")
            case 1:
                written["sentence"] = "It was the best of times."
            case 3:
                written["sentence"] = text.split("\n\n")[0]
            case 2:
                written["answer"] = "urgent urgent urgent urgent"
        return json.dumps(written), None


@contextmanager
def serving(judge, faults=""):
    """In a thread, until the end of the test."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(
        make_app(judge, Misbehaviour(faults, seed=0, latency_s=0.0)),
        access_log=None,
        handler_cancellation=True,
    )

    async def start():
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, shutdown_timeout=0.1).start()

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


def made_of(kind):
    return kind(rubric=load_rubric("medical_en"), known=Known())


@pytest.fixture
def served():
    with ExitStack() as stack:
        yield lambda judge, faults="": stack.enter_context(serving(judge, faults))


@pytest.fixture
def stub_writer():
    return made_of(StubWriter)


def words_of(seed: str) -> list[str]:
    """Of which no two seeds have many in common."""
    digits = hashlib.sha256(seed.encode()).hexdigest()
    return [
        "".join("bdfglmnp"[int(d, 16) % 8] + "aeio"[int(d, 16) // 4] for d in digits[at : at + 4])
        for at in range(0, 40, 4)
    ]


def a_section(article: int, place: int) -> dict:
    sentences = [f"It {' '.join(words_of(f'{article} {place} {n}'))}" for n in range(6)]
    return {
        "id": f"PMC{article}-{place}",
        "article": f"PMC{article}",
        "title": f"On article {article}",
        "doi": "",
        "licence": "cc-by-4.0",
        "licence_url": "https://creativecommons.org/licenses/by/4.0/",
        "clinical": article % 10 != 9,
        "path": ["Results"],
        "type": "results" if place else "other",
        "paragraphs": [". ".join(sentences)],
    }


@pytest.fixture
def sections(tmp_path):
    file = tmp_path / "sections.jsonl"
    rows = [a_section(article, place) for article in range(10) for place in range(3)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture
def settings(tmp_path, sections, served, stub_writer):
    """A good writer and a good judge, unless others are given."""

    def of(*, faults="", writer=None, judge=None, **own) -> Questions:
        asked = partial(JudgeConfig, backend="custom", model="stub", timeout_s=2.0)
        return Questions(
            sections=str(sections),
            out=str(tmp_path / "questions"),
            min_chars=100,
            **{"min_relevance": 2, "min_faithfulness": 2, "min_realism": 2} | own,
            writer=writer or asked(url=served(stub_writer, faults)),
            judge=judge or asked(url=served(made_of(RuleJudge), faults)),
        )

    return of


@pytest.fixture
def rows_of(tmp_path):
    def rows(name):
        file = tmp_path / "questions" / f"{name}.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()]

    return rows
