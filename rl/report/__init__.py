"""A run as one HTML file that needs nothing else: no network, no server, no library.

Everything a model or a judge wrote is data: it is escaped where it is put in (`markup`), and the
page's own policy lets nothing run but its one script, nor anything load.
"""

from rl.report.page import write_report

__all__ = ["write_report"]
