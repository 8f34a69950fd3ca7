"""`loom queue`: what stands in the broker's queues, as the API knows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from loom.cli import output, profile
from loom.cli.group import Group
from loom.errors import NotFound, Unavailable
from loom.messaging.topology import dead_key, project_of_queue, task_key


@click.group(cls=Group)
def queue() -> None:
    """Queues of the broker: what waits in each, and what was handed out.

    A project has two: loom.tasks.<project>, which its agents take beads from, and
    loom.dead.<project>, for messages that nobody could handle. loom.results is everybody's.
    """


@queue.command("list")
@click.option("--waiting", is_flag=True, help="Only those in which something stands.")
@output.as_json_option
def list_some(waiting: bool, as_json: bool) -> None:
    """Show queues, with what waits in each.

    \b
    loom queue list --waiting
    loom queue list --json | jq '.queues[] | select(.ready > 100)'
    """
    with profile.current().client() as client:
        found = _queues(client.status())
    shown = [each for each in found if not waiting or each["ready"] or each["unacked"]]
    if as_json:
        output.as_json({"queues": shown})
        return
    if not shown:
        click.echo("nothing stands in any queue" if found else "there is no queue yet")
        return
    output.table(
        ("queue", "project", "ready", "handed out", "counted"),
        [
            (
                each["queue"],
                each["project_id"],
                "[red]missing[/]" if each["missing"] else str(each["ready"]),
                "?" if each["unacked"] is None else str(each["unacked"]),
                f"{each['age_s']:.0f}s ago",
            )
            for each in shown
        ],
    )


@queue.command()
@click.argument("name", metavar="QUEUE|PROJECT")
@output.as_json_option
def show(name: str, as_json: bool) -> None:
    """Show one queue, or those of one project.

    \b
    loom queue show shop
    loom queue show loom.results
    """
    with profile.current().client() as client:
        found = _queues(client.status())
    of_it = [each for each in found if name in (each["queue"], each["project_id"])]
    if not of_it:
        raise NotFound(f"there is no queue {name}, nor one of such a project: `loom queue list`")
    if as_json:
        output.as_json({"queues": of_it})
        return
    for each in of_it:
        output.facts(
            (
                ("queue", each["queue"]),
                ("project", each["project_id"]),
                ("ready", "there is no such queue" if each["missing"] else str(each["ready"])),
                ("handed out", "" if each["unacked"] is None else str(each["unacked"])),
                ("what waits", f"loom bead list --project {each['project_id']} --state open"
                 if each["queue"] == task_key(each["project_id"]) else ""),
                ("what died", f"loom dlq ls --project {each['project_id']}"
                 if each["queue"] == dead_key(each["project_id"]) else ""),
            )
        )  # fmt: skip


def _queues(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    if not status["queues"]:
        why = next((s["why"] for s in status["services"] if s["name"] == "broker"), "")
        if why:
            raise Unavailable(f"the broker cannot be read: {why}")
    return [
        dict(each) | {"project_id": project_of_queue(each["queue"])} for each in status["queues"]
    ]
