"""What a backend can be held to: the best is asked for, less once it refuses, and that is kept."""

import logging
import re
from dataclasses import dataclass

from judges.backends import FORMS, Backend, Form
from judges.config import Grading
from judges.transport import HttpReply

log = logging.getLogger("judges")

_REFUSAL_STATUSES = (400, 404, 415, 422, 501)
_FORM_REFUSED = re.compile(
    r"response_format|json_schema|json_object|structured|grammar|guided|tool|schema", re.IGNORECASE
)
_LOGPROBS_REFUSED = re.compile(r"log_?probs", re.IGNORECASE)
_TEMPERATURE_REFUSED = re.compile(r"temperature", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How one call is made."""

    form: Form
    letters: bool
    temperature: bool


class Abilities:
    """Many requests may be in flight when the first refusal comes; each is asked again for less."""

    def __init__(self, backend: Backend, *, letters: bool) -> None:
        self._name = f"{backend.name}:{backend.model}"
        self._form: Form = backend.form
        self._temperature = True
        self.letters = letters

    def terms(self, *, may_be_letters: bool) -> Terms:
        letters = self.letters and may_be_letters
        return Terms(form=self._form, letters=letters, temperature=self._temperature)

    def lower(self, http: HttpReply, terms: Terms) -> bool:
        """Whether the reply refuses the terms, and there are lesser ones."""
        if http.status not in _REFUSAL_STATUSES:
            return False
        said = http.body[:2000].decode("utf-8", "replace")
        if terms.letters and _LOGPROBS_REFUSED.search(said):
            self.lose_letters(f"it refuses them: {said[:160]!r}")
            return True
        if terms.temperature and _TEMPERATURE_REFUSED.search(said):
            if self._temperature:
                self._temperature = False
                log.warning("%s takes no temperature; it samples as it likes", self._name)
            return True
        if terms.letters or terms.form == "text" or not _FORM_REFUSED.search(said):
            return False
        if self._form == terms.form:
            self._form = FORMS[FORMS.index(terms.form) + 1]
            log.warning("%s refuses %s; asking for %s", self._name, terms.form, self._form)
        return True

    def lose_letters(self, why: str) -> None:
        if self.letters:
            self.letters = False
            log.warning(
                "%s gives no log-probs (%s): grading by schema instead, so scores are whole tiers "
                "and not expectations. Set judge.grading to schema to make this the plan",
                self._name,
                why,
            )

    @property
    def grading(self) -> Grading:
        return "labels" if self.letters else "schema"
