"""A whole Loom of the tests' own, started and ended by its commands, as a user would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loom.cli import profile
from loom.clients.control import ControlClient
from loom.stack import remains
from loom.stack.home import Home
from loom.stack.observe import Observer, Service
from loom.testing.infrastructure import free_ports

ROOT = Path(__file__).resolve().parents[1]
COMMAND_S = 300


def eventually(what: str, holds: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait until the condition holds; fails naming it if it does not in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
        time.sleep(0.1)


@dataclass(frozen=True)
class Loom:
    """The stack, by its command line and by its API. started: what the first `loom up` told."""

    home: Home
    environment: dict[str, str]
    started: dict[str, Any] = field(default_factory=dict)

    def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `loom` with these words, and more in its environment."""
        return subprocess.run(
            [sys.executable, "-m", "loom.cli", *words],
            env=self.environment | more,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            check=False,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """A running `loom` with these words; `communicate` gives what it says until it ends."""
        return subprocess.Popen(
            [sys.executable, "-m", "loom.cli", *words],
            env=self.environment,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def document(self, *words: str, **more: str) -> Any:
        """What `loom` prints with --json; its exit code has to be 0."""
        answer = self.run(*words, "--json", **more)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        return json.loads(answer.stdout)

    def services(self) -> dict[str, dict[str, Any]]:
        """Every service by its name."""
        return {each["name"]: each for each in self.document("status")["services"]}

    def seen(self) -> dict[str, Service]:
        """The same without a command's start, for who looks again and again."""
        return {each.name: each for each in Observer(self.home, self.home.ports()).look()}

    def client(self) -> ControlClient:
        """A client of the API."""
        return profile.of_stack(self.home).client()


@contextmanager
def whole_loom(prefix: str) -> Iterator[Loom]:
    """Loom, up, in a folder of its own; at the end `loom down` has to leave no process."""
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    folder.chmod(0o755)
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
    loom = Loom(
        Home(folder / "home"),
        kept
        | {"LOOM_HOME": str(folder / "home"), "LOOM_PORT_BASE": str(free_ports().base)}
        | {"PYTHONPATH": str(ROOT)},
    )
    try:
        loom.started.update(loom.document("up"))
        yield loom
        down = loom.run("down")
        assert down.returncode == 0, down.stdout + down.stderr
        assert remains.of(loom.home) == []
    finally:
        remains.end(loom.home, patience_s=0)
        shutil.rmtree(folder, ignore_errors=True)
