"""What an agent tells the ledger of itself, and what people want of it, by a process of its own.

The parent of Celery's pool forks whenever it needs a process, and gRPC does not outlive a fork. So
a process that is forked before everything else makes the calls, and the parent never waits for the
ledger. It ends with its parent; its end changes nothing about the parent's work.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from loom.domain.presence import AgentWish
from loom.telemetry import logs

AGAIN_AFTER_S = 5.0
"""How soon a process that ended, although its parent runs, gets a successor."""
LARGEST_BYTES = 128 * 1024
NAME = "loom-reporter"

log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the worker does now.

    asks: what somebody wants by `celery control`, with a number that grows, so that the ledger is
    told once: said again later, it would undo what people want since.
    """

    concurrency: int
    running: tuple[tuple[str, int], ...] = ()
    consuming: bool = True
    asks: tuple[int, AgentWish] | None = None
    goodbye: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What the ledger wants. wish: None while it does not answer.

    asked: the number of the last that it heard of what was asked here.
    """

    wish: AgentWish | None
    asked: int = 0


class Presence:
    """The parent's end: never blocks, but for `first` and `goodbye`."""

    def __init__(self, report: Callable[[socket.socket], None]) -> None:
        """report: runs in the process of its own until its parent is gone; see workers.reporter."""
        self._report = report
        self._socket: socket.socket | None = None
        self._pid = 0
        self._forked_at = 0.0

    def start(self) -> None:
        """Fork the process that reports."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._forked_at = time.monotonic()
        pid = os.fork()
        if not pid:
            ours.close()
            self._run(its)
        its.close()
        ours.setblocking(False)
        self._socket, self._pid = ours, pid

    def first(self, limit_s: float) -> AgentWish:
        """What people wanted before this start; WORK if the ledger does not say so in time."""
        if self._socket is None or not select.select([self._socket], [], [], limit_s)[0]:
            return AgentWish.WORK
        return next((a.wish for a in self._answers() if a.wish), AgentWish.WORK)

    def exchange(self, snapshot: Snapshot) -> list[Answer]:
        """Tell what the worker does; what the ledger said meanwhile, oldest first."""
        if self._socket is None:
            if time.monotonic() - self._forked_at < AGAIN_AFTER_S:
                return []
            log.warning("reporter_ended", why="its process is gone; a new one begins")
            self.start()
        answers = self._answers()
        self._send(snapshot)
        return answers

    def goodbye(self, limit_s: float) -> None:
        """Have the ledger told that this agent ends, if that can be done in time."""
        self._send(Snapshot(0, consuming=False, goodbye=True))
        # Its end of the socket closes when it is done.
        give_up = time.monotonic() + limit_s
        while self._socket is not None and (left_s := give_up - time.monotonic()) > 0:
            select.select([self._socket], [], [], left_s)
            self._answers()
        if self._socket is not None:
            self._bury()

    def _send(self, snapshot: Snapshot) -> None:
        if self._socket is None:
            return
        message = {
            "concurrency": snapshot.concurrency,
            "running": snapshot.running,
            "consuming": snapshot.consuming,
            "asks": snapshot.asks,
            "goodbye": snapshot.goodbye,
        }
        try:
            self._socket.send(json.dumps(message).encode())
        except BlockingIOError:
            pass
        except OSError:
            self._bury()

    def _answers(self) -> list[Answer]:
        answers: list[Answer] = []
        while self._socket is not None:
            try:
                said = self._socket.recv(LARGEST_BYTES)
            except BlockingIOError:
                break
            except OSError:
                said = b""
            if said:
                wish, asked = json.loads(said)
                answers.append(Answer(AgentWish(wish) if wish else None, asked))
            else:
                self._bury()
        return answers

    def _bury(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        with suppress(OSError):
            os.kill(self._pid, signal.SIGKILL)
        with suppress(OSError):
            os.waitpid(self._pid, 0)

    def _run(self, its: socket.socket) -> NoReturn:
        # A stop is the parent's affair, which says goodbye last.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        code = 1
        try:
            # How `ps` tells it from the processes of the pool.
            Path("/proc/self/comm").write_text(NAME)
            self._report(its)
            code = 0
        except Exception:
            log.exception("reporter_failed")
        finally:
            os._exit(code)


def listen(said: socket.socket, limit_s: float) -> tuple[dict[str, Any] | None, bool]:
    """The newest that the parent said within the limit, if anything; whether it is still there."""
    newest: dict[str, Any] | None = None
    wait_s = limit_s
    while select.select([said], [], [], wait_s)[0]:
        message = said.recv(LARGEST_BYTES)
        if not message:
            return newest, False
        heard = json.loads(message)
        # What was asked must not be lost behind a newer word.
        if newest and newest["asks"] and not heard["asks"]:
            heard["asks"] = newest["asks"]
        newest, wait_s = heard, 0.0
        if newest["goodbye"]:
            break
    return newest, True
