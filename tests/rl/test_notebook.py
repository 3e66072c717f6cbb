"""The notebook runs from top to bottom on a recorded run, and only reads."""

import ast
import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from rl.report import report_figures

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "notebooks" / "read_a_run.ipynb"
PLOTLY = "application/vnd.plotly.v1+json"


def test_the_notebook_draws_a_recorded_run(recorded_run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RUN", str(recorded_run))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    drawn = [output["data"][PLOTLY] for output in outputs if PLOTLY in output.get("data", {})]
    figures = {figure["layout"]["title"].get("text"): figure for figure in drawn}
    printed = "".join(output.get("text", "") for output in outputs)
    assert len(drawn) == 10
    reports = dict(report_figures(recorded_run))
    for title in figures.keys() - {None}:
        assert figures[title]["data"] == json.loads(reports[title].to_json())["data"]
    assert "quickstart 24 generations" in printed
    assert "held-out reward" in printed


def test_the_notebook_defines_nothing_and_carries_no_output():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    assert not [n for n in nodes if isinstance(n, ast.FunctionDef | ast.ClassDef | ast.Lambda)]
    assert not [cell for cell in cells if cell.outputs or cell.execution_count]
