"""Giving messages to the ledger: held while it is away, and parted from those that it refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from loom.clients.database import SERVICE
from loom.errors import DeadlineExceeded, Internal, LoomError, Unavailable
from loom.telemetry import process

HOLD = frozenset({"unavailable", "deadline", "exhausted", "unauthenticated", "forbidden"})
"""Codes that say something of the ledger or of this process, and nothing of the messages."""
FAULT_TRIES = 5
"""How often one message may meet a fault of the ledger's before the message is to blame."""
FAULT_PAUSE_S = 1.0
CALL_BYTES = 4 * 1024 * 1024
"""How much goes into one call: gRPC takes 16 MiB."""

T = TypeVar("T")


def portions(items: Sequence[T], size: Callable[[T], int], limit: int) -> list[Sequence[T]]:
    """The items in order, in runs of at most limit bytes, or of one item."""
    runs: list[Sequence[T]] = []
    start, total = 0, 0
    for index, item in enumerate(items):
        bytes_ = size(item)
        if index > start and total + bytes_ > limit:
            runs.append(items[start:index])
            start, total = index, 0
        total += bytes_
    if start < len(items):
        runs.append(items[start:])
    return runs


def record(
    items: Sequence[T], call: Callable[[Sequence[T]], None], stopping: threading.Event
) -> list[tuple[T, LoomError]]:
    """Have call record all items; those that it refuses, each with the reason.

    call records all it is given or raises. While the ledger is away it is called again, with
    backoff; when it refuses several, they are halved until the one at fault is alone. Raises
    Stopped when the process is to stop meanwhile: the items in hand may be recorded or not.
    """
    for attempt in range(1, FAULT_TRIES + 1):
        try:
            process.wait_for(SERVICE, lambda: _attempt(items, call), stopping)
            return []
        except LoomError as error:
            if len(items) > 1:
                middle = len(items) // 2
                return [
                    *record(items[:middle], call, stopping),
                    *record(items[middle:], call, stopping),
                ]
            if not isinstance(error, Internal) or attempt == FAULT_TRIES:
                return [(items[0], error)]
            stopping.wait(FAULT_PAUSE_S * 2 ** (attempt - 1))
    raise AssertionError("every attempt returns or goes on")


def _attempt(items: Sequence[T], call: Callable[[Sequence[T]], None]) -> None:
    try:
        call(items)
    except DeadlineExceeded as error:
        if len(items) > 1:
            # As many as these may never be done in time.
            raise Internal(error.detail) from error
        raise
    except LoomError as error:
        if error.code in HOLD:
            raise Unavailable(process.explain(error)) from error
        raise
    except (ValueError, TypeError, OverflowError) as error:
        # A value that the contract's types do not hold.
        raise Internal(f"{type(error).__name__}: {error}") from error
