"""Python's linters, where a repository configures them: ruff, flake8, mypy."""

from __future__ import annotations

from loom.domain.evidence import StepKind
from workers.detect import python
from workers.detect.configured import ini, table, toml
from workers.detect.found import NOTHING, Found, Ground, lint, step
from workers.detect.tree import Tree

ARGV = {
    "ruff": ("check", "--output-format=json", "--no-cache", "."),
    "flake8": (".",),
    "mypy": ("--no-color-output", "--no-pretty", "--cache-dir=$LOOM_EXCHANGE/mypy"),
}


def detect(ground: Ground) -> Found:
    """The linters that the repository configures."""
    found = NOTHING
    for linter in python.LINTERS:
        why = python.linter_configured(ground.tree, linter)
        if not why:
            continue
        argv = ARGV[linter] + (_targets(ground.tree) if linter == "mypy" else ())
        given = python.environment(ground)
        if ground.prepares:
            program = f"{python.VENV}/bin/{linter}"
            found += step(
                StepKind.LINT, linter, why, program, *argv, output=linter, environment=given
            )
        else:
            found += lint(
                ground, linter, linter, why, linter, *argv, output=linter, environment=given
            )
    return found


def _targets(tree: Tree) -> tuple[str, ...]:
    """What mypy looks at, unless its configuration says so."""
    own = {"files", "packages", "modules"}
    configured = set(table(toml(tree, "pyproject.toml"), "tool", "mypy"))
    for name in ("mypy.ini", ".mypy.ini", "setup.cfg"):
        configured |= set(ini(tree, name).get("mypy", {}))
    if configured & own:
        return ()
    return ("src",) if tree.like("src/*.py") else (".",)
