"""`python -m loom.database`: the only process that speaks SQL."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path

import grpc

from loom.database import (
    access_service,
    comments_service,
    desk,
    imports_service,
    journal,
    logbook_service,
    presence_service,
    retention,
    statistics_service,
    webhook_service,
)
from loom.database.health import Health
from loom.database.ledger import Ledger
from loom.database.service import NAME, DatabaseService
from loom.errors import LoomError
from loom.rpc.callers import Callers
from loom.rpc.server import Server
from loom.rpc.v1 import (
    access_pb2_grpc,
    agents_pb2_grpc,
    comments_pb2_grpc,
    database_pb2_grpc,
    desk_pb2_grpc,
    events_pb2_grpc,
    imports_pb2_grpc,
    logs_pb2_grpc,
    retention_pb2_grpc,
    statistics_pb2_grpc,
    webhooks_pb2_grpc,
)
from loom.settings import LedgerSettings, ServiceSettings, load
from loom.telemetry import logs, process

GRACE_S = 10.0
LOOK_S = 0.25

log = logs.get(__name__)


def serve(
    settings: LedgerSettings,
    stopping: threading.Event,
    listening: Callable[[int], None] = lambda _port: None,
) -> None:
    """Serve until stopping is set; health is true to the database all the time.

    listening: told the port, once it can be called.
    """
    health = Health(settings)
    ledger = Ledger(settings)
    service = DatabaseService(ledger, lambda: health.answering)
    access = access_service.AccessService(ledger.access, service.time_left)
    agents = presence_service.AgentService(ledger.presence, service.time_left)
    forgetting = retention.RetentionService(ledger.retention, service.time_left)
    handing = desk.DeskService(ledger.desk, service.time_left)
    events = journal.EventService(ledger.journal, service.time_left)
    hooks = webhook_service.WebhookService(ledger.webhooks, service.time_left)
    commenting = comments_service.CommentService(ledger.comments, service.time_left)
    importing = imports_service.ImportService(ledger.imports, service.time_left)
    logbook = logbook_service.LogService(ledger.logbook, service.time_left)
    counting = statistics_service.StatisticsService(ledger.statistics, service.time_left)

    def register(grpc_server: grpc.Server) -> None:
        events_pb2_grpc.add_EventServiceServicer_to_server(events, grpc_server)
        webhooks_pb2_grpc.add_WebhookServiceServicer_to_server(hooks, grpc_server)
        database_pb2_grpc.add_DatabaseServiceServicer_to_server(service, grpc_server)
        desk_pb2_grpc.add_DeskServiceServicer_to_server(handing, grpc_server)
        access_pb2_grpc.add_AccessServiceServicer_to_server(access, grpc_server)
        agents_pb2_grpc.add_AgentServiceServicer_to_server(agents, grpc_server)
        comments_pb2_grpc.add_CommentServiceServicer_to_server(commenting, grpc_server)
        imports_pb2_grpc.add_ImportServiceServicer_to_server(importing, grpc_server)
        logs_pb2_grpc.add_LogServiceServicer_to_server(logbook, grpc_server)
        retention_pb2_grpc.add_RetentionServiceServicer_to_server(forgetting, grpc_server)
        statistics_pb2_grpc.add_StatisticsServiceServicer_to_server(counting, grpc_server)

    server = Server(
        settings.listen,
        Callers(Path(settings.tokens_file)),
        settings.threads,
        register,
        [
            NAME,
            access_service.NAME,
            desk.NAME,
            journal.NAME,
            webhook_service.NAME,
            comments_service.NAME,
            imports_service.NAME,
            presence_service.NAME,
            logbook_service.NAME,
            retention.NAME,
            statistics_service.NAME,
        ],
    )
    # Callers that come before the database is there are told so, instead of finding no one.
    server.start()
    log.info("listening", address=settings.listen, port=server.port)
    listening(server.port)
    try:
        process.wait_for("the ledger", health.check, stopping)
        health.start()
        log.info("serving")
        serving = False
        while not stopping.is_set():
            if health.answering is not serving:
                serving = not serving
                server.set_serving(serving)
            stopping.wait(LOOK_S)
    except process.Stopped:
        pass
    finally:
        ledger.stop_waiting()
        server.stop(GRACE_S)
        ledger.close()
        health.stop()
        log.info("stopped")


def main() -> int:
    """Read settings, serve; 0 when it was asked to stop."""
    service_settings = load(ServiceSettings)
    stopping = process.start("database", service_settings)
    try:
        serve(load(LedgerSettings), stopping)
    except LoomError as error:
        log.error("cannot_start", why=process.explain(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
