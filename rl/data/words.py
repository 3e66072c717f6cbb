"""Text as words, where a character of a script that writes no spaces is one."""

import re
import unicodedata

_UNSPACED = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")


def words(text: str) -> list[str]:
    """Case, punctuation and width count for nothing."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
