"""Perplexity of plain text: each token after the first counts once, however long the document."""

import math
import random
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from rl.config import DataConfig
from rl.data.source import content_sha
from rl.evaluate.served import Served
from rl.evaluate.task import Candidate, Metric, Score, ratio_of
from rl.evaluate.text.documents import Document, read_domains
from rl.policy.load import Policy
from rl.refusal import Refusal

LOGITS_AT_ONCE = 2**27
"""In a batch: half a GiB in float32. A single window may take more."""
TILE_TOKENS = 256
SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Tokens from `scored` to `end` are scored, given those from `begin`."""

    begin: int
    scored: int
    end: int

    @property
    def tokens(self) -> int:
        return self.end - self.begin


def windows(tokens: int, *, longest: int, stride: int) -> Iterator[Window]:
    """Each full one but the first scores the next `stride` tokens, or what is left of them."""
    scored, end = 1, min(longest, tokens)
    while scored < end:
        yield Window(begin=max(0, end - longest), scored=scored, end=end)
        scored, end = end, min(end + stride, tokens)


def in_bits(nats: Any) -> Any:
    return nats / math.log(2)


def perplexity_tasks(
    name: str,
    config: DataConfig,
    *,
    flag: str,
    most_documents: int | None = None,
    seed: int = 0,
    window: int | None = None,
    stride: int | None = None,
) -> list["Perplexity"]:
    """One for each domain of a file or of a data set of the hub. `flag` is what named it."""
    of_data = {"data": name, "sha": content_sha(name, config, flag=flag)}
    tasks: list[Perplexity] = []
    for domain, documents in read_domains(name, config, flag=flag).items():
        of_domain = of_data | {"documents": len(documents)}
        random.Random(seed).shuffle(documents)  # so that fewer documents are some of the same
        tasks.append(
            Perplexity(
                f"perplexity-{domain}",
                documents[:most_documents],
                window=window,
                stride=stride,
                of_data=of_domain,
            )
        )
    return tasks


class Perplexity:
    metrics = (
        Metric(name="bits per byte", better="lower", of=ratio_of("nats", "bytes", then=in_bits)),
        Metric(
            name="perplexity per token",
            better="lower",
            of=ratio_of("nats", "tokens", then=numpy.exp),
        ),
        Metric(name="tokens per byte", better=None, of=ratio_of("tokens", "bytes")),
    )

    def __init__(
        self,
        name: str,
        documents: Sequence[Document],
        *,
        window: int | None = None,
        stride: int | None = None,
        of_data: Mapping[str, Any],
    ) -> None:
        """`window` is the candidate's own where it is not given, and `stride` half of it."""
        self.name = name
        self._documents = documents
        self._window, self._stride = window, stride
        self.items = [document.item for document in documents]
        self.facts = {**of_data, "window": window, "stride": stride}
        if window is not None and window < 2:
            raise Refusal(f"{name}: a window of {window} tokens has none to score. Give 2 or more")
        if stride is not None and stride < 1:
            raise Refusal(f"{name}: stride is {stride}; it must be at least 1")
        item, times = Counter(self.items).most_common(1)[0]
        if times > 1:
            raise Refusal(f"{name}: {times} documents are called {item!r}. Give each its own `id`")

    @property
    def texts(self) -> Mapping[str, str]:
        return {document.item: document.text for document in self._documents}

    def check(self, candidate: Candidate) -> None:
        if candidate.is_served:
            raise Refusal(
                f"{self.name}: perplexity wants the weights here, and a server keeps them. Name "
                "the model or its folder in place of the URL, or leave this task out"
            )
        self._longest_and_stride(candidate)

    def _longest_and_stride(self, candidate: Candidate) -> tuple[int, int]:
        longest = self._window or candidate.window
        if longest > candidate.window:
            raise Refusal(
                f"{self.name}: a window of {longest} tokens, and the model's own is "
                f"{candidate.window}. Give that or less"
            )
        stride = self._stride or longest // 2
        if stride >= longest:
            raise Refusal(
                f"{self.name}: a stride of {stride} in windows of {longest} tokens leaves some "
                f"without any before them. Give a stride under {longest}"
            )
        return longest, stride

    def score(
        self, policy: Policy | Served, candidate: Candidate, done: Collection[str]
    ) -> Iterator[Score]:
        assert not isinstance(policy, Served)
        longest, stride = self._longest_and_stride(candidate)
        documents = [
            _Tokens(document, policy.tokenizer, longest=longest, stride=stride)
            for document in self._documents
            if document.item not in done
        ]
        documents.sort(key=lambda document: len(document.ids))
        for document in documents:
            if not document.windows_left:
                yield document.score()
        spans = [(document, window) for document in documents for window in document.windows]
        for batch in _batches(spans, _tokens_at_once(policy.model)):
            for (document, _), nats in zip(batch, _nats_of(batch, policy), strict=True):
                document.nats.append(nats)
                if not document.windows_left:
                    yield document.score()

    def hold(self, scores: Sequence[Score]) -> None:
        for score in scores:
            if not math.isfinite(score.values["nats"]):
                raise Refusal(
                    f"{self.name}: {score.item} has {score.values['nats']} nats: the weights or "
                    "their dtype are broken. Look at the model, or choose another --policy.dtype"
                )
        if not any(score.values["tokens"] for score in scores):
            raise Refusal(f"{self.name}: no document has two tokens, so that none can be told from")


class _Tokens:
    """A document as a tokenizer has it, and what is known of it so far."""

    def __init__(self, document: Document, tokenizer: Any, *, longest: int, stride: int) -> None:
        self.document = document
        self.ids: list[int] = tokenizer(document.text, verbose=False)["input_ids"]
        self.windows = list(windows(len(self.ids), longest=longest, stride=stride))
        self.nats: list[float] = []
        # The text of the first token is not scored; one that begins every text stands for none.
        unscored = tokenizer.decode(
            self.ids[:1], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        self._bytes = len(document.text.encode()) - len(unscored.encode())

    @property
    def windows_left(self) -> int:
        return len(self.windows) - len(self.nats)

    def score(self) -> Score:
        scored = max(len(self.ids) - 1, 0)
        return Score(
            item=self.document.item,
            values={
                "nats": math.fsum(self.nats),
                "tokens": scored,
                "bytes": self._bytes if scored else 0,
            },
            shown={
                "text": self.document.text[:SHOWN_CHARACTERS],
                "windows": len(self.windows),
            },
        )


Span = tuple[_Tokens, Window]


def _tokens_at_once(model: Any) -> int:
    return max(1, LOGITS_AT_ONCE // model.config.get_text_config().vocab_size)


def _batches(spans: Sequence[Span], most_tokens: int) -> Iterator[list[Span]]:
    batch: list[Span] = []
    for span in spans:
        widest = max(window.tokens for _, window in (*batch, span))
        if batch and widest * (len(batch) + 1) > most_tokens:
            yield batch
            batch = []
        batch.append(span)
    if batch:
        yield batch


def _nats_of(batch: Sequence[Span], policy: Policy) -> list[float]:
    """What each window's scored tokens come to."""
    import torch

    model = policy.model
    rows = [tokens.ids[window.begin : window.end] for tokens, window in batch]
    padded = policy.tokenizer.pad(
        {"input_ids": rows}, padding_side="right", return_tensors="pt"
    ).to(model.device)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        logits_BLV = model(**padded).logits
    model.train(was_training)
    return [
        _nats(
            logits_LV[window.scored - 1 - window.begin : window.tokens - 1],
            ids_L[window.scored - window.begin : window.tokens],
        )
        for (_, window), logits_LV, ids_L in zip(
            batch, logits_BLV, padded["input_ids"], strict=True
        )
    ]


def _nats(logits_TV: Any, targets_T: Any) -> float:
    """A tile at a time, so that a long window's logits are not held twice."""
    import torch
    from torch.nn.functional import cross_entropy

    at_least_float32 = torch.promote_types(logits_TV.dtype, torch.float32)
    return math.fsum(
        cross_entropy(tile_tV.to(at_least_float32), targets_t, reduction="none")
        .double()
        .sum()
        .item()
        for tile_tV, targets_t in zip(
            logits_TV.split(TILE_TOKENS), targets_T.split(TILE_TOKENS), strict=True
        )
    )
