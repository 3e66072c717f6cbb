"""A run as one HTML file that needs nothing else: no network, no server, no library.

Everything a model or a judge wrote is data: the template escapes it, figures carry it as text, and
the page's own policy lets nothing run but its two scripts, nor anything load.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def write_report(folder: Path) -> Path:
    """Build `folder/report.html` from what the run left there, finished or not."""
    from rl.report.page import SECTIONS, page  # plotly: only where something is drawn
    from rl.report.panels import read_record

    path = folder / "report.html"
    part = path.with_suffix(".part")
    record = read_record(folder)
    part.write_text(page(record, SECTIONS[record.run.kind]), encoding="utf-8")
    os.replace(part, path)
    return path


def report_figures(folder: Path) -> Iterator[tuple[str, Any]]:
    """The report's figures by their titles, each a plotly figure to be shown elsewhere."""
    from rl.report.page import SECTIONS
    from rl.report.panels import figures, read_record

    record = read_record(folder)
    yield from figures(record, SECTIONS[record.run.kind])
