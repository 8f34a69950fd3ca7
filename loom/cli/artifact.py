"""`loom bead artifacts` and `loom bead artifact get`: what attempts left."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.cli.known import BEAD
from loom.clients.control import ControlClient
from loom.clients.downloads import Kept, kept_to_json
from loom.errors import Conflict

_ATTEMPT = click.option("--attempt", "epoch", type=click.IntRange(1), help="Of this one alone.")


@click.command("artifacts")
@click.argument("bead_id", metavar="ID", type=BEAD)
@_ATTEMPT
@output.as_json_option
def list_artifacts(bead_id: str, epoch: int | None, as_json: bool) -> None:
    """Show the files that attempts at a bead left.

    \b
    loom bead artifacts bd-1
    """
    with profile.current().client() as client:
        found = client.list_artifacts(bead_id, epoch or 0)
    if as_json:
        output.as_json({"artifacts": [kept_to_json(each) for each in found]})
        return
    if not found:
        click.echo(f"no attempt at {bead_id} has left a file")
        return
    output.table(
        ("attempt", "name", "bytes", "sha256"),
        [
            (str(one.epoch), escape(one.artifact.name), str(one.artifact.size), one.artifact.sha256)
            for one in found
        ],
    )


@click.group("artifact")
def artifact() -> None:
    """One file that an attempt left."""


@artifact.command()
@click.argument("bead_id", metavar="ID", type=BEAD)
@click.argument("name")
@_ATTEMPT
@click.option("-o", "--output", "target", help="Where to; its own name if not given, '-' for here.")
@click.option("--force", is_flag=True, help="Overwrite what is there.")
def get(bead_id: str, name: str, epoch: int | None, target: str | None, force: bool) -> None:
    """Fetch a file, of the newest attempt that left one of this NAME; its hash is verified.

    \b
    loom bead artifact get bd-1 out/report.html -o report.html
    """
    place = Path(target or name.rpartition("/")[2])
    if target != "-" and place.exists() and not force:
        raise Conflict(f"{place} exists: --force overwrites it, -o names another place")
    with profile.current().client() as client:
        found = client.find_artifact(bead_id, name, epoch or 0)
        if target == "-":
            client.download(found, sys.stdout.buffer)
            return
        _fetch(client, found, place, force=force)
    click.echo(f"{place}: {found.artifact.size} bytes, verified")


def _fetch(client: ControlClient, found: Kept, place: Path, *, force: bool) -> None:
    """Write to another name first, so that what stands at the place is whole and verified."""
    descriptor, draft = tempfile.mkstemp(dir=place.absolute().parent, prefix=f".{place.name[:50]}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            client.download(found, file)
        if force:
            Path(draft).replace(place)
        else:
            # A link is made only where nothing is, whatever came there meanwhile.
            place.hardlink_to(draft)
    except FileExistsError as error:
        raise Conflict(f"{place} exists: --force overwrites it, -o names another place") from error
    finally:
        Path(draft).unlink(missing_ok=True)
