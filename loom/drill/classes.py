"""Every fault class by its name: the one table."""

from __future__ import annotations

from loom.drill.fault import Make, kills

SMALL: dict[str, Make] = {
    f"kill-{kind}": kills(kind)
    for kind in (
        "agent", "control", "database", "dispatcher", "ingester", "engine", "pgbouncer",
        "postgres", "rabbitmq",
    )
}  # fmt: skip
"""What can be done to a site of one of each."""
