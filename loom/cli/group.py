"""Groups of commands: each known by `list` and by `ls`, and loaded when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

ALIASES = {"ls": "list", "list": "ls"}


class Group(click.Group):
    """A group whose `list` answers to `ls`, and the other way round.

    later: commands that are imported when they are called, as {name: "module:attribute"}.
    """

    def __init__(self, *words: Any, later: Mapping[str, str] | None = None, **more: Any) -> None:
        super().__init__(*words, **more)
        self._later = dict(later or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every name, aliases left out."""
        return sorted({*super().list_commands(ctx), *self._later})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, or the one that it is an alias of."""
        for name in (cmd_name, ALIASES.get(cmd_name, "")):
            found = super().get_command(ctx, name)
            if found is None and name in self._later:
                module, _, attribute = self._later[name].partition(":")
                found = getattr(importlib.import_module(f"loom.cli.{module}"), attribute)
            if found is not None:
                return found
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click has it; help and errors then call the command by its own name."""
        _, command, rest = super().resolve_command(ctx, args)
        return command.name if command else None, command, rest
