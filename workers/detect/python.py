"""Python: pytest, unittest, tox and nox; a build and a venv where the network may fill it."""

from __future__ import annotations

import re

from loom.domain.evidence import StepKind
from workers.detect import python_build, python_needs
from workers.detect.configured import ini, table, toml
from workers.detect.found import NO_NETWORK, NOTHING, Found, Ground, left_out, step
from workers.detect.tree import Tree

VENV = "$LOOM_EXCHANGE/venv"
PACKAGING = ("pyproject.toml", "setup.py", "setup.cfg")
CONFTEST = ("conftest.py", "*/conftest.py")
LINTERS = ("ruff", "flake8", "mypy")

_PYTEST_USED = re.compile(r"^\s*(import pytest\b|from pytest\b)", re.MULTILINE)
_UNITTEST_USED = re.compile(r"\b(unittest|TestCase)\b")
_TEST_FUNCTION = re.compile(r"^(async )?def test", re.MULTILINE)
READ_TESTS = 200
"""How many test files are looked into."""


def detect(ground: Ground) -> Found:
    """How the Python of a checkout is prepared and tested; nothing where there is none."""
    tree = ground.tree
    if not is_python(tree):
        return NOTHING
    tests, why = _tests(ground)
    built = python_build.detect(tree, interpreter(ground)) if ground.prepares else NOTHING
    return _prepared(ground, tests) + built + _test_step(ground, tests, why)


def is_python(tree: Tree) -> bool:
    """Whether it has Python of its own."""
    return bool(
        tree.has(*PACKAGING, "tox.ini", "noxfile.py", "requirements.txt")
        or test_files(tree)
        or _pytest_configured(tree)
        or tree.like(*CONFTEST)
    )


def test_files(tree: Tree) -> tuple[str, ...]:
    """Files that test tools look for."""
    return tree.like("test_*.py", "*/test_*.py", "*_test.py", "*/tests.py", "tests.py", "test.py")


def interpreter(ground: Ground) -> str:
    """The Python that commands run: that of the venv, if one is prepared."""
    return f"{VENV}/bin/python" if ground.prepares else "python3"


def environment(ground: Ground) -> dict[str, str]:
    """No byte code in the checkout; and what lies in src/ is found where nothing installs it."""
    given = {"PYTHONDONTWRITEBYTECODE": "1"}
    if not ground.prepares and ground.tree.like("src/*.py"):
        given["PYTHONPATH"] = "src"
    return given


def pytest_reason(tree: Tree) -> str:
    """What says that the tests are pytest's; empty when nothing does."""
    return _pytest_configured(tree) or _pytest_used(tree)


def _pytest_configured(tree: Tree) -> str:
    if name := tree.has("pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml"):
        return f"there is {name}"
    if table(toml(tree, "pyproject.toml"), "tool", "pytest"):
        return "pyproject.toml has [tool.pytest]"
    for name, section in (("setup.cfg", "tool:pytest"), ("tox.ini", "pytest")):
        if section in ini(tree, name):
            return f"{name} has [{section}]"
    return ""


def _pytest_used(tree: Tree) -> str:
    if names := tree.like(*CONFTEST):
        return f"there is {names[0]}"
    for name in test_files(tree)[:READ_TESTS]:
        if _PYTEST_USED.search(tree.read(name)):
            return f"{name} imports pytest"
    needs = python_needs.declared(tree)
    needed = any(re.match(r"pytest(?![\w-])", need) for need in needs)
    return "its tests need pytest" if needed and test_files(tree) else ""


def _tests(ground: Ground) -> tuple[str, str]:
    """Which tool runs the tests, and what says so."""
    tree = ground.tree
    if reason := pytest_reason(tree):
        return "pytest", reason
    files = test_files(tree)
    contents = {name: tree.read(name) for name in files[:READ_TESTS]}
    for name, content in contents.items():
        if _UNITTEST_USED.search(content):
            return "unittest", f"{name} uses unittest"
    for name, content in contents.items():
        if _TEST_FUNCTION.search(content):
            return "pytest", f"{name} has functions called test"
    if name := tree.has("tox.ini"):
        return "tox", f"there is {name}, and no tests that run without it"
    if tree.has("noxfile.py"):
        return "nox", "there is noxfile.py, and no tests that run without it"
    return "", ""


def _test_step(ground: Ground, tool: str, why: str) -> Found:
    python, given = interpreter(ground), environment(ground)
    kind = StepKind.TEST
    if tool == "pytest":
        report = "$LOOM_EXCHANGE/pytest.xml"
        cache = "cache_dir=$LOOM_EXCHANGE/pytest-cache"
        argv = (python, "-m", "pytest", "-o", cache, f"--junitxml={report}")
        return step(
            kind, "pytest", why, *argv, output="pytest", reports=(report,), environment=given
        )
    if tool == "unittest":
        found = _discovery(ground.tree)
        return step(
            kind, "unittest", why, python, "-m", "unittest", *found,
            output="unittest", environment=given,
        )  # fmt: skip
    if tool == "tox":
        return step(kind, "tox", why, *_run(ground, "tox"), environment=given)
    if tool == "nox":
        return step(kind, "nox", why, *_run(ground, "nox"), environment=given)
    return NOTHING


def _run(ground: Ground, tool: str) -> tuple[str, ...]:
    return (f"{VENV}/bin/{tool}",) if ground.prepares else (tool,)


def _discovery(tree: Tree) -> tuple[str, ...]:
    """The arguments with which unittest finds the tests where they lie."""
    folders = [name.rpartition("/")[0] for name in test_files(tree)]
    tops = {folder.split("/")[0] for folder in folders}
    pattern = () if tree.like("test*.py", "*/test*.py") else ("-p", "*_test.py")
    if len(tops) == 1 and (top := tops.pop()) and top != "src":
        # A package of tests is imported by its whole name, from the root.
        root = ("-t", ".") if f"{top}/__init__.py" in tree.names else ()
        return ("discover", "-v", "-s", top, *root, *pattern)
    return ("discover", "-v", *pattern)


def _prepared(ground: Ground, tests: str) -> Found:
    tree = ground.tree
    packages, files = python_needs.packages(tree), python_needs.files(tree)
    if not ground.prepares:
        wanted = (*(each for each in packages if not each.startswith((".", "-"))), *files)
        return left_out(f"a venv with {' '.join(wanted[:8])}", NO_NETWORK) if wanted else NOTHING
    tools = [tests] if tests in ("pytest", "tox", "nox") else []
    tools += [linter for linter in LINTERS if linter_configured(tree, linter)]
    pip = (f"{VENV}/bin/python", "-m", "pip", "install", "--disable-pip-version-check", "--quiet")
    why = "the network may be used to prepare"
    found = step(StepKind.PREPARE, "venv", why, "python3", "-m", "venv", VENV)
    for name in files:
        called = f"pip-{name.rpartition('/')[2]}"
        found += step(StepKind.PREPARE, called, f"there is {name}", *pip, "-r", name)
    if packages or tools:
        why = "what the project and its tests need"
        found += step(StepKind.PREPARE, "pip-install", why, *pip, *packages, *tools)
    if built_with := python_build.needs(tree):
        # Apart from the others, which may want another version of the same: this one builds it.
        why = "what the project is built with"
        found += step(StepKind.PREPARE, "pip-build", why, *pip, *built_with)
    return found


def linter_configured(tree: Tree, linter: str) -> str:
    """What configures a linter, in words; empty when nothing does."""
    files = {
        "ruff": ("ruff.toml", ".ruff.toml"),
        "flake8": (".flake8",),
        "mypy": ("mypy.ini", ".mypy.ini"),
    }[linter]
    if name := tree.has(*files):
        return f"there is {name}"
    if linter in table(toml(tree, "pyproject.toml"), "tool"):
        return f"pyproject.toml has [tool.{linter}]"
    for name in ("setup.cfg", "tox.ini"):
        if linter != "ruff" and linter in ini(tree, name):
            return f"{name} has [{linter}]"
    return ""
