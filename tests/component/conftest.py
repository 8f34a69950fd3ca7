"""One part of Loom with all that is its own: an app behind its test client, a command and what it
starts, a server on loopback, git, a sandbox; fakes stand for the rest, and no service is needed.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from control_api import PROJECT, Api


@pytest.fixture(scope="session")
def one_shop() -> Api:
    """The API with one project, for `steady` alone."""
    api = Api()
    assert api.post("/api/v1/projects", PROJECT).status_code == 201
    return api


@pytest.fixture
def steady(one_shop: Api) -> Iterator[Api]:
    """The API with one project, for what it refuses: the same to many tests, so none changes it."""
    before = one_shop.ledger.events
    yield one_shop
    assert one_shop.ledger.events == before


class Clock:
    """Stands in for the module `time`: it moves on when somebody sleeps, and at no other time."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def monotonic(self) -> float:
        """The time."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Have that time pass."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The time of those commands that look again and again."""
    clock = Clock()
    for command in ("demo", "running", "waiting"):
        monkeypatch.setattr(f"loom.cli.{command}.time", clock)
    return clock
