"""Killed with no warning, while writer and judge misbehave: nothing lost, doubled or paid twice."""

import json
import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rl.data.questions.make import make_questions

ROOT = Path(__file__).parents[4]
RUN = """
import pickle, sys
from rl.data.questions.make import make_questions
make_questions(pickle.load(open(sys.argv[1], "rb")))
"""
KILLS = 4
ASKED = 48


LEDGERS = ("writer.sqlite", "judge.sqlite")
ANSWERED = "SELECT count(*) FROM events WHERE kind = 'scored'"
TWICE = """
    SELECT count(*) FROM events AS earlier JOIN events AS later USING (key)
    WHERE earlier.kind = 'scored' AND later.seq > earlier.seq
"""
"""Asked, or answered, when there was an answer already."""


def in_ledgers(out: Path, sql: str) -> int:
    count = 0
    for ledger in LEDGERS:
        if (out / ledger).exists():
            with sqlite3.connect(out / ledger, timeout=60) as db:
                if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'events'").fetchone():
                    count += db.execute(sql).fetchone()[0]
    return count


def rows_in(folder: Path) -> dict[str, list[str]]:
    names = ("train", "heldout", "dropped", "missing")
    return {name: (folder / f"{name}.jsonl").read_text().splitlines() for name in names}


def run_and_kill(config: Path, out: Path, draw: random.Random) -> None:
    """At a moment between two answers."""
    until = in_ledgers(out, ANSWERED) + draw.randint(1, 2 * ASKED // KILLS)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(config)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and in_ledgers(out, ANSWERED) < until:
        time.sleep(draw.uniform(0.0, 0.05))
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_kill_9_at_any_moment_pays_for_nothing_twice_and_loses_and_doubles_no_row(
    settings, tmp_path
):
    draw = random.Random(0)
    config = settings(faults="all=0.2", ask_again=2, limit=ASKED)
    file, out = tmp_path / "config.pickle", tmp_path / "questions"
    file.write_bytes(pickle.dumps(config))
    for _ in range(KILLS):
        run_and_kill(file, out, draw)
    make_questions(config)
    rows = rows_in(out)
    ids = [json.loads(line)["id"] for lines in rows.values() for line in lines]
    assert len(ids) == len(set(ids)) == ASKED
    coverage = json.loads((out / "summary.json").read_text())["missing"]
    assert sum(coverage.values()) == len(rows["missing"])
    assert in_ledgers(out, ANSWERED) > ASKED
    while rows["missing"]:
        make_questions(config)
        rows = rows_in(out)
    assert in_ledgers(out, TWICE) == 0
    make_questions(replace(settings(limit=ASKED), out=str(tmp_path / "whole")))
    assert rows == rows_in(tmp_path / "whole")
