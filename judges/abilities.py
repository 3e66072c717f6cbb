"""What a backend can be held to: the best is asked for, less once it refuses, and that is kept."""

import logging
import re
from typing import Literal

from judges.backends import FORMS, Backend, Form
from judges.transport import HttpReply

log = logging.getLogger("judges")

_REFUSAL_STATUSES = (400, 404, 415, 422, 501)
_FORM_REFUSED = re.compile(
    r"response_format|json_schema|json_object|structured|grammar|guided|tool|schema", re.IGNORECASE
)
_LOGPROBS_REFUSED = re.compile(r"log_?probs", re.IGNORECASE)


class Abilities:
    """Many requests may be in flight when the first refusal comes; each is asked again for less."""

    def __init__(self, backend: Backend, *, labels: bool) -> None:
        self._name = f"{backend.name}:{backend.model}"
        self.form: Form = backend.form
        self.labels = labels

    def lower(self, http: HttpReply, *, form: Form, labels: bool) -> bool:
        """Whether the reply refuses what was asked for, and less can be asked for."""
        if http.status not in _REFUSAL_STATUSES:
            return False
        said = http.body[:2000].decode("utf-8", "replace")
        if labels and _LOGPROBS_REFUSED.search(said):
            self.lose_labels(f"it refuses them: {said[:160]!r}")
            return True
        if labels or form == "text" or not _FORM_REFUSED.search(said):
            return False
        if self.form == form:
            self.form = FORMS[FORMS.index(form) + 1]
            log.warning("%s refuses %s; asking for %s", self._name, form, self.form)
        return True

    def lose_labels(self, why: str) -> None:
        if self.labels:
            self.labels = False
            log.warning(
                "%s gives no log-probs (%s): grading by schema instead, so scores are whole tiers "
                "and not expectations. Set judge.grading to schema to make this the plan",
                self._name,
                why,
            )

    @property
    def grading(self) -> Literal["schema", "labels"]:
        return "labels" if self.labels else "schema"
