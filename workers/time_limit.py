"""The limits that `celery control time_limit` sets: for commands of beads that start from then on.

They stand in memory that pool processes share with their parent, so they end with the agent. They
take the place of the project's own limits; what a bead asks for itself goes before either.
"""

from __future__ import annotations

import mmap
import struct
from dataclasses import replace
from math import ceil
from typing import Any

from loom.domain.outbox import Claim
from loom.domain.project import MAX_TIMEOUT_S, Project
from loom.errors import Invalid

_FORM = struct.Struct("=qq")


class TimeLimit:
    """Two numbers of seconds, hard and soft; 0: the project's own. Make it before any fork."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, _FORM.size)

    def set(self, hard: float | None, soft: float | None) -> None:
        """Set both, None for the project's own; raises Invalid."""
        for seconds in (hard, soft):
            if seconds is not None and not 0 < seconds <= MAX_TIMEOUT_S:
                raise Invalid(f"a time limit is above 0 and at most {MAX_TIMEOUT_S} s")
        if hard is not None and soft is not None and soft >= hard:
            raise Invalid(f"the soft limit ({soft:g} s) has to be below the hard one ({hard:g} s)")
        # In one step: a pool process may read at any time.
        self._memory[:] = _FORM.pack(ceil(hard or 0), ceil(soft or 0))

    def of(self, project: Project) -> Project:
        """The project with these limits."""
        hard, soft = _FORM.unpack(self._memory[:])
        hard, soft = hard or project.timeout_s, soft or project.soft_timeout_s
        return replace(project, timeout_s=hard, soft_timeout_s=soft if soft < hard else 0)


class Limited:
    """A ledger whose claims carry these limits."""

    def __init__(self, ledger: Any, limit: TimeLimit) -> None:
        self._ledger = ledger
        self._limit = limit

    def claim_bead(self, *arguments: Any, **options: Any) -> Claim:
        """As the ledger."""
        claim: Claim = self._ledger.claim_bead(*arguments, **options)
        return replace(claim, project=self._limit.of(claim.project)) if claim.project else claim

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)
