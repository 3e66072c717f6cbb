import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from judges.serve.child import ChildServer

pytestmark = pytest.mark.slow

ROWS = [
    {"id": 1, "question": "Q?", "truth": "Vitamin C", "answer": "It is vitamin C."},
    {"id": 2, "question": "Q?", "truth": "Vitamin C", "answer": "I like cats."},
    {"id": 3, "question": "问？", "truth": "心脏", "answer": "心脏", "lang": "zh"},
]


def run(*args, timeout=60):
    return subprocess.run(
        [sys.executable, "-m", "judges", *args], capture_output=True, text=True, timeout=timeout
    )


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in ROWS))
    return str(path)


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def ends_soon(pid):
    until = time.monotonic() + 20
    while is_running(pid) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_running(pid)


def test_score_writes_a_verdict_for_every_row(rows, tmp_path):
    out = tmp_path / "out.jsonl"
    done = run("score", rows, "--out", str(out))
    assert done.returncode == 0, done.stderr
    scored = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["id"], row["tier"], row["score"]) for row in scored] == [
        (1, "same", 2.0),
        (2, "off_domain", 0.0),
        (3, "same", 2.0),
    ]
    assert "3 scored (2 same, 1 off_domain), 0 faults" in done.stderr


def test_score_exits_with_one_where_there_is_a_fault(rows):
    dead = ["--backend", "custom", "--model", "m", "--url", "http://127.0.0.1:9/v1"]
    done = run("score", rows, *dead, "--retries", "0")
    assert done.returncode == 1
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert {row["fault"] for row in verdicts} == {"connect"}
    assert all(row["score"] is None for row in verdicts)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"question": "Q?"}', "line 2: `truth` must be there"),
        ("{", "line 2: "),
        ("[1]", "line 2: "),
    ],
)
def test_score_names_the_line_of_a_bad_row(tmp_path, line, said):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(ROWS[0]) + "\n" + line)
    done = run("score", str(path))
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_score_without_a_key_says_which_variable(rows):
    done = run("score", rows, "--backend", "deepseek")
    assert done.returncode == 2
    assert "DEEPSEEK_API_KEY" in done.stderr
    assert "Traceback" not in done.stderr


def test_commands_are_listed_and_a_typo_gets_a_suggestion():
    assert "preflight" in run("--help").stdout
    done = run("prefligt")
    assert done.returncode == 2
    assert "Did you mean preflight?" in done.stderr


@pytest.mark.parametrize("command", ["score", "preflight", "serve"])
def test_help_loads_neither_torch_nor_the_client(command):
    code = (
        f"import sys; sys.argv = ['judges', {command!r}, '--help']\n"
        "import runpy\n"
        "try: runpy.run_module('judges', run_name='__main__')\n"
        "except SystemExit as exit: assert not exit.code\n"
        "heavy = {'torch', 'trl', 'tenacity', 'judges.client.http'}\n"
        "print('LOADED', *sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "LOADED", done.stdout + done.stderr


def test_importing_judges_loads_nothing_heavy():
    code = (
        "import sys, judges\n"
        "heavy = {'torch', 'aiohttp', 'httpx', 'tenacity', 'asyncio', 'sqlite3', 'tomllib'}\n"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "", done.stderr


def test_serve_says_when_it_is_ready_and_stops_at_sigterm():
    server = subprocess.Popen(
        [sys.executable, "-m", "judges", "serve"], stdout=subprocess.PIPE, text=True
    )
    with server:
        line = server.stdout.readline()
        assert re.fullmatch(r"ready http://127\.0\.0\.1:\d+/v1\n", line)
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 0


def test_serve_on_a_taken_port_says_so():
    async def go():
        async with ChildServer([]) as server:
            port = re.search(r":(\d+)/", server.url).group(1)
            return await asyncio.to_thread(run, "serve", "--port", port)

    done = asyncio.run(go())
    assert done.returncode == 2
    assert "is not free" in done.stderr
    assert "--port 0" in done.stderr


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--rubric", "medical_enn"], "Did you mean medical_en"),
        (["--known", "missing.jsonl"], "no such file"),
        (["--faults", "hung=1"], "Did you mean hang"),
    ],
)
def test_serve_explains_what_it_cannot_do(args, said):
    done = run("serve", *args)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


PARENT = """
import asyncio, os, sys
from pathlib import Path
from judges import JudgeConfig, make_judge

async def main():
    async with make_judge(JudgeConfig()) as judge:
        print(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()[0], flush=True)
        await asyncio.sleep(float(sys.argv[1]))

asyncio.run(main())
"""


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


@on_linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_the_embedded_judge_never_outlives_its_parent(number):
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, "60"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    with parent:
        child = int(parent.stdout.readline())
        assert is_running(child)
        if number == signal.SIGINT:
            os.killpg(parent.pid, number)  # as Ctrl-C in a terminal
        else:
            os.kill(parent.pid, number)
        parent.wait(20)
        assert ends_soon(child)


@on_linux
def test_the_embedded_judge_is_gone_when_the_parent_is_done():
    done = subprocess.run(
        [sys.executable, "-c", PARENT, "0"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not is_running(int(done.stdout))


def test_a_ledger_that_cannot_be_opened_is_explained(rows, tmp_path):
    no_database = tmp_path / "notes.txt"
    no_database.write_text("these are my notes, and they are not a database of any kind\n" * 3)
    for path in (str(no_database), str(tmp_path)):
        done = run("score", rows, "--ledger", path)
        assert done.returncode == 2
        assert "cannot be opened" in done.stderr
        assert "Traceback" not in done.stderr
