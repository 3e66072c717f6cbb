"""What a run can be told before anything loads: what is wrong with it, and what it will take."""

import dataclasses
from pathlib import Path

from judges import JudgeConfig
from judges.commands.forecast import Workload, forecast
from judges.commands.preflight import describe
from judges.fit.profile import in_its_way
from rl.config.gspo import GSPOConfig, GSPORun
from rl.data.rows import load_rows
from rl.data.source import data_file, is_plain_jsonl
from rl.gspo.refusals import check_batch, check_data
from rl.run.ranks import rank_count

TOLD_BETWEEN_TIERS = 0.05
"""A tenth of the least distance between two tiers of the rubrics here: what is nearer is noise."""


def preflight(config: GSPORun) -> str:
    """Without a tokenizer, so that prompts that will prove too long still count."""
    train, heldout = load_rows(config.data)
    return outlook(config, train=len(train), heldout=len(heldout))


def outlook(config: GSPORun, *, train: int, heldout: int, training: bool = True) -> str:
    """Data and judge in numbers, for people; refuses what cannot be trained on so few rows."""
    check_data(config.gspo, prompts_in_data=train)
    check_batch(config.gspo, ranks=rank_count())
    lines = [f"data {config.data.train}: {train} questions to train on, {heldout} held out"]
    if config.data.heldout_rows and not heldout:
        lines.append(
            '  nothing to measure on but what it is trained on: mark some rows "split": "heldout", '
            "or give a file of others with --data.heldout"
        )
    gspo = config.gspo
    work = Workload(
        prompts=gspo.prompts if training else heldout,
        group_size=gspo.group_size if training else 1,
        steps=gspo.generations if training else 2,
        heldout=heldout if training else 0,
        answer_tokens=config.rollout.max_new_tokens,
    )
    judge = with_ledger(config.judge, Path(config.out))
    return "\n".join([*lines, describe(judge, forecast(judge, work))])


def judge_of(config: GSPORun) -> JudgeConfig:
    """The rule judge knows the answers of the data, so that it can tell one from another."""
    judge, data = config.judge, config.data
    if judge.backend != "rules" or judge.known or judge.url or not is_plain_jsonl(data):
        return judge
    return dataclasses.replace(judge, known=str(data_file(data.train, "--data.train")))


def gspo_of(config: GSPORun) -> GSPOConfig:
    """With the least difference between rewards that the judge's way of grading can tell."""
    if config.gspo.min_spread is not None:
        return config.gspo
    told = TOLD_BETWEEN_TIERS if in_its_way(config.judge).reads_logprobs else 0.0
    return dataclasses.replace(config.gspo, min_spread=told)


def with_ledger(config: JudgeConfig, folder: Path) -> JudgeConfig:
    """In the run's folder, where the judge is one that is paid."""
    if config.ledger or config.backend in ("rules", "replay"):
        return config
    return dataclasses.replace(config, ledger=str(folder / "judge.sqlite"))
