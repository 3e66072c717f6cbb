"""A vLLM server that is asked in the policy's place."""

import json
import urllib.error
import urllib.request
from dataclasses import dataclass

from rl.refusal import Refusal

_TIMEOUT_S = 10.0


@dataclass(frozen=True, kw_only=True)
class Served:
    """`model` is a name that the server knows: its base's, or an adapter's."""

    url: str
    model: str

    @property
    def root(self) -> str:
        return self.url.rstrip("/").removesuffix("/v1")

    @property
    def completions(self) -> str:
        return f"{self.root}/v1/completions"


def served_at(url: str, model: str | None = None) -> Served:
    """The model of that name there, or the server's own."""
    root = Served(url=url, model="").root
    try:
        with urllib.request.urlopen(f"{root}/v1/models", timeout=_TIMEOUT_S) as reply:
            known = [each["id"] for each in json.load(reply)["data"]]
    except (OSError, ValueError, KeyError) as error:
        raise Refusal(
            f"{url}: no server that lists its models there ({error}). Is it up?"
        ) from None
    if model is not None and model not in known:
        raise Refusal(f"{url} serves no {model!r}. It serves {', '.join(known)}")
    return Served(url=root, model=model or known[0])
