"""`loom user`: people, their roles and their passwords."""

from __future__ import annotations

from typing import TextIO

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.cli.group import Group
from loom.clients.accounts import user_to_json
from loom.clients.answers import every
from loom.domain.access import Role
from loom.domain.account import User

role_option = click.option(
    "--role", type=click.Choice([role.value for role in Role]), help="In every project."
)
in_option = click.option(
    "--in",
    "roles",
    multiple=True,
    metavar="PROJECT=ROLE",
    help="A role in one project; repeatable.",
)


@click.group(cls=Group)
def user() -> None:
    """People: who may log in, and what they may do.

    \b
    viewer     reads
    operator   files beads and steers them: cancel, retry, unblock, replay, drain
    admin      makes and changes projects, people and tokens

    A role holds in every project, or in single ones: there, others' projects cannot even be seen.
    """


@user.command()
@click.argument("name")
@role_option
@in_option
@click.option("--password-file", type=click.File(), help="Their password; - for stdin.")
@output.as_json_option
def add(
    *, name: str, role: str | None, roles: tuple[str, ...], password_file: TextIO | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Make a user; the password that Loom makes for them is shown this once.

    \b
    loom user add ada --role operator
    loom user add grace --in shop=admin --in docs=viewer
    """
    given = password_file.read().strip() if password_file is not None else ""
    with profile.current().client() as client:
        made, password = client.create_user(
            name, Role(role) if role else None, projects_of(roles), given
        )
    if as_json:
        output.as_json({"user": user_to_json(made), "password": password or None})
        return
    click.echo(f"{made.name} may log in: {_may(made)}")
    if password:
        click.echo(f"password: {password}   (shown this once)")


@user.command("list")
@output.as_json_option
def list_(as_json: bool) -> None:
    """List users and their roles.

    \b
    loom user list
    """
    with profile.current().client() as client:
        found = list(every(lambda cursor: client.list_users(cursor=cursor)))
    if as_json:
        output.as_json({"users": [user_to_json(each) for each in found]})
        return
    if not found:
        click.echo("There is no user: loom user add NAME --role admin")
        return
    output.table(
        ("name", "may", "logs in by", "last login"),
        [
            (
                escape(each.name),
                "[red]disabled[/]" if each.disabled else escape(_may(each)),
                escape(each.subject) or ("password" if each.has_password else "nothing"),
                output.age(each.last_login_at) or "never",
            )
            for each in found
        ],
    )


@user.command()
@click.argument("name")
@click.argument("role", type=click.Choice([role.value for role in Role]))
@click.option("--project", default="", metavar="ID", help="There alone; else in every project.")
@output.as_json_option
def grant(name: str, role: str, project: str, as_json: bool) -> None:
    """Give a user a role, in place of the one they had there.

    \b
    loom user grant ada operator
    loom user grant ada admin --project shop
    """
    with profile.current().client() as client:
        _told(client.grant_role(name, Role(role), project), as_json)


@user.command()
@click.argument("name")
@click.option("--project", default="", metavar="ID", help="There; else the one in every project.")
@output.as_json_option
def revoke(name: str, project: str, as_json: bool) -> None:
    """Take a role away from a user.

    \b
    loom user revoke ada --project shop
    """
    with profile.current().client() as client:
        _told(client.revoke_role(name, project), as_json)


@user.command()
@click.argument("name")
@output.as_json_option
def disable(name: str, as_json: bool) -> None:
    """Let a user in no more; their logins end at once. Tokens that they made stay: `loom token`.

    \b
    loom user disable ada
    """
    with profile.current().client() as client:
        _told(client.enable_user(name, enabled=False), as_json)


@user.command()
@click.argument("name")
@output.as_json_option
def enable(name: str, as_json: bool) -> None:
    """Let a disabled user in again.

    \b
    loom user enable ada
    """
    with profile.current().client() as client:
        _told(client.enable_user(name, enabled=True), as_json)


@user.command("reset-password")
@click.argument("name")
@output.as_json_option
def reset_password(name: str, as_json: bool) -> None:
    """Make another password for a user, and end their logins. It is shown this once.

    \b
    loom user reset-password admin
    """
    with profile.current().client() as client:
        password = client.reset_password(name)
    if as_json:
        output.as_json({"name": name, "password": password})
    else:
        click.echo(f"password: {password}   (shown this once)")


def projects_of(roles: tuple[str, ...]) -> dict[str, Role]:
    """What `--in PROJECT=ROLE` says; a UsageError for what says nothing."""
    found = {}
    for text in roles:
        project_id, _, role = text.partition("=")
        if not project_id or role not in set(Role):
            known = ", ".join(Role)
            raise click.BadParameter(
                f"{text!r} is not PROJECT=ROLE, as in shop=operator; roles are {known}",
                param_hint="--in",
            )
        found[project_id] = Role(role)
    return found


def _may(user_: User) -> str:
    said = [f"{user_.role.value} everywhere"] if user_.role else []
    said += [f"{role.value} in {id_}" for id_, role in sorted(user_.projects.items())]
    return ", ".join(said) or "nothing yet (loom user grant)"


def _told(changed: User, as_json: bool) -> None:
    if as_json:
        output.as_json(user_to_json(changed))
    elif changed.disabled:
        click.echo(f"{changed.name} is disabled")
    else:
        click.echo(f"{changed.name}: {_may(changed)}")
