"""How much of a live log may go out, by what went out so far, what waits, and the time."""

from __future__ import annotations

from dataclasses import dataclass

from loom.domain.log import MAX_ATTEMPT_BYTES


@dataclass(frozen=True, slots=True)
class Limits:
    """How much goes out, in bytes as lines count them (LogLine.size).

    batch_s, batch: a message waits so long for so much. rate: a second, after a burst at full
    speed. waiting: what is held for a broker that is away. whole: of the attempt.
    idle_s: how long a line without an end is waited for.
    """

    batch_s: float = 0.2
    batch: int = 16 * 1024
    rate: int = 256 * 1024
    burst: int = 1024 * 1024
    waiting: int = 1024 * 1024
    whole: int = MAX_ATTEMPT_BYTES
    idle_s: float = 1.0


class Allowance:
    """A bucket of bytes that fills by the second, within the limits of one attempt."""

    def __init__(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self._whole = 0
        self._tokens, self._filled_at = float(limits.burst), now

    def refusal(self, size: int, waiting: int, now: float, *, skipping: bool) -> str:
        """Why so many bytes may not go out; empty if they may.

        waiting: bytes that did not go out yet. skipping: others were left out just before.
        """
        limits = self._limits
        self._tokens = min(limits.burst, self._tokens + (now - self._filled_at) * limits.rate)
        self._filled_at = now
        if self._whole + size > limits.whole:
            return f"the live log of an attempt holds {limits.whole} bytes"
        if waiting + size > limits.waiting:
            return "the broker took no more"
        # Once some are left out, more are until there is room for many: else every other line
        # would say that some are missing.
        wanted = limits.rate / 2 if skipping else size
        if self._tokens < wanted:
            return f"it holds {limits.rate} bytes a second"
        return ""

    def spend(self, size: int) -> None:
        """So many bytes go out."""
        self._tokens -= size
        self._whole += size
