"""Whether a policy may have read what it is asked: runs of words that its training data has too."""

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass

from rl.data.words import words

RUN_WORDS = 13
"""As GPT-3's authors looked for it: a shorter run may be a turn of phrase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    items: int
    overlapping: Mapping[str, str]
    """The first run of words that the training data has too, by item."""
    too_short: tuple[str, ...]
    """Items without a run: nothing can be said of them."""

    @property
    def share(self) -> float | None:
        """Of the items of which something can be said."""
        told = self.items - len(self.too_short)
        return len(self.overlapping) / told if told else None


def overlapping(
    train_texts: Iterable[str], item_texts: Mapping[str, str], *, run_words: int = RUN_WORDS
) -> Overlap:
    """The training texts are gone through once and are never all held; the items' runs are, each as
    a number."""
    wanted = runs_of(item_texts.values(), run_words)
    met = {
        number
        for text in train_texts
        for run in _runs(text, run_words)
        if (number := hash(run)) in wanted
    }
    first = {item: first_shared(text, met, run_words) for item, text in item_texts.items()}
    return Overlap(
        items=len(item_texts),
        overlapping={item: run for item, run in first.items() if run},
        too_short=tuple(
            item for item, text in item_texts.items() if not any(_runs(text, run_words))
        ),
    )


def runs_of(texts: Iterable[str], run_words: int = RUN_WORDS) -> set[int]:
    """Each as a number, good in this process alone."""
    return {hash(run) for text in texts for run in _runs(text, run_words)}


def first_shared(text: str, runs: Container[int], run_words: int = RUN_WORDS) -> str:
    """The first run of the text that is among these; empty where none is."""
    return " ".join(next((run for run in _runs(text, run_words) if hash(run) in runs), ()))


def _runs(text: str, run_words: int) -> Iterator[tuple[str, ...]]:
    said = words(text)
    return zip(*(said[n:] for n in range(run_words)), strict=False)
