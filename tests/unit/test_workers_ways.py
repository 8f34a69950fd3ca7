"""Which way a bead is worked on by, and what each refuses before anything is touched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loom.domain.actions import MAX_WORK_BYTES
from loom.domain.project import Project
from loom.domain.rules import Rules
from loom.errors import Invalid, Unavailable
from workers.ways import registry
from workers.ways.patch import Patch
from workers.ways.verify import Verify

PROJECT = Project("demo", "/srv/demo.git")
WITH_COMMAND = Project("demo", "/srv/demo.git", rules=Rules(command=("true",)))


@pytest.mark.parametrize(
    ("context", "project", "name"),
    [
        ({}, PROJECT, "verify"),
        ({"test_command": ["true"]}, PROJECT, "verify"),
        ({"patch": "x"}, PROJECT, "patch"),
        ({"patch": " \n"}, PROJECT, "verify"),
        ({"actions": []}, PROJECT, "actions"),
        ({}, WITH_COMMAND, "command"),
        ({"patch": "x"}, WITH_COMMAND, "patch"),
        ({"way": "verify"}, WITH_COMMAND, "verify"),
        ({"way": "mine", "patch": "x", "actions": []}, PROJECT, "mine"),
    ],
)
def test_the_way_is_named_or_follows_from_what_the_bead_brings(
    context: dict[str, Any], project: Project, name: str
) -> None:
    assert registry.choose(context, project) == name


def test_a_bead_that_could_be_worked_on_in_two_ways_is_refused() -> None:
    with pytest.raises(Invalid, match="has a patch and actions"):
        registry.choose({"patch": "x", "actions": []}, PROJECT)
    with pytest.raises(Invalid, match=r"context\.way has to be text"):
        registry.choose({"way": ["patch"]}, PROJECT)


def test_loom_installs_four_ways() -> None:
    assert set(registry.installed()) >= {"actions", "command", "patch", "verify"}
    assert isinstance(registry.load("patch"), Patch)
    assert registry.load("patch") is not registry.load("patch")


def test_an_unknown_way_is_told_with_those_that_are_installed() -> None:
    with pytest.raises(Invalid, match="called 'none'; this agent has actions, command, patch, ver"):
        registry.load("none")


def package(folder: Path, name: str, entry: str, code: str = "") -> None:
    """A package as an installer leaves it on the path."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[loom.ways]\n{entry}\n")
    (folder / f"{name}.py").write_text(code)


@pytest.mark.parametrize(
    ("entry", "code", "words"),
    [
        ("odd = odd1:Odd", "import nothing_of_this_name", "ModuleNotFoundError: No module named"),
        ("odd = odd2:Odd", "raise SystemExit(3)", "'odd' of odd2 1.0 cannot be loaded: SystemExit"),
        ("odd = odd3:Odd", "x = 1", "AttributeError: module 'odd3' has no attribute 'Odd'"),
        ("odd = odd4:Odd", "class Odd: pass", "'odd' of odd4 1.0 is none"),
        ("odd = odd5:Odd", "class Odd:\n def __init__(self, x): pass", "TypeError"),
        ("patch = odd6:Odd", "", "several packages have a way to work called 'patch': loom .*odd6"),
    ],
)
def test_a_broken_plug_in_is_told_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, code: str, words: str
) -> None:
    package(tmp_path, entry.split()[2].split(":", maxsplit=1)[0], entry, code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Unavailable, match=words):
        registry.load(entry.split(maxsplit=1)[0])


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        (None, "has to be text"), (7, "has to be text"), (["x"], "has to be text"),
        ("\n ", "is empty"), ("x" * (MAX_WORK_BYTES + 1), f"the limit is {MAX_WORK_BYTES}"),
    ],
)  # fmt: skip
def test_a_patch_that_is_none_is_refused_before_anything_is_touched(
    patch: object, words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        Patch().check({"patch": patch}, PROJECT)


@pytest.mark.parametrize("name", ["patch", "actions"])
def test_verify_refuses_work_that_it_would_leave_undone(name: str) -> None:
    with pytest.raises(Invalid, match=rf"but there is a context\.{name}"):
        Verify().check({"way": "verify", name: ["x"]}, PROJECT)
