"""What turns a completion into a reward, as settings."""

from dataclasses import dataclass

from rewards.families import family_named


@dataclass(frozen=True, slots=True, kw_only=True)
class RewardConfig:
    """Reasoning format, and the gates that need no judge. Zero switches an optional gate off."""

    family: str = "auto"
    """How reasoning is marked: auto, think, harmony, mistral, gemma or reasoning_content."""
    floor: float = -1.0
    """Reward of a completion that no judge is asked about: empty, truncated, unclosed, gated."""
    max_answer_chars: int = 0
    """Longest answer that is sent to the judge."""
    max_repetition: float = 0.0
    """Largest share of an answer's word triples that may be repeats of earlier ones."""
    check_language: bool = False
    """Whether an answer must be written in the script of the row's language (zh, en)."""

    def __post_init__(self) -> None:
        if self.family != "auto":
            family_named(self.family)
        if self.floor != self.floor or abs(self.floor) == float("inf"):
            raise ValueError(
                f"reward.floor={self.floor}: a reward must be a finite number. "
                "Use the rubric's lowest score, -1.0."
            )
        if self.max_answer_chars < 0:
            raise ValueError(
                f"reward.max_answer_chars={self.max_answer_chars}: a length cannot be negative. "
                "Use 0 for no limit."
            )
        if not 0 <= self.max_repetition <= 1:
            raise ValueError(
                f"reward.max_repetition={self.max_repetition}: a share lies between 0 and 1. "
                "Use 0 for no limit, or 0.5."
            )
