"""The breaker under a clock of our own, and the wait for a judge that is down."""

from judges import JudgeConfig, make_judge
from judges.client.limits import Breaker, Pass


def opened(rest_s: float = 2.0) -> Breaker:
    breaker = Breaker(failures_to_open=3, rest_s=rest_s, longest_rest_s=10.0)
    for _ in range(3):
        breaker.on_failure(Pass.YES, now=0.0)
    return breaker


def test_it_opens_after_failures_on_end_and_not_after_as_many_with_a_success_between():
    breaker = Breaker(failures_to_open=3)
    for _ in range(10):
        breaker.on_failure(Pass.YES, now=0.0)
        breaker.on_failure(Pass.YES, now=0.0)
        breaker.on_alive()
    assert breaker.admit(0.0) is Pass.YES
    assert opened().is_open


def test_while_open_nobody_goes_then_one_does():
    breaker = opened(rest_s=2.0)
    assert breaker.admit(1.9) is Pass.NO
    assert breaker.admit(2.0) is Pass.PROBE
    assert breaker.admit(2.0) is Pass.NO


def test_a_good_probe_lets_everyone_in_again():
    breaker = opened()
    assert breaker.admit(2.0) is Pass.PROBE
    breaker.on_alive()
    assert breaker.admit(2.0) is Pass.YES


def test_each_bad_probe_doubles_the_rest_up_to_the_longest():
    breaker, now = opened(rest_s=2.0), 0.0
    for rest_s in (2.0, 4.0, 8.0, 10.0, 10.0):
        assert breaker.admit(now + rest_s - 0.01) is Pass.NO
        now += rest_s
        assert breaker.admit(now) is Pass.PROBE
        breaker.on_failure(Pass.PROBE, now)


def test_a_late_failure_of_before_does_not_spoil_the_probe():
    breaker = opened(rest_s=2.0)
    assert breaker.admit(2.0) is Pass.PROBE
    breaker.on_failure(Pass.YES, now=2.1)
    breaker.on_alive()
    assert not breaker.is_open


def test_a_probe_that_is_given_up_leaves_its_place_to_another():
    breaker = opened()
    assert breaker.admit(2.0) is Pass.PROBE
    breaker.on_abandoned(Pass.PROBE)
    assert breaker.admit(2.0) is Pass.PROBE


def test_the_wait_for_a_dead_judge_alerts_once_and_tells_how_long_it_was(in_virtual_time):
    alive = iter([False, False, False, True])
    told: list[object] = []

    async def probe() -> bool:
        return next(alive)

    judge = make_judge(JudgeConfig())
    judge.is_alive = probe
    in_virtual_time(
        judge.wait_until_alive(on_pause=lambda: told.append("paused"), on_resume=told.append)
    )
    assert told == ["paused", 5.0 + 7.5 + 11.25]


def test_a_judge_that_is_alive_is_not_waited_for_and_nobody_is_told(in_virtual_time):
    async def probe() -> bool:
        return True

    def unexpected(*_: object) -> None:
        raise AssertionError

    judge = make_judge(JudgeConfig())
    judge.is_alive = probe
    in_virtual_time(judge.wait_until_alive(on_pause=unexpected, on_resume=unexpected))
