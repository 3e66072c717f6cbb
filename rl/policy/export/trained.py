"""What a run trained, as its folder tells it."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rl.config import PolicyConfig
from rl.config.kinds import TRAININGS
from rl.config.shared import TrainingRun
from rl.data.rows import messages_of, prompt_ids
from rl.data.source import SHIPPED
from rl.policy.adapter import BASE, with_adapters_lora
from rl.policy.fit import checked_blueprint
from rl.policy.load import load_tokenizer, resolved_dtype
from rl.policy.models import WHOLE
from rl.refusal import Refusal
from rl.run.folder import settings_as_learnt

Messages = list[dict[str, str]]


@dataclass(frozen=True, kw_only=True)
class Trained:
    run: Path
    config: TrainingRun
    policy: PolicyConfig
    """Its adapter is the one that the run left, its dtype that of the training."""
    tokenizer: Any

    @property
    def adapter(self) -> Path:
        return self.run / "adapter"

    def messages(self, question: str) -> Messages:
        return messages_of(question, self.config.data)

    def prompt(self, messages: Messages) -> list[int]:
        return prompt_ids(messages, self.tokenizer, self.config.data.thinking)

    @property
    def thinks(self) -> bool:
        """Whether its prompts are those of a template that is told to think."""
        asked = self.messages("?")
        return self.prompt(asked) == prompt_ids(asked, self.tokenizer, True)


def trained_by(name: str) -> Trained:
    """Refusal where no run was, or nothing whole came of it."""
    run = Path(name).expanduser()
    config = _config_of(run)
    if config.policy.learns == "weights":
        raise Refusal(
            f"{name} trained the model's own weights: {name}/{WHOLE} is a whole model, for "
            "transformers, vLLM and --policy.model as it is"
        )
    if not (run / "adapter").is_dir():
        raise Refusal(
            f"{name} has no adapter: the run did not come to its end. Go on with it by --resume "
            f"{name}"
        )
    policy = dataclasses.replace(config.policy, adapter=str(run))
    policy = with_adapters_lora(policy, str(run))
    tokenizer = load_tokenizer(policy)
    checked_blueprint(policy, tokenizer)
    policy = dataclasses.replace(policy, dtype=_dtype_of(run / "adapter" / BASE, policy))
    return Trained(run=run, config=config, policy=policy, tokenizer=tokenizer)


def questions(trained: Trained, count: int) -> list[str]:
    """Those that the run was measured on, then ours."""
    files = [trained.run / "heldout_after.jsonl", *sorted(SHIPPED.glob("*.jsonl"))]
    asked: dict[str, None] = {}
    for file in filter(Path.is_file, files):
        for line in file.read_text(encoding="utf-8").splitlines():
            if question := json.loads(line).get("question"):
                asked[question] = None
    if len(asked) < count:
        raise Refusal(f"--prompts {count}: there are {len(asked)} questions. Take fewer")
    return list(asked)[:count]


def _config_of(run: Path) -> TrainingRun:
    try:
        kind = json.loads((run / "config.json").read_text(encoding="utf-8")).get("kind")
    except (OSError, ValueError, AttributeError) as error:
        raise Refusal(
            f"{run} is not a run's folder ({error}). Name one that has a config.json of its own, "
            "as in runs/NAME"
        ) from None
    if kind not in TRAININGS:
        raise Refusal(f"{run} is not a run's folder: its config.json is of kind {kind}")
    try:
        return settings_as_learnt(run, kind, flag="RUN")
    except ValueError as error:
        raise Refusal(str(error)) from None


def _dtype_of(base: Path, policy: PolicyConfig) -> Any:
    """What it was loaded in, wherever that was."""
    if not base.is_file():
        return resolved_dtype(policy)
    return json.loads(base.read_text(encoding="utf-8"))["dtype"]
