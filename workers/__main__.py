"""`python -m workers`: the agent of one project, as a Celery worker with a pool of processes."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

from celery import signals
from celery.apps.worker import install_worker_term_handler
from kombu.entity import Queue
from kombu.exceptions import OperationalError

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
from loom.telemetry.process import Stopped, explain, stop_signals, wait_for
from workers import gate, task, workspace
from workers.app import app
from workers.child import Child
from workers.consumer import BeadConsumer
from workers.letting_go import Hints

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
            wait_for(f"the queue {queue}", partial(_find, queue), stopping)
    except Stopped:
        return 0
    workspace.sweep(agent.workspace)
    return _serve(name, agent, service, broker, ledger)


def _serve(
    name: str,
    agent: AgentSettings,
    service: ServiceSettings,
    broker: BrokerSettings,
    ledger: LedgerClientSettings,
) -> int:
    hints = Hints()
    child = Child(
        name,
        Path.home(),
        agent=agent,
        service=service,
        broker=broker,
        ledger=ledger,
        let_go=hints.let_go,
    )
    task.register(app, child.handle)
    gate.refuse_compression()
    # Without receivers of this signal Celery puts handlers of its own beside ours.
    signals.setup_logging.connect(_keep_our_logging, weak=False)
    signals.worker_process_init.connect(child.open, weak=False)
    signals.worker_process_shutdown.connect(child.close, weak=False)
    signals.worker_shutting_down.connect(partial(_limit_the_stop, agent.stop_after_s), weak=False)
    app.conf.broker_transport = "workers.transport:Transport"
    # The dispatcher declares the queue; an agent's user may not.
    app.conf.task_queues = [
        Queue(  # type: ignore[no-untyped-call]
            task_key(agent.project), no_declare=True, queue_arguments={"x-queue-type": "quorum"}
        )
    ]
    worker = app.Worker(
        hostname=name,
        concurrency=agent.concurrency,
        loglevel=service.log_level.upper(),
        consumer_cls=partial(BeadConsumer, project_id=agent.project, broker=broker, hints=hints),
        without_gossip=True,
        without_mingle=True,
        quiet=True,
    )
    signals.worker_ready.connect(_ready, weak=False)
    log.info("agent_starts", agent_id=name, queue=task_key(agent.project))
    worker.start()
    return int(worker.exitcode or 0)


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


def _limit_the_stop(after_s: float, *, how: str, **_signal: Any) -> None:
    """Running beads get after_s seconds; then Celery's cold shutdown sends them back."""
    log.info("stop_asked", how=how, running_beads_get_s=after_s)
    if how == "Warm":
        timer = threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGQUIT))
        timer.daemon = True
        timer.start()


if __name__ == "__main__":
    sys.exit(main())
