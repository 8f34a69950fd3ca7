"""What an attempt at a bead has to do: what the bead asks for, and the recipe it gets for it.

Of the sources of a recipe the first that says anything is taken whole: the bead's own context,
`.loom.toml`, the project's rules.recipe or test_command, detection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from loom.domain import recipe as recipes
from loom.domain import recipe_file
from loom.domain.bead import Bead
from loom.domain.document import kind_of
from loom.domain.evidence import StepKind
from loom.domain.project import MAX_TIMEOUT_S, Project
from loom.domain.recipe import COMMANDS, STEPS, RecipeStep
from loom.domain.recipe_file import FILE, Written
from loom.errors import Invalid
from workers.detect.detect import detect
from workers.detect.found import Found, Ground, LeftOut
from workers.detect.tree import Tree
from workers.ways import registry

VERIFY = "verify"
"""The name of the way that does no work, and of all the kinds of steps that prove what is there."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a bead asks for, read from its context and its project.

    way: the name of the way to work on it. kinds: of the steps that it wants; named: of those that
    it names itself. test_command: its own; empty for none. timeout_s: for each command; None: as
    the recipe or the project says. soft_timeout_s: likewise.
    """

    way: str = VERIFY
    kinds: frozenset[StepKind] = frozenset(STEPS)
    named: frozenset[StepKind] = frozenset()
    test_command: tuple[str, ...] = ()
    timeout_s: float | None = None
    soft_timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """The recipe of a bead in a checkout, and what was detected and left out of it."""

    recipe: recipes.Recipe
    left_out: tuple[LeftOut, ...] = ()

    @property
    def untested(self) -> str:
        """Why no test would run although the bead asks for tests; empty when one would."""
        if StepKind.TEST not in self.recipe.kinds or self.recipe.of_kind(StepKind.TEST):
            return ""
        said = {
            "detected": "the bead's context, the project and .loom.toml name no tests, and none "
            "were found in the repository",
            "project": "the project's recipe has no test step",
        }.get(self.recipe.source, f"{self.recipe.source} has no test step")
        more = "; ".join(f"{out.what}: {out.why}" for out in self.left_out[:3])
        return f"nothing says how to test it: {said}" + (f" (left out: {more})" if more else "")


def ask(bead: Bead, project: Project) -> Asked:
    """What the bead asks for; raises Invalid saying what in its context cannot be worked from."""
    context = bead.context
    timeout_s = _seconds(context, "timeout_s")
    named = _named(context)
    way = registry.choose(context, project)
    kinds = named or frozenset(STEPS)
    if named and StepKind.WORK not in named:
        if way in ("patch", "actions") or context.get("way") is not None:
            kinds |= {StepKind.WORK}
        else:
            way = VERIFY
    return Asked(
        way=way,
        kinds=kinds,
        named=named,
        test_command=_test_command(context),
        timeout_s=timeout_s,
        soft_timeout_s=_soft_timeout_s(context, timeout_s or float(project.timeout_s)),
    )


def plan(asked: Asked, project: Project, ground: Ground) -> Plan:
    """The recipe in this checkout; raises Invalid saying what in `.loom.toml` is wrong."""
    source, written = _written(project, ground.tree)
    if asked.test_command:
        written = _with_own_tests(asked, written, detected=source == "detected")
        source = "bead"
    found = detect(ground) if written.detect else Found()
    detected = tuple(step for step in found.steps if step.kind in written.detect)
    steps = sorted(written.steps + detected, key=lambda step: COMMANDS.index(step.kind))
    held = tuple(timed(step, asked, project) for step in _distinct(steps))
    return Plan(recipes.Recipe(held, source, asked.kinds, written.artifacts), found.left_out)


def timed(step: RecipeStep, asked: Asked, project: Project) -> RecipeStep:
    """The step with its limits: the bead's, its own, or the project's; soft where that leaves time.

    A limit of the bead's is on every command, as the project's is.
    """
    timeout_s = asked.timeout_s or step.timeout_s or float(project.timeout_s)
    wanted = (asked.soft_timeout_s, step.soft_timeout_s, float(project.soft_timeout_s))
    soft_s = next((seconds for seconds in wanted if seconds and seconds < timeout_s), None)
    return replace(step, timeout_s=timeout_s, soft_timeout_s=soft_s)


def _written(project: Project, tree: Tree) -> tuple[str, Written]:
    """The source of the recipe, and what it says; what it leaves to detection included."""
    if FILE in tree.links:
        raise Invalid(f"{FILE} is a symbolic link: put the file itself there")
    if FILE in tree.names:
        return FILE, recipe_file.parse_toml(_text(tree))
    rules, own = project.rules.recipe, Written()
    if rules:
        own = recipe_file.parse(rules, "rules.recipe")
    tests = any(step.kind is StepKind.TEST for step in own.steps) or StepKind.TEST in own.detect
    if project.test_command and not tests:
        own = replace(own, steps=(*own.steps, _test_step(project.test_command, "the project")))
    if rules or project.test_command:
        return "project", own
    return "detected", Written(detect=frozenset(COMMANDS))


def _text(tree: Tree) -> str:
    """What `.loom.toml` holds; one that cannot be read must not count as none: raises Invalid."""
    try:
        return tree.read_bytes(FILE).decode()
    except OSError as error:
        raise Invalid(f"{FILE} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{FILE} is not UTF-8: byte {error.start} is not") from error


def _with_own_tests(asked: Asked, written: Written, *, detected: bool) -> Written:
    """The recipe with the bead's own tests in place of its others.

    Where nothing but detection has a recipe, they are all of it, but for kinds that the bead names.
    """
    others = tuple(step for step in written.steps if step.kind is not StepKind.TEST)
    left = asked.named if detected else written.detect
    own = _test_step(asked.test_command, "the bead's context")
    return replace(written, steps=(*others, own), detect=left & set(COMMANDS) - {StepKind.TEST})


def _test_step(argv: tuple[str, ...], whose: str) -> RecipeStep:
    return RecipeStep(StepKind.TEST, "test", argv, why=f"{whose} has a test_command")


def _distinct(steps: list[RecipeStep]) -> list[RecipeStep]:
    """The steps with names of their own: what was detected may be called as what was written."""
    taken: set[str] = set()
    made: list[RecipeStep] = []
    for step in steps:
        name, number = step.name, 2
        while name in taken:
            name, number = f"{step.name}-{number}", number + 1
        taken.add(name)
        made.append(replace(step, name=name))
    return made


def _named(context: Mapping[str, Any]) -> frozenset[StepKind]:
    """The kinds of steps that the bead names, and what they imply; empty when it names none."""
    steps = context.get("steps")
    if steps is None:
        return frozenset()
    known = [kind.value for kind in STEPS]
    if not isinstance(steps, list | tuple) or not steps:
        raise Invalid(
            f"context.steps has to be a list of some of {', '.join(known)}, or of 'verify'; it is "
            + (kind_of(steps) if steps != [] else "empty")
        )
    named: set[StepKind] = set()
    for step in steps:
        if step == VERIFY:
            named |= set(COMMANDS)
        elif isinstance(step, str) and step in known:
            named.add(StepKind(step))
        else:
            shown = repr(step[:80]) if isinstance(step, str) else kind_of(step)
            raise Invalid(
                f"context.steps names {shown}: it has to be one of {', '.join(known)}, or verify"
            )
    if named & set(COMMANDS):
        named.add(StepKind.PREPARE)
    if StepKind.PUSH in named:
        named.add(StepKind.COMMIT)
    return frozenset(named)


def _test_command(context: Mapping[str, Any]) -> tuple[str, ...]:
    command = context.get("test_command")
    if command is None:
        return ()
    if not isinstance(command, list | tuple) or not all(isinstance(arg, str) for arg in command):
        raise Invalid(
            "context.test_command has to be a list of strings, one for each argument; it is "
            + _kind(command)
        )
    if not command or not command[0]:
        raise Invalid("context.test_command names no program")
    return tuple(command)


def _soft_timeout_s(context: Mapping[str, Any], timeout_s: float) -> float | None:
    """The bead's own, which has to leave time before the hard limit."""
    own = _seconds(context, "soft_timeout_s")
    if own is not None and own >= timeout_s:
        raise Invalid(
            f"context.soft_timeout_s is {own:g}: it has to be below the {timeout_s:g} s after "
            "which the command is killed"
        )
    return own


def _seconds(context: Mapping[str, Any], name: str) -> float | None:
    seconds = context.get(name)
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise Invalid(f"context.{name} has to be a number of seconds; it is {_kind(seconds)}")
    if not 0 < seconds <= MAX_TIMEOUT_S:
        raise Invalid(f"context.{name} is {seconds}: it has to be over 0, up to {MAX_TIMEOUT_S}")
    return float(seconds)


def _kind(value: object) -> str:
    return "a list of something else" if isinstance(value, list | tuple) else kind_of(value)
