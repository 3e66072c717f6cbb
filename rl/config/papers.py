"""What papers are: a search of PubMed Central or a folder of files, and under which licences."""

from dataclasses import dataclass

from judges.config import at_least

USABLE = ("cc0", "public-domain", "cc-by", "cc-by-sa")


@dataclass(frozen=True, kw_only=True)
class Papers:
    """Open-access articles as sections, each paragraph once, with the licence of each article."""

    out: str
    """Folder that is made, and gone on with."""
    search: str | None = None
    """What to look for in PubMed Central, as on its page: "chest pain AND triage"."""
    folder: str | None = None
    """A folder of .nxml or .xml files in place of a search; needs no network."""
    limit: int = 100
    """Articles at most that a search takes, the most relevant first."""
    email: str = ""
    """Yours: who asks PubMed Central has to say so. Its key, if any, is read from NCBI_API_KEY."""
    licences: tuple[str, ...] = USABLE
    """What articles may be under. cc-by-nc, cc-by-nc-sa and the like only if you may."""
    eutils: str = "https://eutils.ncbi.nlm.nih.gov/entrez/eutils"
    """Where the search is."""
    bucket: str = "https://pmc-oa-opendata.s3.amazonaws.com"
    """Where the articles are, or a mirror of it."""

    def __post_init__(self) -> None:
        at_least("limit", self.limit, 1)
        if (self.search is None) == (self.folder is None):
            given = "neither is" if self.search is None else "both are"
            raise ValueError(
                f"search and folder: {given} given. Type --search WORDS to ask PubMed Central, or "
                "--folder DIR to read files that are here"
            )
        if self.search is not None and "@" not in self.email:
            raise ValueError(
                f"email is {self.email!r}: PubMed Central wants to know whom to write to. Type "
                "--email you@example.org"
            )
        if not self.licences:
            raise ValueError(f"licences is empty: no article could be used. Try {' '.join(USABLE)}")
