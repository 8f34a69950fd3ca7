"""What a Python project and its tests need, as arguments of `pip install`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from workers.detect.configured import ini, table, texts, toml
from workers.detect.tree import Tree

EXTRAS = ("test", "tests", "testing", "dev")
FILES = (
    "requirements-test.txt", "requirements-tests.txt", "requirements-dev.txt",
    "requirements_test.txt", "requirements_dev.txt", "test-requirements.txt",
    "dev-requirements.txt", "requirements/test.txt", "requirements/tests.txt",
    "requirements/dev.txt", "tests/requirements.txt",
)  # fmt: skip
_EXTRA_IN_SETUP = re.compile(r"""['"](tests?|testing|dev)['"]\s*:""")


def packages(tree: Tree) -> tuple[str, ...]:
    """The project itself, where it can be changed under its tests, and what they need besides."""
    extra = _extra(tree)
    own = ("-e", f".[{extra}]" if extra else ".") if installable(tree) else ()
    return (*own, *_group(tree))


def files(tree: Tree) -> tuple[str, ...]:
    """Files with more of what they need; each is for a call of pip of its own, as its lines may
    have hashes, and then pip wants one for everything.
    """
    own = "" if installable(tree) else tree.has("requirements.txt")
    return tuple(name for name in (own, tree.has(*FILES)) if name)


def installable(tree: Tree) -> bool:
    """Whether pip can install the project."""
    pyproject = toml(tree, "pyproject.toml")
    return bool(
        tree.has("setup.py")
        or "metadata" in ini(tree, "setup.cfg")
        or "project" in pyproject
        or "build-system" in pyproject
    )


def declared(tree: Tree) -> tuple[str, ...]:
    """All that is named anywhere as needed for tests or development, in lower case."""
    pyproject = toml(tree, "pyproject.toml")
    lines: list[str] = []
    for extra in table(pyproject, "project", "optional-dependencies").values():
        lines += texts(extra)
    for group in table(pyproject, "dependency-groups"):
        lines += _members(pyproject, group, set())
    for extra in ini(tree, "setup.cfg").get("options.extras_require", {}).values():
        lines += texts(extra)
    for section, values in ini(tree, "tox.ini").items():
        if section.startswith("testenv"):
            lines += texts(values.get("deps", ""))
    for name in (*FILES, "requirements.txt"):
        lines += texts(tree.read(name))
    return tuple(line.lower() for line in lines)


def _extra(tree: Tree) -> str:
    """The extra that the tests need; empty when there is none."""
    extras = set(table(toml(tree, "pyproject.toml"), "project", "optional-dependencies"))
    extras |= set(ini(tree, "setup.cfg").get("options.extras_require", {}))
    extras |= set(_EXTRA_IN_SETUP.findall(tree.read("setup.py")))
    return next((extra for extra in EXTRAS if extra in extras), "")


def _group(tree: Tree) -> list[str]:
    """The requirements of the dependency group for tests (PEP 735), which an older pip lacks."""
    pyproject = toml(tree, "pyproject.toml")
    groups = table(pyproject, "dependency-groups")
    name = next((extra for extra in EXTRAS if extra in groups), "")
    return _members(pyproject, name, set()) if name else []


def _members(pyproject: Mapping[str, Any], name: str, seen: set[str]) -> list[str]:
    if name in seen:
        return []
    seen.add(name)
    members = table(pyproject, "dependency-groups").get(name)
    found: list[str] = []
    for member in members if isinstance(members, list) else []:
        if isinstance(member, str) and not member.startswith("-"):
            found.append(member)
        elif isinstance(member, dict) and isinstance(member.get("include-group"), str):
            found += _members(pyproject, member["include-group"], seen)
    return found
