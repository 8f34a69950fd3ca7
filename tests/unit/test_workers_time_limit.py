"""The versions that tools tell of themselves, and limits that Celery sets."""

from __future__ import annotations

import pytest

from loom.domain.project import Project
from loom.errors import Invalid
from workers import tools
from workers.time_limit import TimeLimit


@pytest.mark.parametrize(
    ("text", "version"),
    [("v20.20.2", "20.20.2"), ("pytest 9.0.1\n", "9.0.1"), ("no number", ""), ("1", "")],
)
def test_a_version_is_found_in_what_a_tool_says(text: str, version: str) -> None:
    assert tools.version_in(text) == version


PROJECT = Project("demo", "/r", timeout_s=900, soft_timeout_s=600)


def limits(limit: TimeLimit) -> tuple[int, int]:
    project = limit.of(PROJECT)
    return project.timeout_s, project.soft_timeout_s


def test_a_projects_limits_hold_until_celery_sets_others_and_again_after() -> None:
    limit = TimeLimit()
    assert limits(limit) == (900, 600)
    limit.set(hard=60.5, soft=30)
    assert limits(limit) == (61, 30)
    limit.set(hard=60, soft=None)
    assert limits(limit) == (60, 0), "the project's soft limit is above the hard one"
    limit.set(hard=None, soft=None)
    assert limits(limit) == (900, 600)


@pytest.mark.parametrize(("hard", "soft"), [(0, None), (90_000, None), (5, 5), (None, -1)])
def test_limits_that_make_no_sense_are_refused(hard: float | None, soft: float | None) -> None:
    limit = TimeLimit()
    with pytest.raises(Invalid):
        limit.set(hard=hard, soft=soft)
    assert limits(limit) == (900, 600)
