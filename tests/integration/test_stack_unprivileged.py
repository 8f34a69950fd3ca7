"""A stack of an ordinary user, who may not become another one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from loom.stack import lifecycle, reach, render
from loom.stack.home import Home
from loom.testing.infrastructure import free_ports

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """A folder that its owner alone can enter, as `mktemp -d` makes it."""
    folder = Path(tempfile.mkdtemp(prefix="loom-life-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


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
