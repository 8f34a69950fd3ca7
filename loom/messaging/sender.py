"""Who sent a message, by the user that the broker vouches for, and whose word that is.

A publisher may name a user in the property user_id, and RabbitMQ refuses any but its own. The
routing key alone proves nothing: RabbitMQ 3.10 looks at no key in CC and BCC, and no version looks
at the keys of what comes out of an exchange or queue that the user made itself (an alternate
exchange, a binding, a dead letter). Source: rabbitmq.com/docs/validated-user-id.
"""

from __future__ import annotations

from loom.domain.identity import PROJECT_ID
from loom.messaging.envelope import Delivery
from loom.messaging.topology import (
    AGENT_PREFIX,
    DEAD_RESULTS_QUEUE,
    RESULTS,
    RESULTS_QUEUE,
    agent_user,
    dead_key,
    log_key,
    result_key,
)

FORGED = "forged"
"""The reason of a dead letter whose sender may not say what it says."""
TRUSTED = frozenset({"dispatcher", "ingester", "operator"})
"""Loom's users who publish for every project."""


def project_of_agent(user_id: str) -> str:
    """The project whose agents this broker user is; empty for any other."""
    project_id = user_id.removeprefix(AGENT_PREFIX)
    return project_id if project_id != user_id and PROJECT_ID.fullmatch(project_id) else ""


def project_of_result(delivery: Delivery) -> str:
    """The project that a result is of, whatever its body says; empty if nobody vouches for one."""
    key = delivery.routing_key
    project_id = key.removeprefix(f"{RESULTS}.")
    known = project_id != key and PROJECT_ID.fullmatch(project_id)
    return project_id if known and not _fault(delivery.user_id, project_id) else ""


def fault_of_result(delivery: Delivery, project_id: str) -> str:
    """Why a result for that project cannot be its sender's to send; empty if it can."""
    key = delivery.routing_key
    straight = delivery.user_id in TRUSTED and key == RESULTS_QUEUE
    if key != result_key(project_id) and not straight:
        return f"a result for the project {project_id} came under the key {key[:200]!r}"
    return _fault(delivery.user_id, project_id)


def fault_of_letter(delivery: Delivery, project_id: str) -> str:
    """Why a dead letter about that project cannot be its sender's to send; empty if it can."""
    key = delivery.routing_key
    if project_id and key not in (dead_key(project_id), DEAD_RESULTS_QUEUE):
        return f"a dead letter of the project {project_id} came under the key {key[:200]!r}"
    return _fault(delivery.user_id, project_id)


def fault_of_log(delivery: Delivery, project_id: str) -> str:
    """Why log lines of that project's beads cannot be their sender's to send; empty if they can."""
    if delivery.routing_key != log_key(agent_user(project_id)):
        return f"lines of the project {project_id} came under {delivery.routing_key[:200]!r}"
    return _fault(delivery.user_id, project_id)


def _fault(user_id: str, project_id: str) -> str:
    if user_id in TRUSTED or (project_id and user_id == f"{AGENT_PREFIX}{project_id}"):
        return ""
    if not user_id:
        return "nobody vouches for its sender: it names no user_id"
    return f"{user_id[:200]} does not speak for the project {project_id!r}"
