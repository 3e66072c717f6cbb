"""One run from config to report: what is opened, in which order, and that all of it is closed.

Cheap checks come first: a wrong file, a missing key or a used port is told before weights load.
"""

import contextlib
import dataclasses
import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from judges import JudgeConfig, make_judge
from judges.client.budget import BudgetExceeded
from rl.config import RunConfig, recorded
from rl.data import Prompt, load_rows, to_prompts
from rl.models import resolve_model
from rl.policy import Policy, context_window, has_cuda, load_policy, load_tokenizer, resolved_dtype
from rl.preflight import gspo_of, judge_of, outlook, with_ledger
from rl.progress import Progress, print_summary
from rl.ranks import FirstIsGone, Ranks, is_first
from rl.report import report_figures, write_report
from rl.rollout.background import Background
from rl.rollout.engine import Engine, EngineError
from rl.rollout.transformers_engine import TransformersEngine
from rl.rollout.vllm_client import VllmEngine
from rl.rollout.vllm_server import ServerSettings, VllmServer, why_no_vllm
from rl.runlog import RunLog, read_run
from rl.session import Session
from rl.summary import mean_reward, summarise
from rl.tracking import Tracker
from rl.trl_names import parse_trl_overrides


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checked:
    """What could be checked, read and counted before anything was started."""

    config: RunConfig
    judge: JudgeConfig
    tokenizer: Any
    train: Sequence[Prompt]
    heldout: Sequence[Prompt]
    starts_vllm: bool


def run(config: RunConfig, experiment: str) -> int:
    """Exit status: 0 when the run came to its end, 1 when it stopped before."""
    began_s = time.perf_counter()
    # read by OpenMP when torch loads it: the trainer must not spin while the sampler works
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _quiet_libraries()
    for which in (signal.SIGINT, signal.SIGTERM):
        signal.signal(which, _interrupt)

    if not is_first():
        return _follow(config)
    checked = _check(config)
    log = RunLog.create(Path(config.out), config.name)
    settings = recorded(config)
    log.config(settings)
    _say(f"run folder {log.folder}")
    tracker = Tracker(
        log.folder,
        config=settings,
        project=config.tracking.project,
        name=log.folder.name,
        mode=config.tracking.mode,
    )
    stopped: str | None = None
    judged: dict[str, Any] = {}
    with contextlib.ExitStack() as opened:
        try:
            stopped = _train(checked, log, tracker, began_s, opened, judged)
        except KeyboardInterrupt:
            stopped = "interrupted"
        except (EngineError, BudgetExceeded) as error:
            stopped = str(error)
        except OSError as error:
            stopped = f"{log.folder} cannot be written to ({error}). Make room, or use --out"
        except ValueError as error:
            if not (log.folder / "metrics.jsonl").exists():
                tracker.finish(failed=True)
                shutil.rmtree(log.folder)  # it was a setting, and nothing has come of the run yet
                raise
            stopped = str(error)
        finally:
            _ignore_interrupts()  # what is open is closed in seconds, and has to be
    how_it_went = judged | {"seconds": time.perf_counter() - began_s, "stopped": stopped}
    return _conclude(log, tracker, how_it_went, experiment)


def _check(config: RunConfig) -> Checked:
    train_rows, heldout_rows = load_rows(config.data)
    judge = judge_of(config)
    make_judge(judge)
    starts_vllm = _starts_vllm(config)
    tokenizer = load_tokenizer(config.policy)
    room = context_window(config.policy) - config.rollout.max_new_tokens
    longest = min(config.rollout.max_prompt_tokens, room)
    train, dropped = to_prompts(train_rows, tokenizer, config.data, longest)
    heldout, dropped_too = to_prompts(heldout_rows, tokenizer, config.data, longest)
    if dropped + dropped_too:
        _say(f"left out {dropped + dropped_too} prompts of more than {longest} tokens")
    if not train:
        raise ValueError(
            f"every prompt has more than {longest} tokens. Raise --rollout.max-prompt-tokens, or "
            "lower --rollout.max-new-tokens if the model's window is the limit"
        )
    _say(outlook(config, train=len(train), heldout=len(heldout)))
    return Checked(
        config=config,
        judge=judge,
        tokenizer=tokenizer,
        train=train,
        heldout=heldout,
        starts_vllm=starts_vllm,
    )


def _starts_vllm(config: RunConfig) -> bool:
    rollout = config.rollout
    if rollout.url or rollout.engine == "transformers":
        return False
    missing = why_no_vllm()
    if missing and rollout.engine == "vllm":
        raise ValueError(f"--rollout.engine vllm: {missing}. Leave it out, or install it first")
    if missing:
        _say(f"{missing}: sampling with transformers instead, which is slower")
    return not missing


def _train(
    checked: Checked,
    log: RunLog,
    tracker: Tracker,
    began_s: float,
    opened: contextlib.ExitStack,
    judged: dict[str, Any],
) -> str | None:
    """Why the run stopped before its end, if it did. `judged` is filled in however it ends."""
    config = checked.config
    ranks = Ranks()
    ranks.share(log.folder)
    server = None
    if checked.starts_vllm:
        server = _start_server(config, log)
        opened.callback(server.stop)
        _say(f"vLLM is starting; its output is in {log.folder}/vllm.log")
    policy = load_policy(config.policy, checked.tokenizer, config.seed)
    _say(f"policy {config.policy.model} ({policy.loaded.device}, {policy.loaded.dtype})")
    background = Background()
    opened.callback(background.close)
    session = Session(
        config=config,
        began_s=began_s,
        prompts=checked.train,
        policy=policy,
        engine=_engine(server, policy, config, log, background, opened),
        judge=opened.enter_context(
            background.entered(make_judge(with_ledger(checked.judge, log.folder)))
        ),
        background=background,
        log=log,
        tracker=tracker,
        progress=Progress(config.gspo.generations),
    )
    opened.callback(lambda: judged.update(session.judged()))
    trainer = _trainer(
        checked,
        policy,
        log.folder,
        next_generation=ranks.from_first(session.next_generation),
        on_generation=session.on_generation,
    )
    before = session.ask_heldout(checked.heldout, "before")
    _say_reward("held-out reward before training", before)
    ranks.share()
    try:
        trainer.train()
        session.progress.close()
        _say_reward("held-out reward after it", session.ask_heldout(checked.heldout, "after"))
    finally:
        session.progress.close()
        policy.save_adapter(log.folder / "adapter")
        shutil.rmtree(log.folder / "sampler", ignore_errors=True)
        with contextlib.suppress(OSError):  # it holds checkpoints
            (log.folder / "checkpoints").rmdir()
    return trainer.stop_reason


def _follow(config: RunConfig) -> int:
    """What every process but the first does: its share of each update, without a word."""
    try:
        checked = _check(config)
        ranks = Ranks()
        folder = ranks.share()
        policy = load_policy(config.policy, checked.tokenizer, config.seed)
        trainer = _trainer(
            checked,
            policy,
            folder,
            next_generation=ranks.from_first(None),
            on_generation=lambda *_: None,
        )
        ranks.share()
        trainer.train()
    except (KeyboardInterrupt, FirstIsGone):
        return 1
    return 0


def _trainer(
    checked: Checked, policy: Policy, folder: Path, *, next_generation: Any, on_generation: Any
) -> Any:
    from rl.gspo.build import build_trainer

    config = checked.config
    return build_trainer(
        gspo_of(config),
        policy=policy,
        next_generation=next_generation,
        on_generation=on_generation,
        output_dir=folder / "checkpoints",
        max_new_tokens=config.rollout.max_new_tokens,
        temperature=config.rollout.temperature,
        seed=config.seed,
        save_every=config.save_every,
        trl_overrides=parse_trl_overrides(config.trl),
    )


def _start_server(config: RunConfig, log: RunLog) -> VllmServer:
    rollout = config.rollout
    settings = ServerSettings(
        model=resolve_model(config.policy.model),
        dtype=resolved_dtype(config.policy),
        lora_rank=config.policy.lora_rank,
        lora_targets=config.policy.lora_targets,
        max_model_len=rollout.max_prompt_tokens + rollout.max_new_tokens,
        seed=config.seed,
        port=rollout.port,
        on_gpu=has_cuda(),
        memory_share=rollout.memory_share,
        cache_gib=rollout.cache_gib,
        start_timeout_s=rollout.start_timeout_s,
    )
    return VllmServer(settings, log.folder / "vllm.log")


def _engine(
    server: VllmServer | None,
    policy: Policy,
    config: RunConfig,
    log: RunLog,
    background: Background,
    opened: contextlib.ExitStack,
) -> Engine:
    if server:
        server.wait()
    url = server.url if server else config.rollout.url
    if not url:
        return TransformersEngine(policy)
    died = server.died if server else lambda: None
    return opened.enter_context(background.entered(VllmEngine(url, log.folder / "sampler", died)))


def _conclude(
    log: RunLog, tracker: Tracker, how_it_went: Mapping[str, Any], experiment: str
) -> int:
    """Figures, report and what to do next; also of a run that was cut short."""
    record = read_run(log.folder)
    summary = {
        **summarise(record.metrics, record.heldout_before, record.heldout_after),
        **how_it_went,
        "folder": str(log.folder),
        "experiment": experiment,
    }
    stopped = summary["stopped"]
    log.summary(summary)
    write_report(log.folder)
    tracker.log_figures(report_figures(log.folder))
    tracker.finish(summary, failed=stopped is not None)
    print()
    print_summary(summary)
    if stopped:
        _say(f"\nthe run stopped before its end: {stopped}")
    return 1 if stopped else 0


def _say_reward(what: str, rows: Sequence[dict[str, Any]]) -> None:
    if (reward := mean_reward(rows)) is not None:
        _say(f"{what}: {reward:+.2f}")


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _ignore_interrupts() -> None:
    for which in (signal.SIGINT, signal.SIGTERM):
        signal.signal(which, signal.SIG_IGN)


def _quiet_libraries() -> None:
    """What they would print between our lines is not for the person who watches."""
    from transformers.utils import logging

    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    logging.set_verbosity_error()
    logging.disable_progress_bar()


def _say(what: str) -> None:
    if is_first():
        print(what, file=sys.stderr, flush=True)
