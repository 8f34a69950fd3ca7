"""The accountant: waits until all is quiet, looks for itself, and gives the verdict."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from loom.clients.control import ControlClient
from loom.domain.bead import Bead
from loom.drill import commits
from loom.drill.book import Book
from loom.drill.effects import Effects
from loom.drill.ledger import Ledger
from loom.drill.operator import Broker
from loom.drill.site import Site
from loom.drill.verdict import Seen, Verdict, judge
from loom.errors import LoomError, Unavailable
from loom.messaging.topology import DEAD_LEDGER_QUEUE, RESULTS_QUEUE, UNROUTED_QUEUE, task_key

LOOK_EVERY_S = 0.5
PAGE = 100


class Accountant:
    """Judges one drill on one site."""

    def __init__(self, site: Site, book: Book, effects: Effects) -> None:
        self._site, self._book, self._effects = site, book, effects
        self._broker = Broker(site.management_url, site.broker_settings())
        self._ledger = Ledger(site.ledger_settings())
        self._control = ControlClient(site.urls[0], site.token)

    def close(self) -> None:
        """Close the connections."""
        self._broker.close()
        self._ledger.close()
        self._control.close()

    def judge(self, settle_s: float, patience_s: float, tell: Callable[[str], None]) -> Verdict:
        """Wait for quiet, and judge.

        Quiet: all is well, or nothing has changed for settle_s seconds while the outbox owed no
        message: one that was refused is tried again after longer and longer pauses. Raises
        Unavailable if the site cannot be looked at within patience_s.
        """
        give_up = time.monotonic() + patience_s
        before: object = None
        since = time.monotonic()
        why: LoomError | None = None
        while True:
            try:
                seen = self._look()
                why = None
            except LoomError as error:
                why = error
            else:
                verdict = judge(self._book.read(), seen, self._busy())
                now = (
                    [(bead.id, bead.version) for bead in seen.beads],
                    len(seen.commits), dict(seen.runs), dict(seen.depths), seen.tables,
                )  # fmt: skip
                if now != before or seen.tables.owed:
                    before, since = now, time.monotonic()
                still_s = time.monotonic() - since
                clean = not (verdict.lost or verdict.doubled or verdict.unexpected)
                if (clean and still_s >= 2 * LOOK_EVERY_S) or still_s >= settle_s:
                    return verdict
                if time.monotonic() > give_up:
                    tell("the site never came to rest; judged as it is")
                    return verdict
            if why is not None and time.monotonic() > give_up:
                raise Unavailable(f"the site cannot be judged: {why.detail}") from why
            time.sleep(LOOK_EVERY_S)

    def _busy(self) -> tuple[str, ...]:
        return (task_key(self._site.project), RESULTS_QUEUE, DEAD_LEDGER_QUEUE, UNROUTED_QUEUE)

    def _look(self) -> Seen:
        return Seen(
            beads=self._beads(),
            commits=commits.commits(self._site.repository),
            tips=commits.tips(self._site.repository),
            runs=self._effects.runs(),
            depths=self._broker.depths(),
            tables=self._ledger.read(self._site.project),
        )

    def _beads(self) -> tuple[Bead, ...]:
        found: list[Bead] = []
        cursor = ""
        for _ in itertools.count():
            page = self._control.list_beads(self._site.project, limit=PAGE, cursor=cursor)
            found += page.items
            cursor = page.next_cursor
            if not cursor:
                break
        return tuple(found)
