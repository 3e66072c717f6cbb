"""Held-out questions: asked on the way of a training, or as a run of its own, old against new."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl.config.gspo import GSPORun
from rl.data.rows import Prompt
from rl.policy.fit import check_adapter
from rl.refusal import Refusal
from rl.rollout.sampler import Sampler, open_sampler
from rl.run.checked import check
from rl.run.drift import made_with
from rl.run.lifecycle import OpenRun
from rl.run.preflight import with_ledger
from rl.run.summary import mean_reward


def ask(sampler: Sampler, prompts: Sequence[Prompt], generation: int = 0) -> list[dict[str, Any]]:
    """A row for each question: the policy's greedy answer, judged."""
    return [rollout.to_row(generation) for rollout in sampler.answers(prompts).rollouts]


class HeldoutStage:
    """A run's adapter against the policy it began with, on questions it never trained on."""

    length = 0

    def __init__(self, config: GSPORun, adapter: Path) -> None:
        self.config, self._adapter = config, adapter

    def made_with(self) -> Mapping[str, str]:
        return made_with(self.config)

    def check(self) -> None:
        if not (self._adapter / "adapter_config.json").is_file():
            raise Refusal(
                f"{self._adapter}: no adapter there. Name a run's folder, as in runs/NAME"
            )
        self._checked = check(self.config, training=False)
        check_adapter(self._adapter, self.config.policy, self._checked.blueprint)

    def run(self, run: OpenRun) -> None:
        judge = with_ledger(self._checked.judge, run.log.folder)
        sampler = run.exits.enter_context(
            open_sampler(self._checked, run.log.folder, judge, watcher=run)
        )
        run.exits.callback(lambda: run.figures.update(sampler.judged_figures()))
        self._measure(run, sampler, "before")
        sampler.policy.load_adapter(self._adapter)
        self._measure(run, sampler, "after")

    def _measure(self, run: OpenRun, sampler: Sampler, moment: Any) -> None:
        run.progress.phase(f"held-out questions, {moment}")
        rows = ask(sampler, self._checked.heldout)
        run.log.heldout(moment, rows)
        run.say_reward(f"held-out reward {moment} training", mean_reward(rows))

    def follow(self) -> None:
        """The first process measures alone."""
