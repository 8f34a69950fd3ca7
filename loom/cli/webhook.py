"""`loom webhook`: who is told of what happens, and whether it arrived."""

from __future__ import annotations

import time

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.cli.group import Group
from loom.cli.known import PROJECT
from loom.clients.control import ControlClient
from loom.clients.hooks import delivery_to_json, webhook_to_json
from loom.domain.webhook import (
    Delivery,
    DeliveryState,
    NewWebhook,
    Tried,
    Webhook,
    WebhookChange,
    told,
)
from loom.errors import DeadlineExceeded

LOOK_EVERY_S = 0.3
_id = click.argument("webhook_id", metavar="ID")
_reason = click.option("--reason", default="", help="Why: it stands in the audit trail.")


@click.group(cls=Group)
def webhook() -> None:
    """Who is told of what happens: each event is posted to a URL, signed.

    \b
    loom webhook add https://chat.example/hooks --type bead.closed --project shop
    loom webhook test wh-…
    loom webhook deliveries wh-… --state dead

    docs/events.md says what arrives, and how to check that it comes from here.
    """


@webhook.command("add")
@click.argument("url")
@click.option(
    "--project", "project_id", type=PROJECT, default="", metavar="ID", help="Of this project alone."
)
@click.option(
    "--type", "types", multiple=True, metavar="TYPE",
    help="As bead.closed or bead.*; may stand several times. Without it: all.",
)  # fmt: skip
@click.option("--secret", default="", help="whsec_ and base64; left out, one is made.")
@output.as_json_option
def add(*, url: str, project_id: str, types: tuple[str, ...], secret: str, as_json: bool) -> None:
    """Tell URL of events from now on. Its secret is shown this once.

    \b
    loom webhook add https://chat.example/hooks --type bead.closed --project shop
    """
    with profile.current().client() as client:
        made = client.add_webhook(NewWebhook(url, project_id, types, secret))
    if as_json:
        output.as_json(webhook_to_json(made))
        return
    click.echo(f"{made.id} tells {made.host}; try it: loom webhook test {made.id}")
    click.echo(f"Its secret, which is not shown again: {made.secret}")


@webhook.command("list")
@output.as_json_option
def list_all(*, as_json: bool) -> None:
    """Show all webhooks.

    \b
    loom webhook list
    """
    with profile.current().client() as client:
        found = client.list_webhooks()
    if as_json:
        output.as_json({"webhooks": [webhook_to_json(each) for each in found]})
        return
    output.table(
        ("id", "whom", "of", "types", "state", "waiting", "dead", "last taken"),
        [
            (
                escape(each.id), escape(each.host), escape(each.project_id or "all"),
                escape(", ".join(each.types) or "all"), _state(each), str(each.pending),
                str(each.dead), output.age(each.last_ok_at),
            )
            for each in found
        ],
    )  # fmt: skip


@webhook.command("show")
@_id
@output.as_json_option
def show(*, webhook_id: str, as_json: bool) -> None:
    """Show one webhook.

    \b
    loom webhook show wh-1
    """
    with profile.current().client() as client:
        _tell(client.get_webhook(webhook_id), as_json=as_json)


@webhook.command("change")
@_id
@click.option("--url", default=None, help="Another URL.")
@click.option(
    "--project", "project_id", type=PROJECT, default=None, help="Of this project; '' for all."
)
@click.option("--type", "types", multiple=True, metavar="TYPE", help="These types instead.")
@click.option("--on/--off", "active", default=None, help="Switch it on again, or off.")
@output.as_json_option
def change(
    *, webhook_id: str, url: str | None, project_id: str | None, types: tuple[str, ...],
    active: bool | None, as_json: bool,
) -> None:  # fmt: skip
    """Change a webhook. Off, it is owed nothing new; on again, its failures are forgotten.

    \b
    loom webhook change wh-1 --off
    """
    with profile.current().client() as client:
        wished = WebhookChange(url, project_id, types or None, active)
        _tell(client.change_webhook(webhook_id, wished), as_json=as_json)


@webhook.command("remove")
@_id
@output.as_json_option
def remove(*, webhook_id: str, as_json: bool) -> None:
    """Remove a webhook with its deliveries, also those that wait.

    \b
    loom webhook remove wh-1
    """
    with profile.current().client() as client:
        client.remove_webhook(webhook_id)
    if as_json:
        output.as_json({"removed": webhook_id})
    else:
        click.echo(f"{webhook_id} is removed")


@webhook.command("test")
@_id
@click.option("--timeout", "timeout_s", default=30.0, show_default=True, help="Seconds to wait.")
@output.as_json_option
@click.pass_context
def test(ctx: click.Context, *, webhook_id: str, timeout_s: float, as_json: bool) -> None:
    """Send a delivery that tells of nothing, and say what came of it: exit code 0 if it arrived.

    \b
    loom webhook test wh-1
    """
    with profile.current().client() as client:
        sent = client.test_webhook(webhook_id)
        tried = _await(client, sent, timeout_s)
    if as_json:
        output.as_json(delivery_to_json(tried))
    elif tried.state is DeliveryState.DELIVERED:
        click.echo(f"it arrived: {tried.status} after {tried.duration_ms} ms")
    else:
        click.echo(f"it did not arrive: {_fault(tried)}. {tried.response}".strip(), err=True)
    if tried.state is not DeliveryState.DELIVERED:
        ctx.exit(1)


@webhook.command("deliveries")
@_id
@click.option("--state", type=click.Choice([each.value for each in DeliveryState]), default=None)
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--cursor", default="", help="From the end of an earlier list.")
@output.as_json_option
def deliveries(
    *, webhook_id: str, state: str | None, limit: int, cursor: str, as_json: bool
) -> None:
    """Show deliveries, newest first; the dead ones are those that nobody tries again.

    \b
    loom webhook deliveries wh-1 --state dead
    """
    with profile.current().client() as client:
        page = client.list_deliveries(webhook_id, state or "", limit, cursor)
    if as_json:
        found = [delivery_to_json(each) for each in page.items]
        output.as_json({"deliveries": found, "next_cursor": page.next_cursor or None})
        return
    output.table(
        ("id", "what", "state", "tries", "last", "made", "event"),
        [
            (
                str(each.id), escape(each.type), output.coloured(each.state.value),
                str(each.tries), escape(_fault(each) if each.tries else ""),
                output.age(each.created_at), escape(each.event_id),
            )
            for each in page.items
        ],
    )  # fmt: skip
    if page.next_cursor:
        click.echo(f"There are more: --cursor {page.next_cursor}")


@webhook.command("redeliver")
@_id
@click.argument("delivery_id", type=click.IntRange(1), required=False)
@click.option("--all-dead", is_flag=True, help="Every dead one.")
@_reason
@output.as_json_option
def redeliver(
    *, webhook_id: str, delivery_id: int | None, all_dead: bool, reason: str, as_json: bool
) -> None:
    """Send a delivery that has ended again, or all dead ones; the event keeps its id.

    \b
    loom webhook redeliver wh-1 --all-dead
    """
    _steer(webhook_id, "redeliver", delivery_id, all_dead, reason, as_json=as_json)


@webhook.command("discard")
@_id
@click.argument("delivery_id", type=click.IntRange(1), required=False)
@click.option("--all-dead", is_flag=True, help="Every dead one.")
@_reason
@output.as_json_option
def discard(
    *, webhook_id: str, delivery_id: int | None, all_dead: bool, reason: str, as_json: bool
) -> None:
    """Give a dead delivery up, or all of them.

    \b
    loom webhook discard wh-1 --all-dead
    """
    _steer(webhook_id, "discard", delivery_id, all_dead, reason, as_json=as_json)


def _steer(
    webhook_id: str, act: str, delivery_id: int | None, all_dead: bool, reason: str, *,
    as_json: bool,
) -> None:  # fmt: skip
    if all_dead == (delivery_id is not None):
        raise click.UsageError("name one delivery, or take --all-dead")
    why = reason or f"`loom webhook {act}`, no reason given"
    with profile.current().client() as client:
        count = client.steer_deliveries(webhook_id, act, why, delivery_id or 0)
    if as_json:
        output.as_json({"deliveries": count})
    else:
        done = "sent again" if act == "redeliver" else "discarded"
        click.echo(f"{count} deliver{'y is' if count == 1 else 'ies are'} {done}")


def _await(client: ControlClient, sent: Delivery, timeout_s: float) -> Delivery:
    """The delivery once it was tried."""
    give_up = time.monotonic() + timeout_s
    while time.monotonic() < give_up:
        found = client.get_delivery(sent.webhook_id, sent.id)
        if found.tries:
            return found
        time.sleep(LOOK_EVERY_S)
    raise DeadlineExceeded(
        f"delivery {sent.id} was not tried in {timeout_s:g} s: `loom status` says whether the "
        "connectors service runs, `loom logs connectors` what it waits for"
    )


def _fault(delivery: Delivery) -> str:
    if delivery.state is DeliveryState.DELIVERED:
        return str(delivery.status)
    return told(Tried(delivery.id, delivery.status, delivery.error))


def _state(each: Webhook) -> str:
    if not each.active:
        return "[dim]off[/]"
    return f"[red]{each.failures} failed[/]" if each.failures else "[green]on[/]"


def _tell(found: Webhook, *, as_json: bool) -> None:
    if as_json:
        output.as_json(webhook_to_json(found))
        return
    output.facts(
        [
            ("id", escape(found.id)),
            ("url", escape(found.url)),
            ("of", escape(found.project_id or "all projects")),
            ("types", escape(", ".join(found.types) or "all")),
            ("state", _state(found)),
            ("why off", escape(found.reason)),
            ("rests until", str(found.resting_until or "")),
            ("waiting", str(found.pending)),
            ("dead", str(found.dead)),
            ("last taken", output.age(found.last_ok_at)),
            ("made by", escape(found.created_by)),
        ]
    )
