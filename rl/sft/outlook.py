"""What a run will learn from: rows as they are read, as they are learnt, and what is left out."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rl.config.sft import SFTRun
from rl.data.examples import Example, load_examples
from rl.refusal import Refusal
from rl.sft.rows import LeftOut, TokenRow


def preflight(config: SFTRun) -> str:
    """Without a tokenizer, so that rows that will prove too long still count."""
    train, heldout = load_examples(config.data)
    broken = [example for example in (*train, *heldout) if example.fault]
    lines = [said_of_rows(config, train, heldout)]
    if broken:
        lines.append(f"  {len(broken)} of them are broken: {broken[0].where}: {broken[0].fault}")
    return "\n".join(lines)


def said_of_rows(config: SFTRun, train: Sequence[Any], heldout: Sequence[Any]) -> str:
    said = f"data {config.data.train}: {len(train):,} rows to learn from, {len(heldout):,} held out"
    if config.data.heldout_rows and not heldout:
        said += (
            '\n  nothing to measure on: add --data.heldout sample, or mark rows "split": "heldout"'
        )
    return said


def said_of_steps(config: SFTRun, rows: Sequence[TokenRow], steps: int) -> str:
    tokens = sum(len(row.token_ids) for row in rows)
    learnt = tokens - sum(row.prompt_tokens for row in rows)
    return (
        f"{tokens:,} tokens, {learnt / tokens:.0%} of them learnt; {steps:,} steps of "
        f"{config.sft.batch_rows} {_unit(config)}"
    )


def _unit(config: SFTRun) -> str:
    if config.sft.blocks:
        return "blocks"
    return "packs" if config.sft.packing else "rows"


def said_of_left_out(left_out: Sequence[LeftOut], of: int) -> str:
    """How many and why, the first of each kind by its line."""
    first = {row.kind: row for row in reversed(left_out)}
    counts = Counter(row.kind for row in left_out)
    kinds = [
        f"{count:,} {kind} ({first[kind].where}: {first[kind].reason})"
        for kind, count in counts.items()
    ]
    return f"left out {len(left_out):,} of {of:,} rows: {'; '.join(kinds)}"


def refuse_nothing_left(examples: Sequence[Example], left_out: Sequence[LeftOut]) -> None:
    first = left_out[0]
    raise Refusal(
        f"none of {len(examples):,} rows can be learnt from. {first.where}: {first.reason}"
    )


def refuse_what_is_no_text(examples: Sequence[Example]) -> None:
    for example in examples:
        if not example.fault and example.prompt != "":
            raise Refusal(
                f"sft.blocks and {example.where}: it has a prompt, which is not learnt, and a "
                'block learns all. Rows of plain text are {"text": ...}; for others, type '
                "--sft.no-blocks"
            )


def length_shares(rows: Sequence[TokenRow]) -> Mapping[str, float]:
    """Share of rows by their length in tokens, in doubling steps."""
    tops = [max(64, 1 << (len(row.token_ids) - 1).bit_length()) for row in rows]
    counts = Counter(tops)
    return {f"up to {top:,}": counts[top] / len(rows) for top in sorted(counts)}
