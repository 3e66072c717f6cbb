"""What a judge's refusal may switch off, and for whom."""

import asyncio
import json
from dataclasses import replace

import pytest

from judges import FaultCause, JudgeConfig, JudgeRequest, Scored, make_judge
from judges.rubric.prompt import read_user_message

REQUEST = JudgeRequest(question="Lack of which vitamin?", truth="Vitamin C", answer="Vitamin C")
CUSTOM = JudgeConfig(backend="custom", model="m", retries=0)
SAME = json.dumps({"rationale": "Because.", "tier": "same"})


def question_in(body):
    return read_user_message(body["messages"][-1]["content"]).question


@pytest.mark.parametrize("grading", ["schema", "labels"])
def test_a_refusal_is_shared_with_those_alone_who_sent_the_same_terms(
    scripted_judge, chat_completion, grading
):
    """The terms are lowered by another's refusal while the first one's is still under way."""

    def answer(body):
        if "logprobs" in body:
            return 400, {"error": {"message": "logprobs is not supported"}}
        if body.get("response_format", {}).get("type") == "json_schema" and grading == "schema":
            return 400, {"error": {"message": "response_format json_schema is not supported"}}
        return 200, chat_completion(SAME)

    class Slow(scripted_judge):
        async def _handle(self, request):
            body = await request.json()
            first = "Slow" in question_in(body) and not any("Slow" in q for q in self.questions)
            self.questions.append(question_in(body))
            if first:
                await asyncio.sleep(0.4)
            return await super()._handle(request)

    async def go():
        server = Slow(answer)
        server.questions = []
        async with (
            server,
            make_judge(replace(CUSTOM, url=server.url, grading=grading)) as judge,
        ):
            slow = replace(REQUEST, question="Slow?")
            first = asyncio.create_task(judge.score_one(slow))
            await asyncio.sleep(0.1)
            other = await judge.score_one(REQUEST)
            twin = asyncio.create_task(judge.score_one(slow))
            verdicts = [other, await first, await twin]
            await judge.score_one(replace(REQUEST, question="Later?"))
            return verdicts, server.asked

    verdicts, asked = asyncio.run(go())
    assert all(isinstance(verdict, Scored) for verdict in verdicts)
    assert asked[-1].get("response_format", {}).get("type") == (
        "json_object" if grading == "schema" else "json_schema"
    )


SAID = "The temperature is the only unsupported tool; response_format must not be allowed."


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": f"prompt rejected: {SAID}"}},
        {"error": {"message": "rejected", "prompt": SAID}},
        {"detail": [{"loc": ["body", "messages"], "msg": "invalid", "input": SAID}]},
        f"<html>{SAID}</html>",
        {"error": f"rejected: {SAID}"},
        {"message": SAID},
    ],
)
def test_an_answer_that_a_server_echoes_switches_nothing_off(
    scripted_judge, chat_completion, error
):
    def answer(body):
        if SAID in body["messages"][-1]["content"]:
            return 400, error
        return 200, chat_completion(SAME)

    async def go():
        async with (
            scripted_judge(answer) as server,
            make_judge(replace(CUSTOM, url=server.url)) as judge,
        ):
            hostile = await judge.score_one(replace(REQUEST, answer=SAID))
            honest = await judge.score_one(REQUEST)
            return hostile, honest, server.asked

    hostile, honest, asked = asyncio.run(go())
    assert hostile.cause is FaultCause.BAD_REQUEST
    assert honest.tier == "same"
    assert len(asked) == 2
    assert asked[-1]["temperature"] == 0.0
    assert asked[-1]["response_format"]["type"] == "json_schema"


@pytest.mark.parametrize(
    "error",
    [
        {"error": {"message": "Unsupported value", "param": "temperature"}},
        {"error": {"message": "'temperature' does not support 0", "param": None}},
        {"detail": [{"loc": ["body", "temperature"], "msg": "extra fields not permitted"}]},
        {"detail": "temperature: extra fields not permitted"},
        {"error": "temperature is not supported"},
        {"object": "error", "message": "unexpected parameter temperature"},
    ],
)
def test_a_setting_is_given_up_wherever_a_server_names_it(scripted_judge, chat_completion, error):
    def answer(body):
        return (400, error) if "temperature" in body else (200, chat_completion(SAME))

    async def go():
        async with (
            scripted_judge(answer) as server,
            make_judge(replace(CUSTOM, url=server.url)) as judge,
        ):
            return await judge.score_one(REQUEST), len(server.asked)

    verdict, asked = asyncio.run(go())
    assert verdict.tier == "same"
    assert asked == 2
