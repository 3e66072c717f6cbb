"""The table by the command that a person types: killed, resumed, changed, refused."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TINY = "tiny-qwen3.5"
FACTS = {
    "Insulin": "lowers blood sugar",
    "Aspirin": "thins the blood",
    "The kidney": "makes urine",
    "Asthma": "narrows the airways",
    "Penicillin": "kills bacteria",
    "Morphine": "relieves pain",
}
QUESTIONS = 48


def start(*args, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.evaluate", *args],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


def evaluate(*args):
    process = start(*args)
    out, err = process.communicate()
    return process.returncode, out, err


def question(draw):
    subject = draw.choice([*FACTS])
    others = [fact for fact in FACTS.values() if fact != FACTS[subject]]
    options = [FACTS[subject], *draw.sample(others, 3)]
    draw.shuffle(options)
    answer = options.index(FACTS[subject])
    return {"question": f"What does {subject} do?", "options": options, "answer": answer}


@pytest.fixture(scope="module")
def quiz(tmp_path_factory):
    draw = random.Random(0)
    file = tmp_path_factory.mktemp("data") / "quiz.jsonl"
    file.write_text("".join(json.dumps(question(draw)) + "\n" for _ in range(QUESTIONS)))
    return file


def asked(quiz, out, *more):
    tasks = ["--tasks", f"arc_challenge={quiz}"]
    return [TINY, "random", *tasks, "--out", str(out), "--tracking.mode", "disabled", *more]


def scores(folder):
    return {
        path.name: path.read_text().splitlines() for path in (folder / "scores").rglob("*.jsonl")
    }


def wait_for_scores(folder, count, process):
    while sum(len(lines) - 1 for lines in scores(folder).values()) < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_and_resumed_it_computes_nothing_twice_and_ends_in_the_same_table(quiz, tmp_path):
    code, out, _ = evaluate(*asked(quiz, tmp_path, "--name", "whole"))
    assert code == 0, out
    assert "arc_challenge, acc_norm: random against tiny-qwen3.5" in out
    whole = tmp_path / "whole"
    process = start(*asked(quiz, tmp_path, "--name", "killed"))
    killed = tmp_path / "killed"
    wait_for_scores(killed, 16, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = scores(killed)
    assert not (killed / "table.json").exists()
    code, out, err = evaluate("--resume", str(killed))
    assert code == 0, err
    assert "are there already, and are not computed again" in err
    for name, lines in before.items():
        assert scores(killed)[name][: len(lines) - 1] == lines[:-1]
    for lines in scores(killed).values():
        items = [json.loads(line)["item"] for line in lines[1:]]
        assert len(items) == len(set(items)) == QUESTIONS
    tables = [json.loads((folder / "table.json").read_text()) for folder in (whole, killed)]
    assert tables[0]["rows"] == tables[1]["rows"]
    for file in ("table.md", "report.html"):
        assert "arc_challenge" in (killed / file).read_text()
    code, _, err = evaluate("--resume", str(killed))
    assert code == 1
    assert "all its 2 cells are done" in err


@pytest.mark.slow
def test_interrupted_it_leaves_what_it_has_and_says_how_to_go_on(quiz, tmp_path):
    process = start(*asked(quiz, tmp_path), start_new_session=True)
    folder = tmp_path / "evaluate"
    wait_for_scores(folder, 5, process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 1
    assert "Traceback" not in out + err
    assert "unfinished: arc_challenge: " in out
    assert f"--resume {folder}" in out


@pytest.mark.slow
def test_changed_data_is_drift(quiz, tmp_path):
    mine = tmp_path / "quiz.jsonl"
    mine.write_text(quiz.read_text())
    process = start(*asked(mine, tmp_path))
    wait_for_scores(tmp_path / "evaluate", 5, process)
    process.kill()
    process.communicate()
    mine.write_text(quiz.read_text().replace("Insulin", "Glucagon"))
    code, _, err = evaluate("--resume", str(tmp_path / "evaluate"))
    assert code == 1
    assert "no longer what it was begun with" in err
    assert "task arc_challenge.sha: " in err


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([TINY, "--tasks", "perplexty=x.jsonl"], "did you mean 'perplexity'"),
        ([TINY, "--tasks", "perplexity"], "of what? Give a file"),
        ([TINY, "--tasks", "perplexity=nowhere.jsonl"], "nowhere.jsonl: no such file"),
        (["tiny-qwen3.6", "--tasks", "perplexity=x"], "did you mean 'tiny-qwen3.5'"),
        ([TINY, "random"], "measure on what?"),
        (["--tasks", "perplexity=x"], "whom to measure?"),
    ],
)
def test_bad_input_gets_one_clear_sentence_and_leaves_nothing(args, said, tmp_path):
    code, out, err = evaluate(*args, "--out", str(tmp_path / "runs"), "--dry-run")
    assert (code, out) == (1, "")
    assert said in err
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_says_what_it_would_measure(quiz):
    code, out, err = evaluate(TINY, "random", "--tasks", f"arc_challenge={quiz}", "--dry-run")
    assert code == 0
    assert "tasks: arc_challenge (48 items)" in err
    assert json.loads(out)["columns"] == [TINY, "random"]


def test_a_dry_run_says_what_a_judge_would_be_asked():
    price = "--judge.usd-per-m-in 1 --judge.usd-per-m-out 1 --judge.url http://127.0.0.1:9/v1"
    judge = ["--judge.backend", "custom", "--judge.model", "m", *price.split()]
    code, _, err = evaluate(TINY, "random", "--tasks", "judged=medical_en", *judge, "--dry-run")
    assert code == 0
    assert "about 156 calls" in err  # 78 held-out questions, two columns
    assert "money: about $" in err
