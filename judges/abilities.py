"""What a backend can be held to: the best is asked for, less once it refuses, and that is kept."""

import logging
import re
from dataclasses import dataclass

from judges.backends import Backend, Form
from judges.config import Grading
from judges.transport import HttpReply
from judges.wire import WIRES, Reply

log = logging.getLogger("judges")

_REFUSAL_STATUSES = (400, 404, 415, 422, 501)
_NOT_TAKEN = (
    r"unsupport|support|allow|permit|accept|unknown|unrecogni[sz]ed|unexpected|invalid|unavailable|"
    r"not available|deprecated|forbidden|extra|only|must|cannot|can't|param"
)


def _refusing(what: str) -> re.Pattern[str]:
    """The setting and a word of refusal close together: an error may quote the whole prompt."""
    near = r"[^\n]{0,80}?"
    return re.compile(rf"({what}){near}({_NOT_TAKEN})|({_NOT_TAKEN}){near}({what})", re.IGNORECASE)


_FORM_REFUSED = _refusing(
    "response_format|json_schema|json_object|structured|grammar|guided|tool|schema"
)
_LOGPROBS_REFUSED = _refusing("log_?probs")
_TEMPERATURE_REFUSED = _refusing("temperature")


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

    def lower(self, http: HttpReply, terms: Terms) -> bool:
        """Whether the reply refuses the terms, and there are lesser ones."""
        if http.status not in _REFUSAL_STATUSES:
            return False
        said = http.body[:2000].decode("utf-8", "replace")
        if terms.logprobs and _LOGPROBS_REFUSED.search(said):
            self.lose_logprobs(f"it refuses them: {said[:160]!r}")
            return True
        if terms.temperature and _TEMPERATURE_REFUSED.search(said):
            if self._temperature:
                self._temperature = False
                log.warning("%s takes no temperature; it samples as it likes", self._name)
            return True
        if terms.logprobs or terms.form == "text" or not _FORM_REFUSED.search(said):
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
