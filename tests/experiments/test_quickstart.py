"""The real thing, small: real weights, a real vLLM server, the judge over HTTP, two generations."""

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest

from experiments.quickstart import QUICKSTART
from judges.fit.curve import ANY, Curve
from judges.fit.profile import Profile, as_toml
from judges.rubric.rubric import load_rubric
from rl.launch import main
from rl.rollout.vllm_server import why_no_vllm
from rl.run.folder import Run, read_run

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SMALL = (
    "--gspo.generations 2 --gspo.prompts 4 --gspo.group-size 4 --gspo.minibatches 2 "
    "--gspo.micro-batch-rows 4 --data.heldout-rows 4 --rollout.max-new-tokens 20"
).split()
IN_PROCESS = [*SMALL, "--rollout.engine", "transformers"]
MARK = "GSPO_TEST_MARK"


def a_small_disk() -> None:
    """For a child process: every file may grow to 150 kB, as if the disk were then full."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))


class Started:
    """The quickstart in a process of its own, every descendant of which can be found again."""

    def __init__(
        self,
        out: Path,
        args: list[str],
        preexec: Callable[[], None] | None = None,
        launcher: tuple[str, ...] = (),
    ) -> None:
        self.mark, self.out = uuid.uuid4().hex, out
        module = ["-m", "experiments.quickstart", "--out", str(out), *args]
        self.process = subprocess.Popen(
            [sys.executable, *launcher, *module],
            cwd=ROOT,
            env=os.environ | {MARK: self.mark, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=preexec,
        )

    def read_until(self, text: str) -> str:
        seen = ""
        assert self.process.stdout
        for line in self.process.stdout:
            seen += line
            if text in line:
                return seen
        raise AssertionError(f"{text!r} never came:\n{seen}")

    def end(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=600)
        return self.process.returncode, output

    def run(self) -> Run:
        return read_run(self.out / "quickstart")

    def survivors(self, patience_s: float = 30.0) -> list[str]:
        """Processes that carry our mark, once they have had time to go."""
        deadline = time.monotonic() + patience_s
        while (alive := list(self._alive())) and time.monotonic() < deadline:
            time.sleep(0.2)
        return alive

    def _alive(self) -> Iterator[str]:
        wanted = f"{MARK}={self.mark}".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted in (process / "environ").read_bytes().split(b"\0"):
                    yield (process / "cmdline").read_text().replace("\0", " ")


@pytest.mark.xdist_group("vllm")
@pytest.mark.skipif(why_no_vllm() is not None, reason=f"{why_no_vllm()}")
def test_two_generations_through_vllm_with_hot_swap_and_the_judge_over_http(tmp_path):
    started = Started(tmp_path, SMALL)
    status, output = started.end()
    assert status == 0, output

    run = started.run()
    assert [row["generation"] for row in run.metrics] == [1, 2]
    assert [row["step"] for row in run.metrics] == [2, 4]
    for row in run.metrics:
        assert row["rows/live"] + row["rows/dead"] == 16
        assert row["judge/faults"] == 0
    assert_sampler_is_trainer(run)
    rollouts = list(run.rollouts())
    assert len(rollouts) == 32
    judged = [row for row in rollouts if row["judge_latency_s"] is not None]
    assert judged
    assert all(row["reward"] in {2.0, 0.5, 0.0, -0.5, -1.0} for row in rollouts)
    assert {
        "reward_first",
        "reward_last",
        "heldout_before",
        "heldout_after",
    } <= run.summary.keys()
    assert run.summary["steps"] == 4

    served = (run.folder / "vllm.log").read_text()
    assert served.count('"POST /v1/load_lora_adapter HTTP') == 4  # before, two generations, after
    assert (run.folder / "adapter" / "adapter_model.safetensors").is_file()
    assert "held-out reward" in output
    assert (run.folder / "report.html").stat().st_size > 10_000
    assert list((run.folder / "wandb").glob("offline-run-*/*.wandb"))
    assert started.survivors() == []


def assert_sampler_is_trainer(run: Run) -> None:
    """Both compute the same log-probs; it is measured on groups that have something to learn."""
    measured = [row["kl/sampler"] for row in run.metrics if "kl/sampler" in row]
    assert measured
    assert max(measured) < 1e-4


def in_this_process(out: Path, *args: str) -> Run:
    """A run to its end where the process is not the point: torch is loaded once for them."""
    with pytest.raises(SystemExit):
        main(QUICKSTART, prog="quickstart", description=None, args=["--out", str(out), *args])
    return read_run(out / "quickstart")


def test_without_vllm_the_policy_samples_for_itself(tmp_path):
    run = in_this_process(tmp_path, *IN_PROCESS)
    assert not run.summary["stopped"]
    assert run.summary["steps"] == 4
    assert_sampler_is_trainer(run)
    assert not (tmp_path / "quickstart" / "vllm.log").exists()


def test_a_run_learns_from_calibrated_scores_and_says_that_their_profile_is_old(tmp_path, capfd):
    rubric = load_rubric("medical_en")
    profile = Profile(
        made=date(2020, 1, 1),
        model="rules",
        weights="",
        fingerprint="",
        rubric=rubric.sha,
        template=rubric.template_sha,
        way={"grading": "schema"},
        reading="likeliest",
        low=3.0,
        high=5.0,
        right_from=4.0,
        cuts={},
        curves={ANY: Curve(0.5, 0.0)},
        figures={},
        rows=(),
    )
    path = tmp_path / "profile.toml"
    path.write_text(as_toml(profile), encoding="utf-8")
    run = in_this_process(tmp_path, *IN_PROCESS, "--judge.profile", str(path))
    assert "was made" in "".join(capfd.readouterr())
    judged = [row for row in run.rollouts() if row["judge_latency_s"] is not None]
    assert judged
    assert all(3.0 < row["reward"] < 5.0 for row in judged)


def test_a_run_can_be_interrupted_and_leaves_a_folder_that_reads(tmp_path):
    started = Started(tmp_path, [*IN_PROCESS, "--gspo.generations", "500"])
    started.read_until("generation 2/500")
    started.process.send_signal(signal.SIGINT)
    status, output = started.end()
    assert status == 1
    assert "interrupted" in output
    assert "Traceback" not in output
    run = started.run()
    assert run.summary["stopped"] == "interrupted"
    assert len(run.metrics) >= 2
    assert (run.folder / "report.html").is_file()
    assert (run.folder / "adapter" / "adapter_model.safetensors").is_file()
    assert started.survivors() == []


def two_processes() -> tuple[str, ...]:
    return ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_two_processes_have_one_sampler_one_judge_and_one_record(tmp_path):
    started = Started(tmp_path, IN_PROCESS, launcher=two_processes())
    status, output = started.end()
    assert status == 0, output
    assert output.count("judge rules: about") == output.count("run folder") == 1
    assert [folder.name for folder in tmp_path.iterdir()] == ["quickstart"]

    run = started.run()
    rollouts = list(run.rollouts())
    assert len(rollouts) == 32
    for row in run.metrics:
        mine = [each for each in rollouts if each["generation"] == row["generation"]]
        assert row["rows/live"] + row["rows/dead"] == len(mine) == 16
        assert len({each["question"] for each in mine}) == 4
        judged = [each for each in mine if each["judge_latency_s"] is not None]
        assert row["judge/verdicts"] == len(judged) >= row["judge/calls"] > 0
        assert (row["judge/retries"], row["judge/usd"]) == (0, 0.0)
    assert run.metrics[1]["judge/tokens"] > run.metrics[0]["judge/tokens"] > 0
    assert_sampler_is_trainer(run)
    assert started.survivors() == []


def test_two_processes_end_together_when_one_is_interrupted(tmp_path):
    started = Started(
        tmp_path, [*IN_PROCESS, "--gspo.generations", "500"], launcher=two_processes()
    )
    started.read_until("generation 1/500")
    started.process.send_signal(signal.SIGINT)
    status, _ = started.end()
    assert status != 0
    assert started.run().summary["stopped"] == "interrupted"
    assert started.survivors() == []


def test_a_run_interrupted_before_it_began_says_so(tmp_path):
    started = Started(tmp_path, IN_PROCESS)
    started.read_until("questions to train on")
    started.process.send_signal(signal.SIGINT)
    status, output = started.end()
    assert status == 1
    assert "interrupted" in output
    assert "Traceback" not in output
    assert started.survivors() == []


@pytest.mark.xdist_group("vllm")
@pytest.mark.skipif(why_no_vllm() is not None, reason=f"{why_no_vllm()}")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_a_run_that_is_ended_while_vllm_starts(tmp_path, how):
    started = Started(tmp_path, SMALL)
    started.read_until("vLLM is starting")
    time.sleep(4)
    started.process.send_signal(how)
    status, output = started.end()
    assert status == (-signal.SIGKILL if how == signal.SIGKILL else 1), output
    assert started.survivors() == []


@pytest.mark.xdist_group("vllm")
@pytest.mark.skipif(why_no_vllm() is not None, reason=f"{why_no_vllm()}")
def test_a_vllm_that_dies_at_start_is_one_sentence_with_a_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("VLLM_LOGGING_CONFIG_PATH", str(tmp_path / "nothing"))
    started = Started(tmp_path, SMALL)
    status, output = started.end()
    assert status == 1
    assert "vLLM ended at start" in output
    assert "--rollout.engine transformers" in output
    assert "Traceback" not in output
    assert json.loads((tmp_path / "quickstart" / "summary.json").read_text())["stopped"]
    assert started.survivors() == []


def test_a_disk_that_fills_up_is_one_sentence_and_keeps_what_is_there(tmp_path):
    started = Started(tmp_path, [*IN_PROCESS, "--tracking.mode", "disabled"], a_small_disk)
    status, output = started.end()
    assert status == 1
    assert "cannot be written to" in output
    assert "Traceback" not in output
    assert len(started.run().metrics) == 2
    assert started.survivors() == []


def test_a_judge_that_turns_every_request_away_ends_the_run_in_a_sentence(
    tmp_path, refusing_url, capfd
):
    judge = ["--judge.backend", "custom", "--judge.model", "m", "--judge.url", f"{refusing_url}/v1"]
    run = in_this_process(tmp_path, *IN_PROCESS, *judge)
    output = "".join(capfd.readouterr())
    assert "the judge turns requests away: HTTP 401: no such key. Check its key" in output
    assert "Traceback" not in output
    assert "turns requests away" in run.summary["stopped"]
    assert run.metrics == []
