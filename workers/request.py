"""A delivery on its way through Celery's worker: never acknowledged unless it was worked on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker import state
from celery.worker.request import Request
from kombu.message import Message


class BeadRequest(Request):  # type: ignore[misc]
    """Celery's request, without the ways in which Celery gives a task up by itself.

    A bead is cancelled in the ledger. `celery control revoke` knows nothing of that: it would
    acknowledge the message, and the bead would wait for ever.
    """

    def rebind(self, message: Message, call_soon: Callable[..., Any]) -> None:
        """Answer for this delivery instead of the one before, whose channel is gone."""
        self._on_ack = lambda *arguments: call_soon(message.ack_log_error, *arguments)
        self._on_reject = lambda *arguments: call_soon(message.reject_log_error, *arguments)
        self._message = message

    def revoked(self) -> bool:
        """A bead's message is always handed to the agent, which asks the ledger."""
        return False

    def _announce_revoked(
        self, reason: str, terminated: bool, signum: object, expired: bool
    ) -> None:
        """The process was killed on demand (`revoke --terminate`): the message goes back."""
        self._already_revoked = True
        self.send_event("task-revoked", terminated=terminated, signum=signum, expired=expired)
        self.reject(requeue=True)


def running(bead_id: str) -> BeadRequest | None:
    """The request for a bead that a pool process works on."""
    for request in state.active_requests:
        if request.id == bead_id and isinstance(request, BeadRequest):
            return request
    return None
