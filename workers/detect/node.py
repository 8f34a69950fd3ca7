"""npm, pnpm and yarn: the scripts build, lint and test of a package.json, and eslint."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
)
"""Tools, the arguments with which they report, and what they write then."""
MAX_SCRIPTS_DEEP, MAX_COMMANDS = 5, 50


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
        run = _commands(table(package, "scripts"), "lint")
        more: tuple[str, ...] = ()
        output = ""
        if run and run[-1].last and "eslint" in run[-1].words[:2]:
            more, output = _through(manager, run[-1].by, "-f", "json"), "eslint"
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
    more, options = _reporting(scripts, manager)
    why = "package.json has the script test"
    argv = (manager, "run", *_quiet(manager), "test", *more)
    return step(StepKind.TEST, f"{manager}-test", why, *argv, **options)


def _reporting(scripts: Mapping[str, Any], manager: str) -> tuple[tuple[str, ...], dict[str, Any]]:
    """What makes the tool of the script test report so that it can be counted, and how it does.

    More arguments reach the last command of a script, so that only that one's tool can be given
    any. One that writes TAP by itself is found wherever it runs, if no other does.
    """
    given = {"CI": "true"}
    run = _commands(scripts, "test")
    last = run[-1] if run else _Ran((), (), last=False)
    if last.last:
        tools = {word.rpartition("/")[2] for word in last.words}
        for tool, arguments, options in _REPORTERS:
            if tool in tools and arguments:
                more = _through(manager, last.by, *arguments)
                return more, options | {"environment": given}
    by_itself = [ran.words for ran in run if _writes_tap(ran.words)]
    if len(by_itself) != 1:
        return (), {"environment": given}
    if "node" in by_itself[0]:
        # Node takes its options before the files only, so they go by the environment.
        given["NODE_OPTIONS"] = "--test-reporter=tap"
    return (), {"output": "tap", "environment": given}


def _writes_tap(words: Sequence[str]) -> bool:
    """Whether that is a tool that writes TAP, or does if the environment says so."""
    tools = {word.rpartition("/")[2] for word in words}
    return bool(tools & {"tap", "tape"}) or ("node" in tools and "--test" in words)


@dataclass(frozen=True, slots=True)
class _Ran:
    """A command that a script runs. by: the managers that pass it on, the outermost first.

    last: what is given to the outermost script reaches it.
    """

    words: tuple[str, ...]
    by: tuple[str, ...]
    last: bool


def _commands(
    scripts: Mapping[str, Any], name: str, by: tuple[str, ...] = (), *, last: bool = True
) -> tuple[_Ran, ...]:
    """The commands of a script in their order, those of scripts that it runs in their place."""
    script = scripts.get(name)
    if not isinstance(script, str) or len(by) > MAX_SCRIPTS_DEEP:
        return ()
    pieces = _split(script)[:MAX_COMMANDS]
    found: list[_Ran] = []
    for index, words in enumerate(pieces):
        at_end = last and index == len(pieces) - 1
        if (inner := _runs_script(words)) and inner in scripts:
            found += _commands(scripts, inner, (*by, words[0]), last=at_end)
        else:
            found.append(_Ran(words, by, at_end))
    return tuple(found[:MAX_COMMANDS])


def _runs_script(words: Sequence[str]) -> str:
    """The script that a command runs by its manager, with nothing else; empty for none."""
    match words:
        case ["npm" | "pnpm" | "yarn", "run" | "run-script", *options, name]:
            quiet = all(option in ("-s", "--silent") for option in options)
            return name if quiet and not name.startswith("-") else ""
        case ["npm" | "pnpm" | "yarn", "test" | "t"]:
            return "test"
        case ["yarn" | "pnpm", name] if not name.startswith("-"):
            return name
    return ""


def _split(script: str) -> list[tuple[str, ...]]:
    """The words of each command, without what sets its environment; none where it is no script
    that shells read.
    """
    lexer = shlex.shlex(script, posix=True, punctuation_chars=";&|")
    lexer.whitespace_split = True
    lexer.commenters = ""
    commands: list[list[str]] = [[]]
    try:
        for word in lexer:
            if word == "|":
                # What it writes goes to the next, which shows something else.
                commands[-1] = []
            elif word and set(word) <= set(";&|"):
                commands.append([])
            else:
                commands[-1].append(word)
    except ValueError:
        return []
    for words in commands:
        while words and (words[0] == "cross-env" or re.match(r"\w+=", words[0])):
            del words[0]
    return [tuple(words) for words in commands if words]


def _through(manager: str, by: Sequence[str], *arguments: str) -> tuple[str, ...]:
    """Arguments for a command that is run by way of other scripts, of which npm's each take a
    `--` off.
    """
    for each in (*reversed(by), manager):
        arguments = _with(each, *arguments)
    return arguments


def _with(manager: str, *arguments: str) -> tuple[str, ...]:
    """Arguments for the script itself."""
    return ("--", *arguments) if manager == "npm" else arguments


def _quiet(manager: str) -> tuple[str, ...]:
    """Without a heading of the manager's own before what the tool writes."""
    return ("--silent",) if manager in ("npm", "pnpm") else ()
