"""Long files, broken-off files and awkward texts, through the real command."""

import asyncio
import functools
import itertools
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from aiohttp import web

from judges import JudgeConfig, JudgeRequest, Scored
from judges.commands.in_turn import ASKED_AGAIN, in_turn, judge_all
from judges.commands.score import main
from judges.judge import Judge
from judges.serve.child import ChildServer

pytestmark = pytest.mark.slow

VERDICT = '{"rationale": "So.", "tier": "same"}'
OWN = JudgeConfig(backend="custom", model="m", url="http://127.0.0.1:9/v1")


def row(number):
    return {"id": number, "question": "Q?", "truth": "Vitamin C", "answer": f"Vitamin C {number}"}


def request(number):
    return JudgeRequest(question="Q?", truth="Vitamin C", answer=f"Vitamin C {number}")


def written(tmp_path, rows):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(each) for each in rows))
    return str(path)


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def test_a_file_longer_than_a_deadline_is_scored_to_its_end(tmp_path):
    """60 rows, 4 at once, 0.1 s each: 1.5 s of judging, and each row has 0.8 s of its own."""
    out = tmp_path / "out.jsonl"

    async def go():
        async with ChildServer(["--latency-s", "0.1"]) as server:
            flags = ["--backend", "custom", "--model", "rules", "--url", server.url]
            flags += ["--max-in-flight", "4", "--deadline-s", "0.8", "--out", str(out)]
            return await asyncio.to_thread(main, [written(tmp_path, map(row, range(60))), *flags])

    assert asyncio.run(go()) == 0
    assert [each["id"] for each in lines(out)] == list(range(60))
    assert {each["tier"] for each in lines(out)} == {"same"}


def test_what_rpm_leaves_no_time_for_waits_its_turn_outside_its_deadline(
    scripted_judge, chat_completion
):
    """Five a second, each allowed 2 s: all at once, most of them would come too late."""

    async def go():
        async with scripted_judge(lambda body: (200, chat_completion(VERDICT))) as judge:
            config = replace(OWN, url=judge.url, rpm=300, deadline_s=2.0, retries=0)
            verdicts, _ = await judge_all(config, [request(i) for i in range(25)])
            return verdicts

    assert all(isinstance(verdict, Scored) for verdict in asyncio.run(go()))


def test_as_many_have_their_turn_as_the_slowest_judge_takes():
    requests = [request(0)]
    assert in_turn(OWN, requests) == 64
    assert in_turn(replace(OWN, max_in_flight=4), requests) == 4
    assert in_turn(replace(OWN, panel=("ollama:m",)), requests) == 4
    assert in_turn(replace(OWN, rpm=12), requests) == 30  # half of what 300 s have room for
    assert in_turn(replace(OWN, rpm=12, samples=3), requests) == 10
    assert in_turn(replace(OWN, rpm=12, lineup=True), requests) == 10
    assert 1 <= in_turn(replace(OWN, tpm=3000), requests) <= 5
    assert in_turn(replace(OWN, rpm=1, deadline_s=1), requests) == 1


def test_verdicts_are_handed_on_in_order_as_soon_as_those_before_them_are_there(
    scripted_judge, chat_completion
):
    """The first row is answered last."""
    handed: list[int] = []
    known_at_the_end: list[int] = []

    async def go():
        others_are_done = asyncio.Event()

        class SlowOnTheFirst(scripted_judge):
            async def _handle(self, request: web.Request) -> web.Response:
                if "Vitamin C 0\n" in (await request.json())["messages"][-1]["content"]:
                    await others_are_done.wait()
                    known_at_the_end.extend(handed)
                elif len(self.asked) == 8:
                    others_are_done.set()
                return await super()._handle(request)

        async with SlowOnTheFirst(lambda body: (200, chat_completion(VERDICT))) as judge:
            config = replace(OWN, url=judge.url, retries=0)
            await judge_all(
                config,
                [request(i) for i in range(10)],
                on_verdict=lambda place, verdict: handed.append(place),
            )

    asyncio.run(go())
    assert known_at_the_end == []
    assert handed == list(range(10))


def interrupted(tmp_path, *flags, enough):
    """Ctrl-C while the judge is at it, once `enough()`."""

    async def go():
        async with ChildServer(["--latency-s", "0.2"]) as server:
            judge = ["--backend", "custom", "--model", "rules", "--url", server.url]
            command = [sys.executable, "-m", "judges", *flags, *judge, "--max-in-flight", "2"]
            return await asyncio.to_thread(run_until, command, enough)

    return asyncio.run(go())


def run_until(command, enough):
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    until = time.monotonic() + 30
    while not enough() and time.monotonic() < until:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def test_ctrl_c_keeps_what_was_judged_and_says_so_in_a_line(tmp_path):
    path, out = written(tmp_path, map(row, range(200))), tmp_path / "out.jsonl"
    code, _, said = interrupted(
        tmp_path,
        *("score", path, "--out", str(out)),
        enough=lambda: out.is_file() and len(out.read_bytes().split(b"\n")) > 6,
    )
    kept = lines(out)
    assert code == 130
    assert "Traceback" not in said
    assert 6 <= len(kept) < 200
    assert [each["id"] for each in kept] == sorted(each["id"] for each in kept)
    assert said.strip().split("\n")[-1] == (
        f"interrupted; {len(kept)} of 200 rows are judged and in {out}. With --ledger FILE the "
        "same command would go on from there"
    )


@pytest.mark.parametrize("command", ["calibrate", "redteam"])
def test_ctrl_c_in_a_measurement_points_to_the_ledger(tmp_path, command):
    ledger = tmp_path / "ledger.sqlite"
    code, _, said = interrupted(
        tmp_path,
        *(command, "--ledger", str(ledger)),
        enough=lambda: ledger.is_file() and time.sleep(0.5) is None,
    )
    assert code == 130
    assert said.strip() == (
        f"interrupted; what was judged is in {ledger}: the same command goes on from there"
    )


def test_a_row_that_holds_unicode_line_ends_goes_in_and_comes_out_and_goes_in_again(tmp_path):
    strange = "Vitamin C\u2028\x85\x0b\x1c\u2029"
    path, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    told = json.dumps({**row(1), "answer": strange}, ensure_ascii=False)
    path.write_text(f"{told}\r\n\n{json.dumps(row(2))}\n", encoding="utf-8", newline="")
    assert main([str(path), "--out", str(out)]) == 0
    assert [each["answer"] for each in lines(out)] == [strange, "Vitamin C 2"]
    again = tmp_path / "again.jsonl"
    assert main([str(out), "--out", str(again)]) == 0
    assert lines(again) == [{**each, "cached": False} for each in lines(out)]


def test_half_a_character_is_written_as_it_was_read(tmp_path, capsys):
    path, out = written(tmp_path, [{**row(1), "note": "\ud83d"}]), tmp_path / "out.jsonl"
    assert main([path, "--out", str(out)]) == 0
    assert lines(out)[0]["note"] == "\ud83d"
    assert main([path]) == 0
    assert json.loads(capsys.readouterr().out)["note"] == "\ud83d"


def test_the_file_that_is_read_is_not_written_over(tmp_path, capsys):
    path = written(tmp_path, [row(1)])
    assert main([path, "--out", str(tmp_path / "." / "rows.jsonl")]) == 2
    assert "name another" in capsys.readouterr().err
    assert lines(tmp_path / "rows.jsonl") == [row(1)]


def test_an_out_file_is_left_alone_until_there_is_a_row_for_it(tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    out.write_text("earlier\n")
    assert main([written(tmp_path, [row(1)]), "--out", str(out), "--backend", "deepseek"]) == 2
    assert out.read_text() == "earlier\n"


def test_aliases_that_are_one_text_are_not_taken_for_letters(tmp_path, capsys):
    assert main([written(tmp_path, [{**row(1), "aliases": "ascorbic acid"}])]) == 2
    assert "`aliases` is 'ascorbic acid': it must be a list" in capsys.readouterr().err


def test_a_budget_that_is_spent_names_the_flag_of_this_command(tmp_path, capsys):
    out = tmp_path / "out.jsonl"
    assert main([written(tmp_path, map(row, range(5))), "--out", str(out), "--max-calls", "2"]) == 1
    details = [each["detail"] for each in lines(out) if each["tier"] is None]
    assert len(details) == 3
    assert all("Raise --max-calls to go on" in detail for detail in details)


def test_a_judge_that_goes_down_is_waited_for_and_all_it_missed_is_asked_again(
    scripted_judge, chat_completion, monkeypatch, capsys
):
    soon = functools.partialmethod(Judge.wait_until_alive, every_s=0.05)
    monkeypatch.setattr(Judge, "wait_until_alive", soon)
    asked = itertools.count()

    def answer(body):
        if 5 <= next(asked) < 20:
            return 500, {"error": {"message": "out of order"}}
        return 200, chat_completion(VERDICT)

    async def go():
        async with scripted_judge(answer) as judge:
            config = replace(OWN, url=judge.url, max_in_flight=4, retries=0)
            verdicts, _ = await judge_all(config, [request(i) for i in range(40)])
            return verdicts

    assert [type(verdict) for verdict in asyncio.run(go())] == [Scored] * 40
    said = capsys.readouterr().err
    assert said.count("the judge is down (server_error); waiting for it") == 1
    assert said.count("it is back after") == 1


def test_what_fails_each_time_while_the_judge_answers_others_is_a_fault(
    scripted_judge, chat_completion
):
    def answer(body):
        if request(3).answer in body["messages"][-1]["content"]:
            return 500, {"error": {"message": "cannot digest this"}}
        return 200, chat_completion(VERDICT)

    async def go():
        async with scripted_judge(answer) as judge:
            config = replace(OWN, url=judge.url, max_in_flight=1, retries=0)
            verdicts, _ = await judge_all(config, [request(i) for i in range(6)])
            return verdicts, len(judge.asked)

    verdicts, asked = asyncio.run(go())
    assert [isinstance(verdict, Scored) for verdict in verdicts] == [*[True] * 3, False, True, True]
    assert asked == 5 + (1 + ASKED_AGAIN) + ASKED_AGAIN  # and a probe before each time again
