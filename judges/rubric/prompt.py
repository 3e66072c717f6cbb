"""From a request to what a judge reads, and back.

The candidate's answer is data written by someone who wants a high score. It stands last, so that
the prompt of a whole group shares its beginning, between lines that carry a number made of the
request and the run's secret: the same each time, and nobody's to guess. What could pass for a
delimiter, a chat template's tag or invisible ink is made harmless before it goes in.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from functools import cache, lru_cache

from judges.config import Grading
from judges.rubric.rubric import Rubric
from judges.verdict import JudgeRequest

FENCE_DIGITS = 8
UNDEFENDED_FENCE = "0" * FENCE_DIGITS

# Formatting, control, private-use and surrogate code points, and letters that draw nothing.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2"
    "\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164"
    "\ud800-\udfff\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb\U000110bd\U000110cd"
    "\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\U000f0000-\U0010ffff]+"
)
_NEWLINE = re.compile("\r\n?|[\u2028\u2029\x85]")
# A space after what opens a tag (<|im_start|>, </s>, <think>, [INST], [gMASK], [|user|], ]~b],
# [[answer ..]]) or before what closes one. People read on; no tokenizer finds a special token and
# no parser a fence. What is repeated is never given back (+), or a lone [AAA... takes its square.
_OPENS = re.compile(
    r"<(?=[A-Za-z/|!?<\uff5c])|\[(?=\[|\||e~\[|/?[a-z]*+[A-Z_]{2}[A-Z0-9_]*+\])|\](?=~)"
)
_CLOSES = re.compile(r"(?<=[|\uff5c>])>|(?<=[\]|])\]")


def neutralise(text: str) -> str:
    if not (text.isascii() and text.replace("\n", "").isprintable()):
        text = _INVISIBLE.sub("", _NEWLINE.sub("\n", text))
    if not any(bracket in text for bracket in "<>[]"):
        return text
    return _CLOSES.sub(lambda m: " " + m[0], _OPENS.sub(lambda m: m[0] + " ", text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    system: str
    user: str
    shots: tuple[tuple[str, str], ...] = ()
    """Questions and replies shown as if they had come before."""

    def turns(self) -> list[dict[str, str]]:
        said = [
            turn for shot in self.shots for turn in zip(("user", "assistant"), shot, strict=True)
        ]
        return [{"role": role, "content": text} for role, text in (*said, ("user", self.user))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a user message asks to grade. `answer` is None where it asks for a commitment."""

    question: str
    truth: str
    aliases: tuple[str, ...]
    answer: str | None


def fence_of(request: JudgeRequest, secret: str) -> str:
    return hmac.digest(secret.encode(), repr(request).encode(), "sha256").hex()[:FENCE_DIGITS]


def grading_prompt(
    request: JudgeRequest,
    rubric: Rubric,
    grading: Grading,
    *,
    defences: bool,
    rationale: bool = True,
    secret: str = "",
    claims: str = "",
) -> Prompt:
    rubric = rubric.in_language(request.lang)
    words = rubric.template
    fence = fence_of(request, secret) if defences else UNDEFENDED_FENCE
    answer = neutralise(request.answer) if defences else encodable(request.answer)
    reference = _reference(request.question, request.truth, request.aliases, claims)
    parts = [reference, words.answer.replace("{fence}", fence)]
    parts.append(f"[[answer {fence}]]\n{answer}\n[[/answer {fence}]]")
    if grading == "labels":
        parts.append(words.labels_closing.replace("{tiers}", " / ".join(rubric.labels)))
    else:
        parts.append(words.schema_closing)
    return Prompt(system=_system(rubric, grading, defences, rationale), user="\n\n".join(parts))


def commitment_prompt(request: JudgeRequest, rubric: Rubric) -> Prompt:
    """Asks what a right answer must say, before any answer is shown."""
    rubric = rubric.in_language(request.lang)
    system = f"{rubric.task}\n\n{rubric.template.commit}\n\n{rubric.template.authority}"
    return Prompt(system=system, user=_reference(request.question, request.truth, request.aliases))


@cache
def _system(rubric: Rubric, grading: Grading, defences: bool, rationale: bool) -> str:
    words = rubric.template
    tiers = [words.tiers]
    for tier in rubric.tiers:
        tiers.append(f"- {tier.label}: {tier.meaning}")
        for example in tier.examples:
            line = words.example
            for key in ("question", "truth", "answer"):
                line = line.replace("{" + key + "}", getattr(example, key))
            line = line.replace("{tier}", tier.label)
            tiers.append(f"  {line}")
    by_schema = words.schema if rationale else words.bare_schema
    reply = words.labels if grading == "labels" else by_schema
    parts = [rubric.task, "\n".join(tiers), reply, words.authority if defences else ""]
    return "\n\n".join(part for part in parts if part)


@lru_cache(maxsize=1024)
def _reference(question: str, truth: str, aliases: tuple[str, ...], claims: str = "") -> str:
    """Question, truth and the rest: the same bytes for every answer of a group.

    The fence is a hash of what it encloses, so no text can hold its own closing line.
    """
    blocks = {"question": neutralise(question), "truth": neutralise(truth)}
    if aliases:
        blocks["also accepted"] = "\n".join(one_line(alias) for alias in aliases)
    if claims:
        blocks["look for"] = neutralise(claims)
    fence = hashlib.sha256("\0".join(blocks.values()).encode()).hexdigest()[:FENCE_DIGITS]
    return "\n\n".join(
        f"[[{name} {fence}]]\n{text}\n[[/{name} {fence}]]" for name, text in blocks.items()
    )


def one_line(text: str) -> str:
    return " ".join(neutralise(text).split())


def encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


_BLOCK = r"\[\[%s (?P<fence>%s)\]\]\n(?P<text>.*?)\n\[\[/%s (?P=fence)\]\]"
_A_FENCE = "[0-9a-f]+"


def _find_block(name: str, fence: str, user: str, start: int = 0) -> re.Match[str] | None:
    return re.compile(_BLOCK % (name, fence, name), re.DOTALL).search(user, start)


def read_user_message(user: str) -> Asked:
    """The inverse of the prompts above: what a judge that follows the rules sees in them."""
    question = _find_block("question", _A_FENCE, user)
    if question is None or question.start() != 0:
        raise ValueError("not a grading prompt: it does not begin with a [[question ...]] block")
    fence = question["fence"]
    truth = _find_block("truth", fence, user, question.end())
    if truth is None:
        raise ValueError("not a grading prompt: it has no [[truth ...]] block")
    end = truth.end()
    aliases = _find_block("also accepted", fence, user, end)
    end = aliases.end() if aliases else end
    claims = _find_block("look for", fence, user, end)
    answer = _find_block("answer", _A_FENCE, user, claims.end() if claims else end)
    return Asked(
        question=question["text"],
        truth=truth["text"],
        aliases=tuple(aliases["text"].split("\n")) if aliases else (),
        answer=answer["text"] if answer else None,
    )
