"""What an attempt has to do, read from what a person filed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.domain.bead import Bead
from loom.domain.evidence import StepKind
from loom.domain.lifecycle import State
from loom.domain.project import Project
from loom.domain.recipe import RecipeStep
from loom.domain.rules import Rules
from loom.errors import Invalid
from workers import recipe
from workers.detect.found import Ground
from workers.detect.tree import Tree

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def bead(context: dict[str, Any]) -> Bead:
    return Bead(
        id="bd-1", project_id="demo", title="T", state=State.IN_PROGRESS, epoch=1, version=2,
        correlation_id="c", created_at=NOW, updated_at=NOW, context=context,
    )  # fmt: skip


def read(context: dict[str, Any], soft_timeout_s: int = 0) -> RecipeStep:
    """The test step of a bead in a project with a command of its own."""
    project = Project(
        "demo", "/srv/demo.git", test_command=("make", "test"), soft_timeout_s=soft_timeout_s
    )
    ground = Ground(Tree.of({}), lambda _program: True)
    [step] = recipe.plan(recipe.ask(bead(context), project), project, ground).recipe.steps
    return step


def test_the_projects_command_and_limit_hold_where_the_bead_says_nothing() -> None:
    assert (read({}).argv, read({}).timeout_s) == (("make", "test"), 900.0)


def test_the_beads_own_command_and_limit_come_first() -> None:
    step = read({"test_command": ["pytest", "-x"], "timeout_s": 2.5})
    assert (step.argv, step.timeout_s) == (("pytest", "-x"), 2.5)


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


LOOM_TOML = """
[[step]]
kind = "prepare"
run = ["make", "deps"]
[[step]]
kind = "test"
run = ["make", "check"]
timeout_s = 60
"""
PYTEST = {"test_it.py": "import pytest"}


def planned(
    files: dict[str, str], context: dict[str, Any] | None = None, **project: Any
) -> recipe.Plan:
    """The plan of a bead of this context in a checkout with these files."""
    of = Project("demo", "/srv/demo.git", **project)
    ground = Ground(Tree.of(files), lambda _program: False, of.rules.network)
    return recipe.plan(recipe.ask(bead(context or {}), of), of, ground)


def commands(plan: recipe.Plan) -> list[tuple[str, ...]]:
    return [step.argv for step in plan.recipe.steps]


def test_the_repositorys_own_recipe_goes_before_the_projects_and_that_before_detection() -> None:
    files = PYTEST | {".loom.toml": LOOM_TOML}
    rules = Rules(recipe={"step": [{"kind": "test", "run": ["make", "ours"]}]})

    assert commands(planned(files, rules=rules)) == [("make", "deps"), ("make", "check")]
    assert commands(planned(PYTEST, rules=rules)) == [("make", "ours")]
    assert commands(planned(PYTEST, test_command=("make", "ours"))) == [("make", "ours")]
    assert planned(PYTEST).recipe.steps[0].name == "pytest"
    sources = [planned(files), planned(PYTEST, rules=rules), planned(PYTEST)]
    assert [each.recipe.source for each in sources] == [".loom.toml", "project", "detected"]


def test_a_recipe_is_completed_by_detection_for_the_kinds_that_it_names() -> None:
    rules = Rules(recipe={"detect": ["build", "lint"]})
    files = {"Makefile": "build:\n\ttrue\ncheck:\n\ttrue\n", "test_it.py": "import pytest"}

    assert commands(planned(files, rules=rules, test_command=("make", "ours"))) == [
        ("make", "build"),
        ("make", "ours"),
    ]


def test_the_beads_own_tests_take_the_place_of_the_recipes() -> None:
    own = {"test_command": ["make", "mine"]}

    written = planned({".loom.toml": LOOM_TOML}, own)

    assert commands(written) == [("make", "deps"), ("make", "mine")]
    assert written.recipe.source == "bead"
    assert commands(planned({"Makefile": "build:\n\ttrue\n"}, own)) == [("make", "mine")]


def test_kinds_that_a_bead_names_are_detected_beside_its_own_tests() -> None:
    context = {"test_command": ["make", "mine"], "steps": ["build", "test"]}

    assert commands(planned({"Makefile": "build:\n\ttrue\n"}, context)) == [
        ("make", "build"),
        ("make", "mine"),
    ]


def test_the_beads_limits_go_before_the_steps_and_those_before_the_projects() -> None:
    def limits(context: dict[str, Any], **project: Any) -> list[tuple[float | None, float | None]]:
        plan = planned({".loom.toml": LOOM_TOML}, context, **project)
        return [(step.timeout_s, step.soft_timeout_s) for step in plan.recipe.steps]

    assert limits({}) == [(900.0, None), (60.0, None)]
    assert limits({}, soft_timeout_s=80) == [(900.0, 80.0), (60.0, None)]
    assert limits({"timeout_s": 7, "soft_timeout_s": 5}) == [(7.0, 5.0), (7.0, 5.0)]


def test_a_wrong_recipe_in_the_repository_is_told_and_nothing_else_is_tried() -> None:
    with pytest.raises(Invalid, match=r"\.loom\.toml: step 1\.run: .*\[\"make\"\]"):
        planned(PYTEST | {".loom.toml": '[[step]]\nkind = "test"\nrun = "make"'})
    with pytest.raises(Invalid, match=r"rules\.recipe: step: has to be a list"):
        planned(PYTEST, rules=Rules(recipe={"step": 3}))


def test_a_recipe_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".loom.toml").symlink_to("/etc/passwd")
    project = Project("demo", "/srv/demo.git")

    with pytest.raises(Invalid, match=r"\.loom\.toml is a symbolic link"):
        recipe.plan(recipe.Asked(), project, Ground(Tree.at(tmp_path), lambda _: False))


def test_a_recipe_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".loom.toml").write_bytes(b"# \xff")
    project = Project("demo", "/srv/demo.git")
    tree = Tree.at(tmp_path)

    with pytest.raises(Invalid, match=r"\.loom\.toml is not UTF-8: byte 2 is not"):
        recipe.plan(recipe.Asked(), project, Ground(tree, lambda _: False))
    (tmp_path / ".loom.toml").unlink()
    with pytest.raises(Invalid, match=r"\.loom\.toml cannot be read: No such file"):
        recipe.plan(recipe.Asked(), project, Ground(tree, lambda _: False))


def test_where_no_test_would_run_it_says_why() -> None:
    assert planned(PYTEST).untested == ""
    assert planned({}, {"steps": ["lint"]}).untested == ""
    assert "none were found in the repository" in planned({}).untested
    assert ".loom.toml has no test step" in planned({".loom.toml": ""}).untested
    assert "project's recipe" in planned({}, rules=Rules(recipe={"detect": ["lint"]})).untested
    placeholder = '{"scripts": {"test": "echo no test specified"}}'
    assert "left out: npm test: " in planned({"package.json": placeholder}).untested


@pytest.mark.parametrize(
    ("steps", "kinds"),
    [
        (None, "prepare work build lint test commit push"),
        (["verify"], "prepare build lint test"),
        (["lint", "test"], "prepare lint test"),
        (["work", "push"], "work commit push"),
    ],
)
def test_a_bead_may_name_the_kinds_of_its_steps(steps: object, kinds: str) -> None:
    asked = recipe.ask(bead({"steps": steps}), Project("demo", "/srv/demo.git"))

    assert {kind.value for kind in asked.kinds} == set(kinds.split())


@pytest.mark.parametrize("steps", [[], "test", ["deploy"], [1], {"test": 1}, [["test"]]])
def test_kinds_that_there_are_not_are_refused(steps: object) -> None:
    with pytest.raises(Invalid, match=r"context\.steps"):
        recipe.ask(bead({"steps": steps}), Project("demo", "/srv/demo.git"))


@pytest.mark.parametrize(
    ("context", "way", "works"),
    [
        ({}, "command", True),
        ({"patch": "x"}, "patch", True),
        ({"way": "mine"}, "mine", True),
        ({"steps": ["verify"]}, "verify", False),
        ({"steps": ["verify"], "patch": "x"}, "patch", True),
        ({"steps": ["work", "lint"]}, "command", True),
    ],
)
def test_the_way_to_work_is_what_the_bead_names_or_brings(
    context: dict[str, Any], way: str, works: bool
) -> None:
    project = Project("demo", "/srv/demo.git", rules=Rules(command=("mend",)))
    asked = recipe.ask(bead(context), project)

    assert (asked.way, StepKind.WORK in asked.kinds) == (way, works)


@given(
    st.dictionaries(
        st.sampled_from(["steps", "way", "patch", "timeout_s", "test_command", "actions"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
        | st.lists(st.text(max_size=5) | st.sampled_from(["test", "verify"]), max_size=3),
    )
)  # fmt: skip
def test_any_context_is_read_or_invalid(context: dict[str, Any]) -> None:
    try:
        asked = recipe.ask(bead(context), Project("demo", "/srv/demo.git"))
    except Invalid:
        return
    assert asked.kinds
