"""Which beads are meant, as the HTTP API takes it: in a query, and in a body."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from loom.clients.representation import time_to_json
from loom.domain.bulk import Act, Bulk
from loom.domain.listing import BeadFilter

_NAMES = {"projects": "project", "states": "state", "priorities": "priority", "text": "q"}
"""Of the fields that the API calls otherwise."""


def filter_to_query(where: BeadFilter) -> dict[str, Any]:
    """What filters, as parameters of a query or fields of a body."""
    found: dict[str, Any] = {}
    for name in BeadFilter.__dataclass_fields__:
        value = getattr(where, name)
        if isinstance(value, datetime):
            value = time_to_json(value)
        if value not in ((), "", None):
            found[_NAMES.get(name, name)] = list(value) if isinstance(value, tuple) else value
    return found


def bulk_request_to_json(bulk: Bulk, reason: str) -> dict[str, Any]:
    """What is to be done to many beads, and why."""
    asked: dict[str, Any] = {"act": bulk.act.value, "reason": reason, "dry_run": bulk.dry_run}
    if bulk.ids:
        asked["ids"] = list(bulk.ids)
    else:
        asked["where"] = filter_to_query(bulk.where)
    if bulk.act is Act.PRIORITY:
        asked["priority"] = bulk.priority
    return asked
