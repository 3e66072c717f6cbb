"""Supervised fine-tuning as a stage: what is read for it, the loop, what comes of each step."""

import dataclasses
import itertools
import shlex
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl.config import DataConfig
from rl.config.sft import SFTRun
from rl.data.examples import load_examples
from rl.data.heldout import SAMPLE
from rl.data.mixture import is_mixture, read_mixture
from rl.data.rows import read_rows
from rl.data.source import is_hub_id
from rl.policy.fit import checked_blueprint
from rl.policy.hours import said_of_hours
from rl.policy.load import (
    Policy,
    check_device,
    context_window,
    has_cuda,
    load_policy,
    load_tokenizer,
    read_tokenizer,
)
from rl.policy.needs import needs, said_of_memory
from rl.policy.quantised import check_bitsandbytes
from rl.refusal import Refusal
from rl.run.checked import refuse_idle_gpus
from rl.run.checkpoint import Checkpoint, Checkpoints, train_from
from rl.run.drift import made_with
from rl.run.folder import HeldoutMoment
from rl.run.lifecycle import OpenRun
from rl.run.ranks import Ranks, rank_count, say
from rl.sft.batches import Batches, to_batches
from rl.sft.outlook import (
    length_shares,
    refuse_nothing_left,
    refuse_what_is_no_text,
    said_of_left_out,
    said_of_rows,
    said_of_steps,
)
from rl.sft.rows import LeftOut, TokenRow, to_token_rows
from rl.sft.shares import in_shares, said_of_shares

LINES_A_RUN = 60
"""So many steps are told in the terminal; metrics.jsonl has all."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Read:
    tokenizer: Any
    rows: Sequence[TokenRow]
    heldout: Sequence[TokenRow]
    left_out: Sequence[LeftOut]
    batches: Batches


class SFTStage:
    def __init__(self, config: SFTRun) -> None:
        self.config = config

    @property
    def length(self) -> int:
        return self._read.batches.steps

    def made_with(self) -> Mapping[str, str]:
        return made_with(self.config)

    def check(self) -> None:
        refuse_idle_gpus()
        config, sft = self.config, self.config.sft
        from rl.sft.build import check_batch

        check_batch(sft, ranks=rank_count())
        check_device(config.policy)
        if sft.optimizer != "adamw_torch":
            check_bitsandbytes(f"sft.optimizer {sft.optimizer}")
        examples, heldout_examples = load_examples(config.data)
        tokenizer = (read_tokenizer if sft.blocks else load_tokenizer)(config.policy)
        checked_blueprint(config.policy, tokenizer)
        window = context_window(config.policy)
        if sft.max_tokens > window:
            raise Refusal(
                f"sft.max_tokens is {sft.max_tokens} and the model's window is {window} tokens. "
                f"Type --sft.max-tokens {window}"
            )
        if sft.blocks:
            refuse_what_is_no_text((*examples, *heldout_examples))
        how = {"tokenizer": tokenizer, "thinking": config.data.thinking}
        longest = None if sft.blocks else sft.max_tokens
        rows, left_out = to_token_rows(
            examples, **how, max_tokens=longest, overlap_tokens=sft.overlap_tokens
        )
        heldout, left_out_too = to_token_rows(heldout_examples, **how, max_tokens=sft.max_tokens)
        if not rows:
            refuse_nothing_left(examples, left_out)
        left_out += left_out_too
        rows = _mixed(rows, config.data)
        batches = to_batches(rows, sft)
        say(said_of_rows(config, rows, heldout))
        if left_out:
            say(said_of_left_out(left_out, len(examples) + len(heldout_examples)))
        say(said_of_steps(config, rows, batches.steps))
        if has_cuda():
            _say_what_it_takes(config, steps=batches.steps)
        self._read = _Read(
            tokenizer=tokenizer, rows=rows, heldout=heldout, left_out=left_out, batches=batches
        )

    def run(self, run: OpenRun) -> str | None:
        ranks = Ranks()
        ranks.share((run.log.folder, run.checkpoint))
        run.log.left_out(dataclasses.asdict(row) for row in self._read.left_out)
        run.figures["thinks"] = self._has_thought
        run.figures["lengths"] = length_shares(self._read.rows)
        policy = load_policy(self.config.policy, self._read.tokenizer, self.config.seed)
        say(policy.told())
        run.figures.update(policy.parameters)
        record = _Record(run, self.length, policy)
        checkpoints = run.log.checkpoints
        trainer = self._trainer(
            policy, checkpoints, on_step=record.on_step, on_checkpoint=record.on_checkpoint
        )
        if not run.checkpoint:
            self._answer(run, policy, "before")
        ranks.share()
        try:
            self._train(trainer, policy, checkpoints, run.checkpoint, record)
            self._answer(run, policy, "after")
            if not self.config.sft.blocks:
                run.figures["gspo_flags"] = self._gspo_flags(run.log.folder)
                if asked := self._asked_again():
                    run.figures["evaluate"] = f"{run.log.folder} --tasks answers={asked}"
        finally:
            policy.save(run.log.folder)
        return trainer.stop_reason

    def follow(self) -> None:
        """A share of each step, without a word."""
        ranks = Ranks()
        folder, checkpoint = ranks.share()
        policy = load_policy(self.config.policy, self._read.tokenizer, self.config.seed)
        checkpoints = Checkpoints(folder / "checkpoints", self.config.unit)
        trainer = self._trainer(policy, checkpoints, on_step=lambda row: None)
        ranks.share()
        self._train(trainer, policy, checkpoints, checkpoint)

    def _train(
        self,
        trainer: Any,
        policy: Policy,
        checkpoints: Checkpoints,
        checkpoint: Checkpoint | None,
        record: "_Record | None" = None,
    ) -> None:
        """From the checkpoint, if there is one, to the end; then back to the best step."""
        if checkpoint is None:
            before = trainer.heldout_losses()
            if record and before:
                record.before(before)
        train_from(checkpoint, trainer, policy, length=self.length)
        if record and (best := checkpoints.best()):
            record.kept(best)

    def _trainer(self, policy: Policy, checkpoints: Checkpoints, **calls: Any) -> Any:
        from rl.sft.batches import heldout_of
        from rl.sft.build import build_trainer

        config = self.config
        return build_trainer(
            config.sft,
            policy=policy,
            batches=self._read.batches,
            heldout=heldout_of(self._read.heldout),
            evaluate_every=config.evaluate_every,
            save_every=config.save_every,
            output_dir=checkpoints.unfinished,
            seed=config.seed,
            trl_overrides=config.trl_overrides(),
            **calls,
        )

    def _asked_again(self) -> str | None:
        """The data whose held-out questions can be asked by the evaluation, if they are such."""
        data = self.config.data
        name = data.heldout or data.train
        if not self._read.heldout or data.fields or name == SAMPLE or is_hub_id(name):
            return None
        try:
            read_rows(name)
        except Refusal:
            return None
        return name

    @property
    def _has_thought(self) -> bool:
        return any(row.example.reasoning for row in self._read.rows)

    def _gspo_flags(self, folder: Path) -> str:
        """What an experiment with GSPO is to be told, to begin where this one ends."""
        policy, data = self.config.policy, self.config.data
        learnt = {"--policy.adapter": folder, "--policy.model": policy.model}
        if policy.learns == "weights":
            learnt = {"--policy.model": folder}
        flags = {
            **learnt,
            "--policy.chat-template": policy.chat_template,
            "--data.thinking": True if self._has_thought else data.thinking,
            "--data.system-prompt": data.system_prompt,
        }
        given = [(flag, str(value)) for flag, value in flags.items() if value is not None]
        return shlex.join(itertools.chain.from_iterable(given))

    def _answer(self, run: OpenRun, policy: Policy, moment: HeldoutMoment) -> None:
        sft = self.config.sft
        asked = [row for row in self._read.heldout if row.prompt_tokens][: sft.answers]
        if not asked:
            return
        from rl.sft.answers import answers_to

        run.progress.phase(f"held-out answers, {moment}")
        answers = answers_to(asked, policy, max_new_tokens=sft.answer_tokens, seed=self.config.seed)
        run.log.heldout(moment, answers)


def _say_what_it_takes(config: SFTRun, *, steps: int) -> None:
    policy, sft = config.policy, config.sft
    shape = {"rows": sft.micro_batch_rows, "tokens": sft.max_tokens}
    moments = 4 if sft.optimizer == "adamw_torch" else 1
    need = needs(policy, **shape, moment_bytes=moments)
    say(said_of_memory(need, policy, **shape))
    say(said_of_hours(need, policy, rows=steps * sft.batch_rows))


def _mixed(rows: list[TokenRow], data: DataConfig) -> list[TokenRow]:
    if not is_mixture(data.train):
        return rows
    sources = read_mixture(data.train, "--data.train")
    taken = in_shares(rows, {source.name: source.share for source in sources})
    say(said_of_shares(rows, taken))
    return taken


class _Record:
    """What is written down and told of a run's steps."""

    def __init__(self, run: OpenRun, steps: int, policy: Policy) -> None:
        self._run, self._steps, self._policy = run, steps, policy

    def before(self, heldout_losses: dict[str, float]) -> None:
        row = {"step": 0, "seconds": self._seconds(), **heldout_losses}
        self._run.log.metrics(row)
        self._run.tracker.log(row)
        loss = heldout_losses["heldout/loss"]
        self._run.progress.note(f"held-out loss before training: {loss:.3f}")

    def on_step(self, row: dict[str, Any]) -> None:
        row = row | {"seconds": self._seconds()}
        self._run.log.metrics(row)
        self._run.tracker.log(row)
        is_told = row["step"] % max(1, self._steps // LINES_A_RUN) == 0 or "heldout/loss" in row
        self._run.progress.row(row, is_told=is_told)
        if reason := row.get("stop_reason"):
            self._run.tracker.alert("The run was stopped", reason)

    def on_checkpoint(self, written: Path, step: int, score: float | None) -> None:
        """The trainer's part is written; with the run's it becomes a checkpoint."""
        self._policy.write_base(written)
        state = {"done": step, "seconds": self._seconds(), "score": score}
        self._run.log.checkpoints.seal(written, state)

    def kept(self, best: Checkpoint) -> None:
        """What did best on held-out rows, where a checkpoint of it was kept."""
        self._policy.take_over(best.folder)
        self._run.figures.update(kept_step=best.done, heldout_loss_after=-best.state["score"])
        if best.done < self._steps:
            self._run.progress.note(
                f"what is kept is of step {best.done}, where the held-out loss was lowest"
            )

    def _seconds(self) -> float:
        return time.perf_counter() - self._run.began_s
