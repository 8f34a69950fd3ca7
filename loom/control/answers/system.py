"""The control plane itself."""

from __future__ import annotations

from typing import Literal

from loom.control.answers.answer import Answer, Path


class IndexOut(Answer):
    """What is where."""

    service: Literal["loom"]
    version: str
    links: dict[str, Path]


class AliveOut(Answer):
    """The process answers."""

    status: Literal["alive"]


class ReadyOut(Answer):
    """Whether the parts are there; of one that is away, why."""

    status: Literal["ready", "waiting"]
    parts: dict[str, str]
    breakers: dict[str, str]
