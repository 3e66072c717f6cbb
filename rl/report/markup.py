"""HTML by small functions. Text is escaped unless it is Markup, which only they make."""

import html
from collections.abc import Iterable

VOID = {"meta", "br", "path", "line", "circle", "rect", "polygon"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def el(name: str, /, *children: object, **attributes: object) -> Markup:
    """An element. `class_` is class, `data_tips` data-tips, `stroke_width` stroke-width."""
    opening = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in VOID:
        return Markup(f"<{name}{opening}>" if name in ("meta", "br") else f"<{name}{opening}/>")
    return Markup(f"<{name}{opening}>{join(children)}</{name}>")


def join(children: Iterable[object]) -> Markup:
    return Markup(
        "".join(
            child if isinstance(child, Markup) else html.escape(str(child))
            for child in children
            if child is not None
        )
    )
