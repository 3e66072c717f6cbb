"""Which open-access articles are there on a subject, what do they say, and may it be used?

A search of PubMed Central or a folder of files, to one file of sections: each paragraph once, under
its headings, with its article's licence. The same command goes on from where it was stopped.
"""

from rl.command import command
from rl.config.papers import Papers


def papers(settings: Papers) -> None:
    from rl.data.papers.collect import collect

    collect(settings)


if __name__ == "__main__":
    kept = "what was fetched is kept, and the same command goes on from there"
    command(Papers, papers, prog="papers", description=__doc__, kept=kept)
