"""How long the ledger keeps what nobody needs any more."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from loom.errors import Invalid

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Ages:
    """After how many seconds each kind is forgotten; 0: never.

    logs: live logs, from the end of their attempt. inbox: ids of results that were applied.
    idempotency: keys with their answers. query_audit: what operators asked of the tables.
    """

    logs: float = 14 * DAY_S
    inbox: float = 30 * DAY_S
    idempotency: float = 7 * DAY_S
    query_audit: float = 90 * DAY_S


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many of each kind were forgotten; of logs, how many attempts'."""

    logs: int = 0
    inbox: int = 0
    idempotency: int = 0
    query_audit: int = 0


def check_ages(ages: Ages) -> Ages:
    """Return ages, or raise Invalid: what still guards against repetition must be kept."""
    if any(age and age < DAY_S for age in astuple(ages)):
        raise Invalid("nothing is forgotten that is younger than a day", field="ages")
    return ages
