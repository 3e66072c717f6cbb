"""The report's completions: the best and the worst, and held-out answers before and after."""

from collections.abc import Mapping, Sequence
from typing import Any

from rl.report.digest import Digest
from rl.report.markup import Markup, el, join
from rl.runlog import Run

Row = Mapping[str, Any]
Colours = Mapping[str, str]

MOST_CHANGED = 5


def best_and_worst(completions: Digest, colours: Colours) -> Markup | None:
    if not completions.best:
        return None
    columns = [
        el("div", el("h3", title), *(_case(row, colours) for row in rows), class_="card")
        for title, rows in (("Best", completions.best), ("Worst", completions.worst))
    ]
    heading = el("h2", f"Best and worst of {completions.count} completions")
    return join([heading, el("div", *columns, class_="grid")])


def _case(row: Row, colours: Colours) -> Markup:
    head = [
        badge(row, colours),
        f"{row['reward']:+.2f}" if row.get("reward") is not None else "no reward",
        f"generation {row['generation']}" if "generation" in row else None,
        f"{row['n_tokens']} tokens" if "n_tokens" in row else None,
    ]
    shown = [el("span", part) for part in head if part]
    parts = [("question", "question"), ("truth", "truth"), ("answer", "answer")]
    said = [
        join([el("dt", name), el("dd", row[key] or "(nothing)", class_="said")])
        for name, key in [*parts, ("judge", "rationale")]
        if key in row and (row[key] or key == "answer")
    ]
    return el(
        "div",
        el("div", *shown, class_="head"),
        el("dl", *said),
        _folded("its reasoning", row.get("reasoning")),
        class_="case",
    )


def badge(row: Row, colours: Colours) -> Markup:
    tier = str(row.get("tier"))
    return el("span", tier, class_="badge", style=f"background:{colours.get(tier, 'var(--fault)')}")


def heldout_examples(run: Run, colours: Colours) -> Markup | None:
    """Questions of the held-out set whose reward changed most, both ways."""
    before = {row["id"]: row for row in reversed(run.heldout_before) if "id" in row}
    after = {row["id"]: row for row in reversed(run.heldout_after) if "id" in row}
    pairs = [
        (after[id_]["reward"] - before[id_]["reward"], before[id_], after[id_])
        for id_ in before
        if id_ in after and None not in (before[id_].get("reward"), after[id_].get("reward"))
    ]
    if not pairs:
        return None
    pairs.sort(key=lambda pair: -pair[0])
    better = [pair for pair in pairs if pair[0] > 0]
    worse = [pair for pair in reversed(pairs) if pair[0] < 0]
    count = (
        f"{len(better)} better, {len(worse)} worse, {len(pairs) - len(better) - len(worse)} equal"
    )
    tables = [
        _table(title, shown[:MOST_CHANGED], colours)
        for title, shown in (("Most improved", better), ("Most worsened", worse))
        if shown
    ]
    heading = el("h2", "Held-out questions, before and after")
    return join([heading, el("p", count, class_="soft"), *tables])


def _table(title: str, pairs: Sequence[tuple[float, Row, Row]], colours: Colours) -> Markup:
    header = el("tr", *(el("th", name) for name in (title, "Before", "After")))
    rows = [
        el("tr", _question(before), _answer(before, colours), _answer(after, colours))
        for _, before, after in pairs
    ]
    return el("div", el("table", header, *rows), class_="card")


def _question(row: Row) -> Markup:
    return el("td", el("p", row.get("question", "")), el("p", row.get("truth", ""), class_="soft"))


def _answer(row: Row, colours: Colours) -> Markup:
    answer = el("p", row.get("answer") or "(nothing)", class_="said")
    return el("td", badge(row, colours), answer, _folded("reasoning", row.get("reasoning")))


def _folded(name: str, text: object) -> Markup | None:
    if not text:
        return None
    return el("details", el("summary", name), el("div", text, class_="said"))
