"""What every command does alike: its flags, its sentences, and the places it writes to."""

import importlib
import os
import subprocess
import sys

import pytest

import judges.__main__
from judges.commands.flags import check_writable, in_own_flags
from judges.commands.jsonl import read_jsonl, texts_of

COMMANDS = {
    "score": ["judges/trust/data/calibration.jsonl"],
    "calibrate": [],
    "redteam": [],
    "preflight": [],
}


def refused(capsys, command, *args):
    """What is said, where the command refuses: in the parser or after it."""
    try:
        module = importlib.import_module(judges.__main__.COMMANDS[command][0])
        code = module.main([*COMMANDS.get(command, []), *args])
    except SystemExit as exit:
        code = exit.code
    said = capsys.readouterr()
    assert (code, said.out) == (2, "")
    return " ".join(said.err.replace("│", " ").split())


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--backend", "custom"], "for example --url http://127.0.0.1:8000/v1"),
        (["--backend", "vllm"], "Name the model the server has with --model"),
        (["--backend", "anthropic", "--grading", "labels"], "--"),
    ],
)
def test_a_hint_names_the_flag_that_the_command_has(capsys, command, args, said):
    told = refused(capsys, command, *args)
    assert said in told
    assert "--judge." not in told


@pytest.mark.parametrize("command", COMMANDS)
def test_a_flag_of_a_run_that_a_hint_names_may_be_typed(capsys, command):
    told = refused(capsys, command, "--grading", "labels", "--samples", "3")
    assert "Use --judge.samples 1, or --judge.grading schema" in told
    told = refused(capsys, command, "--judge.samples", "1", "--judge.backend", "vllm")
    assert "Name the model the server has with --model" in told


def test_only_flags_of_a_judge_lose_their_section():
    text = "judge.max_usd is 1: raise --judge.max_usd, or use --judge.backend rules"
    assert in_own_flags(text) == "judge.max_usd is 1: raise --max-usd, or use --backend rules"


@pytest.mark.parametrize(
    ("command", "args", "said"),
    [
        ("preflight", ["--steps", "0"], "steps is 0: it must be at least 1"),
        ("preflight", ["--prompts", "-1"], "prompts is -1: it must be at least 1"),
        ("preflight", ["--group-size", "0"], "group_size is 0: it must be at least 1"),
        ("preflight", ["--answer-tokens", "-5"], "answer_tokens is -5: it must be at least 0"),
        ("preflight", ["--reply-s", "0"], "reply_s is 0.0: it must be above 0"),
        ("serve", ["--port", "99999999"], "port is 99999999: it must be from 0 to 65535"),
        ("serve", ["--port", "-1"], "port is -1: it must be from 0 to 65535"),
        ("calibrate", ["--rows", "0"], "rows is 0: it must be at least 1"),
        ("redteam", ["--questions", "0"], "questions is 0: it must be at least 1"),
        ("redteam", ["--honest", "-2"], "honest is -2: it must be at least 1"),
        ("redteam", ["--min-scored", "1.5"], "min_scored is 1.5: it is a share, from 0 to 1"),
    ],
)
def test_a_number_that_cannot_be_is_told_in_a_sentence(capsys, command, args, said):
    assert said in refused(capsys, command, *args)


@pytest.mark.parametrize(
    ("command", "flag"),
    [("score", "out"), ("calibrate", "json"), ("calibrate", "plot"), ("redteam", "json")],
)
def test_a_place_that_cannot_be_written_to_is_refused_before_anything_is_judged(
    tmp_path, capsys, command, flag
):
    ledger = tmp_path / "ledger.sqlite"
    for path in (tmp_path / "none" / "found", tmp_path):
        said = refused(capsys, command, f"--{flag}", str(path), "--ledger", str(ledger))
        assert said.startswith(f"--{flag} is '{path}'")
        assert not ledger.exists()


def test_what_is_wrong_with_a_place_is_said_with_what_to_do(tmp_path):
    def said(path):
        with pytest.raises(ValueError, match="--out is") as caught:
            check_writable(out=str(path))
        return str(caught.value)

    assert f"there is no folder {tmp_path / 'a'}. Type: mkdir -p {tmp_path / 'a'}" in said(
        tmp_path / "a" / "b.jsonl"
    )
    assert "that is a folder. Name a file in it" in said(tmp_path)
    assert "cannot be written to (File name too long)" in said(tmp_path / ("x" * 300))
    (tmp_path / "file").touch()
    assert "is not a folder" in said(tmp_path / "file" / "b.jsonl")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="Permission denied"):
        check_writable(out=str(tmp_path / "out.jsonl"))


def test_asking_whether_a_place_can_be_written_to_leaves_it_as_it_was(tmp_path):
    held = tmp_path / "held"
    held.write_text("mine")
    check_writable(out=str(held), json=str(tmp_path / "new"), plot=None)
    assert held.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["held"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"a": 1}\n{"a": \n', "line 2: not JSON"),
        (b'{"a": 1}\n[1]\n', r"line 2: \[1\] is no JSON object"),
        (b'{"a": 1}\n{}\n', "line 2: a row needs an a"),
        (b'{"a": "\xff"}\n', "is not UTF-8"),
        (b'{"a": ' + b"[" * 100_000 + b"\n", "line 1: not JSON"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_by_file_and_line(tmp_path, content, said):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)

    def of(row):
        if "a" not in row:
            raise ValueError("a row needs an a")
        return row["a"]

    with pytest.raises(ValueError, match=f"{path}.*{said}"):
        read_jsonl(path, of, wanted="a JSONL of a")
    with pytest.raises(ValueError, match=r"no such file\. Give a JSONL of a"):
        read_jsonl(tmp_path / "none", of, wanted="a JSONL of a")


def test_a_file_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}')
    assert read_jsonl(path, lambda row: row["a"], wanted="rows") == [1, 2]


def test_one_file_is_not_written_over_another(tmp_path):
    place = str(tmp_path / "one")
    with pytest.raises(ValueError, match=r"--json .*one and --ledger .*one: one would be written"):
        check_writable(json=place, ledger=place)
    check_writable(json=place, ledger=str(tmp_path / "other"))


@pytest.mark.slow
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")
def test_output_that_cannot_be_printed_is_one_sentence():
    for command, into in (("calibrate", "> /dev/full"), ("calibrate", "| head -c 10 > /dev/null")):
        done = subprocess.run(
            ["bash", "-c", f"{sys.executable} -m judges {command} --rows 5 {into}"],
            capture_output=True,
            text=True,
        )
        assert "Traceback" not in done.stderr
        assert "Exception ignored" not in done.stderr
        assert ("No space left" in done.stderr) == ("full" in into)


def test_an_alias_that_is_no_text_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`aliases` is .*None.*: it must be a list of texts"):
        texts_of({"aliases": [None]}, "aliases")


@pytest.mark.parametrize("args", ["", "--help", "calibrate --help", "fit --help", "redteam --help"])
def test_help_loads_no_library_that_only_a_command_at_work_needs(args):
    program = (
        "import sys, judges, judges.__main__\n"
        f"try: judges.__main__.main({args.split()!r})\n"
        "except SystemExit: pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    loaded = set(done.stderr.split())
    assert "judges.__main__" in loaded
    assert not loaded & {"sklearn", "scipy", "plotly", "numpy", "pandas", "aiohttp", "httpx"}
