"""Every fault class by its name: the one table."""

from __future__ import annotations

from loom.drill import places
from loom.drill.fault import Make, kills
from loom.drill.messages import Duplicated, Forged, Oversize, Poison, Reordered, Replayed

MESSAGES: dict[str, Make] = {
    "poison": Poison,
    "oversize": Oversize,
    "forged": Forged,
    "replayed": Replayed,
    "duplicated": Duplicated,
    "reordered": Reordered,
}
"""What only messages do."""

PLACES: dict[str, Make] = {f"at-{place}": places.at(place) for place in places.PLACES}
"""kill -9 of a service by itself, between two of its steps."""

KINDS = (
    "agent", "control", "database", "dispatcher", "ingester", "engine", "pgbouncer", "postgres",
    "rabbitmq",
)  # fmt: skip

SMALL: dict[str, Make] = {
    **MESSAGES,
    **PLACES,
    **{f"kill-{kind}": kills(kind) for kind in KINDS},
}
"""What can be done to a site of one of each."""
