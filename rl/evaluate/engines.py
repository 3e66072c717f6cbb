"""Who writes a column's answers: the policy in this process, or a server in its place."""

import contextlib
from collections.abc import Callable, Iterator

from rl.evaluate.served import Served, ServedEngine
from rl.evaluate.task import Candidate
from rl.policy.load import Policy
from rl.rollout.background import Background
from rl.rollout.engine import Engine
from rl.rollout.transformers_engine import TransformersEngine

EngineOf = Callable[
    [Policy | Served, Candidate], contextlib.AbstractContextManager[tuple[Background, Engine]]
]


@contextlib.contextmanager
def engine_of(policy: Policy | Served, candidate: Candidate) -> Iterator[tuple[Background, Engine]]:
    with contextlib.closing(Background()) as background:
        if isinstance(policy, Served):
            served = ServedEngine(policy, candidate.tokenizer)
            with background.entered(served) as engine:
                yield background, engine
        else:
            yield background, TransformersEngine(policy)
