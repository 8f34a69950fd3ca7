"""Moments, spans, sizes and counts as people read them."""

from __future__ import annotations

from datetime import UTC, datetime

from markupsafe import Markup, escape

NARROW = "\u202f"
"""Stands between thousands, and breaks no line."""

_TWO_UNITS = (("d", 86_400, "h", 3_600), ("h", 3_600, "min", 60), ("min", 60, "s", 1))
_UNITS = (("d", 86_400.0), ("h", 3_600.0), ("min", 60.0))


def ago(moment: datetime | None, now: datetime | None = None) -> str:
    """How long ago, or in how long, in one unit."""
    if moment is None:
        return "never"
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    if abs(seconds) < 5:
        return "just now"
    words = _one_unit(abs(seconds))
    return f"{words} ago" if seconds > 0 else f"in {words}"


def exact(moment: datetime | None) -> str:
    """The moment in UTC, to the millisecond."""
    if moment is None:
        return ""
    at = moment.astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} UTC"


def clock(moment: datetime | None) -> str:
    """The time of the day in UTC."""
    return "" if moment is None else f"{moment.astimezone(UTC):%H:%M:%S}"


def iso(moment: datetime | None) -> str:
    """The moment as machines read it."""
    return "" if moment is None else moment.astimezone(UTC).isoformat()


def span(seconds: float | None) -> str:
    """A length of time, in two units at most."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    unit, length, next_unit, next_length = next(
        each for each in _TWO_UNITS if whole >= each[1] or each[1] == 60
    )
    rest = whole % length // next_length
    return f"{whole // length} {unit}" + (f" {rest} {next_unit}" if rest else "")


def size(count: int | float | None) -> str:
    """A number of bytes."""
    if count is None:
        return "–"
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return (
                f"{amount:.0f} {unit}" if unit == "B" or amount >= 100 else f"{amount:.1f} {unit}"
            )
        amount /= 1024
    return f"{amount:.1f} TiB"


def number(count: float | None) -> str:
    """A count with its thousands apart; a large one shortened."""
    if count is None:
        return "–"
    if count >= 9_999_500:
        return f"{count / 1e6:.0f} M"
    if isinstance(count, float) and not count.is_integer():
        return f"{count:.1f}" if count < 100 else f"{count:,.0f}".replace(",", NARROW)
    return f"{count:,.0f}".replace(",", NARROW)


def coded(text: str) -> Markup:
    """A sentence whose `commands` are set as such."""
    parts = [
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


def short(text: str, most: int = 14) -> str:
    """An id by its end, which tells it from others of the same minute."""
    return text if len(text) <= most else f"{text[:3]}…{text[-(most - 4) :]}"


def _one_unit(seconds: float) -> str:
    for unit, length in _UNITS:
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
