"""The bins that sequence ratios are counted in, and what each is called."""

# They keep the paper's window (3e-4, 4e-4) apart from its surroundings.
_STEPS = (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
RATIO_EDGES: tuple[float, ...] = (*(1 - s for s in reversed(_STEPS)), *(1 + s for s in _STEPS))

_NAMES = [f"{step:.0e}".replace("e-0", "e-") for step in _STEPS]
RATIO_BINS: tuple[str, ...] = (
    f"under 1 - {_NAMES[-1]}",
    *(f"to 1 - {name}" for name in reversed(_NAMES[:-1])),
    "1",
    *(f"from 1 + {name}" for name in _NAMES[:-1]),
    f"over 1 + {_NAMES[-1]}",
)
