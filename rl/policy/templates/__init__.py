"""Chat templates for models that lack what a run needs of theirs."""

from pathlib import Path

from rl.names import did_you_mean
from rl.refusal import Refusal

HERE = Path(__file__).parent
CHATML_THINK = HERE / "chatml-think.jinja"
"""Prompts of a ChatML model, with a think block that is closed at once unless it is told to think.
Only the last turn keeps its reasoning."""


def read_template(name: str) -> str:
    """One of those here, or a file of the user's."""
    shipped = {file.stem: file for file in HERE.glob("*.jinja")}
    file = shipped.get(name) or Path(name).expanduser()
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Refusal(
            f"policy.chat_template {name}: cannot be read ({error}){did_you_mean(name, shipped)}"
        ) from None
