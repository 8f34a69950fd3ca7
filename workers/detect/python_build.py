"""Python: how a project is built, by the backend that its pyproject.toml names (PEP 517)."""

from __future__ import annotations

import re

from loom.domain.evidence import StepKind
from workers.detect import python_needs
from workers.detect.configured import table, texts, toml
from workers.detect.found import NOTHING, Found, step
from workers.detect.tree import Tree

LEGACY = ("setuptools", "wheel")
"""What a project without a pyproject.toml is built with."""
_EXTENSION = re.compile(r"\b(ext_modules|Extension|cythonize|cffi_modules|rust_extensions)\b")


def needs(tree: Tree) -> tuple[str, ...]:
    """What has to be installed for the build; nothing where there is none."""
    if not python_needs.installable(tree):
        return ()
    backend = texts(table(toml(tree, "pyproject.toml"), "build-system").get("requires"))
    return ("build", *(each for each in backend or LEGACY if not each.startswith("-")))


def detect(tree: Tree, python: str) -> Found:
    """The steps that build it, offline, with what was prepared; python: the interpreter.

    The package is made from a source archive and away from the checkout, whose other steps would
    find it otherwise. What is compiled into the checkout, where the tests import it from, is
    compiled anew, as the work may have changed it.
    """
    if not python_needs.installable(tree):
        return NOTHING
    named = "build-system" in toml(tree, "pyproject.toml")
    why = f"there is {'pyproject.toml' if named else 'setup.py or setup.cfg'}"
    found = step(
        StepKind.BUILD, "python-build", why,
        python, "-m", "build", "--no-isolation", "--outdir", "$LOOM_EXCHANGE/dist",
    )  # fmt: skip
    if compiled := _compiled(tree):
        found += step(
            StepKind.BUILD, "python-compile", compiled,
            python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet",
            "--no-deps", "--no-build-isolation", "-e", ".",
        )  # fmt: skip
    return found


def _compiled(tree: Tree) -> str:
    """What says that something of it is compiled; empty when nothing does."""
    if _EXTENSION.search(tree.read("setup.py")):
        return "setup.py has extension modules"
    if "ext-modules" in table(toml(tree, "pyproject.toml"), "tool", "setuptools"):
        return "pyproject.toml has extension modules"
    return ""
