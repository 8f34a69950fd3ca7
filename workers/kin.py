"""All processes of one command, and their end; the leash by which any thread may bring it about."""

from __future__ import annotations

import json
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from loom.domain.rules import Limits
from loom.telemetry import logs
from workers import limits as limits_of
from workers.crowd import Crowd, descendants
from workers.launch import Launch
from workers.sandbox import SandboxFailed

log = logs.get(__name__)

PATIENCE_S = 30.0
"""How long processes that were killed are waited for; only a fault of the kernel takes longer."""
_FIRST_TO_GO = "1000"
"""For oom_score_adj: when memory gives out, a command goes before any service."""
_NICE = 10
"""A command that takes every processor may not hold up the renewal of its own lease."""


class Kin(Protocol):
    """The processes of a command."""

    def kill(self) -> None:
        """Kill them, and return at once."""
        ...

    def ask(self) -> None:
        """Ask them to end (SIGTERM)."""
        ...

    def end(self) -> None:
        """Kill what is left of them, and see it gone as far as that can be seen."""
        ...


class Group:
    """A process group: what leaves it gets away. It is named by its first process."""

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def kill(self) -> None:
        """Kill all that are in it."""
        self._signal(signal.SIGKILL)

    def ask(self) -> None:
        """Ask all that are in it."""
        self._signal(signal.SIGTERM)

    def end(self) -> None:
        """Kill all that are in it; nothing tells when they are gone."""
        self.kill()

    def begin(self, limits: Limits) -> Crowd:
        """Hold its first process to the limits; whom to watch."""
        with suppress(OSError):
            limits_of.hold(self._pid, limits, own_namespace=False)
        return Crowd(self._pid, None)

    def _signal(self, number: int) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, number)


class Box:
    """The processes of a sandbox, none of which gets away: with its first one all of them end.

    The kernel reports the first one's end after that of all others.
    """

    def __init__(self, outer: Group, first: int, go: Callable[[bytes], object]) -> None:
        """outer: bwrap's. first: the sandbox's, which waits for `go`. Raises OSError if gone."""
        self._outer, self._first, self._go = outer, first, go
        self._handle = os.pidfd_open(first)

    def kill(self) -> None:
        """Kill the first process, and so all of them."""
        with suppress(OSError):
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)

    def ask(self) -> None:
        """Ask all but the first, which passes nothing on."""
        with suppress(OSError):
            for process in descendants(self._first):
                if process.pid != self._first:
                    with suppress(OSError):
                        os.kill(process.pid, signal.SIGTERM)

    def end(self) -> None:
        """Kill all, and wait until all are gone."""
        self.kill()
        with select.epoll() as gone:
            gone.register(self._handle, select.EPOLLIN)
            if not gone.poll(PATIENCE_S):
                log.error("sandbox_not_ended", first_process=self._first)
        os.close(self._handle)
        self._handle = -1
        self._outer.end()

    def begin(self, limits: Limits) -> Crowd:
        """Let the command begin, held to the limits; whom to watch. Raises SandboxFailed."""
        try:
            limits_of.hold(self._first, limits, own_namespace=True)
        except ProcessLookupError:
            pass  # bwrap gave up; what it said tells why
        except OSError as error:
            raise SandboxFailed(f"the sandbox's limits cannot be set: {error}") from error
        with suppress(OSError):
            Path("/proc", str(self._first), "oom_score_adj").write_text(_FIRST_TO_GO)
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._first, _NICE)
        with suppress(OSError):  # it has ended already
            self._go(b"\n")
        return Crowd(self._first, Path("/proc", str(self._first), "root/proc"))


class Leash:
    """Ends the command that is running, and keeps the next from starting, once it is pulled.

    Any thread may pull it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pulled = False
        self._kin: Kin | None = None

    @property
    def pulled(self) -> bool:
        """No command may run any more."""
        return self._pulled

    def pull(self) -> None:
        """Kill the running command's processes."""
        with self._lock:
            self._pulled = True
            self.kill()

    def kill(self) -> None:
        """Kill the running command's processes; the next command may start."""
        with self._lock:
            if self._kin is not None:
                self._kin.kill()

    def ask(self) -> None:
        """Ask the running command's processes to end (SIGTERM)."""
        with self._lock:
            if self._kin is not None:
                self._kin.ask()

    def tie(self, kin: Kin) -> None:
        """These run now; they are killed at once if the leash was pulled meanwhile."""
        with self._lock:
            self._kin = kin
            if self._pulled:
                kin.kill()

    def untie(self) -> None:
        """Kill what is left of them, and forget them: their numbers may soon be others'."""
        with self._lock:
            if self._kin is not None:
                self._kin.end()
            self._kin = None


def boxed(pid: int, launch: Launch, deadline: float) -> Box | None:
    """The sandbox that bwrap makes, once it tells of it; None if it ends or is late instead.

    pid: of bwrap; without one there is no sandbox. deadline: by time.monotonic().
    """
    if launch.told is None or launch.go is None:
        return None
    with select.epoll() as told:
        told.register(launch.told, select.EPOLLIN)
        if not told.poll(max(0.0, deadline - time.monotonic())):
            return None
    with suppress(ValueError, KeyError, OSError):
        first = int(json.loads(launch.told.readline())["child-pid"])
        return Box(Group(pid), first, launch.go.write)
    return None


def began(launch: Launch) -> bool:
    """Whether the command of a sandbox that is gone had been started in it."""
    assert launch.told is not None  # noqa: S101 - bwrap is launched
    return b"exit-code" in launch.told.read()
