"""How many messages stand in queues: asked of the management API, else of the broker itself."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import httpx
import pika
from pika import exceptions

from loom.broker.connection import every_parameters, reason_of, where
from loom.domain.reconciliation import Depth
from loom.errors import Unavailable
from loom.settings import BrokerSettings
from loom.telemetry import logs

NOT_FOUND = 404
STATISTICS_AGE_S = 10.0
"""How old the management's counts may be: it gathers them every 5 s (quorum queues: each tick)."""

log = logs.get(__name__)


class Depths:
    """Reads the depths of queues; changes nothing, and needs no permission on them."""

    def __init__(self, settings: BrokerSettings, service: str, management_url: str = "") -> None:
        """management_url: empty where there is none; then nobody says what is unacknowledged."""
        self._settings, self._service = settings, service
        self._management_url = management_url.rstrip("/")

    def read(self, queues: Sequence[str]) -> tuple[Depth, ...]:
        """One depth for each queue, in their order. Raises Unavailable."""
        counted: dict[str, Depth] = {}
        if self._management_url:
            try:
                counted = self._of_management(set(queues))
            except httpx.HTTPError as error:
                log.warning("management_away", why=str(error) or type(error).__name__)
        left = [queue for queue in queues if queue not in counted]
        counted |= self._of_broker(left) if left else {}
        return tuple(counted[queue] for queue in queues)

    def _of_management(self, queues: set[str]) -> dict[str, Depth]:
        """What is counted already: a queue that was just made is not."""
        answer = httpx.get(
            f"{self._management_url}/api/queues/{quote(self._settings.vhost, safe='')}",
            params={"columns": "name,messages_ready,messages_unacknowledged"},
            auth=(self._settings.username, self._settings.password.get_secret_value()),
            timeout=self._settings.timeout_s,
            trust_env=False,
        )
        answer.raise_for_status()
        return {
            row["name"]: Depth(
                row["name"],
                row["messages_ready"],
                row["messages_unacknowledged"],
                age_s=STATISTICS_AGE_S,
            )
            for row in answer.json()
            if row["name"] in queues and "messages_ready" in row
        }

    def _of_broker(self, queues: Sequence[str]) -> dict[str, Depth]:
        settings = self._settings
        try:
            connection = pika.BlockingConnection(
                every_parameters(settings, f"{self._service} (depths)")
            )
        except (exceptions.AMQPError, OSError) as error:
            raise Unavailable(f"{where(settings)} cannot be used: {reason_of(error)}") from error
        try:
            return {queue: _passive(connection, queue) for queue in queues}
        except (exceptions.AMQPError, OSError) as error:
            raise Unavailable(
                f"{where(settings)} does not say how deep its queues are: {reason_of(error)}"
            ) from error
        finally:
            if connection.is_open:
                connection.close()


def _passive(connection: pika.BlockingConnection, queue: str) -> Depth:
    """A refusal closes the channel, so each queue gets one of its own."""
    channel = connection.channel()
    try:
        answer = channel.queue_declare(queue, passive=True).method
    except exceptions.ChannelClosedByBroker as error:
        if error.reply_code != NOT_FOUND:
            raise
        return Depth(queue, unacked=0, missing=True)
    channel.close()
    # Without a consumer nothing can be unacknowledged.
    return Depth(queue, answer.message_count, None if answer.consumer_count else 0)
