"""What a model says of itself where it goes: read off its run, with every figure's file."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from rl.config.gspo import GSPORun
from rl.data.source import SHIPPED
from rl.policy.export.trained import Trained
from rl.policy.models import EMBEDDED
from rl.refusal import Refusal
from rl.run.folder import Run, read_run
from rl.run.summary import summarise

TEMPLATE = Path(__file__).with_name("card.md.jinja")
NOT_KNOWN = "not known here; look it up before this is passed on"
OURS = "apache-2.0"
TENTHS = 10


@dataclass(frozen=True, kw_only=True)
class Change:
    what: str
    before: str
    after: str
    source: str


CHANGES = (
    ("held-out reward", "heldout_before", "heldout_after", "+.2f", "heldout_*.jsonl"),
    ("training reward", "reward_first", "reward_last", "+.2f", "metrics.jsonl"),
    ("held-out loss a token", "heldout_loss_before", "heldout_loss_after", ".3f", "metrics.jsonl"),
    ("training loss a token", "loss_first", "loss_last", ".3f", "metrics.jsonl"),
)
COUNTED = {
    "steps": "optimizer steps",
    "judge_verdicts": "verdicts of the judge",
    "judge_faults": "of them faults, left out and never scored",
    "parameters_trained": "parameters learnt",
    "parameters": "parameters in all",
}
INTERVAL = "heldout_change_95"
HELD = {*(figure for change in CHANGES for figure in change[1:3]), INTERVAL}
CURVES = {"reward/mean": "reward", "kl/ref": "KL", "loss": "loss", "heldout/loss": "held-out loss"}


def card_of(trained: Trained, *, library: str) -> str:
    """As Markdown. Refusal where the run's summary is not what its rows say."""
    from huggingface_hub import ModelCard, ModelCardData

    run = read_run(trained.run)
    hold_summary(run)
    licence = licence_of_model(trained.policy.model)
    data = ModelCardData(
        base_model=_hub_id(trained.policy.model),
        license=licence,
        library_name=library,
        pipeline_tag="text-generation",
        tags=["gspo", "llm-as-a-judge"] if run.kind == GSPORun.kind else [run.kind],
        model_name=trained.run.name,
        eval_results=results(run) or None,
    )
    columns = [key for key in CURVES if any(key in row for row in run.metrics)]
    card = ModelCard.from_template(
        data,
        template_path=str(TEMPLATE),
        name=trained.run.name,
        intro=_intro(trained),
        built_with="Built with Llama." if (licence or "").startswith("llama") else "",
        changes=list(changes(run.summary)),
        interval=_interval(run.summary.get(INTERVAL)),
        counted=[f"{run.summary[key]:,} {of}" for key, of in COUNTED.items() if key in run.summary],
        curve=list(curve(run, columns)),
        curve_columns=[CURVES[key] for key in columns],
        unit=run.unit,
        recipe=list(recipe(trained, run)),
        licences=list(licences(trained, licence)),
    )
    return str(card)


def hold_summary(run: Run) -> None:
    told = summarise(run.metrics, run.heldout_before, run.heldout_after)
    for figure in HELD & told.keys():
        if run.summary.get(figure) != (value := told[figure]):
            raise Refusal(
                f"{run.folder}: summary.json has {figure} {run.summary.get(figure)}, and the run's "
                f"rows give {value}. One of the files was changed; nothing is said of such a run"
            )


def changes(summary: Mapping[str, Any]) -> Iterator[Change]:
    for what, before, after, spelling, source in CHANGES:
        if before in summary and after in summary:
            yield Change(
                what=what,
                before=format(summary[before], spelling),
                after=format(summary[after], spelling),
                source=source,
            )


def results(run: Run) -> list[Any]:
    from huggingface_hub import EvalResult

    if "heldout_after" not in run.summary:
        return []
    judge = run.config["judge"]
    return [
        EvalResult(
            task_type="text-generation",
            dataset_type=_shown(run.config["data"]["train"]),
            dataset_name=f"held-out rows of {_shown(run.config['data']['train'])}",
            metric_type="reward",
            metric_name=f"mean reward by {_judge(judge)}",
            metric_value=round(run.summary["heldout_after"], 4),
        )
    ]


def curve(run: Run, columns: Sequence[str]) -> Iterator[list[str]]:
    rows = [row for row in run.metrics if any(key in row for key in columns)]
    size = max(1, math.ceil(len(rows) / TENTHS))
    for start in range(0, len(rows), size):
        tenth = rows[start : start + size]
        means = [[row[key] for row in tenth if key in row] for key in columns]
        yield [str(tenth[-1][run.unit]), *(f"{fmean(of):.3f}" if of else "" for of in means)]


def recipe(trained: Trained, run: Run) -> Iterator[tuple[str, str]]:
    policy, data = trained.policy, trained.config.data
    yield "base", _shown(policy.model)
    began = trained.config.policy.adapter
    if began:
        yield "from the adapter of", Path(began).name
    targets = ", ".join(policy.lora_targets)
    yield "adapter", f"LoRA of rank {policy.lora_rank}, alpha {policy.lora_alpha}, on {targets}"
    yield "chat template", _shown(policy.chat_template or "the model's own")
    yield "system prompt", data.system_prompt or "none"
    yield "data", _shown(data.train)
    if judge := run.config.get("judge"):
        yield "judge", _judge(judge)
    for section in ("gspo", "sft"):
        for name, value in run.config.get(section, {}).items():
            yield f"{section}.{name}", str(value)
    yield "seed", str(trained.config.seed)
    yield from run.made_with.items()


def licences(trained: Trained, licence: str | None) -> Iterator[str]:
    base = _shown(trained.policy.model)
    yield f"base {base}: {licence or NOT_KNOWN}; it holds for what is made of it"
    train = trained.config.data.train
    yield f"data {_shown(train)}: {licence_of_data(train) or NOT_KNOWN}"


def licence_of_model(model: str) -> str | None:
    from huggingface_hub import ModelCard

    return OURS if model in EMBEDDED else _on_card(model, ModelCard)


def licence_of_data(name: str) -> str | None:
    from huggingface_hub import DatasetCard

    return OURS if (SHIPPED / f"{name}.jsonl").is_file() else _on_card(name, DatasetCard)


def _on_card(name: str, kind: Any) -> str | None:
    """Of a folder, or of the hub where it can be reached."""
    here = Path(name).expanduser()
    if here.exists():
        card = here / "README.md"
        return kind.load(str(card)).data.license if card.is_file() else None
    try:
        return kind.load(name).data.license
    except (OSError, ValueError):
        return None


def _hub_id(model: str) -> str | None:
    return None if model in EMBEDDED or Path(model).expanduser().exists() else model


def _intro(trained: Trained) -> str:
    base = _shown(trained.policy.model)
    if trained.config.kind == GSPORun.kind:
        return (
            f"{base}, trained by GSPO (Group Sequence Policy Optimization): groups of answers were "
            "sampled, their final part was scored by a judge, and the sequences that scored above "
            "their group's mean became likelier."
        )
    return f"{base}, fine-tuned on written answers."


def _judge(judge: Mapping[str, Any]) -> str:
    model = f" {_shown(judge['model'])}" if judge.get("model") else ""
    panel = f" and a panel of {len(judge['panel'])}" if judge.get("panel") else ""
    rubric, grading = _shown(judge["rubric"]), judge["grading"]
    return f"{judge['backend']}{model}{panel}, rubric {rubric}, graded by {grading}"


def _interval(interval: Sequence[float] | None) -> str:
    return f"{interval[0]:+.2f} to {interval[1]:+.2f}" if interval else ""


def _shown(name: str) -> str:
    """A hub id or a name as it is; of a path its end, which says nothing of its owner's disk."""
    path = Path(name).expanduser()
    return path.name if path.is_absolute() or path.exists() else name
