"""Running one command: in its sandbox or plain, under limits, and the end of what it said.

The command's environment is what the caller gives and nothing else. Whatever is left of it when it
ends, is cancelled or is over a limit is killed: in a sandbox all that it ever started, otherwise
its process group.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from loom.domain.rules import Limits
from workers import launch as launches
from workers import limits as limits_of
from workers.kin import Group, Leash, began, boxed
from workers.launch import Launch
from workers.limits import MIB, Hit
from workers.mask import NOTHING, Mask
from workers.output import TAIL_BYTES, Output
from workers.sandbox import SandboxFailed, Wrapped
from workers.watch import Watch

__all__ = ["CANNOT_RUN", "TAIL_BYTES", "Ended", "Leash", "run", "run_wrapped"]

_CHUNK = 64 * 1024
LONGEST_GLANCE_S = 0.1
"""How often a command is looked at that has closed its output, or left it to another process."""
CANNOT_RUN = 127
"""The exit code of a command that could not be started, as shells give it."""
BY_SIGNAL = 128
"""In a sandbox a command that a signal ended has this plus the signal, as shells give it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. exit_code: negative for a signal; None if it was made to end.

    In a sandbox a signal N gives 128 + N instead, as it does in a shell. output: the end of stdout
    and stderr together, undecodable bytes replaced. timed_out: it ran into its soft or its hard
    limit; after the soft one it may still have ended by itself. limit: what it had too much of,
    where that is known, one of workers.limits.Limit; words: the same for a person. size: bytes of
    output in all. log_error: why its log is not whole.
    """

    exit_code: int | None
    duration_s: float
    output: str
    timed_out: bool = False
    cancelled: bool = False
    limit: str = ""
    words: str = ""
    size: int = 0
    log_error: str = ""


@dataclass(frozen=True, slots=True)
class _Terms:
    """What a command is held to. folders: whose disk counts."""

    timeout_s: float
    soft_timeout_s: float | None
    limits: Limits | None = None
    folders: Sequence[Path] = ()


def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    environment: Mapping[str, str],
    timeout_s: float,
    leash: Leash,
    stdin: bytes = b"",
    soft_timeout_s: float | None = None,
    on_output: Callable[[bytes], None] | None = None,
    log: Path | None = None,
) -> Ended:
    """Run a command of Loom's own and wait for its end; a missing program is an ending.

    timeout_s: seconds it may take. soft_timeout_s: after so many it is asked to end, and has the
    rest for it. on_output: gets each piece of output as it comes, in this thread. log: a file that
    is made for all of it.
    """
    output = Output(log=log, on_output=on_output)
    terms = _Terms(timeout_s, soft_timeout_s)
    return _run(Launch(argv, environment, cwd), terms, leash, stdin, output)


def run_wrapped(
    wrapped: Wrapped,
    *,
    timeout_s: float,
    leash: Leash,
    stdin: bytes = b"",
    soft_timeout_s: float | None = None,
    on_output: Callable[[bytes], None] | None = None,
    log: Path | None = None,
    mask: Mask = NOTHING,
) -> Ended:
    """Run a command that nobody trusts, as `run` does, in its sandbox and under its limits.

    Output past its limit ends the command; it is neither kept nor passed on. mask: what is never
    told of it. Raises SandboxFailed
    when its sandbox cannot be made, which is no fault of the command's.
    """
    output = Output(limit=wrapped.limits.output_mb * MIB, log=log, on_output=on_output, mask=mask)
    terms = _Terms(timeout_s, soft_timeout_s, wrapped.limits, wrapped.writable)
    with launches.launching(wrapped) as launch:
        ended = _run(launch, terms, leash, stdin, output)
        made_to_end = ended.exit_code is None or ended.exit_code < 0
        if launch.told is None or made_to_end or began(launch):
            return ended
    refused = f"bwrap: execvp {wrapped.argv[0]}: "
    if refused not in ended.output:
        raise SandboxFailed(f"no sandbox could be made: {ended.output.strip()[-500:]}")
    return _cannot_run(wrapped.argv[0], ended.output.rpartition(refused)[2].strip(), ended)


def _run(launch: Launch, terms: _Terms, leash: Leash, stdin: bytes, output: Output) -> Ended:
    started = time.monotonic()
    with ExitStack() as stack:
        stack.callback(output.close)
        given = subprocess.DEVNULL
        if stdin:
            given = launches.memory_file(stdin)
            stack.callback(os.close, given)
        try:
            process = subprocess.Popen(
                list(launch.argv),
                cwd=launch.cwd,
                env=dict(launch.environment),
                stdin=given,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=launch.inherited,
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            # ValueError: a NUL in an argument.
            nothing = Ended(None, time.monotonic() - started, "")
            return _cannot_run(launch.argv[0], str(error), nothing)
        launch.started()
        running = _Running(process, output)
        asked = killed = False
        try:
            group = Group(process.pid)
            leash.tie(group)
            box = boxed(process.pid, launch, started + terms.timeout_s)
            if box is not None:
                leash.tie(box)
            if terms.limits is not None and (box is not None or launch.told is None):
                crowd = (box or group).begin(terms.limits)
                running.watch = Watch(terms.limits, crowd, terms.folders)
            if terms.soft_timeout_s is not None:
                asked = not running.follow(started + terms.soft_timeout_s)
            if asked:
                leash.ask()
            killed = not running.follow(started + terms.timeout_s)
        finally:
            # Before the process is waited for, as until then no other group can have its number.
            leash.untie()
            process.wait()
            running.close()
    code = process.returncode
    hit = running.hit or (_found_after(code, terms.limits) if terms.limits is not None else None)
    return Ended(
        exit_code=None if killed or running.stopped or leash.pulled else code,
        duration_s=time.monotonic() - started,
        output=output.text(),
        timed_out=(asked or killed) and not leash.pulled and not running.stopped,
        cancelled=leash.pulled,
        limit=hit.limit.value if hit is not None else "",
        words=hit.words if hit is not None else "",
        size=output.size,
        log_error=output.log_error,
    )


def _found_after(code: int, limits: Limits) -> Hit | None:
    """The limit that the kernel ended the command at, by its exit code."""
    return limits_of.by_signal(-code if code < 0 else code - BY_SIGNAL, limits)


def _cannot_run(program: str, why: str, ended: Ended) -> Ended:
    words = f"cannot run {program[:200]!r}: {why}"
    return replace(ended, exit_code=CANNOT_RUN, output=words)


class _Running:
    """A process with its output, until it has ended or was seen to be over a limit."""

    def __init__(self, process: subprocess.Popen[bytes], output: Output) -> None:
        self._process, self._output = process, output
        self.watch: Watch | None = None
        self.hit: Hit | None = None
        self.stopped = False
        """It was over a limit while it ran, and has to be killed."""

    def follow(self, deadline: float) -> bool:
        """Read the output until nothing is to be waited for; False when the deadline comes first.

        That is when the process has ended, or has to be.
        """
        assert self._process.stdout is not None  # noqa: S101 - Popen was asked for a pipe
        descriptor = self._process.stdout.fileno()
        os.set_blocking(descriptor, False)
        glance_s = 0.001
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            open_ended = True
            while not self.stopped and (left := deadline - time.monotonic()) > 0:
                if open_ended and selector.select(min(left, LONGEST_GLANCE_S)):
                    open_ended = self._read() != b""
                    self._check()
                    continue
                if self._has_ended():
                    return True
                self._check()
                if not open_ended:
                    time.sleep(min(left, glance_s))
                    glance_s = min(LONGEST_GLANCE_S, glance_s * 2)
        return self.stopped

    def close(self) -> None:
        """Take what the pipe still holds, without waiting for whoever else has it open."""
        assert self._process.stdout is not None  # noqa: S101 - Popen was asked for a pipe
        with self._process.stdout:
            for _ in range(16):
                if not self._read():
                    break
        if self.watch is not None:
            if self.hit is None:
                self.hit = self.watch.finish()
            self.watch.close()

    def _check(self) -> None:
        if self._output.over:
            self.hit = self._output.hit()
        elif self.watch is not None:
            self.hit = self.watch.look()
        self.stopped = self.hit is not None

    def _has_ended(self) -> bool:
        """Whether it has ended, without reaping it: its group keeps its number until then."""
        return (
            os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        )

    def _read(self) -> bytes | None:
        """Read once: empty at the end, None when there is nothing for now."""
        assert self._process.stdout is not None  # noqa: S101 - Popen was asked for a pipe
        try:
            chunk = os.read(self._process.stdout.fileno(), _CHUNK)
        except BlockingIOError:
            return None
        self._output.add(chunk)
        return chunk
