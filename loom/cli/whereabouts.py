"""`loom bead where`: every place in which one id finds a bead."""

from __future__ import annotations

from dataclasses import dataclass

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.cli.known import BEAD
from loom.clients.representation import bead_path
from loom.domain.bead import Bead
from loom.domain.project import Project
from loom.messaging.topology import dead_key


@dataclass(frozen=True, slots=True)
class Place:
    """One of them. address: for a browser or a program; command: what shows the bead there."""

    name: str
    address: str
    command: str
    note: str = ""


@click.command()
@click.argument("bead_id", metavar="ID", type=BEAD)
@output.as_json_option
def where(bead_id: str, as_json: bool) -> None:
    """Say where a bead is found: Loom, Flower, RabbitMQ, git and the logs know it by one id.

    \b
    loom bead where bd-1
    loom bead where bd-1 --json | jq -r '.places[].command'
    """
    spoken_to = profile.current()
    with spoken_to.client() as client:
        bead = client.get_bead(bead_id)
        project = client.get_project(bead.project_id)
    found = places(bead, project, spoken_to.url, profile.local_urls())
    if as_json:
        rows = [
            {"place": e.name, "address": e.address, "command": e.command, "note": e.note}
            for e in found
        ]
        output.as_json({"bead_id": bead.id, "places": rows})
        return
    for each in found:
        output.facts(
            (
                (each.name, escape(each.address or each.note)),
                ("", escape(each.command)),
                ("", escape(each.note) if each.address else ""),
            )
        )


def places(bead: Bead, project: Project, api: str, local: dict[str, str]) -> list[Place]:
    """Where the bead is found. local: the addresses of the stack here, empty for one elsewhere."""
    id_ = bead.id
    found = [
        Place("Loom", f"{api}{bead_path(id_)}", f"loom bead show {id_}"),
        Place("its page", f"{api}/beads/{id_}", f"loom bead logs {id_}"),
    ]
    if local:
        flower, rabbit = local["flower"], local["rabbitmq"]
        found += [
            Place(
                "Flower",
                f"{flower}/task/{id_}",
                f'curl -u "loom:$(loom token show --service flower)" {flower}/api/task/info/{id_}',
                "once an agent has had it, and for as long as Flower runs",
            ),
            Place(
                "RabbitMQ",
                f"{rabbit}/#/queues/loom/loom.tasks.{project.id}",
                f"loom queue show {project.id}",
                f"the header `id` of its message in loom.tasks.{project.id} "
                f"while it waits, or in {dead_key(project.id)}: `loom dlq ls --project "
                f"{project.id}`",
            ),
        ]
    branch = bead.commits[0].branch if bead.commits else f"agent/{id_}"
    found.append(
        Place(
            "git",
            project.repository if bead.commits else "",
            f"git log --all --grep='^Bead-Id: {id_}$'",
            f"on {branch}" if bead.commits else "it has no commit yet",
        )
    )
    if local:
        found.append(Place("the logs", "", f"loom logs -n 100000 | grep {id_}", "of every service"))
    return found
