"""Which of many texts are nearly what an earlier one was.

Two texts are as near as the Jaccard similarity of their shingles: of the runs of a few words that
either has, the share that both have. MinHash proposes which earlier texts may be near; whether they
are is computed, so that nothing is dropped by an estimate.
"""

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from datasketch import MinHash, MinHashLSH

from rl.data.words import words

_ODD = np.uint64(0x9E3779B97F4A7C15)
PERMUTATIONS = 128
MISSED = 0.005
"""Of the pairs that are exactly as near as the threshold; nearer ones are missed less often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    to: int
    similarity: float


def nearest_kept(
    texts: Iterable[str], threshold: float, shingle_words: int
) -> Iterator[Near | None]:
    """Of each text the nearest earlier one that was kept; None where none is near, and it is
    kept."""
    bands, per_band = banding(threshold)
    blank = MinHash(num_perm=bands * per_band, hashfunc=int)
    kept_by_band = MinHashLSH(num_perm=bands * per_band, params=(bands, per_band))
    kept: dict[int, np.ndarray] = {}
    for place, text in enumerate(texts):
        own = shingles(text, shingle_words)
        hashed = blank.copy()
        hashed.update_batch((own >> 32).tolist())  # it takes numbers of 32 bits
        similarity_of = {to: jaccard(own, kept[to]) for to in sorted(kept_by_band.query(hashed))}
        nearest = max(similarity_of, key=similarity_of.__getitem__, default=None)
        if nearest is not None and similarity_of[nearest] >= threshold:
            yield Near(to=nearest, similarity=similarity_of[nearest])
        else:
            kept_by_band.insert(place, hashed)
            kept[place] = own
            yield None


def banding(threshold: float) -> tuple[int, int]:
    """Bands and their hashes: two texts are proposed where all hashes of some band are equal.

    The more hashes a band has, the fewer texts are proposed in vain; the bands that then miss no
    more than MISSED must not take more than PERMUTATIONS hashes in all.
    """
    for per_band in range(PERMUTATIONS // 2, 0, -1):
        found_by_one = threshold**per_band
        wanted = 1 if found_by_one == 1 else math.log(MISSED) / math.log1p(-found_by_one)
        bands = max(2, math.ceil(wanted))  # fewer the library does not take
        if bands * per_band <= PERMUTATIONS:
            return bands, per_band
    raise AssertionError(threshold)


def shingles(text: str, n_words: int) -> np.ndarray:
    """Its runs of words, each as a number of 64 bits, in order and once; a shorter text is one."""
    said = np.array([_number(word) for word in words(text)], dtype=np.uint64)
    n_words = min(n_words, len(said))
    count = len(said) - n_words + 1 if n_words else 0
    runs = np.zeros(count, dtype=np.uint64)
    for place in range(n_words):
        runs = (runs ^ (runs >> np.uint64(29))) * _ODD + said[place : place + count]
    return np.unique(runs)


def jaccard(some: np.ndarray, others: np.ndarray) -> float:
    both = np.intersect1d(some, others, assume_unique=True).size
    either = len(some) + len(others) - both
    return both / either if either else 0.0


@lru_cache(maxsize=1 << 18)
def _number(word: str) -> int:
    # the same in every process, which Python's own hash is not
    return int.from_bytes(
        hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    )
