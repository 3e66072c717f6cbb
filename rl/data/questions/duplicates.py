"""Questions that are near another, by the words they share: exactly, without comparing all."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Sequence


def words_of(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.casefold()))


def repeats(texts: Sequence[str], near: float) -> dict[int, int]:
    """Of each text that shares a `near` part of its words with an earlier one that stays: which.

    Two sets that are so near share one of their rarest words, so only those are looked up.
    """
    sets = [words_of(text) for text in texts]
    counts = Counter(word for words in sets for word in words)
    found: dict[int, int] = {}
    with_word: defaultdict[str, list[int]] = defaultdict(list)
    for place, words in enumerate(sets):
        rarest = sorted(words, key=lambda word: (counts[word], word))
        rarest = rarest[: len(words) - math.ceil(near * len(words) - 1e-9) + 1]
        candidates = sorted({other for word in rarest for other in with_word[word]})
        twin = next((c for c in candidates if _jaccard(words, sets[c]) >= near), None)
        if twin is not None:
            found[place] = twin
            continue
        for word in rarest:
            with_word[word].append(place)
    return found


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)
