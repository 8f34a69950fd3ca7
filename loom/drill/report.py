"""The report of a drill: the figures, as JSON and in words."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

from loom.drill.verdict import Verdict


@dataclass(slots=True)
class ClassFigures:
    """One fault class. survived: beads were done again after it, and none of its time is harmed."""

    injected: int = 0
    survived: int = 0
    recovery_s: list[float] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """The figures; recovery_s is null where beads were never done again."""
        times = self.recovery_s
        return {
            "injected": self.injected,
            "survived": self.survived,
            "recovery_s": {
                "median": round(statistics.median(times), 2) if times else None,
                "worst": round(max(times), 2) if times else None,
            },
        } | ({"troubles": self.troubles} if self.troubles else {})


@dataclass(slots=True)
class Report:
    """All that a drill found."""

    seed: int
    verdict: Verdict
    classes: dict[str, ClassFigures]
    duration_s: float
    site: str
    impossible: dict[str, str] = field(default_factory=dict)
    """Fault classes that cannot be had on this machine, and why."""

    @property
    def passed(self) -> bool:
        """Nothing was lost, and nothing happened twice."""
        return self.verdict.sound

    def as_json(self) -> dict[str, Any]:
        """The document of `loom drill --json`."""
        verdict = self.verdict
        return {
            "accepted": verdict.accepted,
            "lost": len(verdict.lost),
            "doubled": len(verdict.doubled),
            "unexpected": len(verdict.unexpected),
            "re_executed": verdict.re_executed,
            "indeterminate": verdict.indeterminate,
            "seed": self.seed,
            "site": self.site,
            "duration_s": round(self.duration_s, 1),
            "injected": sum(figures.injected for figures in self.classes.values()),
            "survived": sum(figures.survived for figures in self.classes.values()),
            "classes": {name: figures.as_json() for name, figures in self.classes.items()},
            "impossible": self.impossible,
            "findings": {
                "lost": verdict.lost,
                "doubled": verdict.doubled,
                "unexpected": verdict.unexpected,
            },
        }
