"""Whom lm-evaluation-harness asks: a policy in this process, a server, or a tokenizer alone."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from lm_eval.models.huggingface import HFLM
from lm_eval.models.openai_completions import LocalCompletionsAPI

from rl.evaluate.served import Served
from rl.evaluate.task import Candidate
from rl.policy.load import Policy
from rl.refusal import Refusal

# One row at a time is quickest where there is nothing to fill up: rows are padded to the longest.
_ROWS_ON_GPU = 4
# The server answers once it has weighed a whole chunk.
_TIMEOUT_S = 3600
Answers = list[tuple[float, bool]]


@contextlib.contextmanager
def asked_by_harness(policy: Policy | Served, candidate: Candidate) -> Iterator[Any]:
    if isinstance(policy, Served):
        yield _OnServer(policy, candidate)
        return
    # Of what it warns, nothing concerns us: a model that is loaded already is what it is given.
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    was_training = policy.model.training
    try:
        yield _InProcess(
            pretrained=policy.model,
            backend="causal",
            tokenizer=candidate.tokenizer,
            max_length=candidate.window,
            batch_size=1 if policy.model.device.type == "cpu" else _ROWS_ON_GPU,
            softmax_dtype="float32",
        )
    finally:
        policy.model.train(was_training)


class _AsPrompted:
    """The harness takes a prompt's last blanks for the option's first, and a chat template ends in
    such: every option would be as much less likely, and its length would be wrong."""

    def _encode_pair(self: Any, context: str, continuation: str) -> tuple[list[int], list[int]]:
        start = len(self.tok_encode(context))
        whole = self.tok_encode(context + continuation)
        return whole[:start], whole[start:]


class _InProcess(_AsPrompted, HFLM):
    pass


class TokenCounts(_AsPrompted, HFLM):
    """Tells of each request how many tokens it has, instead of how likely it is."""

    def __init__(self, tokenizer: Any) -> None:
        super(HFLM, self).__init__()
        self.tokenizer = tokenizer
        self.add_bos_token = self.custom_prefix_token_id = self.enable_thinking = None

    def of(self, requests: Any) -> list[int]:
        return self.loglikelihood(requests, disable_tqdm=True)

    def _loglikelihood_tokens(self, requests: Any, **_: Any) -> Any:
        return [len(context) + len(continuation) for _, context, continuation in requests]


class _OnServer(_AsPrompted, LocalCompletionsAPI):
    """Asks with the tokens that the policy would be asked with here, a chunk in one request."""

    tok_encode = HFLM.tok_encode

    def __init__(self, served: Served, candidate: Candidate) -> None:
        super().__init__(
            base_url=served.completions,
            model=served.model,
            tokenizer_backend="huggingface",
            tokenizer=candidate.tokenizer.name_or_path,
            max_length=candidate.window,
            add_bos_token=None,
            timeout=_TIMEOUT_S,
            # its own would carry OPENAI_API_KEY to whoever answers there
            header={"Content-Type": "application/json"},
        )

    def _loglikelihood_tokens(self, requests: Any, **_: Any) -> Answers:
        inputs, context_lengths, _keys = self.batch_loglikelihood_requests([requests])
        try:
            reply = self.model_call(inputs, generate=False)
        except OSError as error:
            said = getattr(getattr(error, "response", None), "text", "") or error
            raise Refusal(
                f"{self.base_url} does not tell how likely an option is ({str(said)[:300]}). What "
                "is scored is kept: see to it and go on"
            ) from None
        return self.parse_logprobs(reply, ctxlens=context_lengths)
