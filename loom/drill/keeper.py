"""Keeps the processes of a scratch stack running: what dies is started again at once."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from loom.errors import DeadlineExceeded
from loom.stack.accounts import Account
from loom.stack.home import Home
from loom.stack.program import Program
from loom.telemetry import logs

SHORT_LIFE_S = 2.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.1, 2.0
KILL_S = 10.0
UP_S, LOOK_EVERY_S = 30.0, 0.01

log = logs.get(__name__)


class _Kept:
    """One process with the thread that waits for its end."""

    def __init__(self, keeper: Keeper, program: Program) -> None:
        self.program = program
        self.held = threading.Event()
        self.wanted = threading.Event()
        self.wanted.set()
        self.ended = False
        self.popen: subprocess.Popen[bytes] | None = None
        self.down = threading.Event()
        self.down.set()
        self._keeper = keeper
        self.thread = threading.Thread(target=self._run, name=f"keep-{program.name}", daemon=True)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            self.wanted.wait()
            if self.ended:
                return
            began = time.monotonic()
            try:
                self.popen = self._keeper.launch(self.program)
            except OSError as error:
                log.warning("process_not_started", process=self.program.name, why=str(error))
                self._keeper.closing.wait(LONGEST_PAUSE_S)
                continue
            self.down.clear()
            # A stop that came while it was starting had nothing to signal.
            if not self.wanted.is_set():
                self.popen.kill()
            code = self.popen.wait()
            self.down.set()
            if self.wanted.is_set() and not self.ended:
                log.info("process_ended", process=self.program.name, code=code)
                short = time.monotonic() - began < SHORT_LIFE_S
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2) if short else FIRST_PAUSE_S
                self._keeper.closing.wait(pause_s)


class Keeper:
    """The processes of one home."""

    def __init__(
        self, home: Home, environment: Mapping[str, str], prefix: Sequence[str], *, switching: bool
    ) -> None:
        """prefix: argv in front of each, which gives it a view of the files that it may see."""
        self._home = home
        self._environment = dict(environment)
        self._prefix = list(prefix)
        self._switching = switching
        self._kept: dict[str, _Kept] = {}
        self.closing = threading.Event()

    def add(self, program: Program) -> None:
        """Start the process, and keep it running."""
        kept = self._kept[program.name] = _Kept(self, program)
        kept.thread.start()

    def replace(self, program: Program) -> None:
        """Run it otherwise from its next start on."""
        self._kept[program.name].program = program

    def program(self, name: str) -> Program:
        """How it is started."""
        return self._kept[name].program

    def pid(self, name: str) -> int:
        """Its process id; 0 while it is down."""
        kept = self._kept[name]
        return kept.popen.pid if kept.popen is not None and not kept.down.is_set() else 0

    def pids(self) -> dict[str, int]:
        """The process id of each that is up."""
        return {name: pid for name in self._kept if (pid := self.pid(name))}

    def names(self, prefix: str = "") -> list[str]:
        """Every process that it keeps, up or down, whose name begins so."""
        return [name for name in self._kept if name.startswith(prefix)]

    def send(self, name: str, number: signal.Signals) -> int:
        """Signal the process alone, not its children; the process id, or 0 if it was down."""
        pid = self.pid(name)
        if pid:
            os.kill(pid, number)
        return pid

    def hold(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """End it by the signal, and leave it down until release; returns when it has ended."""
        kept = self._kept[name]
        kept.wanted.clear()
        self.send(name, number)
        if number is not signal.SIGKILL and not kept.down.wait(kept.program.stop_wait_s):
            log.warning("process_did_not_stop", process=name)
            self.send(name, signal.SIGKILL)
        kept.down.wait(KILL_S)

    def release(self, name: str) -> None:
        """Start it again if it was held."""
        self._kept[name].wanted.set()

    def restart(self, name: str) -> None:
        """Stop it in an orderly way, and start it again."""
        self.hold(name, signal.Signals[f"SIG{self._kept[name].program.stop_signal}"])
        self.release(name)

    def await_up(self, name: str) -> int:
        """Its process id, once it runs; raises DeadlineExceeded if it does not."""
        deadline = time.monotonic() + UP_S
        while not (pid := self.pid(name)):
            if time.monotonic() > deadline:
                raise DeadlineExceeded(f"{name} does not start; its log is {self._home.log(name)}")
            time.sleep(LOOK_EVERY_S)
        return pid

    def close(self) -> None:
        """Kill every process, and start none again."""
        self.closing.set()
        for kept in self._kept.values():
            kept.ended = True
            kept.wanted.clear()
        for name in self._kept:
            self.send(name, signal.SIGKILL)
        for kept in self._kept.values():
            kept.wanted.set()
            kept.thread.join(KILL_S)

    def launch(self, program: Program) -> subprocess.Popen[bytes]:
        """Start the process once, in a session of its own, with its log."""
        with self._home.log(program.name).open("ab") as output:
            return subprocess.Popen(
                [*self._as(program.account), *program.argv],
                env=self._environment | dict(program.environment),
                cwd=self._home.run,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                umask=0o022,
            )

    def run(
        self,
        account: Account,
        argv: Sequence[str],
        environment: Mapping[str, str],
        timeout_s: float = 120,
        text: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end as that account; text: what it reads."""
        return subprocess.run(
            [*self._as(account), *argv],
            env=self._environment | dict(environment),
            cwd=self._home.run,
            input=text,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def _as(self, account: Account) -> list[str]:
        """What stands in front of a command. Root makes the view, and then becomes the account."""
        if not self._switching:
            return self._prefix
        who = f"--reuid={account.uid}", f"--regid={account.gid}", "--clear-groups"
        return [*self._prefix, "/usr/bin/setpriv", *who, "--"]


def children(pid: int) -> list[int]:
    """The processes that this one started and that still run, oldest first."""
    found: list[int] = []
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in listing.read_text().split()]
        except OSError:
            continue
    return sorted(found)
