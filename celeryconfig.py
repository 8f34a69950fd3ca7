"""How Celery talks to RabbitMQ, in the agents, in Flower and for an operator's `celery` command.

The one module that reads the environment when it is imported, as Celery's own command gives no
other place: LOOM_SETTINGS_FILE or LOOM_BROKER_* where they are set, otherwise the settings that
the local stack wrote for its operator, under LOOM_HOME (`.loom` here by default).

Every setting that matters is spelled out, after its code in Celery 5.7; README and docs of Celery
call some of them otherwise than they work.
"""

from __future__ import annotations

import os
from pathlib import Path

from loom.errors import Invalid
from loom.settings import BrokerSettings, load
from loom.settings.source import SETTINGS_FILE


def _broker() -> BrokerSettings:
    """The broker and the user that this process is for; Invalid says how to name one."""
    if os.environ.get(SETTINGS_FILE) or os.environ.get("LOOM_BROKER_USERNAME"):
        return load(BrokerSettings)
    operator = Path(os.environ.get("LOOM_HOME") or ".loom").absolute() / "etc" / "operator.env"
    try:
        operator.read_bytes()
    except OSError as error:
        raise Invalid(
            f"celery has no broker: {operator} cannot be read ({error.strerror}). Start the local "
            "stack with `loom up` and run celery as the same user at the root of the repository, "
            f"name the stack's folder in LOOM_HOME, or name a file of LOOM_BROKER_* settings in "
            f"{SETTINGS_FILE}"
        ) from error
    return BrokerSettings(_env_file=operator)


_settings = _broker()

# The connection.
# Of several nodes Celery takes the next when one cannot be used.
broker_url = ";".join(_settings.urls)
broker_failover_strategy = "round-robin"
broker_connection_timeout = _settings.timeout_s
broker_heartbeat = _settings.heartbeat_s
broker_heartbeat_checkrate = 2
broker_connection_retry = True
broker_connection_retry_on_startup = True
# For ever, node after node: an agent that ends takes what it works on with it. (0 would be once.)
broker_connection_max_retries = None
# A queue that is gone closes the channel: connect and consume again instead of dying.
broker_channel_error_retry = True
# A cap, of which little is used. Each inspection holds one connection and waits for another, and
# Flower makes 13 at a time: below 26 they wait for each other for ever.
broker_pool_limit = 32
broker_transport_options = {
    "client_properties": {"connection_name": f"{_settings.username}-celery"}
}

# Messages: JSON alone, and never a result backend, since results are messages of Loom's own.
accept_content = ["json"]
task_serializer = "json"
event_serializer = "json"
result_backend = None
task_ignore_result = True
task_store_errors_even_if_ignored = False

# Tasks are sent by the dispatcher alone, with confirms: Celery has no route, and makes no queue.
task_create_missing_queues = False

# A task is acknowledged when its result is confirmed, and goes back to its queue if its process
# dies. One that raises is a fault of Loom's own: not acknowledged, so that it is dead-lettered.
task_acks_late = True
task_reject_on_worker_lost = True
task_retry_on_worker_lost = False
task_acks_on_failure = False
task_acks_on_timeout = False
# Time limits are the command's, kept by the agent: Celery's would kill the agent, not the command.
task_time_limit = None
task_soft_time_limit = None

# The worker; its consumer and its queue are the agent's own (workers.__main__).
worker_pool = "prefork"
worker_prefetch_multiplier = 1
worker_disable_rate_limits = True
# Quorum queues know no global prefetch, and Celery sees from a queue's arguments that it is one.
worker_detect_quorum_queues = True
# Work outlives a broken connection, as its lease is the ledger's: its message comes again, to this
# agent, which takes it for what it works on already, or to another, which takes the bead over.
worker_cancel_long_running_tasks_on_connection_loss = False
worker_enable_prefetch_count_reduction = False
# How long a result of a pool process that died may still be on its way.
worker_lost_wait = 2.0
# SIGTERM has its own grace (LOOM_AGENT_STOP_AFTER_S), and Celery's soft shutdown sleeps through
# its whole time even if every task has ended.
worker_soft_shutdown_timeout = 0.0
worker_enable_soft_shutdown_on_idle = False
worker_deduplicate_successful_tasks = False
worker_enable_remote_control = True
worker_state_db = None

# Logs are structlog's, one JSON object a line.
worker_hijack_root_logger = False
worker_redirect_stdouts = False

# What Flower shows.
worker_send_task_events = True
task_send_sent_event = True
task_track_started = True

# RabbitMQ 4 deprecates queues that are neither durable nor exclusive. Mailboxes are durable: an
# exclusive one stays locked while the broker still believes in a connection that is half dead.
control_queue_durable = True
control_queue_exclusive = False
control_queue_expires = 60.0
control_queue_ttl = 300.0
event_queue_durable = False
event_queue_exclusive = True
event_queue_expires = 60.0
event_queue_ttl = 5.0

enable_utc = True
timezone = "UTC"
