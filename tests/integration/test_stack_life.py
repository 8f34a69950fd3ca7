"""A whole stack's life: up, a project later, killed processes, and down to nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from loom.stack import credentials, lifecycle, reach, remains, render, services
from loom.stack.home import Home
from loom.stack.lifecycle import Stack
from loom.stack.observe import Observer, Service
from loom.stack.ports import HOST
from loom.testing.infrastructure import free_ports

pytestmark = pytest.mark.timeout(300)
PATIENCE_S = 90.0


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that its owner alone can enter, as `mktemp -d` makes it."""
    folder = Path(tempfile.mkdtemp(prefix="loom-life-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def stack(closed_folder: Path) -> Iterator[Stack]:
    """A stack that never ran, ended in any case."""
    stack = Stack(Home(closed_folder / "deep" / "home"), free_ports())
    yield stack
    stack.kill()


def _await(condition: Callable[[], bool], what: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.1)


def _loom(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "loom.cli", *arguments],
        env=dict(os.environ)
        | {
            "LOOM_HOME": str(stack.home.path),
            "LOOM_PORT_BASE": str(stack.ports.base),
            "PYTHONPATH": str(render.ROOT),
        },
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def _statuses(stack: Stack) -> dict[str, Service]:
    observer = Observer(stack.home, stack.ports)
    return {service.name: service for service in observer.look()}


def _all_run(seen: dict[str, Service]) -> bool:
    return bool(seen) and all(service.state == "running" for service in seen.values())


def test_a_stack_from_its_first_start_to_its_end(stack: Stack) -> None:
    started = _loom(stack, "up", "--json")
    assert started.returncode == 0, started.stderr
    told = json.loads(started.stdout)
    assert {service["name"] for service in told["services"]} == {
        *services.INFRASTRUCTURE,
        *services.LOOM,
    }
    assert {service["state"] for service in told["services"]} == {"running"}

    status = _loom(stack, "status", "--json")
    assert {"name", "state", "pid", "url"} <= json.loads(status.stdout)["services"][0].keys()

    token = _loom(stack, "token", "show").stdout.strip()
    assert token == stack.home.secret(credentials.API_TOKEN)
    answer = httpx.post(
        f"http://{HOST}:{stack.ports.of('control')}/api/v1/projects",
        json={
            "id": "later",
            "repository": str(stack.home.path / "none.git"),
            "test_command": ["true"],
        },
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
    )
    assert answer.status_code == 201, answer.text
    _await(lambda: "agent-later" in _statuses(stack), lambda: _statuses(stack))
    _await(lambda: _all_run(_statuses(stack)), lambda: _statuses(stack))

    before = _statuses(stack)
    for name in (*services.LOOM, "agent-later"):
        os.kill(before[name].pid, signal.SIGKILL)

    def all_came_back() -> bool:
        seen = _statuses(stack)
        return _all_run(seen) and all(
            seen[name].pid != before[name].pid for name in (*services.LOOM, "agent-later")
        )

    _await(all_came_back, lambda: _statuses(stack))

    examined = _loom(stack, "doctor", "--json")
    findings = json.loads(examined.stdout)["findings"]
    failed = [f for f in findings if f["verdict"] == "fail"]
    assert examined.returncode == 0, failed
    assert {"topology", "permissions", "consumer_timeout"} <= {f["what"] for f in findings}

    ended = _loom(stack, "down")
    assert ended.returncode == 0, ended.stderr
    assert remains.of(stack.home) == []
    assert not stack.supervisor.pid
    stopped = json.loads(_loom(stack, "status", "--json").stdout)["services"]
    assert {service["state"] for service in stopped} == {"stopped"}
    assert "agent-later" in {service["name"] for service in stopped}


AS_AN_ORDINARY_USER = """
import sys
from pathlib import Path
from loom.stack import remains, services
from loom.stack.home import Home
from loom.stack.lifecycle import Stack
from loom.stack.ports import Ports
stack = Stack(Home(Path(sys.argv[1])), Ports(int(sys.argv[2])))
try:
    started = stack.up(only=services.INFRASTRUCTURE)
    assert {service.state for service in started.services} == {"running"}, started
    stack.down()
    assert remains.of(stack.home) == []
finally:
    stack.kill()
print("up and down")
"""


def test_an_ordinary_user_needs_no_root(closed_folder: Path) -> None:
    argv = [sys.executable, "-c", AS_AN_ORDINARY_USER]
    argv += [str(closed_folder / "home"), str(free_ports().base)]
    if os.geteuid() == 0:
        nobody = 65534
        os.chown(closed_folder, nobody, nobody)
        needed = (sys.prefix, sys.base_prefix, sys.executable, render.ROOT / "loom")
        ways = reach.command(reach.survey(Path(path) for path in needed))
        change = ["/usr/bin/setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups"]
        argv = [*ways, *change, "--", *argv]
    answer = subprocess.run(
        argv,
        env=lifecycle.environment(Home(closed_folder / "home")) | {"LOOM_STACK": ""},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert answer.stdout.strip() == "up and down", answer.stdout + answer.stderr
