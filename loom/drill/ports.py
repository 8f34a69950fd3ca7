"""The ports of a scratch stack: found free at its start, one for each name."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from loom.errors import Conflict
from loom.stack import holder
from loom.stack.ports import HOST, Address

LOWEST, HIGHEST = 33_001, 34_999
STEP = 2
"""Odd ports alone: connect() gives its callers even ones while there are any, so that no outgoing
connection sits on the port of a server that is down (Linux, net/ipv4/inet_hashtables.c)."""


@dataclass(frozen=True, slots=True)
class ScratchPorts:
    """A port for each name. aliases: what a part calls by another name than the stack does."""

    numbers: Mapping[str, int]
    aliases: Mapping[str, str]

    def of(self, name: str) -> int:
        """The port of that name; KeyError if there is none."""
        return self.numbers[self.aliases.get(name, name)]

    def address(self, name: str) -> Address:
        """Where it listens and is reached: on loopback."""
        return Address(HOST, self.of(name), HOST)

    def seen_as(self, aliases: Mapping[str, str]) -> ScratchPorts:
        """The same ports, with other names for some."""
        return ScratchPorts(self.numbers, {**self.aliases, **aliases})


def find(names: Iterable[str], base: int = 0) -> ScratchPorts:
    """A free port for each name, counted from base on, or from a random place if it is 0.

    Raises Conflict when there are not enough.
    """
    wanted = list(names)
    if not base:
        base = random.randrange(LOWEST, HIGHEST, STEP)  # noqa: S311 - no secret
    places = [LOWEST + (base - LOWEST + STEP * n) % (HIGHEST + 1 - LOWEST) for n in range(1000)]
    numbers: dict[str, int] = {}
    for port in (place | 1 for place in places):
        if len(numbers) == len(wanted):
            break
        name = wanted[len(numbers)]
        if port not in numbers.values() and not holder.taken({name: port}):
            numbers[name] = port
    if len(numbers) < len(wanted):
        raise Conflict(
            f"only {len(numbers)} of the {len(wanted)} ports that a scratch stack needs are free "
            f"between {LOWEST} and {HIGHEST}: end another drill first"
        )
    return ScratchPorts(numbers, {})
