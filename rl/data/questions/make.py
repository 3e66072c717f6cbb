"""From sections to questions with answers: written, judged, kept or dropped, and split."""

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from judges.axes.axes import load_axes
from judges.axes.grader import AxesGrader
from judges.axes.question import Rated
from judges.client.backends import shown
from judges.commands.flags import counted
from judges.commands.jsonl import Row
from judges.verdict import JudgeFault, JudgeRequest
from rl.config.questions import Questions
from rl.data.curate.step import check_package
from rl.data.papers.collect import write_rows, write_whole
from rl.data.questions.asking import Asked, Asker
from rl.data.questions.kinds import load_kinds
from rl.data.questions.price import describe_price
from rl.data.questions.tasks import Task, read_sections, tasks_of
from rl.data.questions.writer import Writer, Written
from rl.refusal import Refusal

FILTER = str(Path(__file__).parent / "filter.toml")
OF_THE_ARTICLE = ("article", "doi", "title", "licence", "licence_url")


def make_questions(config: Questions) -> None:
    check_package("datasketch", "near")
    kinds, axes = load_kinds(config.kinds), load_axes(FILTER)
    tasks = tasks_of(read_sections(config.sections), kinds, config)
    if config.dry_run:
        print(describe_price(config, tasks, kinds, axes))
        return
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    writer = Asker("writer", config.writer, out, partial(Writer, kinds))
    judge = Asker("judge", config.judge, out, partial(AxesGrader, axes))

    dropped: list[Row] = []
    missing: list[Row] = []
    written = writer.ask([task.request for task in tasks], again=config.ask_again)
    rows = _written(tasks, written, dropped, missing)
    judged = judge.ask([_to_judge(row) for row in rows], again=config.ask_again) if rows else None
    rows = _kept(rows, judged, config, dropped, missing) if judged else []
    rows = _without_repeats(rows, config.near, dropped)
    if not rows:
        write_rows(out / "dropped.jsonl", dropped)
        why = counted(Counter(_reason(row) for row in dropped))
        raise Refusal(f"no question was kept: {why}. They are in {out}/dropped.jsonl")
    rows = split_by_article(rows, config.heldout_share, config.seed)
    for split in ("train", "heldout"):
        write_rows(out / f"{split}.jsonl", [row for row in rows if row["split"] == split])
    write_rows(out / "dropped.jsonl", dropped)
    write_rows(out / "missing.jsonl", missing)
    summary = {
        "asked": len(tasks),
        "written": len(tasks) - sum(row["by"] == "writer" for row in missing),
        "kept": dict(Counter(row["split"] for row in rows)),
        "kinds": dict(Counter(row["kind"] for row in rows)),
        "dropped": dict(Counter(_reason(row) for row in dropped)),
        "missing": dict(Counter(f"{row['by']}: {row['cause']}" for row in missing)),
        "faults": {"writer": written.faults, "judge": judged.faults if judged else {}},
        "spent": {"writer": writer.spent(), "judge": judge.spent()},
        "config": asdict(replace(config, writer=shown(writer.config), judge=shown(judge.config))),
    }
    write_whole(out / "summary.json", json.dumps(summary, indent=1).encode())
    print(_described(summary, out))


def _written(
    tasks: Sequence[Task], asked: Asked, dropped: list[Row], missing: list[Row]
) -> list[Row]:
    rows: list[Row] = []
    for task, verdict in zip(tasks, asked.verdicts, strict=True):
        if isinstance(verdict, JudgeFault):
            missing.append(_missing(task.id, "writer", verdict))
            continue
        assert isinstance(verdict, Written)
        section = task.section
        row = {
            "id": task.id,
            "question": verdict.question,
            "answer": verdict.answer,
            "kind": task.kind.name,
            "sentence": verdict.sentence,
            "section": section["id"],
            "path": section["path"],
            **{name: section.get(name, "") for name in OF_THE_ARTICLE},
            "passage": task.passage,
        }
        if why := _unfit(task, verdict):
            dropped.append({**row, "why": why})
        else:
            rows.append(row)
    return rows


def _unfit(task: Task, written: Written) -> str | None:
    """What needs no judge to be seen."""
    if not written.question:
        return "no basis for a question"
    _, _, text = task.passage.partition("\n\n")  # a heading is no sentence to rest on
    if (sentence := _letters(written.sentence)) not in _letters(text) or not sentence:
        return "its sentence is not in the section"
    levels = task.kind.levels
    if levels and not written.answer.casefold().startswith(tuple(map(str.casefold, levels))):
        return "its answer begins with no level"
    return None


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _to_judge(row: Row) -> JudgeRequest:
    return JudgeRequest(question=row["question"], truth=row["passage"], answer=row["answer"])


def _kept(
    rows: Sequence[Row], asked: Asked, config: Questions, dropped: list[Row], missing: list[Row]
) -> list[Row]:
    kept: list[Row] = []
    for row, verdict in zip(rows, asked.verdicts, strict=True):
        if isinstance(verdict, JudgeFault):
            missing.append(_missing(row["id"], "judge", verdict))
            continue
        assert isinstance(verdict, Rated)
        rated = {**row, "scores": verdict.ratings, "rationale": verdict.rationale}
        low = [
            name
            for name, rating in verdict.ratings.items()
            if rating < getattr(config, f"min_{name}")
        ]
        if low:
            dropped.append({**rated, "why": f"low {', '.join(low)}"})
        else:
            kept.append(rated)
    return kept


def _without_repeats(rows: Sequence[Row], near: float, dropped: list[Row]) -> list[Row]:
    """Anywhere, and so not in both splits either."""
    from rl.data.curate.near import nearest_kept

    kept: list[Row] = []
    nearest = nearest_kept((row["question"] for row in rows), near, shingle_words=1)
    for row, repeated in zip(rows, nearest, strict=True):
        if repeated is None:
            kept.append(row)
        else:
            dropped.append({**row, "why": "repeats another", "repeats": rows[repeated.to]["id"]})
    return kept


def split_by_article(rows: Sequence[Row], heldout_share: float, seed: int) -> list[Row]:
    """Whole articles are held out until they have their share; never all of them."""
    counts = Counter(row["article"] for row in rows)
    articles = sorted(counts)
    random.Random(seed).shuffle(articles)
    heldout: set[str] = set()
    for article in articles[:-1]:
        if sum(counts[held] for held in heldout) >= heldout_share * len(rows):
            break
        heldout.add(article)
    return [{**row, "split": "heldout" if row["article"] in heldout else "train"} for row in rows]


def _missing(id_: str, by: str, fault: JudgeFault) -> Row:
    return {"id": id_, "by": by, "cause": fault.cause.value, "detail": fault.detail}


def _reason(row: Row) -> str:
    return row["why"]


def _described(summary: Row, out: Path) -> str:
    asked, missing = summary["asked"], sum(summary["missing"].values())
    kept = summary["kept"]
    lines = [
        f"{asked} questions asked for, {asked - missing} came to an end "
        f"({1 - missing / asked:.1%})",
        f"kept {sum(kept.values())}: {kept.get('train', 0)} to train on, "
        f"{kept.get('heldout', 0)} held out; {counted(summary['kinds'])}",
    ]
    if summary["dropped"]:
        lines.append(f"dropped {sum(summary['dropped'].values())}: {counted(summary['dropped'])}")
    if missing:
        lines.append(
            f"no answer {missing}: {counted(summary['missing'])} (missing.jsonl). The same command "
            "asks for these again, and for nothing else"
        )
    for name, spent in summary["spent"].items():
        lines.append(
            f"{name} {spent['calls']:,} calls, {spent['tokens']:,} tokens, ${spent['usd']:.2f}"
        )
    lines.append(
        f"next     python -m experiments.triage_sft --data.train {out}/train.jsonl "
        f"--data.heldout {out}/heldout.jsonl"
    )
    return "\n".join(lines)
