"""Placeholders in an argv, as `{bead_id}`: filled in argument by argument, by no shell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import Formatter

from loom.errors import Invalid

PLACEHOLDERS = ("bead_id", "project_id", "bead_file", "report_file", "checkout")
"""What the argv of a project's own command may name."""


def check(argv: Sequence[str]) -> None:
    """Raise Invalid for an argv that names no program, or a placeholder that nobody knows."""
    fill(argv, dict.fromkeys(PLACEHOLDERS, ""))
    if not argv or not argv[0].strip():
        raise Invalid("rules.command names no program")


def fill(argv: Sequence[str], values: Mapping[str, str]) -> tuple[str, ...]:
    """The argv with its placeholders replaced, `{{` and `}}` by braces; raises Invalid.

    A value is never read again: braces in it stay, and it stays within its argument.
    """
    return tuple(_filled(index, word, values) for index, word in enumerate(argv))


def _filled(index: int, word: str, values: Mapping[str, str]) -> str:
    place = f"rules.command.{index}"
    try:
        parts = list(Formatter().parse(word))
    except ValueError as error:
        raise Invalid(f"{place}: {error} in {word[:200]!r}; a brace itself is doubled") from error
    filled = []
    for literal, name, form, conversion in parts:
        filled.append(literal)
        if name is None:
            continue
        if name not in values or form or conversion:
            raise Invalid(
                f"{place}: {word[:200]!r} has a placeholder that nobody knows; there are "
                f"{', '.join(f'{{{known}}}' for known in values)}, and a brace itself is doubled"
            )
        filled.append(values[name])
    return "".join(filled)
