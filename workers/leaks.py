"""Secrets that a change seems to give away: told by place and kind, never by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from workers.added import added_lines
from workers.mask import Mask

BASELINE = ".secrets.baseline"
"""detect-secrets' own list of what is known and let pass."""


@dataclass(frozen=True, slots=True, order=True)
class Leak:
    """Something that looks like a secret. line: from 1. kind: as detect-secrets names it."""

    file: str
    line: int
    kind: str


def of_credentials(diff: bytes, mask: Mask) -> Iterator[Leak]:
    """Where the diff adds a credential that the agent itself knows, whatever it looks like."""
    if mask.words:
        for file, number, line in added_lines(diff):
            if mask.text(line) != line:
                yield Leak(file, number, "a credential that this project's agents were given")


def explain(leaks: tuple[Leak, ...]) -> str:
    """Why the commit is refused, for a person: where, and what to do."""
    places = "; ".join(f"{leak.file} line {leak.line}: {leak.kind}" for leak in leaks[:10])
    more = f"; and {len(leaks) - 10} more" if len(leaks) > 10 else ""
    return (
        f"the change seems to hold secrets ({places}{more}), so nothing was committed. Take them "
        "out; what is none may be marked by a comment `pragma: allowlist secret` on its line"
    )
