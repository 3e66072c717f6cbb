"""A question in lm-evaluation-harness's hands: its words, and what likelihoods make of it."""

import random
from collections.abc import Sequence
from typing import Any

from rl.data.rows import thinking_options
from rl.evaluate.choice.describe import Description
from rl.evaluate.choice.questions import LETTERS, Question
from rl.evaluate.task import Candidate
from rl.refusal import Refusal

INSTRUCTION = {
    "en": "Answer with the letter of the right option, as in: Answer: {letter}",
    "zh": "请用正确选项的字母回答，例如：答案：{letter}",
}
_WRITTEN = "{% if context %}{{context}}\n\n{% endif %}{{question}}\n{{lettered}}\n{{instruction}}"
_SPLIT = "test"
_HEAD = 200


class Wording:
    """`by_letter`: as whoever writes its answer is asked, whatever the set's own form."""

    def __init__(
        self,
        description: Description,
        rows: Sequence[Question],
        *,
        few_shot: int,
        seed: int,
        by_letter: bool = False,
    ) -> None:
        self._description, self._rows = description, rows
        self._few_shot, self._seed, self._by_letter = few_shot, seed, by_letter
        others = len({row.question for row in rows}) - 1
        if few_shot > others:
            raise Refusal(
                f"few_shot is {few_shot}, and a question of {description.name} has {others} others "
                "to take as examples. Ask for fewer"
            )
        self._task: Any = None

    def requests(self, question: Question, candidate: Candidate, *, chat: bool) -> list[Any]:
        """The harness's: a context and a continuation for each option."""
        doc = _doc(question, self._description)
        options = {
            "apply_chat_template": chat,
            "chat_template": _in_chat(candidate) if chat else None,
        }
        context = self._opened().fewshot_context(
            doc,
            self._few_shot,
            system_instruction=candidate.system_prompt if chat else None,
            fewshot_as_multiturn=True,
            **options,
        )
        return self._task.construct_requests(doc, context, metadata=(None, None, 1), **options)

    @property
    def examples(self) -> dict[str, int]:
        """What they depend on."""
        return {"few_shot": self._few_shot} | ({"seed": self._seed} if self._few_shot else {})

    @property
    def text(self) -> str:
        return self._config()["doc_to_text"]

    def prompt(self, question: Question, candidate: Candidate) -> str:
        """What a written answer is asked for with, in chat."""
        return self.requests(question, candidate, chat=True)[0].args[0]

    def figures(
        self, question: Question, answers: Sequence[tuple[float, bool]]
    ) -> dict[str, float]:
        """acc, and acc_norm where the options are texts."""
        found = self._opened().process_results(_doc(question, self._description), list(answers))
        return {name: float(value) for name, value in found.items()}

    def _opened(self) -> Any:
        if self._task is None:
            self._task = _harness_task(self._config(), self._rows, self._description)
            self._task.sampler = _Examples(self._rows, self._description, self._seed)
        return self._task

    def _config(self) -> dict[str, Any]:
        form = "letters" if self._by_letter else self._description.form
        metrics = ["acc", "acc_norm"] if form == "texts" else ["acc"]
        config = {
            "task": self._description.name,
            "output_type": "multiple_choice",
            "test_split": _SPLIT,
            "fewshot_split": _SPLIT,
            "doc_to_text": self._description.text,
            "doc_to_choice": "letters",
            "doc_to_target": "gold",
            "description": self._description.preface,
            "metric_list": [
                {"metric": name, "aggregation": "mean", "higher_is_better": True}
                for name in metrics
            ],
        }
        if self._by_letter:
            return config | {"doc_to_text": _WRITTEN, "description": ""}
        if form == "texts":
            return config | {"doc_to_choice": "options"}
        if form == "blank":  # the context differs, and what follows it is the same
            return config | {
                "doc_to_text": "gold",
                "doc_to_choice": "filled",
                "doc_to_target": "after",
            }
        return config


def _harness_task(
    config: dict[str, Any], rows: Sequence[Question], description: Description
) -> Any:
    import logging

    import datasets
    from lm_eval.api.task import ConfigurableTask

    # Of what it warns, we refuse: labels out of range, prompts that were cut.
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    docs = datasets.Dataset.from_list([_doc(row, description) for row in rows])
    return ConfigurableTask(config=config | {"custom_dataset": lambda: {_SPLIT: docs}})


def _doc(question: Question, description: Description) -> dict[str, Any]:
    before, _, after = question.question.partition("_")
    letters = question.letters
    return {
        "item": question.item,
        "question": question.question,
        "context": question.context,
        "options": list(question.options),
        "letters": letters,
        "lettered": question.lettered,
        "gold": question.gold,
        "filled": [before + option for option in question.options],
        "after": after.strip(),
        "instruction": INSTRUCTION[description.language].format(letter=letters[-1]),
    }


class _Examples:
    """Drawn for each question by the seed and its name: the same in whatever order it is asked."""

    def __init__(self, rows: Sequence[Question], description: Description, seed: int) -> None:
        self._rows, self._description, self._seed = rows, description, seed

    def sample(self, n: int, eval_doc: Any = None) -> list[dict[str, Any]]:
        draw = random.Random(f"{self._seed} {eval_doc['item']}")
        taken: dict[str, Question] = {}
        while len(taken) < n:
            row = draw.choice(self._rows)
            if row.question != eval_doc["question"]:
                taken.setdefault(row.question, row)
        return [_doc(row, self._description) for row in taken.values()]


def _in_chat(candidate: Candidate) -> Any:
    import jinja2

    def render(messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
        try:
            return candidate.tokenizer.apply_chat_template(
                messages,
                tokenize=False,
                add_generation_prompt=add_generation_prompt,
                **thinking_options(candidate.thinking),
            )
        except jinja2.TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise Refusal(
                f"the chat template does not take messages of {roles} ({error}). Ask without chat, "
                "or where a system prompt is given without that: --system-prompt ''"
            ) from None

    return render


def shown(question: Question, pick: int | None) -> dict[str, Any]:
    """Of a score, whoever picked."""
    return {
        "question": question.question[:_HEAD],
        "options": list(question.options),
        "picked": None if pick is None else LETTERS[pick],
        "gold": LETTERS[question.gold],
    }
