"""The `loom` command: each part is loaded when it is called."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import click

from loom.cli.exits import failed
from loom.errors import LoomError


@dataclass(frozen=True, slots=True)
class Part:
    """A command of `loom`: where it is, and what it does in a few words."""

    module: str
    name: str
    summary: str


PARTS: dict[str, Part] = {
    "up": Part("stack", "up", "Start Loom on this machine, or bring it up to date."),
    "down": Part("stack", "down", "Stop Loom; its data stay."),
    "status": Part("stack", "status", "What runs, where, and what it waits for."),
    "logs": Part("stack", "logs", "What the services log."),
    "doctor": Part("stack", "doctor", "What is wrong here, and what to do about it."),
    "user": Part("user", "user", "People: who may log in, and what they may do."),
    "token": Part("token", "token", "Tokens for programs, and the secrets of this stack."),
    "project": Part("project", "project", "Repositories that Loom works on."),
    "bead": Part("bead", "bead", "Units of work: file them, follow them."),
    "queue": Part("queue", "queue", "Queues of the broker: what stands in each."),
    "agent": Part("agent", "agent", "Who works: list, start, drain and stop agents."),
    "dlq": Part("dlq", "dlq", "Dead letters: see why, replay or discard them."),
    "event": Part("event", "event", "What happens: list it, follow it."),
    "webhook": Part("webhook", "webhook", "Who is told of what happens, and whether it arrived."),
    "audit": Part("audit", "audit", "Who did what to beads and dead letters, and why."),
    "reconcile": Part(
        "reconcile", "reconcile", "Whether ledger and broker agree; mend what does not."
    ),
    "profile": Part("elsewhere", "profile", "Looms elsewhere, by name."),
    "completion": Part("completion", "completion", "Make a shell complete commands and ids."),
    "api": Part("api", "api", "The HTTP API's own description."),
    "demo": Part("demo", "demo", "Three beads and what becomes of them."),
    "drill": Part("drill", "drill", "Faults on a stack of its own: is anything lost?"),
    "bench": Part("bench", "bench", "Measure Loom on a stack of its own."),
    "db": Part("db", "db", "The ledger's schema."),
}
"""Every command, in the order in which they are needed."""


class LazyGroup(click.Group):
    """Imports a command's module when the command is called, and says errors in one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, without importing anything."""
        return list(PARTS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        part = PARTS.get(cmd_name)
        if part is None:
            return None
        module = importlib.import_module(f"loom.cli.{part.module}")
        command: click.Command = getattr(module, part.name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, part.summary) for name, part in PARTS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a LoomError ends it with its words and its exit code."""
        try:
            return super().invoke(ctx)
        except LoomError as error:
            raise failed(error) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="loom", prog_name="loom")
@click.option("--profile", "profile_name", metavar="NAME", help="The Loom of `loom profile add`.")
def cli(profile_name: str | None) -> None:
    """Loom takes beads (units of work on code) in, and gives proven results out.

    Every command has --help with an example, and --json for programs. A command speaks to the
    stack around this folder (or that of LOOM_HOME), unless --profile, LOOM_URL with LOOM_TOKEN,
    LOOM_PROFILE or `loom profile use` names one elsewhere.

    \b
    Exit codes:
      0    it worked
      1    it failed, or was not acceptable
      2    it was not understood
      3    there is no such thing
      4    refused: no valid token, or a role is missing
      5    Loom, or a part that is needed, does not answer
    `loom bead run` ends as its bead does, beside these:
      0 succeeded, 1 failed, 6 cancelled, 7 blocked, 130 you left it running by Ctrl-C

    \b
    loom up
    loom bead run shop --title 'Mend the sum' --patch mend.diff
    """


def main() -> None:
    """The entry point."""
    cli(prog_name="loom")
