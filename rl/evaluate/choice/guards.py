"""What only looks like a measurement: scores that say nothing of the questions."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from rl.evaluate.choice.questions import LETTERS, Question
from rl.evaluate.task import Candidate, Score
from rl.refusal import Refusal

ENOUGH = 8
"""Fewer may all be answered by the same letter, and rightly so."""
NEARLY_ALL = 0.95


def refuse_one_gold(name: str, source: str, rows: Sequence[Question]) -> None:
    golds = {row.gold for row in rows}
    if len(golds) == 1 and len(rows) >= ENOUGH:
        raise Refusal(
            f"{source}: the right answer of all {len(rows)} questions is {LETTERS[golds.pop()]}, "
            f"so that {name} is passed without reading them. Shuffle the options"
        )


def refuse_no_measurement(name: str, scores: Sequence[Score]) -> None:
    likelihoods = [score.shown["log_likelihoods"] for score in scores]
    for score, values in zip(scores, likelihoods, strict=True):
        if not all(math.isfinite(value) for value in values):
            raise Refusal(
                f"{name}: the log-likelihoods of {score.item} are {values}. The policy is broken: "
                "look at its weights and at --dtype"
            )
    if len(scores) < 2:
        return
    if all(len(set(values)) == 1 for values in likelihoods):
        raise Refusal(
            f"{name}: of each of {len(scores)} questions all options are equally likely, and the "
            "first would be taken for the answer. The policy's output does not depend on them"
        )
    if len({tuple(values) for values in likelihoods}) == 1:
        raise Refusal(
            f"{name}: the options are as likely in each of {len(scores)} questions, whatever is "
            "asked. The policy's output does not depend on the question"
        )
    refuse_one_pick(name, scores)


def refuse_one_pick(name: str, scores: Sequence[Score]) -> None:
    """Nearly always the same letter; its share of the right answers is all that the score tells."""
    count = len(scores)
    golds = Counter(score.shown["gold"] for score in scores)
    ((letter, picked),) = Counter(score.shown["picked"] for score in scores).most_common(1)
    is_set_own = golds[letter] >= NEARLY_ALL * count
    if count >= ENOUGH and letter is not None and picked >= NEARLY_ALL * count and not is_set_own:
        raise Refusal(
            f"{name}: {letter} is the answer to {picked} of {count} questions, so the score is the "
            f"share of {letter} among the right ones, {golds[letter] / count:.1%}, and says "
            "nothing of the policy. Give worked examples (--few-shot 5), or leave this task out"
        )


def refuse_no_chat(name: str, candidate: Candidate) -> None:
    if not candidate.tokenizer.chat_template:
        raise Refusal(
            f"{name}: the model has no chat template to be asked in. Measure it without chat: "
            f"--tasks {name}"
        )


def refuse_cut(name: str, lengths: Mapping[str, int], window: int) -> None:
    if long := {item: length for item, length in lengths.items() if length > window}:
        item = max(long, key=lambda item: long[item])
        raise Refusal(
            f"{name}: {len(long)} of {len(lengths)} questions do not fit into the window of "
            f"{window} tokens, and would be cut (the longest, {item}, has {long[item]}). Give "
            "fewer worked examples, or leave this task out"
        )
