"""A command as an option: written as in a shell, kept as a list of words, run by no shell."""

from __future__ import annotations

import shlex

import click


class Argv(click.ParamType[tuple[str, ...]]):
    """`'pytest -q'` as ("pytest", "-q"); quotes work as in a shell, nothing is expanded."""

    name = "command"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """The words; a usage error where a quote is left open."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(shlex.split(str(value)))
        except ValueError as error:
            self.fail(f"{value!r} cannot be split into words: {error}", param, ctx)
