"""The one task that agents have: a bead, from its message to its report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery import Celery
from celery.exceptions import Reject

from loom.errors import LoomError
from loom.messaging.task import CELERY_TASK
from loom.telemetry import logs
from workers.agent import Assignment
from workers.patience import LedgerAway

log = logs.get(__name__)


def register(app: Celery, handle: Callable[[Assignment], None]) -> None:
    """Give the application the task `loom.bead`, which hands each message to `handle`.

    It returns when the message may be acknowledged; otherwise the message goes back to its queue
    (the ledger is away), or to the dead letters (the ledger refuses it, or a fault of ours).
    """

    def bead(self: Any, message: dict[str, Any]) -> None:
        request = self.request
        assignment = Assignment(
            bead_id=message["bead_id"],
            epoch=request.get("epoch"),
            correlation_id=message["correlation_id"],
            redelivered=bool(request.delivery_info.get("redelivered")),
        )
        with logs.bound(
            correlation_id=assignment.correlation_id,
            bead_id=assignment.bead_id,
            epoch=assignment.epoch,
        ):
            try:
                handle(assignment)
            except LedgerAway as away:
                log.error("task_put_back", why=str(away))
                raise Reject(str(away), requeue=True) from away
            except LoomError as error:
                log.error("task_given_up", code=error.code, why=error.detail)
                raise Reject(error.detail, requeue=False) from error

    app.task(bead, name=CELERY_TASK, bind=True, Request="workers.request:BeadRequest")
