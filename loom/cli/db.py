"""`loom db`: the ledger's schema."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from loom.database import migrate
from loom.errors import LoomError
from loom.settings import load
from loom.settings.ledger import MigrationSettings
from loom.stack.home import find_home

as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def _settings() -> MigrationSettings:
    """The settings of the environment, else those of the local stack."""
    home = find_home(os.environ.get("LOOM_HOME", ""), Path.cwd())
    return load(MigrationSettings, home.settings_file("migrate"))


@click.group()
def db() -> None:
    """The ledger's schema: what version it is at, and up to the newest.

    It works on the local stack's PostgreSQL; the variables LOOM_MIGRATE_HOST, _PORT, _NAME, _USER
    and _PASSWORD name another.
    """


@db.command()
@click.argument("revision", default="head")
@as_json_option
def upgrade(revision: str, as_json: bool) -> None:
    """Bring the schema to REVISION, the newest by default; safe to run twice at once.

    \b
    loom db upgrade
    """
    try:
        before, after = migrate.upgrade(_settings(), revision)
    except LoomError as error:
        raise click.ClickException(error.detail) from error
    if as_json:
        click.echo(json.dumps({"before": before or None, "after": after}))
    elif before == after:
        click.echo(f"the schema is at {after} already")
    else:
        click.echo(f"the schema went from {before or 'nothing'} to {after}")


@db.command()
@as_json_option
def current(as_json: bool) -> None:
    """Print the version the schema is at, and the newest there is.

    \b
    loom db current
    """
    try:
        version = migrate.version(_settings())
    except LoomError as error:
        raise click.ClickException(error.detail) from error
    if as_json:
        click.echo(json.dumps({"version": version or None, "newest": migrate.head()}))
    else:
        click.echo(f"{version or 'nothing'} (newest: {migrate.head()})")
