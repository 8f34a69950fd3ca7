"""`loom completion`: what makes a shell complete commands, options, and ids."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

WHERE = {
    "bash": 'eval "$(loom completion bash)"   in ~/.bashrc (bash 4.4 or newer)',
    "zsh": 'eval "$(loom completion zsh)"   in ~/.zshrc, after compinit',
    "fish": "loom completion fish > ~/.config/fish/completions/loom.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(list(WHERE)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete commands, options and the ids of projects and beads.

    \b
    eval "$(loom completion bash)"                 in ~/.bashrc
    eval "$(loom completion zsh)"                  in ~/.zshrc, after compinit
    loom completion fish > ~/.config/fish/completions/loom.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"{shell} is not known here")
    click.echo(kind(ctx.find_root().command, {}, "loom", "_LOOM_COMPLETE").source())
