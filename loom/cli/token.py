"""`loom token`: tokens for programs, beside the secrets of the local stack."""

from __future__ import annotations

import re

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.cli.stack import token
from loom.cli.user import in_option, projects_of, role_option
from loom.clients.accounts import token_to_json
from loom.clients.answers import every
from loom.domain.access import Role
from loom.domain.account import Token

__all__ = ["token"]

_SPAN = re.compile(r"([0-9]{1,6})([hdw])")
_UNIT_S = {"h": 3_600, "d": 86_400, "w": 7 * 86_400}


@token.command()
@click.argument("name")
@role_option
@in_option
@click.option("--expires", default="90d", show_default=True, help="12h, 30d, 8w; or never.")
@output.as_json_option
def create(
    name: str, role: str | None, roles: tuple[str, ...], expires: str, as_json: bool
) -> None:
    """Make a token for a program. It is shown this once; Loom keeps its hash alone.

    \b
    loom token create ci --in shop=operator --expires 30d
    LOOM_URL=http://127.0.0.1:8080 LOOM_TOKEN=loom_… loom bead list
    """
    projects = projects_of(roles)
    if role is None and not projects:
        raise click.UsageError("say what it may do: --role viewer, or --in shop=operator")
    with profile.current().client() as client:
        made, text = client.create_token(
            name, Role(role) if role else None, projects, _seconds(expires)
        )
    if as_json:
        output.as_json({"token": text, "details": token_to_json(made)})
        return
    click.echo(text)
    ends = f"until {made.expires_at:%Y-%m-%d %H:%M} UTC" if made.expires_at else "for ever"
    click.echo(f"(shown this once; good {ends}; loom token revoke {made.id})", err=True)


@token.command("list")
@click.option("--all", "everything", is_flag=True, help="Revoked ones too.")
@output.as_json_option
def list_(everything: bool, as_json: bool) -> None:
    """List tokens: what each may do, until when, and when it was last used.

    \b
    loom token list --all
    """
    with profile.current().client() as client:
        found = list(every(lambda cursor: client.list_tokens(cursor=cursor)))
    shown = [each for each in found if everything or each.revoked_at is None]
    if as_json:
        output.as_json({"tokens": [token_to_json(each) for each in shown]})
        return
    if not shown:
        click.echo("There is no token: loom token create NAME --role viewer")
        return
    output.table(
        ("id", "name", "may", "made by", "expires", "last used"),
        [
            (
                each.id,
                escape(each.name),
                "[red]revoked[/]" if each.revoked_at else escape(_may(each)),
                escape(each.made_by),
                f"{each.expires_at:%Y-%m-%d %H:%M}" if each.expires_at else "never",
                output.age(each.last_used_at) or "never",
            )
            for each in shown
        ],
    )


@token.command()
@click.argument("token_id", metavar="ID")
@output.as_json_option
def revoke(token_id: str, as_json: bool) -> None:
    """Revoke a token, by the id that the list shows or the token itself. It ends at once.

    \b
    loom token revoke 1f2e3d4c5b6a
    """
    # Whoever found a token somewhere has just that; its secret stays here.
    parts = token_id.split("_")
    id_ = parts[1] if len(parts) == 3 and parts[0] == "loom" else token_id
    with profile.current().client() as client:
        revoked = client.revoke_token(id_)
    if as_json:
        output.as_json(token_to_json(revoked))
    else:
        click.echo(f"token {revoked.id} ({revoked.name}) is revoked")


def _may(each: Token) -> str:
    said = [f"{each.role.value} everywhere"] if each.role else []
    said += [f"{role.value} in {id_}" for id_, role in sorted(each.projects.items())]
    return ", ".join(said)


def _seconds(text: str) -> float | None:
    if text == "never":
        return None
    found = _SPAN.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise click.BadParameter(f"{text!r} is not 12h, 30d, 8w or never", param_hint="--expires")
    return float(int(found[1]) * _UNIT_S[found[2]])
