"""A delivery on its way through Celery's worker: never acknowledged unless it was worked on."""

from __future__ import annotations

from celery.worker.request import Request


class BeadRequest(Request):  # type: ignore[misc]
    """Celery's request, without the ways in which Celery gives a task up by itself.

    A bead is cancelled in the ledger. `celery control revoke` knows nothing of that: it would
    acknowledge the message, and the bead would wait for ever.
    """

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
