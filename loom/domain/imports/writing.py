"""How exports write values that every format has."""

from __future__ import annotations

from datetime import UTC, datetime


def moment_text(moment: datetime | None) -> str | None:
    """A moment in RFC 3339 and UTC, to the microsecond."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
