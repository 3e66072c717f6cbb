"""One run from config to report: what is opened, in which order, and that all of it is closed.

Cheap checks come first: a wrong file, a missing key or a used port is told before weights load.
"""

import contextlib
import errno
import os
import shutil
import signal
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from judges import JudgeConfig, make_judge
from judges.client.budget import BudgetExceeded
from judges.client.ledger import Ledger, LedgerError
from rl.config import RunConfig, recorded
from rl.policy.load import Policy, has_cuda, load_policy, resolved_dtype
from rl.policy.models import resolve_model
from rl.refusal import Refusal
from rl.report import report_figures, write_report
from rl.rollout.background import Background
from rl.rollout.engine import Engine, EngineError
from rl.rollout.transformers_engine import TransformersEngine
from rl.rollout.vllm_client import VllmEngine
from rl.rollout.vllm_server import ServerSettings, VllmServer
from rl.run.checked import Checked, check
from rl.run.checkpoint import Checkpoint, Checkpoints
from rl.run.drift import drift, made_with
from rl.run.folder import RunLog, read_run
from rl.run.preflight import gspo_of, with_ledger
from rl.run.progress import Progress, print_summary
from rl.run.ranks import FirstIsGone, Ranks, is_first, say
from rl.run.summary import summarise
from rl.run.tracking import Tracker
from rl.stages.session import Session
from rl.trl_names import parse_trl_overrides

_INTERRUPTS = (signal.SIGINT, signal.SIGTERM)
# What a disk answers that takes no more.
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def run(
    config: RunConfig,
    experiment: str,
    *,
    resume: Path | None = None,
    accept_drift: bool = False,
) -> int:
    """Exit status: 0 when the run came to its end, 1 when it stopped before.

    `resume` is the folder of a run to go on with; `accept_drift` lets it go on with other settings.
    """
    # read by OpenMP when torch loads it: the trainer must not spin while the sampler works
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _quiet_libraries()
    with _interruptible():
        if not is_first():
            return _follow(config)
        began_s = time.perf_counter()
        checked = check(config)
        opened = _reopened(resume, config, accept_drift) if resume else _created(config)
        return _lead(checked, *opened, began_s, experiment)


def _created(config: RunConfig) -> tuple[RunLog, None]:
    log = RunLog.create(Path(config.out), config.name)
    log.lock()
    log.config(recorded(config))
    log.made_with(made_with(config))
    say(f"run folder {log.folder}")
    return log, None


def _reopened(
    folder: Path, config: RunConfig, accept_drift: bool
) -> tuple[RunLog, Checkpoint | None]:
    """The folder as it was at its last whole checkpoint, or at its start where there is none."""
    record = read_run(folder)
    log = RunLog(folder)
    log.lock()
    settings, facts = recorded(config), made_with(config)
    changes = drift(record.config | record.made_with, settings | facts)
    if changes and not accept_drift:
        raise Refusal(
            f"--resume {folder}: no longer what it was begun with:\n  "
            + "\n  ".join(changes)
            + "\nTo go on all the same, add --accept-drift; to start a new run, --from"
        )
    done = record.metrics[-1]["generation"] if record.metrics else 0
    if record.summary and not record.summary["stopped"] and done >= config.gspo.generations:
        raise Refusal(
            f"--resume {folder}: all its {done} generations are done. For more of them, add "
            f"--gspo.generations {2 * done} --accept-drift"
        )
    checkpoint = log.checkpoints.latest(say)
    log.rewind(checkpoint.generation if checkpoint else 0)
    log.config(settings)
    log.made_with(facts)
    if checkpoint:
        say(f"run folder {folder}: going on after generation {checkpoint.generation}")
    else:
        say(f"run folder {folder}: no checkpoint was written yet, so it starts again")
    return log, checkpoint


def _lead(
    checked: Checked, log: RunLog, checkpoint: Checkpoint | None, began_s: float, experiment: str
) -> int:
    config = checked.config
    if checkpoint:
        began_s -= checkpoint.state["seconds"]
    tracker = Tracker(
        log.folder,
        config=recorded(config),
        project=config.tracking.project,
        name=log.folder.name,
        mode=config.tracking.mode,
    )
    stopped: str | None = None
    judged: dict[str, Any] = {}
    with contextlib.ExitStack() as opened:
        try:
            stopped = _train(checked, log, checkpoint, tracker, began_s, opened, judged)
        except KeyboardInterrupt:
            stopped = "interrupted"
        except (Refusal, EngineError, BudgetExceeded, LedgerError) as error:
            stopped = str(error)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                stopped = f"{log.folder} cannot be written to ({error}). Make room, or use --out"
            else:
                traceback.print_exc()
                stopped = f"{type(error).__name__}: {error}"
        finally:
            _ignore_interrupts()  # what is open is closed in seconds, and has to be
    how_it_went = judged | {"seconds": time.perf_counter() - began_s, "stopped": stopped}
    return _conclude(log, tracker, how_it_went, experiment)


def _train(
    checked: Checked,
    log: RunLog,
    checkpoint: Checkpoint | None,
    tracker: Tracker,
    began_s: float,
    opened: contextlib.ExitStack,
    judged: dict[str, Any],
) -> str | None:
    """Why the run stopped before its end, if it did. `judged` is filled in however it ends."""
    config = checked.config
    ranks = Ranks()
    ranks.share((log.folder, checkpoint))
    server = None
    if checked.starts_vllm:
        server = _start_server(config, log)
        opened.callback(server.stop)
        say(f"vLLM is starting; its output is in {log.folder}/vllm.log")
    policy = load_policy(config.policy, checked.tokenizer, config.seed)
    say(f"policy {config.policy.model} ({policy.loaded.device}, {policy.loaded.dtype})")
    background = Background()
    opened.callback(background.close)
    judge = with_ledger(checked.judge, log.folder)
    session = Session(
        config=config,
        began_s=began_s,
        prompts=checked.train,
        heldout=checked.heldout,
        policy=policy,
        engine=_engine(server, policy, config, log, background, opened),
        judge=opened.enter_context(background.entered(make_judge(judge))),
        background=background,
        log=log,
        tracker=tracker,
        progress=Progress(config.gspo.generations, done=checkpoint.generation if checkpoint else 0),
        checkpoints=log.checkpoints,
        before=_judged_before(checkpoint, judge, background),
    )
    opened.callback(lambda: judged.update(session.judged()))
    opened.callback(session.progress.close)
    trainer = _trainer(
        checked,
        policy,
        log.checkpoints,
        next_generation=ranks.from_first(session.next_generation),
        on_generation=ranks.from_first(session.on_generation),
        on_checkpoint=session.on_checkpoint,
    )
    if not checkpoint:
        _say_reward("held-out reward before training", session.ask_heldout("before"))
    ranks.share()
    try:
        _train_on(trainer, checkpoint, config)
        session.progress.close()
        _say_reward("held-out reward after it", session.ask_heldout("after"))
    finally:
        session.progress.close()
        policy.save_adapter(log.folder / "adapter")
        shutil.rmtree(log.folder / "sampler", ignore_errors=True)
    return trainer.stop_reason


def _train_on(trainer: Any, checkpoint: Checkpoint | None, config: RunConfig) -> None:
    """From the checkpoint, if there is one, to the end."""
    if checkpoint is None:
        trainer.train()
    elif checkpoint.generation < config.gspo.generations:
        trainer.train(resume_from_checkpoint=str(checkpoint.folder))
    else:  # only what comes after training was still to do
        trainer.model.load_adapter(str(checkpoint.folder), "default", is_trainable=True)


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


def _follow(config: RunConfig) -> int:
    """What every process but the first does: its share of each update, without a word."""
    try:
        checked = check(config)
        ranks = Ranks()
        folder, checkpoint = ranks.share()
        policy = load_policy(config.policy, checked.tokenizer, config.seed)
        trainer = _trainer(
            checked,
            policy,
            Checkpoints(folder / "checkpoints"),
            next_generation=ranks.from_first(None),
            on_generation=ranks.from_first(None),
        )
        ranks.share()
        _train_on(trainer, checkpoint, config)
    except (KeyboardInterrupt, FirstIsGone):
        return 1
    return 0


def _trainer(
    checked: Checked,
    policy: Policy,
    checkpoints: Checkpoints,
    *,
    next_generation: Any,
    on_generation: Any,
    on_checkpoint: Any = None,
) -> Any:
    from rl.gspo.build import build_trainer

    config = checked.config
    return build_trainer(
        gspo_of(config),
        policy=policy,
        next_generation=next_generation,
        on_generation=on_generation,
        on_checkpoint=on_checkpoint,
        output_dir=checkpoints.unfinished,
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
    engine = VllmEngine(url, log.folder / "sampler", died)
    opened.enter_context(background.entered(engine))
    if not server:
        background.call(engine.refuse_raw_logprobs(config.rollout.temperature))
    return engine


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
        say(f"\nthe run stopped before its end: {stopped}")
    return 1 if stopped else 0


def _say_reward(what: str, reward: float | None) -> None:
    if reward is not None:
        say(f"{what}: {reward:+.2f}")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM is Ctrl-C inside, and both are as they were after it."""
    before = {which: signal.signal(which, _interrupt) for which in _INTERRUPTS}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _ignore_interrupts() -> None:
    for which in _INTERRUPTS:
        signal.signal(which, signal.SIG_IGN)


def _quiet_libraries() -> None:
    """What they would print between our lines is not for the person who watches."""
    from transformers.utils import logging

    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    logging.set_verbosity_error()
    logging.disable_progress_bar()
