"""Pure tests: no socket, no process, no real waiting. One that is not fails, and says why."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from purity import WHERE, watched


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None]:
    """Fixtures are as pure as the tests that ask for them."""
    return (yield from _pure())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Hold the test to what this folder is for."""
    return (yield from _pure())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None]:
    """What a fixture tidies up is held to it, too; what other folders share ends with the last."""
    if nextitem is None or nextitem.path.parent != item.path.parent:
        yield
        return
    yield from _pure()


def _pure() -> Generator[None]:
    with watched() as seen:
        yield
    if seen:
        pytest.fail(f"it {'; it '.join(seen)}; {WHERE}", pytrace=False)
