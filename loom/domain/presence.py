"""Which agents there are, what they say of themselves, and what people want of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from loom.domain.identity import BEAD_ID, PROJECT_ID, check_project_id
from loom.errors import Invalid

LOST_AFTER_S = 20.0
"""An agent that has not reported for longer, by the database's clock, is lost."""
FORGOTTEN_AFTER_S = 86_400.0
"""A stopped or lost agent is forgotten after so long a silence."""
WISH_KEPT_S = 30 * 86_400.0
"""The same for one that somebody drained: it has to find the wish when it comes back."""
MAX_RUNNING = 1_000
MAX_WORDS = 100
"""How many versions, and how many tools, an agent may name."""

_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,99})")


class AgentState(StrEnum):
    """An agent as people see it."""

    ALIVE = "alive"
    """It waits for work."""
    BUSY = "busy"
    DRAINING = "draining"
    """It takes nothing more, and finishes what it runs."""
    LOST = "lost"
    """It has not reported for too long."""
    STOPPED = "stopped"
    """It said goodbye."""


class AgentWish(StrEnum):
    """What people want of an agent; it lasts until they want something else."""

    WORK = "work"
    DRAIN = "drain"
    """Take nothing more, finish what runs, and stay."""
    STOP = "stop"
    """The same, then end; granted once the agent has said goodbye."""


@dataclass(frozen=True, slots=True)
class RunningBead:
    """A bead that an agent works on, under the epoch of its message."""

    bead_id: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Registration:
    """What an agent is; told at its start.

    instance: a fresh id of this start. versions, tools: by name; a tool is what stands on its PATH.
    """

    name: str
    project_id: str
    instance: str
    host: str
    pid: int
    versions: Mapping[str, str] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What an agent does at one moment; told again and again.

    load: of its host, over a minute. disk_free: bytes where it works. asks: a wish that somebody
    told the agent itself, by `celery control`. goodbye: it ends, and runs nothing any more.
    """

    name: str
    instance: str
    concurrency: int
    running: tuple[RunningBead, ...] = ()
    consuming: bool = True
    load: float = 0.0
    disk_free: int = 0
    asks: AgentWish | None = None
    goodbye: bool = False


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent as the ledger knows it. since: when it came into its state, as far as is known.

    silent_s: since its last report, by the database's clock.
    """

    name: str
    project_id: str
    state: AgentState
    wish: AgentWish
    host: str
    pid: int
    versions: Mapping[str, str]
    tools: Mapping[str, str]
    concurrency: int
    running: tuple[RunningBead, ...]
    consuming: bool
    load: float
    disk_free: int
    started_at: datetime
    last_seen: datetime
    since: datetime
    silent_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Crew:
    """How a project's agents stand, in numbers. free: those that would take a bead now.

    living: free, busy and draining ones. lost: the name of the one that was heard of last.
    """

    living: int = 0
    draining: int = 0
    free: int = 0
    lost: str = ""
    lost_s: float = 0.0


def state_of(
    *, ended: bool, silent_s: float, wish: AgentWish, consuming: bool, running: int
) -> AgentState:
    """An agent's state, from what it said last and when."""
    if ended:
        return AgentState.STOPPED
    if silent_s > LOST_AFTER_S:
        return AgentState.LOST
    if wish is not AgentWish.WORK or not consuming:
        return AgentState.DRAINING
    return AgentState.BUSY if running else AgentState.ALIVE


def since(state: AgentState, changed_at: datetime, last_seen: datetime) -> datetime:
    """When it came into that state: a lost one with its last word."""
    return last_seen if state is AgentState.LOST else changed_at


def crew_of(agents: Sequence[Agent]) -> Crew:
    """How these agents, of one project, stand."""
    states = [agent.state for agent in agents]
    gone = sorted((a.silent_s, a.name) for a in agents if a.state is AgentState.LOST)
    draining = states.count(AgentState.DRAINING)
    return Crew(
        living=draining + states.count(AgentState.ALIVE) + states.count(AgentState.BUSY),
        draining=draining,
        free=sum(
            agent.state in {AgentState.ALIVE, AgentState.BUSY}
            and len(agent.running) < agent.concurrency
            for agent in agents
        ),
        lost=gone[0][1] if gone else "",
        lost_s=gone[0][0] if gone else 0.0,
    )


def agent_name(project_id: str, label: str) -> str:
    """The name of a project's agent. Raises Invalid unless the label can stand in it."""
    if not _LABEL.fullmatch(label):
        raise Invalid(
            f"{label[:120]!r} cannot tell an agent from others: 1 to 100 letters, digits, '.', "
            "'_' and '-', beginning with a letter or a digit",
            field="name",
        )
    return f"agent-{project_id}@{label}"


def project_of_agent(name: str) -> str:
    """The project in an agent's name. Raises Invalid unless it is one: `agent-<project>@<label>`.

    The '@' keeps the agents of `shop` apart from those of a project `shop-2`, and is what Celery
    wants in the name of a worker.
    """
    project_id, at, label = name.removeprefix("agent-").partition("@")
    if not (name.startswith("agent-") and at and PROJECT_ID.fullmatch(project_id)):
        raise Invalid(
            f"{name[:120]!r} is not an agent's name: `agent-<project>@<label>`; "
            "`loom agent list` shows them",
            field="name",
        )
    agent_name(project_id, label)
    return project_id


def check_registration(told: Registration) -> Registration:
    """The registration; raises Invalid for what no agent of Loom says of itself."""
    check_project_id(told.project_id)
    if project_of_agent(told.name) != told.project_id:
        raise Invalid(
            f"{told.name} is not a name for an agent of {told.project_id}: LOOM_AGENT_NAME has to "
            f"be `agent-{told.project_id}@<label>`",
            field="name",
        )
    for what, words in (("versions", told.versions), ("tools", told.tools)):
        texts = [*words, *words.values()]
        if len(words) > MAX_WORDS or any("\0" in t or len(t) > 200 for t in texts):
            raise Invalid(f"{what}: at most {MAX_WORDS} short texts", field=what)
    for what, text in (("instance", told.instance), ("host", told.host)):
        if not text or len(text) > 200 or "\0" in text:
            raise Invalid(f"{what}: 1 to 200 characters", field=what)
    return told


def check_report(told: Report) -> Report:
    """The report; raises Invalid for what no agent of Loom says."""
    project_of_agent(told.name)
    wrong = [bead.bead_id for bead in told.running if not BEAD_ID.fullmatch(bead.bead_id)]
    if wrong or len(told.running) > MAX_RUNNING:
        raise Invalid(f"running: at most {MAX_RUNNING} beads, by their ids", field="running")
    if told.concurrency < 0 or told.disk_free < 0 or not 0 <= told.load < 1e6:
        raise Invalid("concurrency, disk_free and load are numbers from 0", field="load")
    return told
