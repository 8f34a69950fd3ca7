"""A whole Loom on a scratch home for real projects, and the report of what they showed."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import real_report
from real_packages import PACKAGES
from whole import ROOT, Loom, whole_loom

from loom.stack.home import StackSettings

ROWS = pytest.StashKey[list[dict[str, Any]]]()


@pytest.fixture(scope="session")
def loom() -> Iterator[Loom]:
    """Loom, up; when the tests end, `loom down` has to leave no process."""
    with whole_loom("loom-real-") as started:
        yield started


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
