"""How Loom is at this moment: each hop of the trip in numbers, and what needs somebody."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from loom.control.pages.desk import Queues
from loom.control.pages.words import number, size, span
from loom.domain.broker import BrokerState, Node, Trouble
from loom.domain.presence import Agent, AgentState
from loom.domain.project import Project, ProjectState
from loom.domain.statistics import Flow, ProjectFlow
from loom.messaging.topology import RESULTS_QUEUE, dead_key, project_of_queue, task_key

GOOD, WARN, BAD, UNKNOWN = "good", "warn", "bad", "unknown"
LATE_EVENT_S = 10.0
"""Events wait for nothing but a dispatcher and the broker; one that is older says one is away."""
LATE_RESULTS = 50
FEW = 3
"""How many names a sentence names."""


@dataclass(frozen=True, slots=True)
class Hop:
    """A station of the trip. value, unit: its number. note: a few words under it.

    says: more of it. parts: what it is made of: a name, its number, and good, warn, bad or busy.
    """

    key: str
    name: str
    value: str
    unit: str
    note: str
    health: str
    href: str
    says: str = ""
    parts: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Need:
    """Something that needs somebody. kind: bad, warn or info."""

    kind: str
    what: str
    more: str
    do: str
    href: str


@dataclass(frozen=True, slots=True)
class Crew:
    """Agents in numbers. capacity: what the living ones can run at once."""

    alive: int = 0
    busy: int = 0
    draining: int = 0
    lost: tuple[str, ...] = ()
    running: int = 0
    capacity: int = 0

    @property
    def living(self) -> int:
        """Those that are there."""
        return self.alive + self.busy + self.draining


@dataclass(frozen=True, slots=True)
class Broker:
    """What stands on the broker. None: nobody says."""

    ready: int | None = None
    unacked: int | None = None
    results: int | None = None
    dead: int | None = None
    missing: tuple[str, ...] = ()
    why: str = ""


def crew(agents: Sequence[Agent]) -> Crew:
    """The agents in numbers."""
    states = [agent.state for agent in agents]
    living = [a for a in agents if a.state not in {AgentState.LOST, AgentState.STOPPED}]
    return Crew(
        alive=states.count(AgentState.ALIVE),
        busy=states.count(AgentState.BUSY),
        draining=states.count(AgentState.DRAINING),
        lost=tuple(agent.name for agent in agents if agent.state is AgentState.LOST),
        running=sum(len(agent.running) for agent in living),
        capacity=sum(agent.concurrency for agent in living),
    )


def broker(queues: Queues, project_ids: Sequence[str]) -> Broker:
    """The queues of these projects together, and the results' queue."""
    if queues.why:
        return Broker(why=queues.why)
    tasks = [d for i in project_ids if (d := queues.depths.get(task_key(i)))]
    dead = [d for i in project_ids if (d := queues.depths.get(dead_key(i)))]
    results = queues.depths.get(RESULTS_QUEUE)
    return Broker(
        ready=sum(depth.ready for depth in tasks),
        unacked=sum(depth.unacked or 0 for depth in tasks),
        results=results.ready if results else None,
        dead=sum(depth.ready for depth in dead),
        missing=tuple(project_of_queue(d.queue) for d in tasks if d.missing),
    )


def alarms(state: BrokerState) -> tuple[tuple[str, str], ...]:
    """What is wrong with the broker's nodes: what, and what that means."""
    return tuple(_alarm(node, trouble) for node, trouble in state.troubles)


def _alarm(node: Node, trouble: Trouble) -> tuple[str, str]:
    match trouble:
        case Trouble.MEMORY:
            return (
                f"RabbitMQ is short of memory on {node.name}",
                f"{size(node.memory_used)} of {size(node.memory_limit)} are used. It takes no "
                "message from anybody until it needs less: beads stay owed, reports wait with "
                "their agents.",
            )
        case Trouble.DISK:
            return (
                f"RabbitMQ is short of disk on {node.name}",
                f"{size(node.disk_free)} are free and {size(node.disk_limit)} have to be. It takes "
                "no message from anybody until there is more: beads stay owed, reports wait with "
                "their agents.",
            )
        case Trouble.PARTITION:
            return (
                f"RabbitMQ's node {node.name} lost sight of {_names(node.apart)}",
                "The broker is in parts that do not know of each other. Mend the network; the "
                "part without a majority stands still.",
            )
        case Trouble.DOWN:
            return (
                f"RabbitMQ's node {node.name} is down",
                "Queues stay up while most of their replicas do.",
            )


def hops(
    flow: Flow, stands: Broker, agents: Crew, parts_away: Sequence[str],
    alarming: Sequence[tuple[str, str]] = (),
) -> dict[str, Hop]:  # fmt: skip
    """Every station, by its key. alarming: what is wrong with the broker's nodes."""
    all_ = flow.total()
    late = flow.oldest_event_s > LATE_EVENT_S
    found = (
        Hop("api", "API", number(all_.filed), "filed/min", "takes beads in", GOOD, "/beads"),
        Hop(
            "ledger", "Ledger", number(all_.open + all_.in_progress + all_.blocked), "living beads",
            _blocked(all_), BAD if parts_away else WARN if all_.blocked else GOOD, "/beads",
            f"away: {', '.join(parts_away)}" if parts_away else "",
            (
                ("open", number(all_.open), ""),
                ("in progress", number(all_.in_progress), "busy"),
                ("blocked", number(all_.blocked), "warn"),
                ("longest run", span(all_.oldest_running_s) if all_.in_progress else "–", ""),
                ("events owed", number(flow.events_owed), ""),
            ),
        ),
        Hop(
            "dispatcher", "Dispatcher", number(all_.owed), "owed", _owed(flow, all_, late=late),
            BAD if late or flow.publish_error else GOOD, "/queues", flow.publish_error,
        ),
        _queues(all_, stands, agents),
        _agents(all_, agents),
        Hop(
            "results", "Results queue", _or_dash(stands.results), "waiting",
            stands.why or "reports on their way", _results_health(stands), "/queues", stands.why,
        ),
        Hop(
            "ingester", "Ingester", number(all_.recorded), "recorded/min",
            f"{number(all_.closed)} closed/min",
            WARN if (stands.results or 0) > LATE_RESULTS and not all_.recorded else GOOD,
            "/services",
        ),
        Hop(
            "dead", "Dead letters", number(all_.dead), "to settle",
            f"oldest {span(all_.oldest_dead_s)}" if all_.dead else "none waits for anybody",
            BAD if all_.dead else GOOD, "/dead-letters",
        ),
        Hop(
            "engine", "Engine", number(all_.overdue), "leases overdue",
            "leases, retries, schedules", WARN if all_.overdue else GOOD, "/services",
        ),
    )  # fmt: skip
    by_key = {hop.key: hop for hop in found}
    if alarming:
        by_key["queues"] = replace(by_key["queues"], health=BAD, says=alarming[0][0])
    return by_key


def needs(
    flow: Flow, stands: Broker, agents: Crew, projects: Sequence[Project], *,
    parts_away: Sequence[str] = (), unaccounted: int = 0, living: Sequence[str] = (),
) -> tuple[Need, ...]:  # fmt: skip
    """What needs somebody, the worst first. living: projects that have an agent."""
    found = [
        *_away(flow, stands, parts_away),
        *_beads(flow.total(), unaccounted),
        *_projects(flow, stands, projects, frozenset(living)),
    ]
    if agents.lost:
        found.append(
            Need(
                WARN, _many(len(agents.lost), "agent is", "agents are") + " lost",
                f"{_names(agents.lost)}: no report since; their beads go to others",
                "See agents", "/agents?state=lost",
            )
        )  # fmt: skip
    order = {BAD: 0, WARN: 1, "info": 2}
    return tuple(sorted(found, key=lambda need: order[need.kind]))


def _away(flow: Flow, stands: Broker, parts_away: Sequence[str]) -> Iterator[Need]:
    for part in parts_away:
        yield Need(BAD, f"{part} is away", "what needs it waits", "See services", "/services")
    if stands.why:
        yield Need(
            WARN, "Nobody says how deep the queues are", stands.why, "See services", "/services"
        )
    if flow.publish_error:
        yield Need(
            BAD, "A message could not be published", flow.publish_error, "See queues", "/queues"
        )
    elif flow.oldest_event_s > LATE_EVENT_S:
        yield Need(
            BAD, f"Nothing has been dispatched for {span(flow.oldest_event_s)}",
            "the dispatcher is away, or the broker does not take messages",
            "See services", "/services",
        )  # fmt: skip


def _beads(all_: ProjectFlow, unaccounted: int) -> Iterator[Need]:
    if unaccounted:
        yield Need(
            BAD, _many(unaccounted, "bead is", "beads are") + " unaccounted for",
            "neither owed, on the broker nor running: `loom reconcile --repair` owes them again",
            "See queues", "/queues",
        )  # fmt: skip
    if all_.dead:
        yield Need(
            BAD, _many(all_.dead, "dead letter", "dead letters") + " to settle",
            f"the oldest is from {span(all_.oldest_dead_s)} ago; replay or discard",
            "Settle", "/dead-letters",
        )  # fmt: skip
    if all_.blocked:
        yield Need(
            WARN, _many(all_.blocked, "bead is", "beads are") + " blocked",
            "each says why; it goes on once somebody has unblocked it",
            "Look", "/beads?view=table&state=blocked",
        )  # fmt: skip
    if all_.overdue:
        yield Need(
            WARN, _many(all_.overdue, "lease", "leases") + " ran out and nobody ended the attempt",
            "the engine does, every few seconds, while it runs", "See services", "/services",
        )  # fmt: skip


def _projects(
    flow: Flow, stands: Broker, projects: Sequence[Project], living: frozenset[str]
) -> Iterator[Need]:
    waiting = {each.project_id for each in flow.projects if each.open}
    idle = [p.id for p in projects if p.id in waiting and p.id not in living and _runs(p)]
    if idle:
        one = len(idle) == 1
        yield Need(
            WARN, f"{_names(idle)} {'has' if one else 'have'} beads and no agent",
            "`loom agent start` starts one",
            "See agents", f"/agents?project={idle[0]}" if one else "/agents",
        )  # fmt: skip
    if stands.missing:
        yield Need(
            BAD, f"{_names(stands.missing)}: there is no queue",
            "`loom doctor` says what is missing of the topology", "See queues", "/queues",
        )  # fmt: skip
    paused = [p.id for p in projects if p.state is ProjectState.PAUSED and p.id in waiting]
    if paused:
        yield Need(
            "info", f"{_names(paused)} {'is' if len(paused) == 1 else 'are'} paused",
            "beads wait there until it is resumed", "See projects",
            f"/projects/{paused[0]}" if len(paused) == 1 else "/projects",
        )  # fmt: skip


def _runs(project: Project) -> bool:
    return project.state is ProjectState.ACTIVE


def _blocked(all_: ProjectFlow) -> str:
    parts = [f"{number(all_.open)} open", f"{number(all_.in_progress)} running"]
    if all_.blocked:
        parts.append(f"{number(all_.blocked)} blocked")
    return ", ".join(parts)


def _owed(flow: Flow, all_: ProjectFlow, *, late: bool) -> str:
    if late:
        return f"behind by {span(flow.oldest_event_s)}"
    free = all_.owed - all_.held
    if free:
        return f"oldest {span(all_.oldest_owed_s)}" + (f", {all_.held} held" if all_.held else "")
    return f"{number(all_.held)} wait for a time or a bead" if all_.held else "nothing waits"


def _queues(all_: ProjectFlow, stands: Broker, agents: Crew) -> Hop:
    value, note = _or_dash(stands.ready), stands.why
    if stands.ready is not None:
        note = f"oldest {span(all_.oldest_queued_s)}" if all_.queued else "nothing waits"
    hop = Hop("queues", "Task queues", value, "ready", note, GOOD, "/queues", stands.why)
    if stands.why:
        return replace(hop, health=UNKNOWN, note="not read")
    if stands.missing or (all_.queued and not agents.living):
        return replace(hop, health=BAD)
    return hop


def _agents(all_: ProjectFlow, agents: Crew) -> Hop:
    note = f"{number(agents.living)} agents"
    if agents.draining:
        note += f", {agents.draining} draining"
    if agents.lost:
        note += f", {len(agents.lost)} lost"
    health = WARN if agents.lost else GOOD
    if not agents.living:
        health, note = (BAD if all_.open else UNKNOWN), "none is there"
    return Hop(
        "agents", "Agents", f"{agents.running} / {agents.capacity}", "busy", note, health,
        "/agents", "",
        (
            ("idle", number(agents.alive), "good"),
            ("busy", number(agents.busy), "busy"),
            ("draining", number(agents.draining), "warn"),
            ("lost", number(len(agents.lost)), "bad"),
            ("room for", number(max(0, agents.capacity - agents.running)), ""),
        ),
    )  # fmt: skip


def _results_health(stands: Broker) -> str:
    if stands.results is None:
        return UNKNOWN
    return WARN if stands.results > LATE_RESULTS else GOOD


def _or_dash(count: int | None) -> str:
    return "–" if count is None else number(count)


def _many(count: int, one: str, several: str) -> str:
    return f"{number(count)} {one if count == 1 else several}"


def _names(names: Sequence[str]) -> str:
    more = len(names) - FEW
    return ", ".join(names[:FEW]) + (f" and {more} more" if more > 0 else "")
