"""A request is the same prompt for as long as its run lasts, and another in another run."""

import asyncio
import json

import pytest

from judges import JudgeConfig, JudgeFault, JudgeRequest, Scored, make_judge
from judges.rubric.lineup import read_lineup

REQUEST = JudgeRequest(question="Lack of which vitamin?", truth="Vitamin C", answer="Vitamin C")
SAME = json.dumps({"rationale": "Because.", "tier": "same"})


@pytest.fixture
def bodies_of(scripted_judge, chat_completion):
    """What a judge that gives the reply was sent by runs of two verdicts each."""

    def bodies(reply, verdict, *ledgers, **config):
        async def go():
            async with scripted_judge(lambda _: (200, chat_completion(reply))) as server:
                for ledger in ledgers:
                    judged = JudgeConfig(
                        backend="custom", model="m", url=server.url, ledger=ledger, **config
                    )
                    async with make_judge(judged) as judge:
                        for _ in range(2):
                            assert isinstance(await judge.score_one(REQUEST), verdict)
                return [json.dumps(body) for body in server.asked]

        return asyncio.run(go())

    return bodies


def test_a_request_asked_again_is_the_same_to_the_byte_and_another_in_another_run(bodies_of):
    first, again, other, other_again = bodies_of(SAME, Scored, None, None)
    assert first == again
    assert other == other_again
    assert first != other


def test_a_run_that_goes_on_from_its_ledger_asks_as_before(bodies_of, tmp_path):
    ledger = str(tmp_path / "ledger.sqlite")
    bodies = bodies_of("words, and no verdict", JudgeFault, ledger, ledger, retries=0)
    assert len(bodies) == 4
    assert len(set(bodies)) == 1
    (elsewhere, _) = bodies_of("words", JudgeFault, str(tmp_path / "other.sqlite"), retries=0)
    assert elsewhere != bodies[0]


def test_without_defences_there_is_nothing_of_the_run_in_a_prompt(bodies_of):
    assert len(set(bodies_of(SAME, Scored, None, None, defences=False))) == 1


def test_a_line_ups_fence_lasts_as_long(scripted_judge, chat_completion):
    def answer(body):
        if not (lined_up := read_lineup(body["messages"][-1]["content"])):
            return 200, chat_completion(SAME)
        (letter,) = [letter for letter, entry in lined_up[1].items() if entry == REQUEST.truth]
        return 200, chat_completion(letter)

    async def go():
        async with scripted_judge(answer) as server:
            config = JudgeConfig(backend="custom", model="m", url=server.url, lineup=True)
            for _ in range(2):
                async with make_judge(config) as judge:
                    await judge.score_one(REQUEST)
                    await judge.score_one(REQUEST)
            users = [body["messages"][-1]["content"] for body in server.asked]
            return [user for user in users if user.startswith("[[text ")]

    asked = asyncio.run(go())
    runs = [set(asked[: len(asked) // 2]), set(asked[len(asked) // 2 :])]
    assert all(len(run) == 2 for run in runs)  # two line-ups, however often they are asked
    assert not runs[0] & runs[1]
