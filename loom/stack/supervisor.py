"""supervisord, which keeps the processes of a stack running: its configuration and its RPC.

It listens on a loopback port, since a socket's path may have 107 bytes and a home's may be longer.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import signal
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loom.errors import NotFound, Unavailable
from loom.stack import credentials
from loom.stack.home import Home
from loom.stack.ports import HOST, Ports
from loom.stack.program import Program, render

USER = "loom"
START_S = 15.0
LOOK_EVERY_S = 0.1
BAD_NAME, ALREADY_STARTED, NOT_RUNNING, ALREADY_ADDED = 10, 60, 70, 90
"""Faults of the RPC interface that repeating a request meets (supervisor/xmlrpc.py)."""


@dataclass(frozen=True, slots=True)
class Process:
    """A program as the supervisor sees it. state: RUNNING, STARTING, BACKOFF, STOPPED, …"""

    name: str
    state: str
    pid: int
    since: int
    said: str
    exit_code: int = -1


def config(
    home: Home, ports: Ports, password: str, programs: Iterable[Program], *, switching: bool
) -> str:
    """The text of supervisord.conf."""
    hashed = hashlib.sha1(password.encode(), usedforsecurity=False).hexdigest()
    head = f"""\
[supervisord]
logfile={_escape(home.log("supervisord"))}
logfile_maxbytes=20MB
logfile_backups=3
pidfile={_escape(home.supervisor_pid)}
childlogdir={_escape(home.logs)}
directory=/
umask=022
minfds=4096
{"user=root" if switching else ""}

[inet_http_server]
port={HOST}:{ports.of("supervisor")}
username={USER}
password={{SHA}}{hashed}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[include]
files=agents/*.conf

"""
    return head + "\n".join(render(program, home, switching=switching) for program in programs)


class _Transport(xmlrpc.client.Transport):
    """Basic authentication and a time limit, which xmlrpc.client's own transport lacks."""

    def __init__(self, password: str, timeout_s: float) -> None:
        secret = base64.b64encode(f"{USER}:{password}".encode()).decode()
        super().__init__(headers=[("Authorization", f"Basic {secret}")])
        self._timeout_s = timeout_s

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        connection = super().make_connection(host)
        connection.timeout = self._timeout_s
        return connection


class Supervisor:
    """The supervisord of one home."""

    def __init__(self, home: Home, ports: Ports) -> None:
        self._home = home
        self._url = f"http://{HOST}:{ports.of('supervisor')}/RPC2"

    @property
    def pid(self) -> int:
        """Its process id, or 0 when it does not run."""
        try:
            pid = int(self._home.supervisor_pid.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, ValueError):
            return 0
        # A pid is used again after a while; the command line names this home's configuration.
        return pid if os.fsencode(self._home.supervisor_config) in command else 0

    def start(self, environment: dict[str, str], prefix: list[str]) -> None:
        """Start it as a daemon; raises Unavailable with its words.

        prefix: the argv in front of it, which may put it into a mount namespace of its own.
        """
        answer = subprocess.run(
            [
                *prefix,
                sys.executable,
                "-P",
                "-m",
                "supervisor.supervisord",
                "-c",
                str(self._home.supervisor_config),
            ],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if answer.returncode:
            raise Unavailable(
                f"supervisord did not start: {(answer.stderr + answer.stdout).strip()[-2000:]}"
            )
        # The parent ends when it has forked, which is before the daemon has written its pid.
        deadline = time.monotonic() + START_S
        while not self.pid:
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"supervisord did not start; its log is {self._home.log('supervisord')}"
                )
            time.sleep(0.02)

    def processes(self) -> list[Process]:
        """Every program it has."""
        return [
            Process(
                name=row["name"],
                state=row["statename"],
                pid=row["pid"],
                since=row["start"],
                said=row["spawnerr"],
                exit_code=row["exitstatus"],
            )
            for row in self._call("getAllProcessInfo")
        ]

    def update(self) -> list[str]:
        """Take over the configuration as it is on disk; the names of what was changed by it."""
        ((added, changed, removed),) = self._call("reloadConfig")
        self._replace({*changed, *removed}, [*added, *changed])
        return [*added, *changed, *removed]

    def take_over(self, name: str) -> None:
        """Run the program as its configuration on disk says; leave every other alone."""
        ((added, changed, _removed),) = self._call("reloadConfig")
        self._replace({name} & set(changed), [one for one in (*added, *changed) if one == name])

    def take_out(self, name: str) -> None:
        """Stop the program, whose configuration is gone from the disk, and forget it."""
        self._call("reloadConfig")
        self._replace({name}, [])

    def see_running(self, name: str) -> None:
        """Start the program unless it runs."""
        self._call("startProcess", name, False, ignoring=(ALREADY_STARTED,))

    def _replace(self, old: set[str], new: list[str]) -> None:
        """Stop the old programs, all at once, and start the new ones."""
        self.stop_all(old)
        for name in old:
            self._call("removeProcessGroup", name, ignoring=(BAD_NAME,))
        for name in new:
            self._call("addProcessGroup", name, ignoring=(ALREADY_ADDED,))

    def start_stopped(self) -> list[str]:
        """Start the programs that somebody stopped, or that the supervisor gave up; their names."""
        stopped = [p.name for p in self.processes() if p.state in {"STOPPED", "EXITED", "FATAL"}]
        for name in stopped:
            self._call("startProcess", name, False, ignoring=(ALREADY_STARTED,))
        return stopped

    def stop_all(self, names: set[str]) -> None:
        """Stop the programs, all at once, and wait for their end.

        The supervisor kills what takes longer than its own time for an orderly end.
        """
        for name in names:
            self._call("stopProcess", name, False, ignoring=(NOT_RUNNING, BAD_NAME))
        while any(process.pid for process in self.processes() if process.name in names):
            time.sleep(LOOK_EVERY_S)

    def shutdown(self) -> None:
        """Ask supervisord to end; it stops what still runs."""
        self._call("shutdown")

    def terminate(self) -> None:
        """Ask the same by a signal, for a supervisord that answers no call."""
        if pid := self.pid:
            os.kill(pid, signal.SIGTERM)

    def _call(self, method: str, *arguments: Any, ignoring: tuple[int, ...] = ()) -> Any:
        transport = _Transport(self._home.secret(credentials.SUPERVISOR), timeout_s=90)
        try:
            with xmlrpc.client.ServerProxy(self._url, transport=transport) as proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in ignoring:
                return None
            if fault.faultCode == BAD_NAME:
                raise NotFound(f"the supervisor has no {arguments}") from fault
            raise Unavailable(
                f"the supervisor refused {method}{arguments}: {fault.faultString}"
            ) from fault
        except (OSError, xmlrpc.client.ProtocolError, http.client.HTTPException) as error:
            raise Unavailable(
                f"the supervisor of {self._home.path} does not answer {method} at {self._url}: "
                f"{error}"
            ) from error


def _escape(path: Path) -> str:
    return str(path).replace("%", "%%")
