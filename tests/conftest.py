"""What the tests share: real servers of their own, started once when the first test asks.

With `pytest -n 3` all its processes share them: a file that uses them takes a database, and a
vhost (make_vhost, on_vhost), that is named after it. What changes a whole server needs its own
(private_infrastructure).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from loom.testing.infrastructure import (
    Infrastructure,
    infrastructure_in,
    own_folder,
    private_infrastructure,
    remove,
)

# A test that says nothing else tries this many examples: the suite stays
# short. `pytest --hypothesis-profile=thorough` tries more.
settings.register_profile("short", max_examples=30, deadline=None)
settings.register_profile("thorough", max_examples=1000, deadline=None)
settings.load_profile("short")


JOURNEYS = "tests/journey/"
SHORT_DRILL = f"{JOURNEYS}test_short_drill.py"
"""It makes a stack of its own, to break it."""
LONG = ("test_workers_troubles.py", "test_rolling.py")
"""Files that wait far more than they compute: side by side with others from the start."""
FOLDER = "loom_infrastructure_folder"
"""What a process of xdist's is told: where the servers are that it shares with the others."""
_folder = pytest.StashKey[Path]()


class ByFile(LoadFileScheduling):
    """A file's tests stay in one process, and so do all that share the stack of the journeys."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        of_the_stack = file.startswith(JOURNEYS) and file != SHORT_DRILL
        return JOURNEYS if of_the_stack else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Group tests by what they share, where `--dist loadfile` asks for that."""
    return ByFile(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give all processes of the run one folder, in which the first that needs them starts them."""
    stash = node.config.stash
    if _folder not in stash:
        stash[_folder] = own_folder()
    node.workerinput[FOLDER] = str(stash[_folder])


def pytest_configure() -> None:
    """Have the garbage collector look seldom: what is made while tests are collected stays."""
    gc.set_threshold(100_000, 50, 100)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the long ones first, so that no run ends with one process waiting alone."""
    items.sort(key=lambda item: item.path.name not in LONG)


def pytest_collection_finish() -> None:
    """Keep the garbage collector from what lives to the end: modules, and thousands of tests."""
    gc.collect()
    gc.freeze()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End what the processes of the run shared."""
    if _folder in config.stash:
        remove(config.stash[_folder])


@pytest.fixture(scope="session")
def infrastructure(pytestconfig: pytest.Config) -> Iterator[Infrastructure]:
    """RabbitMQ, PostgreSQL and PgBouncer; take a vhost or a database of your own on them."""
    if told := getattr(pytestconfig, "workerinput", None):
        yield infrastructure_in(Path(told[FOLDER]))
        return
    with private_infrastructure() as started:
        yield started
