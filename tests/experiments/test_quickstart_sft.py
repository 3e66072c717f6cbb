"""Fine-tuning as it is started by a person: to its end, killed and resumed, and on bad input."""

import json
import os
import random
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest

from experiments.quickstart import QUICKSTART
from experiments.quickstart_sft import QUICKSTART_SFT
from rl.launch import main
from rl.run.folder import read_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("KILLS", "2"))
SMALL = (
    "--policy.model tiny-qwen3.5-closed --policy.lora-targets o_proj down_proj --sft.steps 6 "
    "--sft.batch-rows 4 --sft.micro-batch-rows 2 --data.heldout-rows 8 --sft.answers 2 "
    "--sft.answer-tokens 4 --save-every 1 --evaluate-every 2 --policy.dtype float32 "
    "--tracking.mode offline"
).split()
CLOCK = ("seconds", "tokens_per_s")


def start(*args: str, **options) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.quickstart_sft", *args],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )


def finish(*args: str, status: int = 0, **options) -> str:
    process = start(*args, **options)
    output, _ = process.communicate(timeout=600)
    assert process.returncode == status, output
    return output


@pytest.fixture
def ended_here(capfd):
    """Its exit status and all it says, in this process: torch is loaded once for all of them."""

    def run(*args: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main(QUICKSTART_SFT, prog="quickstart_sft", description=None, args=args)
        output = "".join(capfd.readouterr())
        return (
            (1, f"{output}{end.value.code}")
            if isinstance(end.value.code, str)
            else (
                end.value.code or 0,
                output,
            )
        )

    return run


def steps_of(folder: Path) -> list[dict]:
    return [
        {name: value for name, value in row.items() if name not in CLOCK}
        for row in read_run(folder).metrics
    ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    began_s = time.monotonic()
    output = finish(*SMALL, "--out", str(out))
    return out / "quickstart-sft", time.monotonic() - began_s, output


def test_a_run_writes_what_came_of_it_and_says_what_next(whole):
    folder, _, output = whole
    run = read_run(folder)
    assert [row["step"] for row in run.metrics] == [0, 1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in run.metrics if "heldout/loss" in row] == [0, 2, 4, 6]
    assert run.summary["heldout_loss_before"] == run.metrics[0]["heldout/loss"]
    assert run.summary["thinks"] is True
    assert sum(run.summary["lengths"].values()) == pytest.approx(1)
    assert {row["how"] for row in run.heldout_after} == {"greedy", "sampled"}
    assert len(run.heldout_before) == len(run.heldout_after) == 4
    report = (folder / "report.html").read_text()
    for title in ("Loss", "Learning rate", "Length", "Held-out answers"):
        assert f"<h3>{title}</h3>" in report
    for words in (
        "held-out loss",
        "ended greedy",
        f"--from {folder}/config.json",
    ):
        assert words in output


def test_the_flags_it_names_begin_gspo_from_its_adapter(whole, capfd):
    folder, _, output = whole
    (line,) = (line for line in output.splitlines() if f"--policy.adapter {folder}" in line)
    flags = shlex.split(line[line.index("--policy.adapter") :])
    assert "--data.thinking" in flags
    with pytest.raises(SystemExit) as end:
        main(QUICKSTART, prog="quickstart", description=None, args=[*flags, "--dry-run"])
    assert not end.value.code, "".join(capfd.readouterr())


def test_the_adapter_kept_is_the_one_of_the_lowest_held_out_loss(whole):
    folder, _, _ = whole
    run = read_run(folder)
    losses = {
        row["step"]: row["heldout/loss"]
        for row in run.metrics
        if row.get("lr") is not None and "heldout/loss" in row
    }
    best = min(losses, key=losses.__getitem__)
    assert run.summary["kept_step"] == best
    weights = "adapter_model.safetensors"
    kept = folder / "checkpoints" / f"step-{best:06d}" / weights
    assert (folder / "adapter" / weights).read_bytes() == kept.read_bytes()


def test_a_run_killed_at_any_moment_ends_where_one_that_was_left_alone_ends(whole, tmp_path):
    expected, took_s, _ = whole
    folder = tmp_path / "quickstart-sft"
    draw = random.Random(KILLS)
    process = start(*SMALL, "--out", str(tmp_path))
    while not (folder / "made_with.json").is_file():
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    for _ in range(KILLS):
        time.sleep(draw.uniform(0, took_s / 2))
        process.kill()
        process.communicate()
        process = start("--resume", str(folder))
    output, _ = process.communicate(timeout=600)
    assert process.returncode == 0 or "steps are done" in output, output
    weights = "adapter/adapter_model.safetensors"
    assert (folder / weights).read_bytes() == (expected / weights).read_bytes()
    assert steps_of(folder) == steps_of(expected)


def written(tmp_path: Path, *rows: dict) -> str:
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


GOOD = [{"question": f"What is {n}?", "answer": f"It is {n}."} for n in range(20)]
PLAIN_SMOLLM2 = ["--policy.model", "smollm2-135m", "--policy.chat-template", "None"]
REASONED = [row | {"reasoning": "I count."} for row in GOOD]


@pytest.mark.parametrize(
    ("rows", "args", "said"),
    [
        (GOOD, ["--data.fields", "answer=Respnse"], "no such column"),
        ([{"question": "Why?", "answer": "A", "reasoning": ""}] * 3, [], "'reasoning' is empty"),
        (REASONED, PLAIN_SMOLLM2, "the chat template has no think block"),
        (GOOD, ["--sft.max-tokens", "9999"], "the model's window is 4096 tokens"),
        (GOOD, ["--data.train", "owner/name"], "cannot be had from the hub"),
        (GOOD, ["--sft.packing"], "would leak into one another"),
        (GOOD, ["--trl", "packing=true"], "this is set by --sft.packing"),
    ],
)
def test_bad_input_is_a_sentence(ended_here, tmp_path, rows, args, said):
    data = written(tmp_path, *rows)
    status, output = ended_here(*SMALL, "--out", str(tmp_path), "--data.train", data, *args)
    assert status == 1
    assert said in " ".join(output.split())
    assert "Traceback" not in output


def test_rows_that_cannot_be_learnt_are_counted_and_named_by_their_lines(ended_here, tmp_path):
    rows = [*GOOD, {"question": "Why?"}, {"question": "Long?", "answer": "word " * 200}]
    data = written(tmp_path, *rows)
    status, output = ended_here(
        *SMALL, "--out", str(tmp_path), "--data.train", data, "--data.heldout", "sample"
    )
    assert status == 0
    assert "left out 2 of 22 rows: " in output
    assert "1 broken (" in output
    assert "1 too long (" in output
    left_out = (tmp_path / "quickstart-sft" / "left_out.jsonl").read_text().splitlines()
    assert {json.loads(line)["where"].rpartition(" ")[2] for line in left_out} == {"21", "22"}


def test_a_disk_that_takes_no_checkpoint_is_a_sentence_and_what_is_there_stays(tmp_path):
    def little_room():
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    output = finish(*SMALL, "--out", str(tmp_path), status=1, preexec_fn=little_room)
    assert "Traceback" not in output
    assert "cannot be written to" in output
    assert "--resume" in output
    assert [row["step"] for row in steps_of(tmp_path / "quickstart-sft")] == [0, 1]
