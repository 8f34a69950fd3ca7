"""Running one command: its own process group, a time limit, and the end of what it said.

The command's environment is what the caller gives and nothing else; whatever of its group is left
when it ends, is cancelled or runs out of time is killed.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TAIL_BYTES = 64 * 1024
"""How much of a command's output is kept: its end."""
_CHUNK = 64 * 1024
LONGEST_GLANCE_S = 0.1
"""How often a command is looked at that has closed its output, or left it to another process."""
CANNOT_RUN = 127
"""The exit code of a command that could not be started, as shells give it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. exit_code: negative for a signal; None if it was made to end.

    output: the end of stdout and stderr together, undecodable bytes replaced. timed_out: it ran
    into its soft or its hard limit; after the soft one it may still have ended by itself.
    """

    exit_code: int | None
    duration_s: float
    output: str
    timed_out: bool = False
    cancelled: bool = False


class Leash:
    """Ends the command that is running, and keeps the next from starting, once it is pulled.

    Any thread may pull it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pulled = False
        self._group: int | None = None

    @property
    def pulled(self) -> bool:
        """No command may run any more."""
        return self._pulled

    def pull(self) -> None:
        """Kill the running command's group."""
        with self._lock:
            self._pulled = True
            if self._group is not None:
                _kill(self._group)

    def ask(self) -> None:
        """Ask the running command's group to end (SIGTERM)."""
        with self._lock:
            if self._group is not None:
                _signal(self._group, signal.SIGTERM)

    def tie(self, group: int) -> None:
        """The group runs now; it is killed at once if the leash was pulled meanwhile."""
        with self._lock:
            self._group = group
            if self._pulled:
                _kill(group)

    def untie(self) -> None:
        """Kill what is left of the group, and forget it: its number may soon be another's."""
        with self._lock:
            if self._group is not None:
                _kill(self._group)
            self._group = None


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    timeout_s: float,
    leash: Leash,
    stdin: bytes = b"",
    soft_timeout_s: float | None = None,
) -> Ended:
    """Run argv and wait for its end, at most timeout_s seconds; a missing program is an ending.

    soft_timeout_s: after so many seconds its group is asked to end, and has the rest for it.
    """
    started = time.monotonic()
    with tempfile.TemporaryFile() as given:
        given.write(stdin)
        given.seek(0)
        try:
            process = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env=dict(environment),
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            # ValueError: a NUL in an argument.
            words = f"cannot run {argv[0][:200]!r}: {error}"
            return Ended(CANNOT_RUN, time.monotonic() - started, words)
    tail = _Tail()
    try:
        leash.tie(process.pid)
        asked = soft_timeout_s is not None and not _follow(process, tail, started + soft_timeout_s)
        if asked:
            leash.ask()
        killed = not _follow(process, tail, started + timeout_s)
    finally:
        # Before the process is waited for, as until then no other group can have its number.
        leash.untie()
        process.wait()
        if process.stdout is not None:
            _drain(process.stdout, tail)
            process.stdout.close()
    return Ended(
        exit_code=None if killed or leash.pulled else process.returncode,
        duration_s=time.monotonic() - started,
        output=tail.text(),
        timed_out=(asked or killed) and not leash.pulled,
        cancelled=leash.pulled,
    )


def _follow(process: subprocess.Popen[bytes], tail: _Tail, deadline: float) -> bool:
    """Read the output until the process has ended; False when the deadline comes first."""
    assert process.stdout is not None  # noqa: S101 - Popen was asked for a pipe
    descriptor = process.stdout.fileno()
    os.set_blocking(descriptor, False)
    glance_s = 0.001
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        open_ended = True
        while (left := deadline - time.monotonic()) > 0:
            if open_ended and selector.select(min(left, LONGEST_GLANCE_S)):
                open_ended = _read(descriptor, tail) != b""
                continue
            if _has_ended(process):
                return True
            if not open_ended:
                time.sleep(min(left, glance_s))
                glance_s = min(LONGEST_GLANCE_S, glance_s * 2)
    return False


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Whether the process has ended, without reaping it: its group keeps its number until then."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _drain(pipe: IO[bytes], tail: _Tail) -> None:
    """Take what the pipe still holds, without waiting for whoever else has it open."""
    for _ in range(16):
        if not _read(pipe.fileno(), tail):
            return


def _read(descriptor: int, tail: _Tail) -> bytes | None:
    """Read once: empty at the end, None when there is nothing for now."""
    try:
        chunk = os.read(descriptor, _CHUNK)
    except BlockingIOError:
        return None
    tail.add(chunk)
    return chunk


def _kill(group: int) -> None:
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


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
