"""Names a person typed, and those they may have meant."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence tail: the nearest known name, or all of them where they are few."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f": did you mean {near[0]!r}?"
    return f". Known: {', '.join(names)}" if len(names) <= 12 else ""
