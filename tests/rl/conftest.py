"""A run folder as training leaves it, written through the same log, drawn from a seed."""

import json
import random
from collections import Counter
from pathlib import Path
from statistics import fmean, pstdev

import pytest
import torch

from rl.gspo.ratio_bins import RATIO_BINS
from rl.run.folder import RunLog
from rl.run.summary import summarise

SCORES = {
    "same": 2.0,
    "reasonable": 0.5,
    "off_domain": 0.0,
    "contradicts": -0.5,
    "incoherent": -1.0,
    "truncated": -1.0,
    "empty": -1.0,
}
SAID = {
    "reasonable": ("It is used for that and helps the patient.", "Plausible, but not specific."),
    "off_domain": ("I would ask a friend about this first.", "Readable, says nothing medical."),
    "contradicts": ("The answer is aspirin, which is always given.", "Names something else."),
    "incoherent": ("the the of is of the of of is the", "Words without a sentence."),
    "truncated": ("There are many things to consider here, first of all the", "Ran out of tokens."),
    "empty": ("", "Nothing was said."),
}
DATA = Path(__file__).parents[2] / "experiments" / "data"


def questions() -> list[dict]:
    """English and Chinese ones."""
    files = (DATA / "medical_en.jsonl", DATA / "medical_zh.jsonl")
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()[:40]]
    return [json.loads(line) for line in lines]


def completion(draw: random.Random, question: dict, learnt: float) -> dict:
    weights = [
        *(0.08 + 0.62 * learnt, 0.25 + 0.02 * learnt, 0.15 * (1 - learnt)),
        *(0.25 - 0.12 * learnt, 0.2 * (1 - learnt), 0.1 * (1 - learnt), 0.03),
    ]
    tier = draw.choices([*SCORES], weights)[0]
    answer, rationale = SAID.get(tier, (question["answer"] + ".", "Same meaning as the truth."))
    row = {
        "id": question["id"],
        "question": question["question"],
        "truth": question["answer"],
        "reasoning": f"They ask: {question['question']} I recall something about it.",
        "answer": answer,
        "completion": answer,
        "tier": tier,
        "reward": SCORES[tier],
        "status": tier if tier in ("truncated", "empty") else "ok",
        "finish_reason": "length" if tier == "truncated" else "stop",
        "rationale": rationale,
        "n_tokens": draw.randint(4, 48),
        "judge_latency_s": draw.lognormvariate(-3.2, 0.5),
    }
    if draw.random() < 0.01:
        row |= {"tier": "fault", "reward": None, "rationale": "no reply within 5 s"}
    return row


def metrics_row(
    draw: random.Random, generation: int, learnt: float, rows: list[dict], seconds: float
) -> dict:
    rewards = [row["reward"] for row in rows if row["reward"] is not None]
    tiers = Counter(row["tier"] for row in rows)
    latencies = sorted(row["judge_latency_s"] for row in rows)
    spread = 3e-4 * (1 + 4 * learnt)
    return {
        "generation": generation,
        "step": generation * 4,
        "seconds": seconds,
        "reward/mean": fmean(rewards),
        "reward/std": pstdev(rewards),
        **{f"tier/{tier}": tiers[tier] / len(rows) for tier in [*SCORES, "fault"]},
        "rows/live": len(rewards) - 4,
        "rows/dead": 4 + tiers["fault"],
        "groups/zero_spread": draw.choice([0, 0, 1, 1, 2]),
        "judge/faults": tiers["fault"],
        "judge/verdicts": len(rows) - tiers["truncated"] - tiers["empty"],
        "judge/p50_s": latencies[len(rows) // 2],
        "judge/p95_s": latencies[int(len(rows) * 0.95)],
        "judge/retries": draw.choice([0, 0, 0, 2]),
        "judge/tokens": 45_000 * generation,
        "judge/usd": 0.0125 * generation,
        "kl/ref": 0.4 * learnt**1.5 * draw.uniform(0.8, 1.2) + 2e-4,
        "kl/old": 4e-4 * draw.uniform(0.5, 1.5),
        "kl/sampler": 1.5e-3 * draw.uniform(0.7, 1.4),
        "ratio/min": 1 - spread * draw.uniform(2, 4),
        "ratio/mean": 1 + spread * draw.gauss(0, 0.3),
        "ratio/histogram": [draw.randrange(1, 9) for _ in RATIO_BINS],
        "ratio/max": 1 + spread * draw.uniform(2, 4),
        "ratio/log_std": spread,
        "clip/seq": draw.uniform(0.05, 0.25) + 0.2 * learnt,
        "clip/low": draw.uniform(0.02, 0.12) + 0.1 * learnt,
        "clip/high": draw.uniform(0.02, 0.1) + 0.1 * learnt,
        "ess": draw.uniform(0.93, 0.99),
        "entropy": 2.1 - 1.3 * learnt + draw.gauss(0, 0.08),
        "grad_norm": draw.lognormvariate(-0.6, 0.35),
        "lr": 2e-4,
        "length/mean": fmean(row["n_tokens"] for row in rows) * (1 - 0.4 * learnt),
        "length/max": 48,
        "rollout/tokens_per_s": draw.gauss(95, 12),
        "time/rollout_s": draw.gauss(8.4, 1.0),
        "time/judge_wait_s": draw.uniform(0.1, 0.8),
        "time/update_s": draw.gauss(5.6, 0.5),
    }


def write_run(folder: Path, generations: int = 24, *, finished: bool = True) -> Path:
    draw = random.Random(7)
    asked = questions()
    heldout = asked[::2]
    log = RunLog(folder)
    log.config({"gspo": {"learning_rate": 2e-4, "minibatches": 4}, "judge": {"backend": "rules"}})
    before = [completion(draw, question, 0.0) for question in heldout]
    after = [completion(draw, question, 0.8) for question in heldout]
    log.heldout("before", before)
    table = []
    seconds = 40.0
    for generation in range(1, generations + 1):
        learnt = 1 - 2.2 ** (-generation / 7)
        rows = [completion(draw, draw.choice(asked), learnt) for _ in range(64)]
        log.rollouts({"generation": generation, **row} for row in rows)
        seconds += draw.gauss(15, 1)
        table.append(metrics_row(draw, generation, learnt, rows, seconds))
        log.metrics(table[-1])
    if finished:
        log.heldout("after", after)
        log.summary(summarise(table, before, after))
    return folder


@pytest.fixture(scope="session")
def recorded_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 24 generations; tests that change it work on a copy."""
    return write_run(tmp_path_factory.mktemp("runs") / "quickstart")


@pytest.fixture(scope="session")
def make_run():
    return write_run


@pytest.fixture(scope="session")
def move():
    """To a policy as it is after some training: its adapter changes what it says."""

    def moved(policy):
        torch.manual_seed(1)
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter.data.normal_(std=0.05)
        return policy

    return moved
