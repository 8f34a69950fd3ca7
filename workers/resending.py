"""Sending what is spooled: at the start of a process, and again and again until it is confirmed."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from pathlib import Path

from loom.broker.confirms import Published, Status
from loom.errors import LoomError
from loom.telemetry import logs
from workers.report import CONFIRM_S, Publishes
from workers.spool import Spool, named

EVERY_S = 2.0
LONGEST_S = 30.0

log = logs.get(__name__)


def send(spool: Spool, path: Path, publisher: Publishes) -> bool:
    """Send one file and remove it once confirmed; False if it is still there, or another has it.

    Raises Unavailable when the broker is away.
    """
    with spool.taken(path) as result:
        if result is None:
            return not path.exists()
        [published] = publisher.publish([result.envelope], CONFIRM_S)
        if not published.confirmed:
            log.warning("spooled_result_not_confirmed", file=path.name, why=_why(published))
            return False
        spool.discard(path)
        log.info(
            "spooled_result_sent",
            file=path.name,
            message_id=result.envelope.message_id,
            correlation_id=result.envelope.correlation_id,
        )
        return True


def sent(spool: Spool, path: Path, publisher: Publishes) -> bool:
    """The same, where what stands in the way is logged."""
    try:
        return send(spool, path, publisher)
    except LoomError as error:
        log.warning("spooled_result_not_sent", file=path.name, why=error.detail)
        return False


def keep_sending(
    spool: Spool,
    publisher: Publishes,
    stopping: threading.Event,
    *,
    tell: Callable[[str, int], None],
    idle: Callable[[], None],
) -> None:
    """Look after the spool until stopping is set.

    tell: called with the bead and the epoch of what was sent. idle: called when nothing waits any
    more.
    """
    pause_s, busy = EVERY_S, False
    while not stopping.is_set():
        waiting = spool.waiting()
        left = [path for path in waiting if not sent(spool, path, publisher)]
        for path in waiting:
            if path not in left:
                tell(*named(path))
        pause_s = min(LONGEST_S, pause_s * 2) if left else EVERY_S
        if busy and not waiting:
            idle()
        busy = bool(waiting)
        stopping.wait(pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, not a secret


def _why(published: Published) -> str:
    if published.status is Status.UNWRITABLE:
        return f"it cannot be put into AMQP: {published.reason}"
    return published.reason
