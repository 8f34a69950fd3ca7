"""What an attempt has to do, read from what a person filed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from loom.domain.bead import Bead
from loom.domain.lifecycle import State
from loom.domain.project import Project
from loom.errors import Invalid
from workers import recipe
from workers.recipe import MAX_PATCH_BYTES, Recipe

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def read(
    context: dict[str, Any],
    test_command: tuple[str, ...] = ("make", "test"),
    soft_timeout_s: int = 0,
) -> Recipe:
    bead = Bead(
        id="bd-1", project_id="demo", title="T", state=State.IN_PROGRESS, epoch=1, version=2,
        correlation_id="c", created_at=NOW, updated_at=NOW, context=context,
    )  # fmt: skip
    project = Project(
        "demo", "/srv/demo.git", test_command=test_command, soft_timeout_s=soft_timeout_s
    )
    return recipe.read(bead, project)


def test_the_projects_command_and_limit_hold_where_the_bead_says_nothing() -> None:
    assert read({}) == Recipe(b"", ("make", "test"), 900.0)


def test_the_beads_own_command_and_limit_come_first() -> None:
    context = {"test_command": ["pytest", "-x"], "timeout_s": 2.5}
    assert read(context) == Recipe(b"", ("pytest", "-x"), 2.5)


def test_a_bead_that_nothing_says_how_to_test_is_refused() -> None:
    with pytest.raises(Invalid, match="nothing says how to test it"):
        read({}, test_command=())


@pytest.mark.parametrize("command", ["make test", [], [""], ["make", 1], {"a": 1}, 7, True])
def test_a_command_has_to_be_a_list_of_strings(command: object) -> None:
    with pytest.raises(Invalid, match=r"context\.test_command"):
        read({"test_command": command})


@pytest.mark.parametrize(
    "limit", ["10", True, 0, -1, 86_401, [1], float("inf"), float("nan"), 10**400]
)
def test_a_limit_has_to_be_a_number_of_seconds_up_to_a_day(limit: object) -> None:
    with pytest.raises(Invalid, match=r"context\.timeout_s"):
        read({"timeout_s": limit})


@pytest.mark.parametrize("patch", [7, ["x"], {"diff": "x"}, True])
def test_a_patch_has_to_be_text(patch: object) -> None:
    with pytest.raises(Invalid, match=r"context\.patch has to be text"):
        read({"patch": patch})


def test_a_patch_over_the_limit_is_refused() -> None:
    with pytest.raises(Invalid, match=f"the limit is {MAX_PATCH_BYTES}"):
        read({"patch": "x" * (MAX_PATCH_BYTES + 1)})


@pytest.mark.parametrize("patch", [None, "", " \n\t"])
def test_an_empty_patch_is_none(patch: object) -> None:
    assert read({"patch": patch}).patch == b""


def test_a_patch_gets_the_line_end_that_git_wants() -> None:
    assert read({"patch": "--- a\n+++ b"}).patch == b"--- a\n+++ b\n"


def test_the_soft_limit_is_the_beads_own_or_the_projects_where_that_leaves_time() -> None:
    assert read({}).soft_timeout_s is None
    assert read({"soft_timeout_s": 5}).soft_timeout_s == 5.0
    assert read({}, soft_timeout_s=60).soft_timeout_s == 60.0
    assert read({"soft_timeout_s": 5}, soft_timeout_s=60).soft_timeout_s == 5.0
    assert read({"timeout_s": 30}, soft_timeout_s=60).soft_timeout_s is None


@pytest.mark.parametrize(("soft", "hard"), [(10, 10), (11, 10), (0, 10), ("1", 10), (True, 10)])
def test_a_soft_limit_has_to_lie_below_the_hard_one(soft: object, hard: int) -> None:
    with pytest.raises(Invalid, match=r"context\.soft_timeout_s"):
        read({"soft_timeout_s": soft, "timeout_s": hard})
