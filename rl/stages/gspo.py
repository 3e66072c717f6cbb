"""GSPO as a stage: what is opened for it, and the loop from the first generation to the last."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from judges import JudgeConfig
from judges.client.ledger import Ledger
from rl.config.gspo import GSPORun
from rl.policy.load import Policy, load_policy
from rl.rollout.background import Background
from rl.rollout.sampler import open_sampler
from rl.run.checked import check
from rl.run.checkpoint import Checkpoint, Checkpoints, train_from
from rl.run.drift import made_with
from rl.run.lifecycle import OpenRun
from rl.run.preflight import gspo_of, with_ledger
from rl.run.ranks import Ranks
from rl.stages.session import Session


class GSPOStage:
    def __init__(self, config: GSPORun) -> None:
        self.config = config

    @property
    def length(self) -> int:
        return self.config.gspo.generations

    def made_with(self) -> Mapping[str, str]:
        return made_with(self.config)

    def check(self) -> None:
        self._checked = check(self.config)

    def run(self, run: OpenRun) -> str | None:
        ranks = Ranks()
        ranks.share((run.log.folder, run.checkpoint))
        judge = with_ledger(self._checked.judge, run.log.folder)
        sampler = run.exits.enter_context(
            open_sampler(self._checked, run.log.folder, judge, watcher=run)
        )
        sampler.before = _judged_before(run.checkpoint, judge, sampler.background)
        session = Session(
            run=run,
            sampler=sampler,
            prompts=self._checked.train,
            heldout=self._checked.heldout,
            generation=run.checkpoint.done if run.checkpoint else 0,
        )
        run.figures.update(sampler.policy.parameters)
        run.exits.callback(lambda: run.figures.update(sampler.judged_figures()))
        trainer = self._trainer(
            sampler.policy,
            run.log.checkpoints,
            next_generation=ranks.from_first(session.next_generation),
            on_generation=ranks.from_first(session.on_generation),
            on_checkpoint=session.on_checkpoint,
        )
        if not run.checkpoint:
            session.ask_heldout("before")
        ranks.share()
        if self._checked.heldout:
            run.figures["evaluate"] = str(run.log.folder)
        try:
            train_from(run.checkpoint, trainer, sampler.policy, length=self.length)
            session.ask_heldout("after")
        finally:
            sampler.policy.save(run.log.folder)
        return trainer.stop_reason

    def follow(self) -> None:
        """A share of each update, without a word."""
        ranks = Ranks()
        folder, checkpoint = ranks.share()
        policy = load_policy(self.config.policy, self._checked.tokenizer, self.config.seed)
        trainer = self._trainer(
            policy,
            Checkpoints(folder / "checkpoints", self.config.unit),
            next_generation=ranks.from_first(None),
            on_generation=ranks.from_first(None),
        )
        ranks.share()
        train_from(checkpoint, trainer, policy, length=self.length)

    def _trainer(self, policy: Policy, checkpoints: Checkpoints, **calls: Any) -> Any:
        from rl.gspo.build import build_trainer

        config = self.config
        return build_trainer(
            gspo_of(config),
            policy=policy,
            output_dir=checkpoints.unfinished,
            max_new_tokens=config.rollout.max_new_tokens,
            temperature=config.rollout.temperature,
            seed=config.seed,
            save_every=config.save_every,
            trl_overrides=config.trl_overrides(),
            **calls,
        )


def _judged_before(
    checkpoint: Checkpoint | None, judge: JudgeConfig, background: Background
) -> dict[str, float]:
    """What was asked and paid before the run was resumed. Its ledger knows best what was paid."""
    before = dict(checkpoint.state["judged"]) if checkpoint else {}
    if judge.ledger and Path(judge.ledger).is_file():
        with background.entered(Ledger(Path(judge.ledger))) as ledger:
            spent = ledger.spent()
        before |= {"calls": spent.calls, "tokens": spent.tokens, "usd": spent.usd}
    return before
