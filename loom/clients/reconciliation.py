"""A reconciliation as the HTTP API's JSON, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from loom.clients.representation import API
from loom.domain.reconciliation import Account, Depth, Held, Mended, Reconciliation

PATH = f"{API}/reconcile"


def to_json(done: Reconciliation) -> dict[str, Any]:
    """The number unaccounted for, what was mended, and every project's account."""
    mended = done.mended
    return {
        "unaccounted": done.unaccounted,
        "mended": {
            "reowed": mended.reowed,
            "reopened": mended.reopened,
            "expired": mended.expired,
        },
        "projects": [_account_to_json(account) for account in done.accounts],
    }


def from_json(document: Mapping[str, Any]) -> Reconciliation:
    """The reconciliation in a document."""
    mended = document["mended"]
    return Reconciliation(
        tuple(map(_account_from_json, document["projects"])),
        Mended(mended["reowed"], mended["reopened"], mended["expired"]),
    )


def _account_to_json(account: Account) -> dict[str, Any]:
    held = account.held
    return {
        "project_id": held.project_id,
        "unaccounted": account.unaccounted,
        "lost": account.lost,
        "differences": list(account.differences),
        "ledger": {
            "owed": held.owed,
            "dispatched": held.dispatched,
            "overdue": held.overdue,
            "running": held.running,
            "expired": held.expired,
            "stuck": held.stuck,
            "dead": held.dead,
        },
        "tasks": _depth_to_json(account.tasks),
        "dead_letters": _depth_to_json(account.dead),
    }


def _account_from_json(document: Mapping[str, Any]) -> Account:
    return Account(
        Held(document["project_id"], **document["ledger"]),
        _depth_from_json(document["tasks"]),
        _depth_from_json(document["dead_letters"]),
        document["lost"],
        tuple(document["differences"]),
    )


def _depth_to_json(depth: Depth | None) -> dict[str, Any] | None:
    if depth is None:
        return None
    return {
        "queue": depth.queue,
        "ready": depth.ready,
        "unacked": depth.unacked,
        "missing": depth.missing,
        "age_s": depth.age_s,
    }


def _depth_from_json(document: Mapping[str, Any] | None) -> Depth | None:
    return Depth(**document) if document is not None else None
