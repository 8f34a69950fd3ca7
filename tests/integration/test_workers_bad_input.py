"""Repositories, recipes, commands and patches that are no good: each fails with its class and a
reason, and the agent takes the next bead."""

from __future__ import annotations

from collections.abc import Iterator

import bad_input
import pytest
from agent_stand import BROKEN, MEND, Stand, git, stand_up
from bad_input import COMMANDS, PATCHES, RECIPES, REPOSITORIES, Bad

from loom.database.migrate import upgrade
from loom.domain.project import ProjectChange
from loom.testing.database import running_database
from loom.testing.infrastructure import Infrastructure

FINE = {"test_command": ["true"]}


@pytest.fixture(scope="module")
def stand(
    infrastructure: Infrastructure, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stand]:
    """A project on a vhost and a database of this file's own, and its one agent."""
    settings = infrastructure.make_database("workers_bad_input")
    upgrade(infrastructure.migration_named("workers_bad_input"))
    folder = tmp_path_factory.mktemp("workers")
    with running_database(settings, projects=("demo",)) as database:
        made = stand_up(infrastructure, "workers-bad-input", database, folder)
        change(made, rules={"limits": bad_input.LIMITS})
        with made.agent(
            LOOM_AGENT_SANDBOX="bubblewrap",
            LOOM_AGENT_REPOSITORY_MB=str(bad_input.REPOSITORY_MB),
        ) as agent:
            agent.wait_for("agent_starts")
            yield made
        made.close()


def change(stand: Stand, **what: object) -> None:
    """Change the project."""
    stand.control.update_project(stand.project_id, ProjectChange(**what), "corr-1")


def fails(stand: Stand, bad: Bad) -> None:
    """The bead fails as it has to."""
    bead = stand.file(context=dict(bad.context), max_attempts=1)
    message = stand.result(bead.id)
    assert (message.type, message.failure_class) == ("task.failed", bad.failure_class), message
    assert bad.words in message.reason
    assert not message.result.commits


def goes_on(stand: Stand) -> None:
    """The next bead is worked on."""
    bead = stand.file(context=FINE)
    message = stand.result(bead.id)
    assert message.type == "task.completed", message.reason


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_misbehaves_is_told_with_its_class_and_the_next_bead_runs(
    stand: Stand, name: str
) -> None:
    fails(stand, COMMANDS[name])
    goes_on(stand)
    assert not bad_input.strays()


@pytest.mark.parametrize("name", PATCHES)
def test_a_patch_that_cannot_be_applied_is_told_and_the_next_bead_runs(
    stand: Stand, name: str
) -> None:
    fails(stand, PATCHES[name])
    goes_on(stand)


def test_patches_with_crlf_renames_and_binary_parts_are_applied(stand: Stand) -> None:
    clone = stand.folder / "clone"
    git("clone", "--quiet", str(stand.repository), str(clone), cwd=stand.folder)
    (clone / "sums.py").rename(clone / "sums2.py")
    (clone / "logo").write_bytes(bytes(range(256)) * 20)
    git("add", "--all", cwd=clone)
    patches = {
        "crlf": MEND.replace("\n", "\r\n"),
        "binary": git("diff", "--cached", "--binary", "-M", cwd=clone) + "\n\n",
    }
    for name, patch in patches.items():
        bead = stand.file(id=f"bd-{name}", context=FINE | {"patch": patch})
        message = stand.result(bead.id)
        assert message.type == "task.completed", message.reason
    assert git("show", "agent/bd-crlf:sums.py", cwd=stand.repository) == (
        BROKEN.replace("-", "+").strip()
    )
    assert git("ls-tree", "--name-only", "agent/bd-binary", cwd=stand.repository).split() == [
        "check.py", "logo", "sums2.py",
    ]  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_that_is_wrong_is_told_with_its_place_and_the_next_bead_runs(
    stand: Stand, name: str
) -> None:
    text, words = RECIPES[name]
    seed = stand.folder / "seed"
    (seed / ".loom.toml").write_text(text)
    git("add", ".", cwd=seed)
    git("commit", "--quiet", "--message=A recipe", cwd=seed)
    git("push", "--quiet", str(stand.repository), "main", cwd=seed)
    try:
        fails(stand, Bad("work", words))
    finally:
        git("reset", "--quiet", "--hard", "HEAD~1", cwd=seed)
        git("push", "--quiet", "--force", str(stand.repository), "main", cwd=seed)
    goes_on(stand)


@pytest.mark.parametrize("name", REPOSITORIES)
def test_a_repository_that_cannot_be_worked_on_is_told_and_the_next_bead_runs(
    stand: Stand, name: str
) -> None:
    bad, place = REPOSITORIES[name], stand.folder / f"{name.replace(' ', '-')}.git"
    bad.make(place)
    change(stand, repository=str(place))
    try:
        fails(stand, Bad("work", bad.words))
    finally:
        change(stand, repository=str(stand.repository))
    goes_on(stand)
