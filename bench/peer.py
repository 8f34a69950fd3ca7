"""The peer: plain Celery, set up to lose as little as it can, whose task does nothing.

A quorum queue, publishes that wait for their confirm, acknowledgement after the work, and results
in PostgreSQL by Celery's own backend. PEER_BROKER and PEER_BACKEND say where, BENCH_TOLD names the
file in which each task stands with the moment at which it began.
"""

from __future__ import annotations

import os
import time

from celery import Celery
from kombu.entity import Exchange, Queue

QUEUE = "bench.peer"

app = Celery("peer", broker=os.environ["PEER_BROKER"], backend=os.environ["PEER_BACKEND"])
app.conf.update(
    task_queues=[
        Queue(  # type: ignore[no-untyped-call]
            QUEUE,
            Exchange(""),  # type: ignore[no-untyped-call]
            routing_key=QUEUE,
            queue_arguments={"x-queue-type": "quorum"},
        )
    ],
    task_default_queue=QUEUE,
    task_default_exchange="",
    task_default_routing_key=QUEUE,
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_detect_quorum_queues=True,
    # Its mailboxes as Loom's agents have theirs: RabbitMQ 4 knows no other.
    control_queue_durable=True,
    control_queue_exclusive=False,
    worker_send_task_events=True,
    database_short_lived_sessions=False,
)
_told = os.open(os.environ["BENCH_TOLD"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


@app.task(name="bench.nothing", bind=True)  # type: ignore[untyped-decorator]
def nothing(self: object) -> None:
    """Say when this was, as the first instruction."""
    now = time.time()
    os.write(_told, f"{self.request.id} {now:.6f}\n".encode())  # type: ignore[attr-defined]
