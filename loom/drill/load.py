"""The load: beads filed at a seeded pace by a client that behaves as clients do."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from loom.clients.control import ControlClient
from loom.domain.bead import NewBead
from loom.domain.lifecycle import State
from loom.drill import commits
from loom.drill.book import Answer, Book, Sort
from loom.drill.effects import Effects
from loom.drill.site import Site
from loom.errors import DeadlineExceeded, LoomError, Unavailable

ANSWER_S = 3.0
"""How long a client waits for an answer before it takes the request for lost."""
AGAIN_S = 0.3
LOOK_S = 0.2


@dataclass(frozen=True, slots=True)
class Order:
    """One bead that a client is to file.

    keyed: with an Idempotency-Key, and again with the same one until an answer comes. named: with
    an id of the client's own. seconds: what its command takes.
    """

    nonce: str
    sort: Sort
    keyed: bool
    named: bool
    seconds: float


def orders(seed: int, count: int | None = None) -> list[Order]:
    """The first orders of a seed, always the same ones."""
    return list(itertools.islice(_endless(seed), count))


def _endless(seed: int) -> itertools.chain[Order]:
    pick = random.Random(f"load {seed}")  # noqa: S311 - has to be repeatable
    return itertools.chain.from_iterable([_order(pick, seed, n)] for n in itertools.count(1))


def _order(pick: random.Random, seed: int, number: int) -> Order:
    return Order(
        nonce=f"drill-{seed}-{number}",
        sort=pick.choices(list(Sort), weights=(5, 3, 2))[0],
        keyed=pick.random() < 0.7,
        named=pick.random() < 0.3,
        seconds=pick.choice((0.0, 0.0, 0.0, 0.5, 1.0)),
    )


class Load:
    """Files the orders of a seed on a thread of its own, one after another.

    per_second: how many at most. outstanding: how many beads may wait at once; while the control
    plane cannot tell, filing goes on. during: the turn of the schedule, which the record gets.
    """

    def __init__(
        self, site: Site, book: Book, effects: Effects, seed: int, *, per_second: float,
        outstanding: int,
    ) -> None:  # fmt: skip
        self._site, self._book, self._effects, self._seed = site, book, effects, seed
        self._pause_s, self._outstanding = 1 / per_second, outstanding
        self._clients = [ControlClient(url, site.token, timeout_s=ANSWER_S) for url in site.urls]
        self._turn = 0
        self._desks = itertools.cycle(self._clients)
        self._probes = itertools.count(1)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="load", daemon=True)
        self.during = 0

    def start(self) -> None:
        """Begin to file."""
        self._thread.start()

    def stop(self) -> None:
        """File no more; returns when the last request is answered, or given up."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients:
            client.close()

    def _run(self) -> None:
        for order in _endless(self._seed):
            self._wait_for_room()
            if self._stopping.is_set():
                return
            self.file(order, until=self._stopping.is_set)
            self._stopping.wait(self._pause_s)

    def _wait_for_room(self) -> None:
        while not self._stopping.wait(LOOK_S):
            try:
                waiting = self._client().list_beads(
                    self._site.project,
                    [State.OPEN.value, State.IN_PROGRESS.value],
                    limit=self._outstanding,
                )
            except LoomError:
                return
            if len(waiting.items) < self._outstanding:
                return
            self._stopping.wait(AGAIN_S)

    def file(
        self, order: Order, until: Callable[[], bool] = lambda: False, priority: int = 2
    ) -> str:
        """File one bead; its id, or empty if no 202 was seen. until: give up when it says so."""
        bead = self._bead(order, priority)
        key = order.nonce if order.keyed else ""
        while True:
            self._book.asks(order.nonce, order.sort, self.during, bead.id)
            try:
                filed = self._desk().create_bead(self._site.project, bead, key)
            except (DeadlineExceeded, Unavailable) as error:
                self._book.answered(order.nonce, Answer.INDETERMINATE, why=error.detail)
            except LoomError as error:
                # A gateway's or a dying worker's answer is none of Loom's.
                answer = Answer.INDETERMINATE if error.code == "internal" else Answer.REFUSED
                if self._tried_before(order, error):
                    answer = Answer.INDETERMINATE
                self._book.answered(order.nonce, answer, why=f"{error.code}: {error.detail}")
                if error.code not in ("internal", "overloaded", "exhausted"):
                    return ""
            else:
                self._book.answered(order.nonce, Answer.ACCEPTED, filed.id)
                return filed.id
            if not order.keyed or until():
                return ""
            time.sleep(AGAIN_S)

    def file_together(self, together: Sequence[Order]) -> None:
        """File beads in one request, and so in one transaction; raises what the API answers."""
        for order in together:
            self._book.asks(order.nonce, order.sort, self.during)
        beads = [self._bead(order, 2) for order in together]
        filed = self._client().create_beads(self._site.project, beads, together[0].nonce)
        for order, bead in zip(together, filed.items, strict=True):
            self._book.answered(order.nonce, Answer.ACCEPTED, bead.id)

    def probe(self, patience_s: float) -> float | None:
        """Seconds until a bead filed now is done; None if that takes longer than patience_s."""
        began = time.monotonic()
        order = Order(
            f"drill-{self._seed}-probe-{next(self._probes)}",
            Sort.VERIFY, keyed=True, named=False, seconds=0.0,
        )  # fmt: skip

        def late() -> bool:
            return time.monotonic() - began > patience_s

        bead_id = self.file(order, until=late, priority=0)
        while bead_id and not late():
            try:
                if self._client().get_bead(bead_id).state is State.CLOSED:
                    return time.monotonic() - began
            except LoomError:
                time.sleep(AGAIN_S)
            time.sleep(LOOK_S)
        return None

    def _bead(self, order: Order, priority: int) -> NewBead:
        context: dict[str, object] = {
            "test_command": self._effects.command(order.nonce, order.sort, order.seconds)
        }
        if order.sort is Sort.PATCH:
            context["patch"] = commits.patch(order.nonce)
        id_ = f"bd-{order.nonce}" if order.named else ""
        return NewBead(order.nonce, id=id_, context=context, priority=priority)

    def _desk(self) -> ControlClient:
        """Where the next bead is filed: each control plane in turn, whoever was asked meanwhile."""
        return next(self._desks)

    def _client(self) -> ControlClient:
        self._turn += 1
        return self._clients[self._turn % len(self._clients)]

    def _tried_before(self, order: Order, error: LoomError) -> bool:
        """Whether the refusal may be the echo of an earlier try that went through."""
        return error.code == "conflict" and self._book.read().filings[order.nonce].tries > 1
