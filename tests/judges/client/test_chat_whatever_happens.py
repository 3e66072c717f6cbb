"""Whatever a judge, a budget and impatient people do: nobody waits for ever, and the books balance.

A world is drawn: what the judge does with each attempt, who asks what and when, who gives up. The
clock is virtual. The judge keeps books of its own, and they are held against ours.
"""

import asyncio
import json
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from judges.client.budget import Budget, BudgetExceeded
from judges.client.chat import Answer
from judges.client.http import HttpReply
from judges.client.ledger import Ledger
from judges.client.wire import Ask
from judges.rubric.prompt import Prompt
from judges.verdict import FaultCause, Faulty, JudgeRequest, Usage

pytestmark = pytest.mark.slow

REQUEST = JudgeRequest(question="Q?", truth="T", answer="A")
ROOM = 100
IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Thousands of ledgers, and none of them is to outlive its case."""
SETTLING_S = 0.3
"""What it may take to write down how an attempt ended."""


def says(text, **more):
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], **more}


BILL = {"prompt_tokens": 20, "completion_tokens": 5}
REFUSAL = {"error": {"message": "response_format json_schema is not supported"}}
DOES = {
    "answers": (200, says("sense", usage=BILL)),
    "answers without a bill": (200, says("sense")),
    "talks nonsense": (200, says("nonsense", usage=BILL)),
    "is no chat": (200, []),
    "refuses the schema": (400, REFUSAL),
    "refuses the key": (401, {}),
    "fails": (500, {}),
    "is overloaded": (503, {}),
    "limits": (429, {}),
    "has an empty account": (402, {}),
    "gives up": (504, {}),
}
LOSES = {"refuses connections": FaultCause.CONNECT, "hangs up": FaultCause.RESET}
FREE = {400, 401, 402, 429, 500, 503}

TIMES_S = st.sampled_from([0.0, 0.01, 0.5, 1.0, 3.0, 7.0, 40.0])
ATTEMPTS = st.lists(
    st.tuples(st.sampled_from([*DOES, *LOSES, "answers", "answers"]), TIMES_S),
    min_size=1,
    max_size=12,
)


@dataclass(frozen=True)
class Asker:
    key: str
    starts_s: float
    patience_s: float
    gives_up_s: float | None


ASKERS = st.lists(
    st.builds(
        Asker,
        key=st.sampled_from("abcd"),
        starts_s=TIMES_S,
        patience_s=st.sampled_from([0.2, 5.0, 60.0]),
        gives_up_s=st.none() | st.none() | TIMES_S,
    ),
    min_size=1,
    max_size=9,
)
MANNERS = st.fixed_dictionaries(
    {
        "start_in_flight": st.integers(1, 4),
        "retries": st.integers(0, 3),
        "hedge_share": st.sampled_from([0.0, 1.0]),
        "failures_to_open": st.integers(1, 5),
        "rpm": st.sampled_from([None, None, 6, 600]),
        "timeout_s": st.sampled_from([0.8, 10.0]),
    }
)
LIMITS = st.fixed_dictionaries(
    {
        "max_calls": st.none() | st.integers(1, 6),
        "max_tokens": st.none() | st.integers(100, 1500),
    }
)


@dataclass
class World:
    """The judge as the transport meets it, and what it would say that it is owed."""

    attempts: list[tuple[str, float]]
    posts_s: list[float] = field(default_factory=list)
    reached: int = 0
    owed_tokens: int = 0
    in_flight: list[str] = field(default_factory=list)
    most_in_flight: int = 0
    answered: set[str] = field(default_factory=set)

    async def post(self, url, *, headers, body, timeout_s):
        does, after_s = self.attempts[len(self.posts_s) % len(self.attempts)]
        self.posts_s.append(asyncio.get_running_loop().time())
        self.reached += 1
        key = json.loads(body)["messages"][-1]["content"]
        assert key not in self.answered, "asked again what was answered"
        self.in_flight.append(key)
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
        assert self.in_flight.count(key) <= 2, "equal asks, and one of them late"
        owed = len(body) // 3 + len("Q?TA") + ROOM
        try:
            if after_s > timeout_s:
                await asyncio.sleep(timeout_s)
                raise Faulty(FaultCause.TIMEOUT, "late")
            await asyncio.sleep(after_s)
            if does in LOSES:
                if does == "refuses connections":
                    owed = 0
                    self.reached -= 1
                raise Faulty(LOSES[does], does)
            status, said = DOES[does]
            if status in FREE:
                owed = 0
            elif "usage" in said:
                owed = 25
            return HttpReply(status=status, headers={}, body=json.dumps(said).encode())
        finally:
            self.owed_tokens += owed
            self.in_flight.remove(key)


class Books(Budget):
    """Counts what is set aside and put back."""

    open = 0

    def reserve(self, worst: Usage) -> None:
        super().reserve(worst)
        self.open += 1

    def settle(self, worst: Usage, actual: Usage | None) -> None:
        super().settle(worst, actual)
        self.open -= 1


async def live_through(chat, world, askers):
    loop = asyncio.get_running_loop()
    ends = []

    async def one(asker: Asker):
        await asyncio.sleep(asker.starts_s)
        prompt = Prompt(system="", user=asker.key)
        ask = Ask(
            key=asker.key, request=REQUEST, prompt=lambda _: prompt, schema={}, max_tokens=ROOM
        )

        def read(reply):
            if reply.text == "nonsense":
                raise Faulty(FaultCause.NO_VERDICT, "cannot be read")
            return reply.text

        deadline = loop.time() + asker.patience_s
        outcome = None
        try:
            outcome = await chat.ask(ask, read, deadline)
            world.answered.add(asker.key)
        except (Faulty, BudgetExceeded) as error:
            outcome = error
        finally:
            assert loop.time() <= deadline + SETTLING_S
            ends.append((asker, outcome))

    tasks = [asyncio.create_task(one(asker)) for asker in askers]
    for task, asker in zip(tasks, askers, strict=True):
        if asker.gives_up_s is not None:
            loop.call_later(asker.starts_s + asker.gives_up_s, task.cancel)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(
        outcome is None or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes
    )
    return ends


@settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
@given(attempts=ATTEMPTS, askers=ASKERS, manners=MANNERS, limits=LIMITS)
def test_every_ask_ends_once_and_the_books_balance(
    make_chat, in_virtual_time, attempts, askers, manners, limits
):
    async def run(path: Path):
        world, budget = World(attempts), Books(**limits)
        async with Ledger(path) as ledger:
            chat = make_chat(world, budget=budget, ledger=ledger, max_in_flight=4, **manners)
            chat.hedging.late_s = 0.4 if manners["hedge_share"] else None
            ledger.register(chat.books.setup)
            ends = await live_through(chat, world, askers)
            assert asyncio.all_tasks() - {ledger._saving} == {asyncio.current_task()}

        assert len(ends) <= len(askers)  # fewer where someone gave up before they began
        assert chat.slots.in_flight == 0
        assert world.most_in_flight <= 4
        if rpm := manners["rpm"]:
            a_minute_later = zip(world.posts_s, world.posts_s[rpm:], strict=False)
            assert all(later - earlier > 59.9 for earlier, later in a_minute_later)
        assert not world.in_flight
        assert not chat._under_way
        assert not chat.breaker.refuses(1e9)

        spent = budget.spent
        assert budget.open == 0
        assert (spent.calls, spent.tokens) == (world.reached, world.owed_tokens)
        for limit, taken in (("max_calls", spent.calls), ("max_tokens", spent.tokens)):
            assert limits[limit] is None or taken <= limits[limit]

        async with Ledger(path) as reopened:
            recorded = reopened.spent()
            assert (recorded.calls, recorded.tokens) == (spent.calls, spent.tokens)
            assert recorded.usd == pytest.approx(spent.usd)
            for asker, outcome in ends:
                assert not isinstance(outcome, Answer) or asker.key in reopened

    with tempfile.TemporaryDirectory(dir=IN_MEMORY) as folder:
        in_virtual_time(run(Path(folder) / "ledger.sqlite"))
