"""What a model says of itself is what its run says, and nothing that is not for others."""

import dataclasses
import json
import shutil

import pytest
from huggingface_hub import ModelCard

from judges import JudgeConfig
from rl.config import to_json
from rl.policy.export.card import card_of
from rl.policy.export.trained import trained_by
from rl.refusal import Refusal

SECRET = "sk-planted-0123456789"


@pytest.fixture
def run(recorded_run, make_trained, llama):
    """A recorded run's figures on a tiny Llama, with a secret where a person may have put one."""
    folder = make_trained(llama)
    for file in recorded_run.iterdir():
        if file.is_file() and file.name != "config.json":
            (folder / file.name).write_bytes(file.read_bytes())
    config = trained_by(str(folder)).config
    judge = JudgeConfig(
        backend="custom", model="m", url=f"https://u:{SECRET}@judge.example/v1?key={SECRET}"
    )
    (folder / "config.json").write_text(to_json(dataclasses.replace(config, judge=judge)))
    return folder


def card(run):
    return card_of(trained_by(str(run)), library="peft")


def test_a_card_parses_and_has_the_runs_figures(run):
    summary = json.loads((run / "summary.json").read_text())
    parsed = ModelCard(card(run))
    assert parsed.data.library_name == "peft"
    assert parsed.data.eval_results[0].metric_value == round(summary["heldout_after"], 4)
    low, high = summary["heldout_change_95"]
    for figure in (
        f"| held-out reward | {summary['heldout_before']:+.2f} | {summary['heldout_after']:+.2f} |",
        f"is {low:+.2f} to {high:+.2f}.",
        "- data medical_en: apache-2.0",
        "Not for clinical use",
        "custom m, rubric medical_en, graded by schema",
    ):
        assert figure in parsed.text
    assert "\n\n\n" not in parsed.content


def test_a_card_holds_no_secret_and_no_path_of_its_owners_disk(run):
    said = card(run)
    assert SECRET not in said
    assert "judge.example" not in said
    assert str(run.parent) not in said


@pytest.mark.parametrize("file", ["summary.json", "metrics.jsonl", "heldout_after.jsonl"])
def test_a_card_is_not_written_of_a_run_whose_files_were_changed(run, file):
    text = (run / file).read_text()
    without_a_row = text.partition("\n")[2]
    summary = text.replace('"heldout_after": ', '"heldout_after": 1')
    (run / file).write_text(summary if file == "summary.json" else without_a_row)
    with pytest.raises(Refusal, match=r"summary\.json has .* and the run's rows give"):
        card(run)


def test_the_bases_licence_is_carried_over(make_trained, llama, tmp_path):
    assert "not known here" in card(make_trained(llama))
    base = shutil.copytree(llama, tmp_path / "base")
    (base / "README.md").write_text("---\nlicense: llama3.2\n---\n")
    parsed = ModelCard(card(make_trained(base)))
    assert parsed.data.license == "llama3.2"
    assert "Built with Llama." in parsed.text
    assert "base base: llama3.2" in parsed.text
