"""Steps that leave out what an earlier row says already, by the letter or nearly."""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rl.data.curate.row import Row
from rl.data.curate.step import Step, check_package
from rl.refusal import Refusal


@dataclass(frozen=True, kw_only=True)
class ExactDuplicates(Step):
    """Case, width and blanks count for nothing."""

    def whys(self, rows: Sequence[Row]) -> Iterable[str]:
        first: dict[bytes, int] = {}
        for place, row in enumerate(rows):
            folded = "".join(unicodedata.normalize("NFKC", row.text).casefold().split())
            digest = hashlib.blake2b(
                folded.encode("utf-8", "surrogatepass"), digest_size=16
            ).digest()
            earlier = first.setdefault(digest, place)
            yield "" if earlier == place else f"the same as {rows[earlier].where}"


@dataclass(frozen=True, kw_only=True)
class NearDuplicates(Step):
    """Held against the rows that stay, so that no row is dropped for one that is dropped too."""

    threshold: float = 0.7
    shingle_words: int = 3

    def __post_init__(self) -> None:
        check_package("datasketch", "near_duplicates")
        if not 0.2 <= self.threshold <= 1:
            raise Refusal(
                f"near_duplicates={self.threshold}: it must be from 0.2 to 1. Below that, texts on "
                "one subject are near"
            )
        if self.shingle_words < 1:
            raise Refusal(
                f"near_duplicates: shingle_words is {self.shingle_words}, must be 1 or more"
            )

    def whys(self, rows: Sequence[Row]) -> Iterable[str]:
        from rl.data.curate.near import nearest_kept

        texts = (row.text for row in rows)
        for near in nearest_kept(texts, self.threshold, self.shingle_words):
            yield f"{near.similarity:.2f} of {rows[near.to].where}" if near else ""
