"""`loom db`: the ledger's schema."""

from __future__ import annotations

import click

from loom.database import migrate
from loom.errors import LoomError
from loom.settings import load
from loom.settings.ledger import MigrationSettings


@click.group()
def db() -> None:
    """The ledger's schema: what version it is at, and up to the newest."""


@db.command()
@click.argument("revision", default="head")
def upgrade(revision: str) -> None:
    """Bring the schema to REVISION, the newest by default; safe to run twice at once."""
    try:
        before, after = migrate.upgrade(load(MigrationSettings), revision)
    except LoomError as error:
        raise click.ClickException(error.detail) from error
    if before == after:
        click.echo(f"the schema is at {after} already")
    else:
        click.echo(f"the schema went from {before or 'nothing'} to {after}")


@db.command()
def current() -> None:
    """Print the version the schema is at, and the newest there is."""
    try:
        version = migrate.version(load(MigrationSettings))
    except LoomError as error:
        raise click.ClickException(error.detail) from error
    click.echo(f"{version or 'nothing'} (newest: {migrate.head()})")
