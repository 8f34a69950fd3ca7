"""Bytes of a command's output into lines, the same lines however the bytes were cut up."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

from loom.domain.log import MAX_LINE_BYTES


@dataclass(frozen=True, slots=True)
class Piece:
    """A line without its end. more: the line was not ended yet, and goes on in the next piece."""

    text: str
    more: bool = False


class Splitter:
    """Ends a line at LF or CR LF; other control characters stay, but for NUL, which no text of a
    database holds. What is no UTF-8 is replaced; of a line, MAX_LINE_BYTES are kept.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._taken = 0  # bytes of this line that were kept, held or given out
        self._over = 0  # bytes of this line that were left out
        self._given = False  # pieces of this line were given out

    @property
    def holds(self) -> bool:
        """Part of a line that has not ended waits here."""
        return bool(self._held)

    def feed(self, chunk: bytes) -> Iterator[Piece]:
        """Take bytes in; the lines that they end."""
        *ended, rest = chunk.split(b"\n")
        for part in ended:
            self._take(part)
            yield self._end()
        self._take(rest)

    def skip(self, chunk: bytes) -> int:
        """Take bytes in, and tell of the lines that they end only how many they are."""
        ended = chunk.count(b"\n")
        if ended:
            self._forget()
        self._take(chunk[chunk.rfind(b"\n") + 1 :])
        return ended

    def pause(self) -> Piece | None:
        """What waits of a line that has not ended, as far as it is whole characters."""
        # CR may turn out to be half of a line end.
        ready = self._held[:-1] if self._held.endswith(b"\r") else self._held
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        text = decoder.decode(bytes(ready))
        undecided = len(decoder.getstate()[0])
        del self._held[: len(ready) - undecided]
        if not text:
            return None
        self._given = True
        return Piece(_clean(text), more=True)

    def finish(self) -> Piece | None:
        """The last line, if it had no end."""
        return self._end() if self._held or self._over or self._given else None

    def _take(self, part: bytes) -> None:
        room = MAX_LINE_BYTES - self._taken
        kept = part[:room]
        self._held += kept
        self._taken += len(kept)
        self._over += len(part) - len(kept)

    def _end(self) -> Piece:
        if self._over:
            # Where the cut fell within a character, that is left out too.
            text = codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(self._held))
            text += f"… and {self._over} more bytes"
        else:
            text = bytes(self._held).removesuffix(b"\r").decode(errors="replace")
        self._forget()
        return Piece(_clean(text))

    def _forget(self) -> None:
        self._held.clear()
        self._taken = self._over = 0
        self._given = False


def _clean(text: str) -> str:
    return text.replace("\0", "\ufffd")
