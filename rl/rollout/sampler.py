"""Prompts in, judged completions out, from the policy as it is now."""

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from judges import JudgeConfig, make_judge
from judges.fit.again import doubts_of
from judges.judge import Judge
from rewards.judged import JudgedReward
from rl.config.gspo import GSPORun
from rl.data.rows import Prompt
from rl.policy.blueprint import Blueprint
from rl.policy.load import Policy, has_cuda, load_policy, resolved_dtype
from rl.policy.models import resolve_model
from rl.rollout.background import Background
from rl.rollout.engine import Engine, EngineError, Sampling
from rl.rollout.stream import (
    RolloutBatch,
    judged_through_outages,
    refuse_turned_away,
    sample_and_judge,
)
from rl.rollout.transformers_engine import TransformersEngine
from rl.rollout.vllm_client import VllmEngine
from rl.rollout.vllm_server import ServerSettings, VllmServer
from rl.run.checked import Checked
from rl.run.progress import duration
from rl.run.ranks import say


class Watcher(Protocol):
    """Is told what a person should know at once."""

    def alert(self, title: str, text: str) -> None: ...


@dataclasses.dataclass(kw_only=True)
class Sampler:
    config: GSPORun
    policy: Policy
    engine: Engine
    judge: Judge
    background: Background
    watcher: Watcher
    before: Mapping[str, float] = dataclasses.field(default_factory=dict[str, float])
    """What the judge had been asked and had cost when this run was resumed."""
    version: int = 0

    def __post_init__(self) -> None:
        self._reward = JudgedReward(self.judge, self.config.reward, self.policy.tokenizer)

    def sample(self, prompts: Sequence[Prompt], *, temperature: float, seed: int) -> RolloutBatch:
        """One judged completion of each prompt, however long the judge is down meanwhile."""
        sampling = Sampling(
            max_new_tokens=self.config.rollout.max_new_tokens,
            max_total_tokens=self.config.rollout.max_total_tokens,
            temperature=temperature,
            seed=seed,
        )
        self.version += 1
        swap = self.background.call(self.engine.publish(self.policy, self.version))
        batch = self.background.call(
            sample_and_judge(self.engine, self._reward, self.policy.tokenizer, prompts, sampling)
        )
        batch = self.background.call(
            judged_through_outages(batch, self._reward, self._wait_for_judge)
        )
        refuse_turned_away(batch.rollouts)
        return dataclasses.replace(batch, swap=swap)

    def answers(self, prompts: Sequence[Prompt]) -> RolloutBatch:
        """What the policy says where nothing is left to chance."""
        return self.sample(prompts, temperature=0.0, seed=0)

    def judged(self) -> dict[str, float]:
        """What the judge was asked and cost in all, held-out questions included."""
        stats = self.judge.stats()
        here = {
            "verdicts": stats.requests,
            "calls": stats.calls,
            "faults": stats.fault_count,
            "tokens": stats.usage.tokens,
            "usd": stats.usage.usd,
        }
        return {name: count + self.before.get(name, 0) for name, count in here.items()}

    def judged_figures(self) -> dict[str, float]:
        """The same, as a summary names it."""
        return {f"judge_{name}": count for name, count in self.judged().items()}

    async def _wait_for_judge(self) -> None:
        def pause() -> None:
            self.watcher.alert(
                "The judge is down",
                "The judge does not answer. The run waits; the policy does not move meanwhile.",
            )

        def resume(seconds: float) -> None:
            self.watcher.alert("The judge is back", f"The judge is back after {duration(seconds)}.")

        await self.judge.wait_until_alive(on_pause=pause, on_resume=resume)


@contextlib.contextmanager
def open_sampler(
    checked: Checked, folder: Path, judge: JudgeConfig, watcher: Watcher
) -> Iterator[Sampler]:
    """vLLM starts while the weights load. `folder` takes its output and the published adapters."""
    config = checked.config
    with contextlib.ExitStack() as opened:
        server = None
        if checked.starts_vllm:
            server = _start_server(config, checked.blueprint, folder)
            opened.callback(server.stop)
            say(f"vLLM is starting; its output is in {folder}/vllm.log")
        policy = load_policy(config.policy, checked.tokenizer, config.seed)
        say(policy.told())
        background = Background()
        opened.callback(background.close)
        opened.callback(shutil.rmtree, folder / "sampler", ignore_errors=True)
        for doubt in background.call(doubts_of(judge)):
            watcher.alert("The judge's profile may not hold", doubt)
        yield Sampler(
            config=config,
            policy=policy,
            engine=_engine(server, policy, config, folder, background, opened),
            judge=opened.enter_context(background.entered(make_judge(judge))),
            background=background,
            watcher=watcher,
        )


def _start_server(config: GSPORun, blueprint: Blueprint, folder: Path) -> VllmServer:
    rollout = config.rollout
    settings = ServerSettings(
        model=resolve_model(config.policy.model),
        dtype=resolved_dtype(config.policy),
        lora_rank=config.policy.lora_rank,
        lora_targets=blueprint.lora_targets,
        is_wrapped=blueprint.is_wrapped,
        max_model_len=rollout.longest_row,
        seed=config.seed,
        port=rollout.port,
        on_gpu=has_cuda(),
        memory_share=rollout.memory_share,
        cache_gib=rollout.cache_gib,
        start_timeout_s=rollout.start_timeout_s,
    )
    return VllmServer(settings, folder / "vllm.log")


def _engine(
    server: VllmServer | None,
    policy: Policy,
    config: GSPORun,
    folder: Path,
    background: Background,
    opened: contextlib.ExitStack,
) -> Engine:
    if server:
        _await(server)
    url = server.url if server else config.rollout.url
    if not url:
        return TransformersEngine(policy)
    died = server.died if server else lambda: None
    engine = VllmEngine(url, folder / "sampler", died)
    opened.enter_context(background.entered(engine))
    if not server:
        background.call(engine.refuse_raw_logprobs(config.rollout.temperature))
    return engine


def _await(server: VllmServer) -> None:
    try:
        server.wait()
    except EngineError as error:
        raise EngineError(
            f"{error}. Give it longer with --rollout.start-timeout-s, or go on without it: "
            "--rollout.engine transformers"
        ) from None
