"""Which of these rows are worth training on?

Each step rewrites rows or leaves some out, counts what it took and shows some of it; a datasheet
says what the rows that are left are.
"""

from rl.command import command
from rl.config.curate import Curation
from rl.data.curate.curate import curate

if __name__ == "__main__":
    command(Curation, curate, prog="curate", description=__doc__)
