"""What serving is: whom, where, and how much of the machine it may take."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from judges.config import at_least


@dataclass(frozen=True, kw_only=True)
class Serve:
    """What a run trained, behind vLLM's OpenAI server, asked by default as it was trained."""

    run: Annotated[str, tyro.conf.Positional]
    """A run's folder, as in runs/NAME."""
    port: int = 8000
    """Of 127.0.0.1; 0 takes a free one."""
    longest: int = 4096
    """Prompt and answer together, in tokens; at most what the model was made for."""
    memory_share: float = 0.9
    """Of the GPU's memory."""
    cache_gib: int = 2
    """For keys and values where there is no GPU."""
    start_timeout_s: float = 600.0
    """vLLM has so long to come up."""

    def __post_init__(self) -> None:
        at_least("port", self.port, 0)
        at_least("longest", self.longest, 1)
        at_least("cache_gib", self.cache_gib, 1)
        if not 0 < self.memory_share <= 1:
            raise ValueError(f"memory_share is {self.memory_share}: it must be over 0, at most 1")
