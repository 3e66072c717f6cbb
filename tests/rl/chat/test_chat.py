"""A talk with what a run trained: piece by piece, and what training would have judged."""

import dataclasses
import io
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from rich.console import Console
from transformers import AutoTokenizer

from experiments.quickstart import QUICKSTART
from rewards.split import split
from rl.chat import terminal
from rl.chat.reply import Sampling, Shown, reply
from rl.chat.terminal import chat
from rl.config import PolicyConfig, to_json
from rl.config.chat import Chat
from rl.config.sft import SFTRun
from rl.policy.export.trained import trained_by
from rl.policy.load import load_policy, load_tokenizer
from rl.policy.models import resolve_model
from rl.refusal import Refusal

GREEDY = Sampling(temperature=0, top_p=1.0, top_k=20, max_new_tokens=24, seed=0)
ESCAPES = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture(scope="module")
def run(tmp_path_factory, move):
    """A run of a model that thinks, with an adapter that changes what it says."""
    folder = tmp_path_factory.mktemp("runs") / "trained"
    config = dataclasses.replace(
        QUICKSTART, policy=PolicyConfig(model="tiny-qwen3.5", lora_rank=4, lora_alpha=8)
    )
    policy = move(load_policy(config.policy, load_tokenizer(config.policy), seed=0))
    policy.save_adapter(folder / "adapter")
    (folder / "config.json").write_text(to_json(config))
    return folder


def talked(run, typed="", **flags):
    """What a terminal shows, and the same without its colours."""
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=400, highlight=False)
    options = {"temperature": 0.0, "max_new_tokens": 12} | flags
    chat(Chat(run=str(run), **options), console)
    return shown.getvalue(), ESCAPES.sub("", shown.getvalue())


@pytest.mark.parametrize(
    "text",
    [
        "They ask for a vitamin.\n</think>\n\nVitamin C, 维生素C \N{PILL}.",
        "No end of it, a < b and <thin",
        "Nested <think>once</think> more</think>Yes <b>[bold]x[/bold]</b> <",
    ],
)
def test_what_is_shown_grows_and_ends_as_what_training_would_judge(text):
    tokenizer = AutoTokenizer.from_pretrained(resolve_model("tiny-qwen3.5"))
    prompt = tokenizer.encode("<|im_start|>assistant\n<think>\n")
    ids = tokenizer.encode(text)
    shown = Shown()
    for length in range(1, len(ids) + 1):
        shown.added(split(prompt, ids[:length], tokenizer, None))
        whole = split(prompt, ids, tokenizer, None)
        assert whole.reasoning.startswith(shown.reasoning)
        assert whole.answer.startswith(shown.answer)
    shown.added(whole, is_whole=True)
    assert (shown.reasoning, shown.answer) == (whole.reasoning, whole.answer)


def test_a_reply_comes_in_pieces_and_is_the_policys_own(run):
    trained = trained_by(str(run))
    policy = load_policy(trained.policy, trained.tokenizer, 0)
    prompt = trained.prompt(trained.messages("What is aspirin for?"))
    pieces: list[tuple[str, str]] = []
    said = reply(
        policy.model, trained.tokenizer, prompt, GREEDY, lambda *piece: pieces.append(piece)
    )
    assert len(pieces) > 3
    assert "".join(reasoning for reasoning, _ in pieces) == said.split.reasoning
    assert "".join(answer for _, answer in pieces) == said.split.answer
    assert said.first_token_s > 0
    whole = policy.model.generate(
        torch.tensor([prompt]), do_sample=False, max_new_tokens=GREEDY.max_new_tokens
    )[0, len(prompt) :].tolist()
    assert said.split == split(prompt, whole, trained.tokenizer, None)
    assert said.tokens == len(whole)


def test_asked_once_it_answers_reasoning_dimmed_and_says_how_long_it_took(run):
    raw, plain = talked(run, once="What is aspirin for?", think=True)
    assert "\x1b[2m" in raw
    assert re.search(r"first token after \d+\.\d\d s, 12 tokens", plain)
    assert "did not come to an answer" in plain
    without, _ = talked(run, once="What is aspirin for?", think=False)
    assert without.count("\x1b[2m") == 1, "the figures alone"


def test_against_the_base_both_are_shown_and_differ(run):
    _, plain = talked(run, once="What is aspirin for?", against="base", think=False)
    base, tuned = plain.split("trained, after it\n")
    assert base.startswith("tiny-qwen3.5, before training\n")
    assert base.split("\n")[1] != tuned.split("\n")[0]
    _, alone = talked(run, once="What is aspirin for?", think=False)
    assert alone.split("\n")[0] == tuned.split("\n")[0]


def test_an_answer_is_graded_as_training_would_have(run):
    _, plain = talked(run, once="What is aspirin for?", truth="Pain", think=False)
    assert re.search(r"\(judged (off_domain|incoherent|contradicts), [+-]\d\.\d\d: \w", plain)
    said = plain.split("\n")[0]
    _, plain = talked(run, once="What is aspirin for?", truth=said, think=False)
    assert "(judged same, +2.00" in plain


def test_a_truth_wants_a_question_and_a_run_with_a_judge(run, tmp_path):
    with pytest.raises(ValueError, match="--once QUESTION --truth ANSWER"):
        Chat(run=str(run), truth="Pain")
    tuned = shutil.copytree(run, tmp_path / "tuned")
    policy = PolicyConfig(model="tiny-qwen3.5", lora_rank=4, lora_alpha=8)
    (tuned / "config.json").write_text(to_json(SFTRun(policy=policy)))
    with pytest.raises(Refusal, match="was not trained by a judge"):
        talked(tuned, once="What is aspirin for?", truth="Pain")


def test_a_talk_goes_on_until_it_is_ended(run, monkeypatch):
    typed = "What is aspirin for?\nAnd ibuprofen?\n/think\n/new\n/help\nWhat is aspirin for?\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
    prompts: list[int] = []
    true_reply = terminal.reply

    def noted(model, tokenizer, prompt, *rest):
        prompts.append(len(prompt))
        return true_reply(model, tokenizer, prompt, *rest)

    monkeypatch.setattr(terminal, "reply", noted)
    _, plain = talked(run, think=False)
    assert plain.count("first token after") == 3
    first, second, again = prompts
    assert second > first
    assert again < second
    assert "it reasons" in plain
    assert plain.count(terminal.HELP) == 2


def test_what_an_answer_spells_neither_colours_the_terminal_nor_moves_it():
    shown = io.StringIO()
    page = terminal._Page(Console(file=shown, force_terminal=True, width=80, highlight=False))
    page.show("", "[red]a[/red]\x1b[2J\x07 <script>b</script>")
    assert shown.getvalue() == "[red]a[/red][2J <script>b</script>"


def test_what_is_no_run_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(Refusal, match="is not a run's folder"):
        chat(Chat(run=str(tmp_path), once="?"))


@pytest.mark.slow
def test_nothing_but_the_talk_is_printed(run):
    asked = ["--once", "Hi?", "--max-new-tokens", "4"]
    done = subprocess.run(
        [sys.executable, "-m", "experiments.chat", str(run), *asked],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == 0
    assert done.stderr == ""
