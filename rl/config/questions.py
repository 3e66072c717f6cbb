"""What written questions are: from which sections, by whom, judged by whom, and what is kept."""

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from judges.commands.answers import UNUSED
from judges.commands.flags import refuse_settings
from judges.config import JudgeConfig, at_least, share_of_one


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Sections to questions with answers: written by one model, judged by another, kept or not."""

    sections: Annotated[str, tyro.conf.Positional]
    """The sections.jsonl of experiments.papers."""
    out: str
    """Folder that is made, and gone on with."""
    kinds: str | None = None
    """TOML file of the kinds of questions, as rl/data/questions/kinds.toml is."""
    clinical_only: bool = True
    """Leave out articles that are not about patients."""
    min_chars: int = 400
    """A passage shorter than this is no basis for a question."""
    max_chars: int = 6000
    """A longer section is several passages of whole paragraphs."""
    limit: int | None = None
    """Questions to ask for, drawn by the seed; None is every kind from every passage it fits."""
    min_relevance: int = 4
    """From 1 to 5, as the judge rates it; what is below is dropped."""
    min_faithfulness: int = 4
    min_realism: int = 3
    near: float = 0.8
    """A question that shares so much of its words with an earlier one is dropped."""
    heldout_share: float = 0.05
    """Of the questions, kept back with all of their articles."""
    ask_again: int = 3
    """Times that what came to no answer is asked again."""
    seed: int = 0
    """Of what the limit leaves, and of the articles kept back."""
    dry_run: bool = False
    """Say what it would ask and cost, and ask nothing."""
    writer: JudgeConfig = field(default_factory=JudgeConfig)
    judge: JudgeConfig = field(default_factory=JudgeConfig)

    def __post_init__(self) -> None:
        for name in ("min_relevance", "min_faithfulness", "min_realism"):
            if (value := getattr(self, name)) not in range(1, 6):
                raise ValueError(f"{name} is {value}: a rating is from 1 to 5")
        at_least("limit", self.limit, 1)
        at_least("ask_again", self.ask_again, 0)
        at_least("max_chars", self.max_chars, self.min_chars)
        if not 0.2 <= self.near <= 1:
            raise ValueError(
                f"near is {self.near}: it must be from 0.2, where questions on one subject are "
                "near, to 1"
            )
        share_of_one("heldout_share", self.heldout_share)
        for name in ("writer", "judge"):
            asked: JudgeConfig = getattr(self, name)
            where = "questions are written and rated"
            refuse_settings(asked, (*UNUSED, "grading", "rationale"), where=where)
            if asked.backend == "rules":
                raise ValueError(
                    f"{name}.backend is rules, which compares words with a truth and cannot read "
                    f"a section. Name a model: --{name}.backend deepseek, or custom with its "
                    f"--{name}.url and --{name}.model"
                )
