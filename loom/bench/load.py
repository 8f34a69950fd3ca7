"""Ordinary requests at a fixed rate, whatever becomes of them: what a user would feel."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from loom.clients.representation import API, bead_path, project_path

ANSWER_S = 30.0
LIST, READ, FILE = "list", "read", "file"
KINDS = (LIST, READ, FILE)


@dataclass(slots=True)
class Answers:
    """What came back: milliseconds of each request by its kind, and what was wrong."""

    times_ms: dict[str, list[float]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    errors: list[str] = field(default_factory=list)

    def all_ms(self) -> list[float]:
        """Of every kind."""
        return [each for times in self.times_ms.values() for each in times]


class Load:
    """Lists, reads and files beads of one project in turn. bead_id: what is read, and what those
    that are filed wait for, so that none of them runs.
    """

    def __init__(
        self, url: str, headers: Mapping[str, str], project: str, bead_id: str, per_second: float
    ) -> None:
        self._url, self._headers = url, headers
        self._project, self._bead_id, self._per_second = project, bead_id, per_second

    def run(self, seconds: float) -> Answers:
        """Ask for so long, and wait for every answer.

        A request counts from the moment it was due, so that one that waits behind a slow one is
        slow too.
        """
        return asyncio.run(self._run(seconds))

    async def _run(self, seconds: float) -> Answers:
        answers = Answers()
        # As many connections as there have to be: a client that waits for one of its own would
        # measure itself.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(
            base_url=self._url, headers=self._headers, timeout=ANSWER_S, limits=limits,
            trust_env=False,
        ) as http:  # fmt: skip
            for kind in KINDS:  # the first connection is nobody's figure
                await self._ask(http, kind)
            began = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for number in range(int(seconds * self._per_second)):
                    due = began + number / self._per_second
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    group.create_task(self._count(http, KINDS[number % 3], due, answers))
        return answers

    async def _count(
        self, http: httpx.AsyncClient, kind: str, due: float, answers: Answers
    ) -> None:
        try:
            answer = await self._ask(http, kind)
        except httpx.HTTPError as error:
            answers.errors.append(f"{kind}: {type(error).__name__}")
            return
        if answer.is_success:
            answers.times_ms[kind].append((time.monotonic() - due) * 1000)
        else:
            answers.errors.append(f"{kind}: {answer.status_code}")

    async def _ask(self, http: httpx.AsyncClient, kind: str) -> httpx.Response:
        if kind == LIST:
            return await http.get(f"{API}/beads", params={"project": self._project, "limit": 50})
        if kind == READ:
            return await http.get(bead_path(self._bead_id))
        bead = {"title": "One of many", "blocked_by": [self._bead_id]}
        return await http.post(f"{project_path(self._project)}/beads", json=bead)
