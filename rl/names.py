"""Names a person typed, and those they may have meant."""

from collections.abc import Iterable

from judges.names import nearest


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A sentence tail: the nearest known name, or all of them where they are few."""
    names = sorted(known)
    if near := nearest(name, names):
        return f": did you mean {near!r}?"
    return f". Known: {', '.join(names)}" if len(names) <= 12 else ""
