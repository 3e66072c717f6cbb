"""What a backend is asked for beyond words, and what its refusal says it will not do."""

import json
import logging
import re
from dataclasses import dataclass, replace
from typing import Literal, cast

from judges.client.backends import Backend, Form
from judges.config import Grading
from judges.verdict import JudgeRequest

log = logging.getLogger("judges")

Feature = Literal["logprobs", "temperature", "form"]

_REFUSAL_STATUSES = (400, 404, 415, 422, 501)
_NAMES: dict[Feature, str] = {
    "logprobs": "log_?probs",
    "temperature": "temperature",
    "form": "response_format|json_schema|json_object|structured|grammar|guided|tool|schema",
}
_NOT_TAKEN = (
    r"unsupport|support|allow|permit|accept|unknown|unrecogni[sz]ed|unexpected|invalid|unavailable|"
    r"not available|deprecated|forbidden|extra|only|must|cannot|can't|param"
)
_NEAR = r"[^\n]{0,80}?"


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    form: Form
    logprobs: bool
    temperature: bool = True

    @property
    def grading(self) -> Grading:
        return "labels" if self.logprobs else "schema"

    def of(self, *, logprobs: bool) -> "Features":
        """What is asked for of one that may, or may not, be answered by log-probs."""
        return self if logprobs else replace(self, logprobs=False)


class Terms:
    """What a backend is asked for: the best at first, and no more of what it refuses."""

    def __init__(self, backend: Backend, forms: tuple[Form, ...], *, logprobs: bool) -> None:
        self.now = Features(form=backend.form, logprobs=logprobs)
        self._name = f"{backend.name}:{backend.model}"
        self._lesser_forms = list(forms[forms.index(backend.form) + 1 :])

    def give_up(self, feature: Feature, sent: Features, why: str) -> bool:
        """Whether there is less to ask for. Another's refusal may have come first."""
        if getattr(self.now, feature) != getattr(sent, feature):
            return True
        if feature == "logprobs":
            self.now = replace(self.now, logprobs=False)
            log.warning(
                "%s gives no log-probs (%s): its words are read instead, so scores are whole "
                "tiers and not expectations. Set judge.grading to schema to make this the plan",
                self._name,
                why,
            )
        elif feature == "temperature":
            self.now = replace(self.now, temperature=False)
            log.warning("%s takes no temperature; it samples as it likes", self._name)
        elif self._lesser_forms:
            self.now = replace(self.now, form=self._lesser_forms.pop(0))
            log.warning("%s refuses %s; asking for %s", self._name, sent.form, self.now.form)
        else:
            return False
        return True


def refused(status: int, body: bytes, sent: Features, request: JudgeRequest) -> Feature | None:
    """What of it an error refuses, by its own fields.

    A message may quote the prompt, so it is not believed about what the request itself names.
    """
    if status not in _REFUSAL_STATUSES:
        return None
    said, named = _error_fields(body)
    asked = " ".join((request.question, request.answer, *request.accepted))
    for feature, name in _NAMES.items():
        if not getattr(sent, feature) or (feature == "form" and sent.logprobs):
            continue  # it was not asked for
        refusal = f"({name}){_NEAR}({_NOT_TAKEN})|({_NOT_TAKEN}){_NEAR}({name})"
        is_said = re.search(refusal, said, re.IGNORECASE)
        is_quoted = is_said and re.search(name, asked, re.IGNORECASE)
        if (is_said and not is_quoted) or re.search(name, named, re.IGNORECASE):
            return feature
    return None


def _error_fields(body: bytes) -> tuple[str, str]:
    """What it says, and which parameters it names, in the shapes that servers have for an error."""
    try:
        error = cast(object, json.loads(body))
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(error, dict):
        return "", ""
    error = cast(dict[str, object], error)
    found = error.get("error") or error.get("detail") or error
    lines: list[str] = []
    names: list[str] = []
    for entry in cast(list[object], found if isinstance(found, list) else [found]):
        fields = cast(dict[str, object], entry if isinstance(entry, dict) else {"msg": entry})
        said = (fields.get(key) for key in ("message", "msg", "type", "code"))
        lines.append(" ".join(map(str, filter(None, said))))
        names += [str(fields[key]) for key in ("param", "loc") if key in fields]
    return "\n".join(lines)[:2000], " ".join(names)[:200]
