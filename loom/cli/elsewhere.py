"""`loom profile`: the Looms elsewhere that this user works with, by name."""

from __future__ import annotations

import os
import sys
from typing import TextIO

import click
from rich.markup import escape

from loom.cli import output, profiles
from loom.cli.group import Group


@click.group(cls=Group)
def profile() -> None:
    """Looms elsewhere, by name: address and token, in a file that you alone can read.

    A command speaks to the one of `--profile`; else to that of LOOM_URL and LOOM_TOKEN; else to
    that of LOOM_PROFILE; else to the one in use; else to the local stack.

    \b
    loom profile add office https://loom.example --token-file ./token
    loom --profile office bead list
    """


@profile.command()
@click.argument("name")
@click.argument("url")
@click.option(
    "--token-file", type=click.File(), help="Its token, the one line of a file; -: stdin."
)
@click.option("--use", is_flag=True, help="Speak to it from now on, where nothing else is said.")
@output.as_json_option
def add(*, name: str, url: str, token_file: TextIO | None, use: bool, as_json: bool) -> None:
    """Keep a Loom under NAME; its token is asked for, or read from a file or LOOM_TOKEN.

    \b
    loom profile add office https://loom.example --token-file ./token --use
    """
    if token_file is not None:
        token = token_file.read().strip()
    else:
        token = os.environ.get("LOOM_TOKEN", "")
        if not token and sys.stdin.isatty():
            token = click.prompt("token", hide_input=True, err=True)
    file = profiles.place()
    kept = profiles.read(file).with_one(name, profiles.Named(url.rstrip("/"), token))
    profiles.write(file, kept.using(name) if use else kept)
    if as_json:
        output.as_json({"name": name, "url": url.rstrip("/"), "used": use or kept.used == name})
    else:
        click.echo(f"{name} is kept in {file}: loom --profile {name} status")


@profile.command("list")
@output.as_json_option
def list_all(as_json: bool) -> None:
    """Show them, without their tokens.

    \b
    loom profile list
    """
    kept = profiles.read(profiles.place())
    if as_json:
        rows = [
            {"name": name, "url": one.url, "used": name == kept.used}
            for name, one in sorted(kept.named.items())
        ]
        output.as_json({"profiles": rows})
    elif not kept.named:
        click.echo("there is none: loom profile add NAME URL")
    else:
        output.table(
            ("name", "url", "in use"),
            [
                (name, escape(one.url), "yes" if name == kept.used else "")
                for name, one in sorted(kept.named.items())
            ],
        )


@profile.command()
@click.argument("name", required=False, default="")
@click.option("--none", is_flag=True, help="Use none: the local stack is meant again.")
@output.as_json_option
def use(name: str, none: bool, as_json: bool) -> None:
    """Speak to NAME from now on, where nothing else is said.

    \b
    loom profile use office
    loom profile use --none
    """
    if bool(name) == none:
        raise click.UsageError("name a profile, or take --none")
    file = profiles.place()
    profiles.write(file, profiles.read(file).using(name))
    if as_json:
        output.as_json({"used": name or None})
    else:
        click.echo(f"{name} is used" if name else "none is used: the local stack is meant")


@profile.command()
@click.argument("name")
@output.as_json_option
def remove(name: str, as_json: bool) -> None:
    """Forget NAME; its token goes on being good there: `loom token revoke`.

    \b
    loom profile remove office
    """
    file = profiles.place()
    profiles.write(file, profiles.read(file).without(name))
    if as_json:
        output.as_json({"removed": name})
    else:
        click.echo(f"{name} is forgotten")
