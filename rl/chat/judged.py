"""An answer of the talk, graded as its run's training graded."""

import asyncio

from judges import JudgeRequest, Scored, Verdict, make_judge
from rewards.gates import in_script_of
from rl.config.gspo import GSPORun
from rl.policy.export.trained import Trained
from rl.refusal import Refusal
from rl.run.preflight import judge_of


def check_judged(trained: Trained) -> GSPORun:
    if not isinstance(trained.config, GSPORun):
        raise Refusal(
            f"--truth: {trained.run} was not trained by a judge. Leave it out, or type python -m "
            "judges score"
        )
    return trained.config


def verdict_on(answer: str, question: str, truth: str, trained: Trained) -> str:
    config = check_judged(trained)
    lang = "en" if in_script_of("en", question) else "zh"
    request = JudgeRequest(question=question, truth=truth, answer=answer, lang=lang)

    async def judged() -> Verdict:
        async with make_judge(judge_of(config)) as judge:
            return await judge.score_one(request)

    verdict = asyncio.run(judged())
    if not isinstance(verdict, Scored):
        return f"no verdict: {verdict.cause.value}, {verdict.detail}"
    return f"judged {verdict.tier}, {verdict.score:+.2f}: {verdict.rationale}".removesuffix(": ")
