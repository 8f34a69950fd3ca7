"""What the pages stand on: the ledger, the broker's counts and the addresses beside Loom's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from loom.clients.answers import Page, every
from loom.control.broker import Watched
from loom.control.fresh import Fresh
from loom.control.ledger import Ledger
from loom.control.pages import fragment
from loom.control.readiness import Probe
from loom.control.reconciliation import PAGE, Read
from loom.control.statistics import Counted
from loom.control.together import Together
from loom.domain.bead import Bead
from loom.domain.broker import BrokerState
from loom.domain.listing import BeadFilter, BeadSort
from loom.domain.presence import Agent
from loom.domain.project import Project
from loom.domain.reconciliation import Depth
from loom.errors import LoomError
from loom.messaging.topology import CORE, queues_of

DEPTHS_S = 3.0
PROJECTS_S = 3.0
AGENTS_S = 2.0
PARTS_S = 3.0
UNACCOUNTED_S = 20.0
BOARDS = 64
"""How many lists of cards are kept, each for all who look at it."""


@dataclass(frozen=True, slots=True)
class Links:
    """The addresses of pages that are not Loom's own; empty: there are none."""

    flower: str = ""
    broker: str = ""
    vhost: str = "loom"

    def worker(self, agent: str) -> str:
        """Flower's page of an agent; empty where there is no Flower."""
        return f"{self.flower.rstrip('/')}/worker/{quote(agent)}" if self.flower else ""

    def task(self, bead_id: str) -> str:
        """Flower's page of a bead, which is a task of the same id."""
        return f"{self.flower.rstrip('/')}/task/{quote(bead_id)}" if self.flower else ""

    def queue(self, name: str) -> str:
        """RabbitMQ's page of a queue; empty where nobody says where its pages are."""
        if not self.broker:
            return ""
        return f"{self.broker.rstrip('/')}/#/queues/{quote(self.vhost, safe='')}/{quote(name)}"


@dataclass(frozen=True, slots=True)
class Queues:
    """The depths of queues by their names, or why nobody says them."""

    depths: Mapping[str, Depth] = field(default_factory=dict)
    why: str = ""


class Desk:
    """What every page may use; what costs the ledger or the broker is asked once for all."""

    def __init__(
        self,
        ledger: Ledger,
        counted: Counted,
        *,
        read_depths: Read,
        parts: Mapping[str, Probe],
        breakers: Mapping[str, Callable[[], str]],
        links: Links,
        broker: Watched,
    ) -> None:
        self.ledger, self.parts, self.breakers, self.links = ledger, parts, breakers, links
        self.counted, self._broker = counted, broker
        self._read = read_depths
        self._queues = Fresh(DEPTHS_S, self._count)
        self._projects = Fresh(PROJECTS_S, self._list)
        self._agents = Fresh(
            AGENTS_S, lambda: tuple(every(lambda after: ledger.list_agents(cursor=after)))
        )
        self._away = Fresh(PARTS_S, self._probe)
        self._unaccounted = Fresh(UNACCOUNTED_S, self._compare)
        self._cards: Together[Page[Bead]] = Together(BOARDS)

    def projects(self) -> Sequence[Project]:
        """All projects, by their ids: as they are now, but for a page that refreshes itself."""
        return self._projects.get() if fragment.asked_for() else self._projects.renew()

    def queues(self) -> Queues:
        """The depths of every project's queues and of Loom's own."""
        return self._queues.get()

    def broker(self) -> BrokerState:
        """How the broker itself is."""
        return self._broker.state()

    def agents(self) -> Sequence[Agent]:
        """All agents, by their names."""
        return self._agents.get()

    def away(self) -> Sequence[str]:
        """The parts that do not answer, by their names."""
        return self._away.get()

    def unaccounted(self) -> int:
        """How many beads ledger and broker together have lost sight of; 0 where nobody can say."""
        return self._unaccounted.get()

    def cards(self, count: int, where: BeadFilter, sort: BeadSort) -> Page[Bead]:
        """The first so many beads of a list; all pages that show it ask when something happened."""
        return self._cards.get(
            (count, where, sort),
            lambda: self.ledger.list_beads(page_size=count, where=where, sort=sort),
        )

    def _probe(self) -> Sequence[str]:
        found = []
        for name, probe in self.parts.items():
            try:
                probe()
            except LoomError:
                found.append(name)
        return tuple(found)

    def _compare(self) -> int:
        queues = self.queues()
        if queues.why or not queues.depths:
            return 0
        try:
            return self.ledger.reconcile(tuple(queues.depths.values())).unaccounted
        except LoomError:
            return 0

    def _list(self) -> Sequence[Project]:
        return tuple(every(lambda after: self.ledger.list_projects(PAGE, after)))

    def _count(self) -> Queues:
        try:
            names = queues_of([project.id for project in self._projects.get()])
            names += [queue.name for queue in CORE.queues]
            found = self._read(list(dict.fromkeys(names)))
        except LoomError as error:
            return Queues(why=error.detail)
        return Queues({depth.queue: depth for depth in found})
