"""The likeliest option is the answer, by lm-evaluation-harness."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from itertools import chain
from typing import Any

from rewards.families import FAMILIES
from rl.evaluate.choice.describe import Description
from rl.evaluate.choice.guards import refuse_cut, refuse_no_chat, refuse_no_measurement
from rl.evaluate.choice.questions import Question
from rl.evaluate.choice.wording import Wording, shown
from rl.evaluate.served import Served
from rl.evaluate.task import Candidate, Metric, Score, mean_of
from rl.policy.load import Policy
from rl.refusal import Refusal

AT_ONCE = 16
"""Questions between two writings down: so many a killed run may lose."""

_ACC = Metric(name="acc", better="higher", of=mean_of("acc"), is_share=True)
_ACC_NORM = Metric(name="acc_norm", better="higher", of=mean_of("acc_norm"), is_share=True)


class ByLikelihood:
    def __init__(
        self,
        description: Description,
        rows: Sequence[Question],
        *,
        few_shot: int,
        seed: int,
        chat: bool,
    ) -> None:
        self._description, self._chat = description, chat
        self._wording = Wording(description, rows, few_shot=few_shot, seed=seed)
        # Letters are of one length: by it they rank as they do without.
        metrics = (_ACC, _ACC_NORM) if description.form == "texts" else (_ACC,)
        self.metrics = sorted(metrics, key=lambda metric: metric.name != description.metric)

    @property
    def facts(self) -> Mapping[str, Any]:
        return {
            "answered by": "the likeliest option",
            "chat": self._chat,
            **self._wording.examples,
            "preface": self._description.preface,
            "text": self._description.text,
            "lm_eval": version("lm_eval"),
        }

    def check(self, questions: Sequence[Question], candidate: Candidate) -> None:
        from rl.evaluate.choice.models import TokenCounts

        name = self._description.name
        if self._chat:
            refuse_no_chat(name, candidate)
            _refuse_open_thinking(name, self._requests(questions[0], candidate)[0].args[0])
        counts = TokenCounts(candidate.tokenizer)
        lengths = {
            question.item: max(counts.of(self._requests(question, candidate)))
            for question in questions
        }
        refuse_cut(name, lengths, candidate.window)

    def scores(
        self, questions: Sequence[Question], policy: Policy | Served, candidate: Candidate
    ) -> Iterator[Score]:
        from rl.evaluate.choice.models import TokenCounts, asked_by_harness

        if not questions:
            return
        counts = TokenCounts(candidate.tokenizer)
        with asked_by_harness(policy, candidate) as model:
            for start in range(0, len(questions), AT_ONCE):
                some = questions[start : start + AT_ONCE]
                requests = [self._requests(question, candidate) for question in some]
                answers = iter(model.loglikelihood(list(chain(*requests)), disable_tqdm=True))
                for question, own in zip(some, requests, strict=True):
                    found = [next(answers) for _ in own]
                    yield self._score(question, found, tokens=max(counts.of(own)))

    def hold(self, name: str, scores: Sequence[Score]) -> None:
        refuse_no_measurement(name, scores)

    def made_up(self, question: Question, pick: int) -> Score:
        right = float(pick == question.gold)
        return Score(
            item=question.item,
            values={metric.name: right for metric in self.metrics},
            shown=shown(question, pick),
        )

    def _requests(self, question: Question, candidate: Candidate) -> list[Any]:
        return self._wording.requests(question, candidate, chat=self._chat)

    def _score(
        self, question: Question, answers: Sequence[tuple[float, bool]], *, tokens: int
    ) -> Score:
        likelihoods = [likelihood for likelihood, _ in answers]
        pick = likelihoods.index(max(likelihoods))
        return Score(
            item=question.item,
            values=self._wording.figures(question, answers),
            shown=shown(question, pick) | {"log_likelihoods": likelihoods, "tokens": tokens},
        )


def _refuse_open_thinking(name: str, prompt: str) -> None:
    if any(family.opening(prompt) == "open" for family in FAMILIES.values()):
        raise Refusal(
            f"{name}:chat: the chat template opens a think block, and an option is no thought. Ask "
            f"without chat ({name}), for written answers ({name}:answer), or with --thinking False"
        )
