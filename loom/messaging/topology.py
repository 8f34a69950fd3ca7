"""Every exchange, queue, binding, dead letter and permission on the broker, in one place.

No other module spells a name of the broker. Every argument is set explicitly, because defaults
differ between RabbitMQ 3.10 and 4.x. Sources: rabbitmq.com/docs/quorum-queues, /docs/dlx, /docs/ae.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

TASKS = "loom.tasks"
RESULTS = "loom.results"
EVENTS = "loom.events"
LOGS = "loom.logs"
METRICS = "loom.metrics"
DEAD = "loom.dead"
UNROUTED = "loom.unrouted"

RESULTS_QUEUE = "loom.results"
DEAD_RESULTS_QUEUE = "loom.dead._results"
"""Results that no ingester can read. '_' keeps it apart from every project's slug."""
DEAD_LEDGER_QUEUE = "loom.dead._ledger"
"""A copy of every dead letter, for the ledger; the other copy stays for the operator."""
UNROUTED_QUEUE = "loom.unrouted"
LOG_LINES_QUEUE = "loom.logs._lines"
"""Lines of running attempts, for the ledger. Not named as its exchange: what an agent may write to
it might also bind."""

AGENT_PREFIX = "agent-"

DELIVERY_LIMIT = 20
"""Deliveries of one message before the broker dead-letters it: no layer may loop for ever."""
NO_DELIVERY_LIMIT = 2**31 - 1
"""As good as none, on every version: 4.x sets 20 where none is given, and drops what has no dead
letter; -1 means none there, and on 3.10 that the first return drops the message."""
MAX_TASK_BYTES = 512 * 1024
MAX_RESULT_BYTES = 1024 * 1024
MAX_LOG_BYTES = 512 * 1024
MOST_LOG_MESSAGES = 20_000
MOST_LOG_MESSAGES_BYTES = 64 * 1024 * 1024
"""What of log lines may wait for the ledger before the oldest are dropped."""

_PROJECT_QUEUE = re.compile(r"loom\.(?:tasks|dead)\.(?P<project>[a-z0-9][a-z0-9-]{0,62})")


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange. alternate: where it sends what no binding takes."""

    name: str
    kind: str
    alternate: str = ""

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments it is declared with."""
        return {"alternate-exchange": self.alternate} if self.alternate else {}


@dataclass(frozen=True, slots=True)
class Binding:
    """Messages with this key at this exchange go to the queue."""

    exchange: str
    key: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable quorum queue with its bindings. dead_letter_key: its address at DEAD, if any.

    A queue without one keeps its messages however often they are delivered; up to most of them,
    or most_bytes, if these are set: then the oldest make room, and no publisher ever waits.
    """

    name: str
    bindings: tuple[Binding, ...]
    dead_letter_key: str = ""
    most: int = 0
    most_bytes: int = 0

    @property
    def delivery_limit(self) -> int:
        """How often a message may be returned before the broker dead-letters it."""
        return DELIVERY_LIMIT if self.dead_letter_key else NO_DELIVERY_LIMIT

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments it is declared with."""
        arguments: dict[str, Any] = {
            "x-queue-type": "quorum",
            "x-delivery-limit": self.delivery_limit,
        }
        if self.most:
            arguments |= {
                "x-max-length": self.most,
                "x-max-length-bytes": self.most_bytes,
                "x-overflow": "drop-head",
            }
        if self.dead_letter_key:
            # At-least-once dead-lettering needs reject-publish: a rejected message waits in its
            # queue until every dead-letter target has confirmed it.
            arguments |= {
                "x-dead-letter-exchange": DEAD,
                "x-dead-letter-routing-key": self.dead_letter_key,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            }
        return arguments


@dataclass(frozen=True, slots=True)
class Topology:
    """What has to exist on the broker."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...] = field(default=())


def task_key(project_id: str) -> str:
    """The routing key of a project's tasks, and the name of their queue."""
    return f"{TASKS}.{project_id}"


def result_key(project_id: str) -> str:
    """The routing key of results from a project's agents."""
    return f"{RESULTS}.{project_id}"


def dead_key(project_id: str) -> str:
    """The routing key of a project's dead letters, and the name of their queue."""
    return f"{DEAD}.{project_id}"


def event_key(event_type: str) -> str:
    """The routing key of an event."""
    return f"{EVENTS}.{event_type}"


def log_key(service: str) -> str:
    """The routing key of what a service logs."""
    return f"{LOGS}.{service}"


def agent_user(project_id: str) -> str:
    """The broker user of a project's agents."""
    return f"{AGENT_PREFIX}{project_id}"


def metric_key(service: str) -> str:
    """The routing key of what a service measures."""
    return f"{METRICS}.{service}"


def queues_of(project_ids: Iterable[str]) -> list[str]:
    """The names of the projects' queues."""
    return [queue.name for each in project_ids for queue in of_project(each).queues]


def project_of_queue(name: str) -> str:
    """The project whose task or dead-letter queue this is; empty for a queue of Loom's own."""
    match = _PROJECT_QUEUE.fullmatch(name)
    return match["project"] if match else ""


CORE = Topology(
    exchanges=(
        Exchange(UNROUTED, "fanout"),
        # No alternate on TASKS: the dispatcher publishes with `mandatory`, and a message that an
        # alternate exchange took in would be confirmed instead of returned.
        Exchange(TASKS, "direct"),
        Exchange(RESULTS, "topic", alternate=UNROUTED),
        Exchange(DEAD, "topic", alternate=UNROUTED),
        # Hints for whoever listens; the ledger keeps the facts, so an unheard one may vanish.
        Exchange(EVENTS, "topic"),
        Exchange(LOGS, "topic"),
        Exchange(METRICS, "topic"),
    ),
    queues=(
        Queue(UNROUTED_QUEUE, (Binding(UNROUTED, ""),)),
        Queue(
            RESULTS_QUEUE,
            (Binding(RESULTS, f"{RESULTS}.#"),),
            dead_letter_key=DEAD_RESULTS_QUEUE,
        ),
        Queue(DEAD_RESULTS_QUEUE, (Binding(DEAD, DEAD_RESULTS_QUEUE),)),
        Queue(DEAD_LEDGER_QUEUE, (Binding(DEAD, f"{DEAD}.#"),)),
        Queue(
            LOG_LINES_QUEUE,
            (Binding(LOGS, f"{LOGS}.#"),),
            most=MOST_LOG_MESSAGES,
            most_bytes=MOST_LOG_MESSAGES_BYTES,
        ),
    ),
)
"""What every Loom needs, whatever its projects."""


def of_project(project_id: str) -> Topology:
    """What one project adds: the queue of its tasks, and the queue of its dead letters."""
    tasks, dead = task_key(project_id), dead_key(project_id)
    return Topology(
        exchanges=(),
        queues=(
            Queue(dead, (Binding(DEAD, dead),)),
            Queue(tasks, (Binding(TASKS, tasks),), dead_letter_key=dead),
        ),
    )


@dataclass(frozen=True, slots=True)
class TopicPermission:
    """The routing keys that a user may write to a topic exchange, and bind there: as Permission."""

    exchange: str
    write: str
    read: str


@dataclass(frozen=True, slots=True)
class Permission:
    """What one broker user may configure, write and read: regular expressions over names.

    topics: where it is further limited, by routing key.
    """

    configure: str
    write: str
    read: str
    topics: tuple[TopicPermission, ...] = ()


_NOTHING = "^$"


def permission_of(service: str) -> Permission:
    """The broker permission of a service's user; KeyError for a service that needs no broker."""
    return {
        # Declares the topology: a dead-letter or alternate exchange needs read on what points to
        # it, and a binding needs read on its exchange.
        "dispatcher": Permission(r"^loom\..*$", r"^loom\..*$", r"^loom\..*$"),
        "ingester": Permission(
            _only(_CORE_NAMES), _only(_CORE_NAMES - {TASKS}), _only(_CORE_NAMES)
        ),
        "flower": Permission(_WATCHER, _WATCHER, _WATCHER),
        # They count messages, which needs no permission; and the engine says how many are missing.
        "control": NO_PERMISSION,
        "engine": Permission(_NOTHING, _only({METRICS}), _NOTHING),
        "operator": Permission(".*", ".*", ".*"),
    }[service]


def _only(names: set[str]) -> str:
    return f"^({'|'.join(re.escape(name) for name in sorted(names))})$"


_CORE_NAMES = {exchange.name for exchange in CORE.exchanges} | {queue.name for queue in CORE.queues}
"""What every Loom has, and so nothing of a project: neither its tasks nor its dead letters."""
_WATCHER = r"^(celeryev(\..*)?|celery\.pidbox|(.*\.)?reply\.celery\.pidbox)$"
"""Celery's events, its broadcast to agents, and the queues of their replies."""


def permission_of_agent(project_id: str) -> Permission:
    """The broker permission of a project's agents: their own queue, results, dead letters, logs,
    Celery's events, and the mailbox by which Celery controls them; nothing of another project's.

    An agent may make a mailbox, and could lead that around the limits by routing key: what counts
    in the end is the user that the broker vouches for (loom.messaging.sender).
    """
    own_tasks = re.escape(task_key(project_id))
    mailbox = rf"agent-{re.escape(project_id)}@.*\.celery\.pidbox"
    keys = {
        RESULTS: result_key(project_id),
        DEAD: dead_key(project_id),
        LOGS: log_key(agent_user(project_id)),
    }
    said = "|".join(map(re.escape, keys))
    return Permission(
        rf"^(celeryev|(reply\.)?celery\.pidbox|{mailbox})$",
        rf"^(celeryev|reply\.celery\.pidbox|{mailbox}|{said})$",
        rf"^(celery\.pidbox|{mailbox}|{own_tasks})$",
        tuple(TopicPermission(exchange, _only({key}), _NOTHING) for exchange, key in keys.items()),
    )


NO_PERMISSION = Permission(_NOTHING, _NOTHING, _NOTHING)
