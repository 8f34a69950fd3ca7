"""How a pool process tells its parent that a bead's message may be acknowledged before its end.

A pipe, made before the fork: a line holds the process and the bead. It is told again at every
renewal, so a line that finds no room is no loss.
"""

from __future__ import annotations

import os
from contextlib import suppress


class Hints:
    """Lines from pool processes to their parent; short enough to be written whole (PIPE_BUF)."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._rest = b""

    @property
    def descriptor(self) -> int:
        """What the parent's event loop watches."""
        return self._reader

    def let_go(self, bead_id: str) -> None:
        """Say that this process holds the bead by its lease alone."""
        with suppress(BlockingIOError):
            os.write(self._writer, f"{os.getpid()} {bead_id}\n".encode())

    def read(self) -> list[tuple[int, str]]:
        """What was said since the last time: process and bead."""
        with suppress(BlockingIOError):
            self._rest += os.read(self._reader, 64 * 1024)
        *lines, self._rest = self._rest.split(b"\n")
        return [(int(pid), bead) for pid, _, bead in (x.decode().partition(" ") for x in lines)]
