"""The live log of a running attempt: what its commands write, published as it appears.

Best effort, and never in a command's way: without a broker lines are left out and counted. The
whole output is kept elsewhere, as an artifact.
"""

from __future__ import annotations

import shlex
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Protocol

from loom.broker.confirms import Published, Status
from loom.domain.identity import new_message_id
from loom.domain.log import (
    MAX_CHUNK_LINES,
    MAX_LINE_BYTES,
    LineKind,
    LogChunk,
    LogLine,
)
from loom.errors import LoomError
from loom.messaging.envelope import Envelope
from loom.messaging.log import MAX_STEP, to_envelope
from loom.telemetry import logs
from workers.allowance import Allowance, Limits
from workers.lines import Splitter

CONFIRM_S = 5.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 4.0
SLICE = 4 * 1024
"""Bytes that are made lines before it is seen whether any more may go out."""
AT_ONCE = 16
"""Messages that are published together."""

log = logs.get(__name__)

Publish = Callable[[Sequence[Envelope], float], Sequence[Published]]


class Log(Protocol):
    """What whoever runs commands tells of them."""

    def begin(self, step: str, argv: Sequence[str] = ()) -> None:
        """A step begins."""

    def write(self, step: str, chunk: bytes) -> None:
        """Its command wrote this."""

    def end(self, step: str, exit_code: int | None, duration_s: float) -> None:
        """It has ended; exit_code as in its evidence."""


class Silent:
    """Tells nobody."""

    def begin(self, step: str, argv: Sequence[str] = ()) -> None:
        """A step begins."""

    def write(self, step: str, chunk: bytes) -> None:
        """Its command wrote this."""

    def end(self, step: str, exit_code: int | None, duration_s: float) -> None:
        """It has ended."""


class LiveLog:
    """Takes output from any thread, and publishes it from one of its own. close() it."""

    def __init__(
        self,
        publish: Publish,
        *,
        project_id: str,
        bead_id: str,
        epoch: int,
        correlation_id: str,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """publish: as Publisher.publish; on a connection of its own, as it may be held up."""
        self._publish = publish
        self._project_id, self._bead_id, self._epoch = project_id, bead_id, epoch
        self._correlation_id = correlation_id
        self._limits = limits or Limits()
        self._clock = clock
        self._changed = threading.Condition()
        self._splitters: dict[str, Splitter] = {}
        self._written_at = 0.0
        self._lines: deque[LogLine] = deque()
        self._waiting = 0  # bytes of _lines
        self._allowance = Allowance(self._limits, clock())
        self._left_out, self._why = 0, ""
        self._seq, self._first = 1, 1
        self._unsent: list[Envelope] = []
        self._closing = self._give_up = self._last_made = False
        self._thread: threading.Thread | None = None

    def begin(self, step: str, argv: Sequence[str] = ()) -> None:
        """A step begins."""
        with self._changed:
            self._mark(step, LineKind.BEGIN, shlex.join(argv))

    def write(self, step: str, chunk: bytes) -> None:
        """Its command wrote this; returns at once."""
        with self._changed:
            if self._closing:
                return
            for at in range(0, len(chunk), SLICE):
                self._take(step, chunk[at : at + SLICE])
            self._written_at = self._clock()
            self._wake()

    def end(self, step: str, exit_code: int | None, duration_s: float) -> None:
        """A step has ended."""
        how = "was made to end" if exit_code is None else f"ended with exit code {exit_code}"
        with self._changed:
            self._finish(step)
            self._mark(step, LineKind.END, f"{how} after {duration_s:.1f} s")

    def close(self, timeout_s: float = 3.0) -> None:
        """Send what is left, for at most timeout_s seconds; nothing is taken any more.

        Where nothing was ever told, nothing is sent.
        """
        with self._changed:
            if self._closing:
                return
            if self._thread is None:
                self._closing = True
                return
            for step in list(self._splitters):
                self._finish(step)
            self._tell_left_out()
            self._closing = True
            self._wake()
            thread = self._thread
        thread.join(timeout_s)
        with self._changed:
            self._give_up = True
            self._changed.notify_all()
            unsent = len(self._lines) + len(self._unsent)
        if thread.is_alive() and unsent:
            log.warning("live_log_cut_off", lines=len(self._lines), messages=len(self._unsent))

    # Called with the lock held.

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._send, name="live-log", daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _finish(self, step: str) -> None:
        splitter = self._splitters.pop(step, None)
        if splitter is not None and (piece := splitter.finish()) is not None:
            self._add(step, piece.text)

    def _take(self, step: str, part: bytes) -> None:
        """Make lines of it; while they are left out they are only counted, as a flood is long."""
        splitter = self._splitters.setdefault(step, Splitter())
        if self._left_out and (why := self._refusal(len(part))):
            self._left_out += splitter.skip(part)
            self._why = why
            return
        for piece in splitter.feed(part):
            self._add(step, piece.text)

    def _add(self, step: str, text: str, *, more: bool = False) -> None:
        line = LogLine(datetime.now(UTC), text, step[:MAX_STEP], more=more)
        why = self._refusal(line.size)
        if why:
            self._left_out += 1
            self._why = why
            return
        self._tell_left_out()
        self._allowance.spend(line.size)
        self._append(line)

    def _refusal(self, size: int) -> str:
        """Why that much is left out; empty if it is not."""
        skipping = self._left_out > 0
        return self._allowance.refusal(size, self._waiting, self._clock(), skipping=skipping)

    def _tell_left_out(self) -> None:
        if self._left_out:
            count = "1 line" if self._left_out == 1 else f"{self._left_out} lines"
            text = f"… {count} left out here: {self._why}"
            self._left_out = 0
            self._append(LogLine(datetime.now(UTC), text, kind=LineKind.LEFT_OUT))

    def _mark(self, step: str, kind: LineKind, text: str) -> None:
        """Marks are few, and no limit leaves them out."""
        if self._closing:
            return
        self._tell_left_out()
        text = (
            text.replace("\0", "\ufffd")
            .encode(errors="replace")[:MAX_LINE_BYTES]
            .decode(errors="ignore")
        )
        self._append(LogLine(datetime.now(UTC), text, step[:MAX_STEP], kind))
        self._wake()

    def _append(self, line: LogLine) -> None:
        self._lines.append(line)
        self._waiting += line.size

    def _flush_idle(self) -> None:
        """Give out what waits for the end of its line for long: dots of a test, a question."""
        if self._clock() - self._written_at < self._limits.idle_s:
            return
        for step, splitter in self._splitters.items():
            if (piece := splitter.pause()) is not None:
                self._add(step, piece.text, more=True)

    def _pack(self) -> None:
        """Put lines into messages, until there are AT_ONCE of them."""
        while len(self._unsent) < AT_ONCE and not self._last_made:
            lines: list[LogLine] = []
            size = 0
            while self._lines and size < self._limits.batch and len(lines) < MAX_CHUNK_LINES:
                line = self._lines.popleft()
                lines.append(line)
                size += line.size
            self._waiting -= size
            self._last_made = self._closing and not self._lines
            if not lines and not self._last_made:
                return
            chunk = LogChunk(
                self._project_id, self._bead_id, self._epoch, self._seq, self._first,
                tuple(lines), self._last_made,
            )  # fmt: skip
            self._unsent.append(to_envelope(chunk, new_message_id(), self._correlation_id))
            self._seq += 1
            self._first += len(lines)

    @property
    def _busy(self) -> bool:
        return bool(self._lines) or any(each.holds for each in self._splitters.values())

    # On the thread of its own.

    def _send(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._busy or self._closing or self._give_up)
                self._changed.wait_for(
                    lambda: self._closing or self._waiting >= self._limits.batch,
                    self._limits.batch_s,
                )
                if self._give_up:
                    return
                self._flush_idle()
                self._pack()
                envelopes = list(self._unsent)
            if not envelopes:
                continue
            sent = self._publish_once(envelopes)
            with self._changed:
                self._unsent = [e for e, gone in zip(envelopes, sent, strict=True) if not gone]
                if self._give_up or (self._last_made and not self._unsent):
                    return
                if self._unsent:
                    self._changed.wait_for(lambda: self._give_up, pause_s)
            pause_s = FIRST_PAUSE_S if all(sent) else min(LONGEST_PAUSE_S, pause_s * 2)

    def _publish_once(self, envelopes: Sequence[Envelope]) -> list[bool]:
        """Which of them need not be sent again."""
        try:
            outcomes = self._publish(envelopes, CONFIRM_S)
        except LoomError as error:
            log.info("live_log_waits", why=error.detail)
            return [False] * len(envelopes)
        except Exception:
            log.exception("live_log_failed")
            return [True] * len(envelopes)
        # One that cannot be written never can; a doubled one changes nothing.
        return [o.confirmed or o.status is Status.UNWRITABLE for o in outcomes]
