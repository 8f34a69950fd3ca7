"""What a command says: its end, a log of the whole, and each piece to whoever follows it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from workers.limits import MIB, Hit, Limit
from workers.mask import NOTHING, Mask, Masked

TAIL_BYTES = 64 * 1024
"""How much of a command's output is kept in memory: its end."""


class Output:
    """Takes a command's output piece by piece.

    over: it has said more than its limit; what comes from then on is dropped.
    """

    def __init__(
        self,
        *,
        limit: int | None = None,
        log: Path | None = None,
        on_output: Callable[[bytes], None] | None = None,
        mask: Mask = NOTHING,
    ) -> None:
        """limit: bytes in all. log: a file that is made for it. mask: what is never told of it.

        Raises OSError.
        """
        self._tail = _Tail()
        self._limit, self._on_output, self._masked = limit, on_output, Masked(mask)
        self._log: IO[bytes] | None = log.open("wb", buffering=0) if log is not None else None
        self.size = 0
        self.log_error = ""

    @property
    def over(self) -> bool:
        """It said more than it may."""
        return self._limit is not None and self.size > self._limit

    def add(self, chunk: bytes) -> None:
        """Take the next piece."""
        kept = chunk
        if self._limit is not None:
            kept = chunk[: max(0, self._limit - self.size)]
        self.size += len(chunk)
        self._tell(self._masked.feed(kept))

    def hit(self) -> Hit | None:
        """The limit, if it said more than it may."""
        if self._limit is None or not self.over:
            return None
        return Hit(Limit.OUTPUT, f"it wrote more than {self._limit // MIB} MB to its output")

    def text(self) -> str:
        """Its end, undecodable bytes replaced."""
        return self._tail.text()

    def close(self) -> None:
        """It says no more: tell what is left, and close the log."""
        self._tell(self._masked.finish())
        self._shut()

    def _tell(self, kept: bytes) -> None:
        if not kept:
            return
        self._tail.add(kept)
        if self._log is not None:
            try:
                self._log.write(kept)
            except OSError as error:
                # The command goes on: its log is lost, not its result.
                self.log_error = str(error)
                self._shut()
        if self._on_output is not None:
            self._on_output(kept)

    def _shut(self) -> None:
        if self._log is not None:
            with suppress(OSError):
                self._log.close()
            self._log = None


class _Tail:
    """The last TAIL_BYTES of a stream."""

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._dropped = 0

    def add(self, chunk: bytes) -> None:
        self._bytes += chunk
        if len(self._bytes) > 2 * TAIL_BYTES:
            self._cut()

    def text(self) -> str:
        self._cut()
        text = self._bytes.decode(errors="replace")
        return f"[{self._dropped} bytes before this]\n{text}" if self._dropped else text

    def _cut(self) -> None:
        surplus = len(self._bytes) - TAIL_BYTES
        if surplus > 0:
            self._dropped += surplus
            del self._bytes[:surplus]
