"""How much of each source of a mixture is learnt from, in tokens."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from rl.refusal import Refusal
from rl.sft.rows import TokenRow


def in_shares(rows: Sequence[TokenRow], shares: Mapping[str, float]) -> list[TokenRow]:
    """As many rows of each source as make up its share of the learnt tokens, none twice.

    The source that has least for its share is taken whole, and of the others the last row ends
    where their share does; which rows these are is the same for every seed.
    """
    has = tokens_of(rows)
    for name in shares:
        if not has[name]:
            raise Refusal(
                f"--data.train, [{name}]: none of its rows can be learnt from. Look at them, or "
                "take it out and give its share to others"
            )
    whole = min(has[name] / share for name, share in shares.items())
    taken: list[TokenRow] = []
    for name, share in shares.items():
        mine = [row for row in rows if row.example.domain == name]
        random.Random(0).shuffle(mine)
        room = round(share * whole)
        for row in mine:
            if room < 2:  # of one token alone nothing can be learnt
                break
            taken.append(row.begun(room))
            room -= row.learnt_tokens
    return taken


def tokens_of(rows: Sequence[TokenRow]) -> Counter[str]:
    tokens: Counter[str] = Counter()
    for row in rows:
        tokens[row.example.domain] += row.learnt_tokens
    return tokens


def said_of_shares(rows: Sequence[TokenRow], taken: Sequence[TokenRow]) -> str:
    has, takes = tokens_of(rows), tokens_of(taken)
    parts = [
        f"{name} {count / takes.total():.1%} ({count:,} of {has[name]:,} tokens)"
        for name, count in takes.items()
    ]
    return f"mixture: {', '.join(parts)}"
