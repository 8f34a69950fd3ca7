"""The trip as a picture: where its stations stand, and what runs between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loom.control.pages.condition import Hop
from loom.control.pages.words import number
from loom.domain.statistics import ProjectFlow

W, H = 172, 92
"""The size of a station."""


@dataclass(frozen=True, slots=True)
class Node:
    """A station in its place."""

    hop: Hop
    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Edge:
    """A line between stations. pace: still, slow or quick. tip: the points of its head."""

    d: str
    tip: str
    pace: str
    rate: str = ""
    x: int = 0
    y: int = 0
    dead: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it. kind: wide or tall."""

    kind: str
    width: int
    height: int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def wide(hops: Mapping[str, Hop], all_: ProjectFlow) -> Picture:
    """For a screen: out along the top, back along the bottom, what went astray between them."""
    columns = [8 + 228 * n for n in range(5)]
    top, bottom = 10, 206
    high = bottom - top + H
    places = {
        "api": (0, top, H), "engine": (0, bottom, H), "ledger": (1, top, high),
        "dispatcher": (2, top, H), "queues": (3, top, H), "agents": (4, top, high),
        "ingester": (2, bottom, H), "results": (3, bottom, H), "dead": (3, top + H + 22, 62),
    }  # fmt: skip
    nodes = [Node(hops[key], columns[c], y, W, h) for key, (c, y, h) in places.items()]
    up, down = top + H // 2, bottom + H // 2
    out, back = {"busy": all_.claimed}, {"busy": all_.recorded}
    edges = [
        _line(columns[0] + W, columns[1], up, rate=all_.filed, busy=all_.filed),
        _line(columns[0] + W, columns[1], down, busy=all_.overdue),
        _line(columns[1] + W, columns[2], up, **out),
        _line(columns[2] + W, columns[3], up, **out),
        _line(columns[3] + W, columns[4], up, rate=all_.claimed, **out),
        _line(columns[4], columns[3] + W, down, **back),
        _line(columns[3], columns[2] + W, down, rate=all_.recorded, **back),
        _line(columns[2], columns[1] + W, down, **back),
        _down(columns[3] + W // 2, top + H, top + H + 22, busy=all_.dead, dead=True),
    ]
    return Picture("wide", columns[4] + W + 8, bottom + H + 10, tuple(nodes), tuple(edges))


def tall(hops: Mapping[str, Hop], all_: ProjectFlow) -> Picture:
    """For a phone: from top to bottom."""
    rates = {
        "api": all_.filed, "ledger": all_.claimed, "dispatcher": all_.claimed,
        "queues": all_.claimed, "agents": all_.recorded, "results": all_.recorded,
    }  # fmt: skip
    order: Sequence[str] = (
        "api", "ledger", "dispatcher", "queues", "agents", "results", "ingester"
    )  # fmt: skip
    step, width, height = 108, 340, 74
    nodes = [Node(hops[key], 10, 8 + step * n, width, height) for n, key in enumerate(order)]
    edges = [
        _down(180, 8 + step * n + height, 8 + step * (n + 1), busy=rates[key])
        for n, key in enumerate(order[:-1])
    ]
    last = 8 + step * len(order) + 6
    half = (width - 14) // 2
    nodes += [
        Node(hops["dead"], 10, last, half, 74),
        Node(hops["engine"], 24 + half, last, half, 74),
    ]
    return Picture("tall", 360, last + 84, tuple(nodes), tuple(edges))


def _pace(busy: int) -> str:
    return "still" if not busy else "slow" if busy < 30 else "quick"


def _line(x: int, to: int, y: int, *, busy: int, rate: int = 0) -> Edge:
    """From side to side. rate: of the last minute, written above."""
    way = 1 if to > x else -1
    tip = to - 3 * way
    return Edge(
        f"M{x + 4 * way} {y}H{to - 10 * way}",
        f"{tip - 8 * way},{y - 5} {tip},{y} {tip - 8 * way},{y + 5}",
        _pace(busy), f"{number(rate)}/min" if rate else "", (x + to) // 2, y - 10,
    )  # fmt: skip


def _down(x: int, y: int, to: int, *, busy: int, dead: bool = False) -> Edge:
    return Edge(
        f"M{x} {y + 3}V{to - 9}", f"{x - 5},{to - 10} {x},{to - 2} {x + 5},{to - 10}",
        _pace(busy), dead=dead,
    )  # fmt: skip
