"""The words of `celery control`, as they are meant for an agent: each does it, or says why not.

Celery's own would answer `ok` to much that means nothing here, or lose work by it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.worker.control import Panel, nok, ok

from loom.domain.presence import AgentWish
from loom.errors import LoomError
from loom.messaging.task import CELERY_TASK
from loom.telemetry import logs
from workers.time_limit import TimeLimit

Word = Callable[..., Any]

log = logs.get(__name__)


def install(limit: TimeLimit) -> None:
    """Put these words in the place of Celery's."""
    revoke_of_celery = Panel.data["revoke"]

    def time_limit(
        _state: Any, task_name: str = "", hard: Any = None, soft: Any = None, **_more: Any
    ) -> Any:
        if task_name != CELERY_TASK:
            return nok(f"unknown task: an agent has {CELERY_TASK} alone")
        try:
            limit.set(float(hard) if hard else None, float(soft) if soft else None)
        except (LoomError, ValueError, TypeError) as error:
            return nok(str(error))
        log.info("time_limit_set", hard_s=hard, soft_s=soft)
        return ok(
            "commands of beads that start from now on get these limits, until this agent ends; "
            "what lasts is the project's: timeout_s and soft_timeout_s"
        )

    def revoke(state: Any, task_id: Any, terminate: bool = False, **more: Any) -> Any:
        if not terminate:
            return nok(_CANCEL)
        revoke_of_celery(state, task_id, terminate=True, **more)
        return ok(f"its process is ended, and the bead comes again. {_CANCEL}")

    def terminate(state: Any, signal: Any, task_id: Any, **_more: Any) -> Any:
        return revoke(state, task_id, terminate=True, signal=signal)

    Panel.data.update(
        {
            "shutdown": _shutdown,
            "cancel_consumer": _cancel_consumer,
            "add_consumer": _add_consumer,
            "pool_shrink": _pool_shrink,
            "rate_limit": _rate_limit,
            "time_limit": time_limit,
            "revoke": revoke,
            "terminate": terminate,
            "revoke_by_stamped_headers": lambda _state, *_what, **_more: nok(_CANCEL),
        }
    )


_CANCEL = "A bead is cancelled in the ledger: loom bead cancel ID --reason …"


def _shutdown(state: Any, **_more: Any) -> Any:
    log.info("shutdown_asked", by="celery control")
    state.consumer.ask(AgentWish.STOP)
    return ok("takes nothing more, and ends when what it runs has ended")


def _cancel_consumer(state: Any, queue: str = "", **_more: Any) -> Any:
    return _on_own_queue(state, queue, AgentWish.DRAIN, "drains until it is resumed")


def _add_consumer(state: Any, queue: str = "", **_more: Any) -> Any:
    return _on_own_queue(state, queue, AgentWish.WORK, "takes work")


def _on_own_queue(state: Any, queue: str, wish: AgentWish, said: str) -> Any:
    own = state.consumer.queue
    if queue != own:
        return nok(f"this agent serves {own} alone: `loom agent start PROJECT` starts another")
    state.consumer.ask(wish)
    return ok(f"{said}: `loom agent list` shows it")


def _pool_shrink(state: Any, n: int = 1, **_more: Any) -> Any:
    pool = state.consumer.pool
    if not 0 < int(n) < pool.num_processes:
        return nok(
            f"it has {pool.num_processes}, and one has to stay: `loom agent drain` lets none work"
        )
    try:
        pool.shrink(int(n))
    except ValueError:
        return nok("every process is busy: try again when a bead has ended")
    finally:
        state.consumer._update_prefetch_count(0)
    return ok(f"pool has {pool.num_processes} processes")


def _rate_limit(_state: Any, *_what: Any, **_more: Any) -> Any:
    return nok(
        "the ledger decides what starts and when: loom project set ID --max-in-progress N, "
        "--weight N or --queue-window N"
    )
