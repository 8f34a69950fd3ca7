"""npm, pnpm and yarn: the scripts build, lint and test of a package.json, and eslint."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from loom.domain.evidence import StepKind
from workers.detect.configured import json_object, table
from workers.detect.found import NO_NETWORK, NOTHING, Found, Ground, left_out, lint, step
from workers.detect.tree import Tree

LOCKS = {
    "pnpm-lock.yaml": "pnpm",
    "yarn.lock": "yarn",
    "package-lock.json": "npm",
    "npm-shrinkwrap.json": "npm",
}
ESLINT = (
    "eslint.config.js", "eslint.config.mjs", "eslint.config.cjs", "eslint.config.ts",
    ".eslintrc", ".eslintrc.js", ".eslintrc.cjs", ".eslintrc.json", ".eslintrc.yml",
    ".eslintrc.yaml",
)  # fmt: skip
_PLACEHOLDER = re.compile(r"no test specified")
_JUNIT = "$LOOM_EXCHANGE/vitest.xml"
_JEST = "$LOOM_EXCHANGE/jest.json"
_REPORTERS: tuple[tuple[str, tuple[str, ...], dict[str, Any]], ...] = (
    ("jest", ("--json", f"--outputFile={_JEST}"), {"output": "jest", "reports": (_JEST,)}),
    ("vitest", ("--run", "--reporter=junit", f"--outputFile={_JUNIT}"), {"reports": (_JUNIT,)}),
    ("mocha", ("--reporter=tap",), {"output": "tap"}),
    ("ava", ("--tap",), {"output": "tap"}),
    ("tap", (), {"output": "tap"}),
    ("tape", (), {"output": "tap"}),
)
"""Tools, the arguments with which they report, and what they write then."""


def detect(ground: Ground) -> Found:
    """How a package is prepared, built, linted and tested; nothing without a package.json."""
    tree = ground.tree
    package = json_object(tree, "package.json")
    if not package:
        return NOTHING
    manager, why = _manager(tree, package)
    scripts = table(package, "scripts")
    found = _prepare(ground, package, manager, why)
    if isinstance(scripts.get("build"), str):
        found += step(
            StepKind.BUILD, f"{manager}-build", "package.json has the script build",
            manager, "run", "build",
        )  # fmt: skip
    found += _lint(ground, package, manager)
    return found + _test(scripts, manager)


def _manager(tree: Tree, package: Mapping[str, Any]) -> tuple[str, str]:
    named = package.get("packageManager")
    if isinstance(named, str) and (name := named.partition("@")[0]) in LOCKS.values():
        return name, "package.json names it as packageManager"
    for lock, manager in LOCKS.items():
        if lock in tree.names:
            return manager, f"there is {lock}"
    return "npm", "no lock file names another"


def _prepare(ground: Ground, package: Mapping[str, Any], manager: str, why: str) -> Found:
    tree = ground.tree
    if not any(table(package, needs) for needs in ("dependencies", "devDependencies")):
        return NOTHING
    locked = [lock for lock, of in LOCKS.items() if of == manager and lock in tree.names]
    argv: dict[str, tuple[str, ...]] = {
        "npm": ("ci",) if locked else ("install", "--no-package-lock"),
        "pnpm": ("install", "--frozen-lockfile") if locked else ("install",),
        "yarn": ("install", "--immutable" if tree.has(".yarnrc.yml") else "--frozen-lockfile")
        if locked
        else ("install",),
    }
    if manager == "npm":
        argv["npm"] += ("--no-audit", "--no-fund")
    if not ground.prepares:
        return left_out(" ".join((manager, *argv[manager])), NO_NETWORK)
    return step(StepKind.PREPARE, f"{manager}-install", why, manager, *argv[manager])


def _lint(ground: Ground, package: Mapping[str, Any], manager: str) -> Found:
    script = table(package, "scripts").get("lint")
    configured = ground.tree.has(*ESLINT) or ("eslintConfig" in package and "package.json")
    if isinstance(script, str) and script.strip():
        words = _last_command(script)
        more: tuple[str, ...] = ()
        output = ""
        if "eslint" in words[:2]:
            more, output = _with(manager, "-f", "json"), "eslint"
        argv = (manager, "run", *_quiet(manager), "lint", *more)
        why = "package.json has the script lint"
        return step(StepKind.LINT, f"{manager}-lint", why, *argv, output=output)
    if not configured:
        return NOTHING
    why, argv = f"{configured} configures it", ("eslint", "-f", "json", ".")
    if ground.prepares:
        return step(StepKind.LINT, "eslint", why, "npx", "--no-install", *argv, output="eslint")
    return lint(ground, "eslint", "eslint", why, *argv, output="eslint")


def _test(scripts: Mapping[str, Any], manager: str) -> Found:
    script = scripts.get("test")
    if not isinstance(script, str) or not script.strip():
        return NOTHING
    if _PLACEHOLDER.search(script):
        return left_out(f"{manager} test", "the script test of package.json is npm's placeholder")
    more, options = _reporting(script, manager)
    why = "package.json has the script test"
    argv = (manager, "run", *_quiet(manager), "test", *more)
    return step(StepKind.TEST, f"{manager}-test", why, *argv, **options)


def _reporting(script: str, manager: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """What makes the script's tool report so that it can be counted, and how it does then.

    More arguments reach the last command of a script, so only that one is looked at.
    """
    words = _last_command(script)
    tools = {word.rpartition("/")[2] for word in words}
    given = {"CI": "true"}
    for tool, arguments, options in _REPORTERS:
        if tool in tools:
            more = _with(manager, *arguments) if arguments else ()
            return more, options | {"environment": given}
    if words[:1] == ["node"] and "--test" in words:
        # Node takes its options before the files only, so they go by the environment.
        given["NODE_OPTIONS"] = "--test-reporter=tap"
        return (), {"output": "tap", "environment": given}
    return (), {"environment": given}


def _last_command(script: str) -> list[str]:
    """The words of the last command of a script, without what sets its environment."""
    last = re.split(r"&&|\|\||;|\|", script)[-1]
    try:
        words = shlex.split(last)
    except ValueError:
        return []
    while words and (words[0] == "cross-env" or re.match(r"\w+=", words[0])):
        del words[0]
    return words


def _with(manager: str, *arguments: str) -> tuple[str, ...]:
    """Arguments for the script itself."""
    return ("--", *arguments) if manager == "npm" else arguments


def _quiet(manager: str) -> tuple[str, ...]:
    """Without a heading of the manager's own before what the tool writes."""
    return ("--silent",) if manager in ("npm", "pnpm") else ()
