"""What a backend can be held to: the best is asked for, less once it refuses, and that is kept."""

import json
import logging
import re
from dataclasses import dataclass
from typing import cast

from judges.backends import Backend, Form
from judges.client.http import HttpReply
from judges.config import Grading
from judges.verdict import JudgeRequest
from judges.wire import WIRES, Reply

log = logging.getLogger("judges")

_REFUSAL_STATUSES = (400, 404, 415, 422, 501)
_NOT_TAKEN = (
    r"unsupport|support|allow|permit|accept|unknown|unrecogni[sz]ed|unexpected|invalid|unavailable|"
    r"not available|deprecated|forbidden|extra|only|must|cannot|can't|param"
)


_SETTINGS = {
    "logprobs": "log_?probs",
    "temperature": "temperature",
    "form": "response_format|json_schema|json_object|structured|grammar|guided|tool|schema",
}


def _refused(body: bytes, request: JudgeRequest) -> set[str]:
    """The settings that an error's own fields name, beside a word of refusal.

    A message may quote the prompt, so it is not believed about what the request itself names.
    """
    messages, names = _error_fields(body)
    asked = " ".join((request.question, request.answer, *request.accepted))
    return {
        setting
        for setting, name in _SETTINGS.items()
        if re.search(name, names, re.IGNORECASE)
        or (
            re.search(_refusing(name), messages, re.IGNORECASE)
            and not re.search(name, asked, re.IGNORECASE)
        )
    }


def _refusing(name: str) -> str:
    """The setting and a word of refusal close together."""
    near = r"[^\n]{0,80}?"
    return rf"({name}){near}({_NOT_TAKEN})|({_NOT_TAKEN}){near}({name})"


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
    entries = cast(list[object], found if isinstance(found, list) else [found])
    messages: list[str] = []
    names: list[str] = []
    for entry in entries:
        if not isinstance(entry, dict):
            messages.append(str(entry))
            continue
        fields = cast(dict[str, object], entry)
        said = (fields.get(key) for key in ("message", "msg", "type", "code"))
        messages.append(" ".join(map(str, filter(None, said))))
        names += [str(fields[key]) for key in ("param", "loc") if key in fields]
    return "\n".join(messages)[:2000], " ".join(names)[:200]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How one call is made."""

    form: Form
    logprobs: bool
    temperature: bool


class Abilities:
    """Many requests may be in flight when the first refusal comes; each is asked again for less."""

    def __init__(self, backend: Backend, *, logprobs: bool) -> None:
        self._name = f"{backend.name}:{backend.model}"
        self._forms = WIRES[backend.wire].forms
        self._form: Form = backend.form
        self._temperature = True
        self._gave_logprobs = False
        self.logprobs = logprobs

    def terms(self, *, may_be_logprobs: bool) -> Terms:
        logprobs = self.logprobs and may_be_logprobs
        return Terms(form=self._form, logprobs=logprobs, temperature=self._temperature)

    def lower(self, http: HttpReply, terms: Terms, request: JudgeRequest) -> bool:
        """Whether the reply refuses the terms, and there are lesser ones."""
        if http.status not in _REFUSAL_STATUSES:
            return False
        refused = _refused(http.body, request)
        if terms.logprobs and "logprobs" in refused:
            said = http.body[:160].decode("utf-8", "replace")
            self.lose_logprobs(f"it refuses them: {said!r}")
            return True
        if terms.temperature and "temperature" in refused:
            if self._temperature:
                self._temperature = False
                log.warning("%s takes no temperature; it samples as it likes", self._name)
            return True
        if terms.logprobs or terms.form == "text" or "form" not in refused:
            return False
        if self._form == terms.form:
            self._form = self._forms[self._forms.index(terms.form) + 1]
            log.warning("%s refuses %s; asking for %s", self._name, terms.form, self._form)
        return True

    def found_logprobs(self, reply: Reply) -> bool:
        self._gave_logprobs |= reply.logprobs is not None
        return reply.logprobs is not None

    def may_lose_logprobs(self, reply: Reply) -> bool:
        """Whether a reply without log-probs says that there are none to be had.

        An empty one does not, and neither does one from a judge that gave them before.
        """
        return bool(reply.text.strip()) and not self._gave_logprobs

    def lose_logprobs(self, why: str) -> None:
        if self.logprobs:
            self.logprobs = False
            log.warning(
                "%s gives no log-probs (%s): grading by schema instead, so scores are whole tiers "
                "and not expectations. Set judge.grading to schema to make this the plan",
                self._name,
                why,
            )

    @property
    def grading(self) -> Grading:
        return "labels" if self.logprobs else "schema"
