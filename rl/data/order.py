"""Which rows a generation asks about: a function of the seed and the generation, nothing else.

So a run that is resumed, or one that samples ahead, needs no state to know what comes next.
"""

import functools
import itertools
import math
import random


def rows_of(generation: int, *, seed: int, prompts: int, rows: int) -> list[int]:
    """Indices of the `prompts` rows of a generation, which counts from 1.

    The data is gone through in passes, each in an order of its own, and a pass that ends within a
    generation is followed by the next. No row is twice in a generation unless there are too few.
    """
    first = (generation - 1) * prompts
    last = first + prompts - 1
    passes = _orders(first // rows, last // rows, seed=seed, prompts=prompts, rows=rows)
    return [passes[place // rows][place % rows] for place in range(first, last + 1)]


def _orders(first: int, last: int, *, seed: int, prompts: int, rows: int) -> dict[int, list[int]]:
    """Of the passes from `first` to `last`, each fitted to the end of the one before it.

    Fitting moves nothing but the first `prompts` rows of a pass. Where that may reach its end, the
    passes are fitted one after another, from the last one that began with a generation.
    """
    aligned = prompts // math.gcd(prompts, rows)
    start = max(0, first - 1) if rows >= 2 * prompts else first - first % aligned
    orders: dict[int, list[int]] = {}
    for number in range(start, last + 1):
        order = list(_shuffled(seed, number, rows))
        begun = number * rows % prompts
        if begun and number - 1 in orders:
            asked = set(orders[number - 1][-begun:])
            fresh = [row for row in order if row not in asked][: prompts - begun]
            order = fresh + [row for row in order if row not in set(fresh)]
        orders[number] = order
    return orders


def in_passes(count: int, *, seed: int, rows: int) -> list[int]:
    """The first `count` indices of pass after pass through the rows, each in its own order."""
    passes = (_shuffled(seed, number, rows) for number in itertools.count())
    return list(itertools.islice(itertools.chain.from_iterable(passes), count))


@functools.lru_cache(maxsize=4)
def _shuffled(seed: int, number: int, rows: int) -> tuple[int, ...]:
    order = list(range(rows))
    random.Random(f"{seed}/{number}").shuffle(order)
    return tuple(order)
