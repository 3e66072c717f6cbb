"""Steps that rewrite a text: unicode and whitespace, LaTeX, what names a person."""

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from rl.data.curate.row import Row
from rl.data.curate.step import Step
from rl.refusal import Refusal

_INVISIBLE = re.compile(
    r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ud800-\udfff\x00-\x08\x0b-\x1f\x7f]"
)
_BLANKS = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r"\n{3,}")


@dataclass(frozen=True, kw_only=True)
class Normalise(Step):
    """Composed characters, no invisible ones, single blanks and at most one empty line."""

    def rewrite(self, text: str) -> str:
        # NFC and not NFKC, which would make 10² of 10 squared a 102
        text = unicodedata.normalize("NFC", text).replace("\r\n", "\n").replace("\r", "\n")
        text = _BLANKS.sub(" ", _INVISIBLE.sub("", text))
        lines = "\n".join(line.strip() for line in text.split("\n"))
        return _BLANK_LINES.sub("\n\n", lines).strip()


_SIGN_NAMES = (
    "pm times cdot leq le geq ge approx sim neq to rightarrow infty degree circ ldots dots"
)
_SIGNS = dict(zip(_SIGN_NAMES.split(), "±×·≤≤≥≥≈~≠→→∞°°……", strict=True))
# None looks farther than so many characters, so that a bracket nobody closed costs little.
_DOCUMENT = re.compile(
    r"\\documentclass.{0,2000}?\\begin\{document\}(.{0,5000}?)\\end\{document\}", re.DOTALL
)
_FLOATS = re.compile(
    r"\\begin\{(figure|table|tabular|tikzpicture)(\*?)\}.{0,20000}?\\end\{\1\2\}", re.DOTALL
)
_POINTERS = re.compile(
    r"~?\\(?:cite[a-z]*|ref|eqref|label|includegraphics)\*?(?:\[[^\]]{0,200}\]){0,2}\{[^{}]{0,500}\}"
)
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[^{}]{0,50}\}")
_FRACTION = re.compile(r"\\d?frac\{([^{}]{0,2000})\}\{([^{}]{0,2000})\}")
_WRAPPER = re.compile(r"\\[a-zA-Z]{1,30}\*?(?:\[[^\]]{0,200}\])?\{([^{}]{0,2000})\}")
_COMMAND = re.compile(r"\\([a-zA-Z]{1,30})\*?")
_SPACE = re.compile(r"\\[,;:! ]")
_GROUP = re.compile(r"([_^]?)\{([^{}]{0,2000})\}")
_MATHS = re.compile(
    r"\$\$(.{1,2000}?)\$\$|\$(?=[^$]{0,2000}[\\^_{=])([^$\n]{1,2000})\$|\\[(\[](.{1,2000}?)\\[)\]]",
    re.DOTALL,
)
DEEPEST = 10
"""How far marks within marks are followed."""


@dataclass(frozen=True, kw_only=True)
class Latex(Step):
    """Formulas and marked-up words as plain text; figures, tables and citations taken out.

    Texts without a backslash or formula stay as they are: $5 is a price, 5% no comment.
    """

    def rewrite(self, text: str) -> str:
        if "\\" not in text and "$" not in text:
            return text
        text = _DOCUMENT.sub(r"\1", text)
        text = _POINTERS.sub("", _FLOATS.sub("", text))
        text = _ENVIRONMENT.sub("", text)
        text = _MATHS.sub(lambda found: _maths(next(filter(None, found.groups()))), text)
        return _words_of(text).replace("\\%", "%").replace("\\&", "&").replace("\\_", "_")


def _maths(formula: str) -> str:
    return _inside_out(_words_of(formula), lambda text: _GROUP.sub(r"\1\2", text)).strip()


def _words_of(text: str) -> str:
    text = _inside_out(text, lambda text: _WRAPPER.sub(r"\1", _FRACTION.sub(r"\1/\2", text)))
    return _COMMAND.sub(_sign, _SPACE.sub(" ", text)).replace("^°", "°")


def _inside_out(text: str, unwrapped: Callable[[str], str]) -> str:
    """As `\\textbf{a \\emph{b}}` nests, the innermost first."""
    for _ in range(DEEPEST):
        if (plain := unwrapped(text)) == text:
            break
        text = plain
    return text


def _sign(command: re.Match[str]) -> str:
    name = command[1]
    case = "CAPITAL" if name[0].isupper() else "SMALL"
    try:
        return unicodedata.lookup(f"GREEK {case} LETTER {name.upper()}")
    except KeyError:
        return _SIGNS.get(name, "")


_PERSONAL = {
    "mail": r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,4}\.[a-zA-Z]{2,24}\b",
    # a resident's number of China with its date, a US social security number, a record's number
    "id": r"\b\d{6}(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx]\b"
    r"|\b(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}\b"
    r"|\b(?:MRN|SSN|(?:NHS|passport)(?: no| number)?)\b[\s.:#]{0,3}[A-Z]{0,2}\d[\d -]{4,12}\d"
    r"|(?:身份证号?|病历号|住院号|门诊号)码?[\s:：]{0,3}[A-Za-z]{0,2}\d{5,18}[Xx]?",
    # of 8 to 15 digits with a country, as 3-3-4 digits, a Chinese mobile's
    "phone": r"(?<![\w.+/-])(?:"
    r"\+(?=(?:[ ().-]{0,2}\d){8,15}(?!\d))\d{1,3}(?:[ ().-]{0,2}\d{1,4}){2,6}"
    r"|(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}[-.])\d{3}[-. ]\d{4}"
    r"|1[3-9]\d{9})(?![\w-])",
}
# ASCII: in 电话13812345678 a number begins where the Chinese ends
_PERSONAL_PATTERNS = {kind: re.compile(told, re.ASCII) for kind, told in _PERSONAL.items()}


@dataclass(frozen=True, kw_only=True)
class PersonalData(Step):
    """Addresses of mail, telephone numbers, numbers of persons: masked, or their rows dropped."""

    do: Literal["mask", "drop"] = "mask"

    def __post_init__(self) -> None:
        if self.do not in ("mask", "drop"):
            raise Refusal(f"personal_data={self.do}: it must be mask or drop")

    def rewrite(self, text: str) -> str:
        if self.do == "mask":
            for kind, pattern in _PERSONAL_PATTERNS.items():
                text = pattern.sub(f"[{kind}]", text)
        return text

    def whys(self, rows: Sequence[Row]) -> Iterable[str]:
        for row in rows:
            found = [
                kind for kind, pattern in _PERSONAL_PATTERNS.items() if pattern.search(row.text)
            ]
            yield f"has {', '.join(found)}" if found else ""
