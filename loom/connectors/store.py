"""What a store of artifacts has to do; it need not trust that what it holds is whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from loom.errors import NotFound

PIECE = 64 * 1024
"""Bytes that are read and sent at once."""


@dataclass(frozen=True, slots=True)
class Held:
    """An artifact that a store has. kept_at: when it was last kept, by the store's own clock."""

    project_id: str
    sha256: str
    size: int
    kept_at: datetime


class Store(Protocol):
    """Keeps files by project and hash. Any call may raise Unavailable; all can be made again."""

    def check(self) -> None:
        """Raise Unavailable, saying why, while nothing can be kept or read."""
        ...

    def find(self, project_id: str, sha256: str) -> Held | None:
        """What there is of the artifact."""
        ...

    def keep(self, project_id: str, sha256: str, received: Path) -> None:
        """Keep a file that is whole and on disk; afterwards it is there, or is as before."""
        ...

    def read(self, project_id: str, sha256: str, offset: int, length: int) -> Iterator[bytes]:
        """Those bytes of the artifact, in pieces. Raises NotFound."""
        ...

    def list(self) -> Iterator[Held]:
        """Every artifact, in any order; one that is kept or removed meanwhile may be missing."""
        ...

    def remove(self, found: Sequence[Held]) -> int:
        """Remove artifacts unless they were kept anew since; how many went."""
        ...


def missing(project_id: str, sha256: str) -> NotFound:
    """The error of an artifact that is not there."""
    return NotFound(
        f"the store has no artifact {sha256} of {project_id}: it was never sent, or it was removed "
        "for its age (LOOM_CONNECTORS_KEEP_DAYS)",
        sha256=sha256,
    )
