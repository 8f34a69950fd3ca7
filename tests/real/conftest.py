"""A whole Loom on a scratch home for real projects, and the report of what they showed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import real_report
from real_packages import PACKAGES

from loom.cli import profile
from loom.cli.waiting import follow
from loom.clients.control import ControlClient
from loom.domain.bead import Attempt, Bead, NewBead
from loom.settings import AgentSettings
from loom.stack import remains
from loom.stack.home import Home, StackSettings
from loom.testing.infrastructure import free_ports

ROOT = Path(__file__).resolve().parents[2]
AGENT_PATH = str(AgentSettings.model_fields["path"].default)
"""The PATH of commands where nobody sets another."""
COMMAND_S = 300
ROWS = pytest.StashKey[list[dict[str, Any]]]()


@dataclass(frozen=True)
class Loom:
    """The stack, by its command line and by its API."""

    home: Home
    environment: dict[str, str]

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

    def inspected(self, checkout: Path, project_id: str) -> dict[str, Any]:
        """What `loom project inspect` says of a checkout, by the PATH of agents."""
        answer = self.run(
            "project", "inspect", str(checkout), "--project", project_id, "--json", PATH=AGENT_PATH
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr
        document: dict[str, Any] = json.loads(answer.stdout)
        return document

    def client(self) -> ControlClient:
        """A client of the API."""
        return profile.of_stack(self.home).client()

    def done(self, project_id: str, bead: NewBead) -> tuple[Bead, Attempt]:
        """The bead at its end, and its last attempt: a registry that was away costs one."""
        with self.client() as client:
            ended = follow(client, client.create_bead(project_id, bead), lambda _bead: None)
            *_earlier, attempt = client.list_attempts(ended.id)
        return ended, attempt


@pytest.fixture(scope="session")
def loom() -> Iterator[Loom]:
    """Loom, up; when the tests end, `loom down` has to leave no process."""
    folder = Path(tempfile.mkdtemp(prefix="loom-real-"))
    folder.chmod(0o755)
    kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
    started = Loom(
        Home(folder / "home"),
        kept
        | {"LOOM_HOME": str(folder / "home"), "LOOM_PORT_BASE": str(free_ports().base)}
        | {"PYTHONPATH": str(ROOT)},
    )
    try:
        up = started.run("up")
        assert up.returncode == 0, up.stdout + up.stderr
        yield started
        down = started.run("down")
        assert down.returncode == 0, down.stdout + down.stderr
        assert remains.of(started.home) == []
    finally:
        remains.end(started.home, patience_s=0)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ground() -> Iterator[Path]:
    """A folder that the agents' user can look into."""
    folder = Path(tempfile.mkdtemp(prefix="loom-real-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def agent_user() -> str:
    """The user that agents of the stack are, if this is root."""
    return StackSettings().agent_user


@pytest.fixture
def rows(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """The report's rows so far."""
    return request.config.stash.setdefault(ROWS, [])


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Write the report into docs/ once every package agreed."""
    rows = session.config.stash.get(ROWS, [])
    order = {package.id: place for place, package in enumerate(PACKAGES)}
    if exitstatus == 0 and {row["project"] for row in rows} == set(order):
        real_report.write(ROOT / "docs", sorted(rows, key=lambda row: order[row["project"]]))
