"""`loom project credential`: how a project's agents get into its repository."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

import click

from loom.cli import output
from loom.cli.group import Group
from loom.cli.known import PROJECT
from loom.cli.stack import current_home, in_words
from loom.domain.credential import DEFAULT_USERNAME
from loom.domain.identity import check_project_id
from loom.settings import load
from loom.stack import gitaccess
from loom.stack.accounts import Accounts, of_this_process
from loom.stack.home import StackSettings


@click.group(cls=Group)
def credential() -> None:
    """How the agents of this machine get into a private repository.

    It is kept in a file that only the agents' user can read, and git reads it from there.
    """


@credential.command("set")
@click.argument("project_id", metavar="ID", type=PROJECT)
@click.option(
    "--token-file",
    type=click.File(),
    help="A token for https, the one line of a file; - for stdin.",
)
@click.option("--username", default=DEFAULT_USERNAME, show_default=True, help="With the token.")
@click.option("--ssh-key", type=click.File(), help="A private key for ssh, without a passphrase.")
@click.option(
    "--known-hosts",
    type=click.File(),
    help="The hosts that may be spoken to; else one is believed the first time, and held to it.",
)
@output.as_json_option
def set_(
    *, project_id: str, token_file: TextIO | None, username: str, ssh_key: TextIO | None,
    known_hosts: TextIO | None, as_json: bool,
) -> None:  # fmt: skip
    """Keep a token or an ssh key for project ID, in place of the one it had.

    \b
    loom project credential set shop --token-file ./token
    loom project credential set shop --ssh-key ~/.ssh/shop --known-hosts ./known_hosts
    """
    if (token_file is None) == (ssh_key is None):
        raise click.UsageError("give either --token-file or --ssh-key")
    if known_hosts is not None and ssh_key is None:
        raise click.UsageError("--known-hosts goes with --ssh-key")
    with in_words():
        check_project_id(project_id)
        home, accounts = current_home(), _accounts()
        if token_file is not None:
            token = token_file.read().strip()
            gitaccess.put_token(home, accounts, project_id, token, username)
        elif ssh_key is not None:
            hosts = known_hosts.read() if known_hosts is not None else ""
            gitaccess.put_key(home, accounts, project_id, ssh_key.read(), hosts)
        found = gitaccess.shown(home, project_id)
    if as_json:
        output.as_json({"credentials": [_as_json(each) for each in found]})
    else:
        for each in found:
            click.echo(f"project {project_id} has a {each.kind}: {each.fingerprint}")


@credential.command()
@click.argument("project_id", metavar="ID", type=PROJECT)
@output.as_json_option
def show(project_id: str, as_json: bool) -> None:
    """Show what project ID has, by kind and fingerprint.

    \b
    loom project credential show shop
    """
    with in_words():
        check_project_id(project_id)
        found = gitaccess.shown(current_home(), project_id)
    if as_json:
        output.as_json({"credentials": [_as_json(each) for each in found]})
        return
    if not found:
        click.echo(f"project {project_id} has no credential on this machine")
        return
    output.table(
        ("kind", "fingerprint", "hosts", "file"),
        [
            (str(each.kind), each.fingerprint, "given" if each.hosts else "", str(each.file))
            for each in found
        ],
    )


@credential.command()
@click.argument("project_id", metavar="ID", type=PROJECT)
@output.as_json_option
def remove(project_id: str, as_json: bool) -> None:
    """Remove what project ID has on this machine.

    \b
    loom project credential remove shop
    """
    with in_words():
        check_project_id(project_id)
        removed = gitaccess.remove(current_home(), project_id)
    if as_json:
        output.as_json({"removed": list(removed)})
        return
    click.echo(f"removed: {', '.join(removed)}" if removed else "there was none")


def _accounts() -> Accounts:
    settings = load(StackSettings)
    return of_this_process(settings.service_user, settings.agent_user)


def _as_json(each: gitaccess.Shown) -> Mapping[str, Any]:
    return {
        "kind": str(each.kind),
        "fingerprint": each.fingerprint,
        "hosts_given": each.hosts,
        "file": str(each.file),
    }
