"""What a judge stands on, started and wired together: servers, graders, the ledger, the budget."""

import sqlite3
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from judges.client.backends import Backend, endpoint, resolve
from judges.client.books import Books
from judges.client.budget import Budget
from judges.client.chat import Chat
from judges.client.http import Transport
from judges.client.ledger import Ledger, Setup, fingerprint, without_secrets
from judges.client.wire import WIRES
from judges.config import JudgeConfig
from judges.grader import Grader
from judges.rubric.lineup import wording
from judges.rubric.rubric import Rubric
from judges.serve.child import ChildServer
from judges.serve.llama import LlamaServer, check_gguf
from judges.serve.rules import load_known

MakeGrader = Callable[[Chat, Rubric, JudgeConfig, str], Grader]


@dataclass(frozen=True, kw_only=True)
class Shared:
    """One of each for all the judges of a run."""

    rubric: Rubric
    transport: Transport
    ledger: Ledger | None
    budget: Budget
    secret: str
    grader: MakeGrader
    children: list[ChildServer] = field(default_factory=list[ChildServer])


def check(config: JudgeConfig, rubric: Rubric) -> Backend:
    """Whatever can be found wrong without starting anything. Raises ValueError."""
    backend = resolve(config)
    if config.grading == "labels":
        rubric.check_words()
    if backend.name == "rules" and backend.url is None:
        rubric.check_rules()
        if config.known:
            load_known(config.known)
    if backend.name == "llamacpp" and backend.url is None:
        assert backend.model
        check_gguf(backend.model)
    if backend.name == "replay" and not (config.ledger and Path(config.ledger).is_file()):
        raise ValueError(
            f"judge.ledger is {config.ledger!r}: backend replay answers from the ledger of an "
            "earlier run, so give its file with --judge.ledger"
        )
    return backend


async def open_ledger(path: str, stack: AsyncExitStack) -> Ledger:
    try:
        return await stack.enter_async_context(Ledger(path))
    except (sqlite3.Error, OSError) as error:
        raise ValueError(
            f"judge.ledger is {path!r} and cannot be opened ({error}). Give a new file, or one "
            "that an earlier run wrote, in a folder that can be written to"
        ) from error


async def open_grader(config: JudgeConfig, shared: Shared, stack: AsyncExitStack) -> Grader:
    backend = check(config, shared.rubric)
    setup = _setup(config, backend, shared.rubric)
    is_replay = backend.name == "replay"
    if is_replay:
        assert shared.ledger
        setup = recorded_setup(config, setup, shared.ledger)
        wire = "anthropic" if setup.url.endswith(WIRES["anthropic"].path) else "openai"
        backend = replace(backend, model=setup.model, wire=wire)
    elif backend.url is None:
        backend = replace(backend, url=await _start_server(config, backend, shared, stack))
    if shared.ledger and not is_replay:
        shared.ledger.register(setup)
    chat = Chat(
        backend,
        Books(setup=setup, budget=shared.budget, ledger=shared.ledger),
        None if is_replay else shared.transport,
        logprobs=config.reads_logprobs and backend.logprobs,
        retries=config.retries,
        hedge_share=config.hedge_share,
    )
    return shared.grader(chat, shared.rubric, config, shared.secret)


async def _start_server(
    config: JudgeConfig, backend: Backend, shared: Shared, stack: AsyncExitStack
) -> str:
    if backend.name == "llamacpp":
        assert backend.model
        return (await stack.enter_async_context(LlamaServer(backend.model))).url
    args = ["--rubric", config.rubric]
    args += ["--known", config.known] if config.known else []
    child = await stack.enter_async_context(ChildServer(args))
    shared.children.append(child)
    return child.url


def _setup(config: JudgeConfig, backend: Backend, rubric: Rubric) -> Setup:
    """What a verdict depends on. A server of our own has a new port each time, and no say in it."""
    if backend.url:
        url = endpoint(backend.url, WIRES[backend.wire].path)
    else:
        file = config.known if backend.name == "rules" else backend.model
        url = f"{backend.name}:{fingerprint(file or '')}"
    sampling = (
        f"grading={config.grading} temperature={config.sampling_temperature} "
        f"max_tokens={config.max_reply_tokens} samples={config.samples} "
        f"commit={config.commit_first} defences={config.defences}"
    )
    if not config.rationale:
        sampling += " rationale=False"
    if config.lineup:
        sampling += f" lineup={wording().sha}"
    return Setup(
        model=backend.model or "",
        url=url,
        rubric=rubric.sha,
        template=rubric.template_sha,
        sampling=sampling,
    )


def recorded_setup(config: JudgeConfig, wanted: Setup, ledger: Ledger) -> Setup:
    """The one judge in the ledger that was asked in this way."""
    alike = [
        setup
        for setup in ledger.setups()
        if (setup.rubric, setup.template, setup.sampling)
        == (wanted.rubric, wanted.template, wanted.sampling)
        and config.model in (None, setup.model)
        and setup.url.startswith(without_secrets(config.url or ""))
    ]
    if len(alike) == 1:
        return alike[0]
    held = ", ".join(sorted({f"{setup.model} ({setup.sampling})" for setup in ledger.setups()}))
    problem = "none was asked" if not alike else f"{len(alike)} were asked"
    raise ValueError(
        f"judge.ledger {config.ledger}: of its judges, {problem} with this rubric and these "
        f"settings. It holds: {held or 'nothing'}. Set judge.model, judge.url, judge.rubric and "
        "the sampling as in the run that is to be replayed"
    )
