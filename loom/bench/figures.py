"""Times as they are told: the median, what few exceed, and the worst."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence


def percentile(ordered: Sequence[float], share: float) -> float:
    """The least of them that at least this share does not exceed; they are in order, and some."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def told(times_ms: Iterable[float]) -> dict[str, float | int]:
    """How many there are, and their percentiles; only how many if there are none."""
    ordered = sorted(times_ms)
    if not ordered:
        return {"count": 0}
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    figures = {name: round(percentile(ordered, share), 1) for name, share in shares.items()}
    return {"count": len(ordered), **figures}
