"""Whether an article is about patients, by how often it speaks of what only they have."""

import re

PER_1000_WORDS = 4.0
"""From here on it is: a study of patients has 8, of animals, cells or models under 2."""
_CLINICAL = re.compile(
    r"\b(?:patients?|clinic(?:s|al|ally|ians?)?|physicians?|nurses?|hospital\w*|inpatients?|"
    r"outpatients?|diagnos[a-z]+|symptom\w*|therap(?:y|ies|eutic)|surg(?:ery|ical|eons?)|"
    r"comorbid\w*|prognos\w+|triage|ward|bedside)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+")


def is_clinical(text: str, article_type: str) -> bool:
    per_1000 = 1000 * len(_CLINICAL.findall(text)) / max(len(_WORD.findall(text)), 1)
    return article_type == "case-report" or per_1000 >= PER_1000_WORDS
