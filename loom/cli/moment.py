"""A moment as an option: a date and time, or how long from now."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import click

_SPAN = re.compile(r"(\d{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Moment(click.ParamType[datetime]):
    """`2026-05-01T09:00:00Z`, or `90m` from now; without an offset it is the time of this place."""

    name = "moment"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """The moment in UTC; a usage error for anything else."""
        if isinstance(value, datetime):
            return value
        text = str(value)
        span = _SPAN.fullmatch(text)
        try:
            if span:
                seconds = int(span[1]) * _SECONDS[span[2]]
                return datetime.now(UTC) + timedelta(seconds=seconds)
            return datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError) as error:
            self.fail(
                f"{text!r} is neither as 2026-05-01T09:00:00Z nor as 90m: {error}", param, ctx
            )


def ago(_ctx: click.Context, _param: click.Parameter, text: str | None) -> datetime | None:
    """The same for what lies behind: `90m` is that long ago."""
    if text is None:
        return None
    span = _SPAN.fullmatch(text)
    if span:
        return datetime.now(UTC) - timedelta(seconds=int(span[1]) * _SECONDS[span[2]])
    return Moment().convert(text, _param, _ctx)
