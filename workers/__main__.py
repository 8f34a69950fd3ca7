"""`python -m workers`: the agent of one project, as a Celery worker with a pool of processes."""

from __future__ import annotations

import logging
import os
import platform
import signal
import socket
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

import celery
from celery import signals
from celery.apps.worker import install_worker_term_handler
from kombu.entity import Queue
from kombu.exceptions import OperationalError

import loom
from loom.clients.database import DatabaseClient
from loom.domain.identity import new_message_id
from loom.domain.presence import Registration
from loom.errors import LoomError, Unavailable
from loom.messaging.topology import task_key
from loom.settings import (
    AgentSettings,
    BrokerSettings,
    DrillSettings,
    LedgerClientSettings,
    ServiceSettings,
    load,
)
from loom.telemetry import failpoints, logs
from loom.telemetry.process import Stopped, explain, keep_for_good, stop_signals, wait_for
from workers import controls, gate, presence, probe, task, tools, workspace
from workers.app import app
from workers.child import Child
from workers.consumer import BeadConsumer
from workers.letting_go import Hints
from workers.reporter import Place, Reporter
from workers.time_limit import TimeLimit

FIRST_WORD_S = 6.0
"""How long a start waits to hear whether the agent is drained; without the ledger it has no work
to do either."""
GOODBYE_S = 2.0
TERMINATED = 128 + signal.SIGTERM
"""The exit code after SIGTERM, as shells give it: a supervisor that did not send it starts the
agent again. One that was stopped by its operator ends with 0, and stays away."""

log = logs.get(__name__)


def main() -> int:
    """Serve the project's queue until SIGTERM."""
    try:
        agent, service = load(AgentSettings), load(ServiceSettings)
        broker, ledger = load(BrokerSettings), load(LedgerClientSettings)
        drill = load(DrillSettings)
    except LoomError as error:
        print(explain(error), file=sys.stderr)
        return 2
    name = agent.name or f"agent-{agent.project}@{socket.gethostname()}"
    logs.configure(f"agent-{agent.project}", service.instance, service.log_level)
    failpoints.arm(drill)
    logging.captureWarnings(True)
    for told_better_by_us in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(told_better_by_us).setLevel(logging.WARNING)
    if os.geteuid() == 0:
        log.warning(
            "runs_as_root", why="beads run untrusted code: give the agent a user of its own"
        )
    queue = task_key(agent.project)
    try:
        with stop_signals() as stopping:
            wait_for("a sandbox", partial(_check_sandbox, agent), stopping)
            wait_for(f"the queue {queue}", partial(_find, queue), stopping)
    except Stopped:
        return TERMINATED
    workspace.sweep(agent.workspace)
    # Before anything that no fork may share.
    reporting = presence.Presence(partial(_report, name, agent, ledger, new_message_id()))
    reporting.start()
    try:
        return _serve(name, agent, service, broker=broker, ledger=ledger, reporting=reporting)
    finally:
        reporting.goodbye(GOODBYE_S)


def _serve(
    name: str,
    agent: AgentSettings,
    service: ServiceSettings,
    *,
    broker: BrokerSettings,
    ledger: LedgerClientSettings,
    reporting: presence.Presence,
) -> int:
    hints, limit = Hints(), TimeLimit()
    child = Child(
        name,
        Path.home(),
        agent=agent,
        service=service,
        broker=broker,
        ledger=ledger,
        let_go=hints.let_go,
        limit=limit,
    )
    task.register(app, child.handle)
    gate.refuse_compression()
    controls.install(limit)
    # Without receivers of this signal Celery puts handlers of its own beside ours.
    signals.setup_logging.connect(_keep_our_logging, weak=False)
    signals.worker_process_init.connect(child.open, weak=False)
    signals.worker_process_shutdown.connect(child.close, weak=False)
    terminated = threading.Event()
    stopping = partial(_limit_the_stop, agent.stop_after_s, terminated)
    signals.worker_shutting_down.connect(stopping, weak=False)
    app.conf.broker_transport = "workers.transport:Transport"
    # The dispatcher declares the queue; an agent's user may not.
    app.conf.task_queues = [
        Queue(  # type: ignore[no-untyped-call]
            task_key(agent.project), no_declare=True, queue_arguments={"x-queue-type": "quorum"}
        )
    ]
    keep_for_good()
    worker = app.Worker(
        hostname=name,
        concurrency=agent.concurrency,
        loglevel=service.log_level.upper(),
        consumer_cls=partial(
            BeadConsumer,
            project_id=agent.project,
            broker=broker,
            hints=hints,
            presence=reporting,
            wish=reporting.first(FIRST_WORD_S),
        ),
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    signals.worker_ready.connect(_ready, weak=False)
    log.info("agent_starts", agent_id=name, queue=task_key(agent.project))
    worker.start()
    return int(worker.exitcode or (TERMINATED if terminated.is_set() else 0))


def _report(
    name: str,
    agent: AgentSettings,
    ledger: LedgerClientSettings,
    instance: str,
    parent: socket.socket,
) -> None:
    """What the process that reports does; the parent is the one that forked it."""
    told = Registration(
        name=name,
        project_id=agent.project,
        instance=instance,
        host=socket.gethostname(),
        pid=os.getppid(),
        versions={"loom": loom.__version__, "celery": celery.__version__}
        | {"python": platform.python_version()}
        | dict(tools.find(tools.NEEDED, agent.path)),
    )
    wanted = agent.tools.split()
    place = Place(agent.workspace, agent.report_every_s, partial(tools.find, wanted, agent.path))
    Reporter(DatabaseClient.from_settings(ledger), told, place).run(parent, told.pid)


def _check_sandbox(agent: AgentSettings) -> None:
    """Raise Unavailable where commands cannot be run as the settings ask: beads wait, unharmed."""
    if fault := probe.fault(agent.sandbox):
        raise Unavailable(fault)


def _find(queue: str) -> None:
    """Raise Unavailable unless the broker answers and has the queue."""
    connection = app.connection_for_read()
    refusals = (OperationalError, *connection.connection_errors, *connection.channel_errors)
    try:
        with connection:
            connection.connect()
            connection.channel().queue_declare(queue, passive=True)
    except refusals as error:
        raise Unavailable(f"the broker does not have it ready: {error}") from error


def _keep_our_logging(**_signal: Any) -> None:
    """structlog is set up already."""


def _ready(*, sender: Any, **_signal: Any) -> None:
    # Celery's handler of SIGTERM, without the words that it writes between our lines of JSON.
    install_worker_term_handler(sender.controller, verbose=False)
    log.info("agent_ready")


def _limit_the_stop(
    after_s: float, terminated: threading.Event, *, how: str, **_signal: Any
) -> None:
    """Running beads get after_s seconds; then Celery's cold shutdown sends them back."""
    terminated.set()
    log.info("stop_asked", how=how, running_beads_get_s=after_s)
    if how == "Warm":
        timer = threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGQUIT))
        timer.daemon = True
        timer.start()


if __name__ == "__main__":
    sys.exit(main())
