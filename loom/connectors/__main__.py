"""`python -m loom.connectors`: keeps artifacts, and is the only process that can reach them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from loom.clients.database import DatabaseClient
from loom.connectors.deliverer import Deliverer
from loom.connectors.filestore import FileStore
from loom.connectors.posting import Post
from loom.connectors.receiving import Reception
from loom.connectors.service import NAME, ArtifactService
from loom.connectors.store import Store
from loom.connectors.sweeping import keep_swept
from loom.domain.identity import new_message_id
from loom.errors import LoomError
from loom.rpc.callers import Callers
from loom.rpc.server import Server
from loom.rpc.v1 import connectors_pb2_grpc
from loom.settings import LedgerClientSettings, ServiceSettings, load
from loom.settings.connectors import ConnectorsSettings, S3Settings
from loom.settings.webhooks import DeliveringSettings, WebhookSettings
from loom.telemetry import logs, process

GRACE_S = 10.0
LOOK_S = 5.0
MAX_TRANSFER_S = 600.0

log = logs.get(__name__)


def open_store(settings: ConnectorsSettings, s3: S3Settings | None = None) -> Store:
    """The store that the settings name; s3: the bucket, where that is one."""
    if settings.store == "file":
        return FileStore(settings.folder)
    # Here, as whoever keeps files on a disk need not load it.
    from loom.connectors.s3store import S3Store  # noqa: PLC0415

    return S3Store(s3 or load(S3Settings), settings.threads)


def serve(
    settings: ConnectorsSettings,
    store: Store,
    stopping: threading.Event,
    listening: Callable[[int], None] = lambda _port: None,
) -> None:
    """Serve until stopping is set; health is true to the store all the time.

    listening: told the port, once it can be called.
    """
    service = ArtifactService(settings, store)
    server = Server(
        settings.listen,
        Callers(settings.tokens_file),
        settings.threads,
        lambda grpc_server: connectors_pb2_grpc.add_ArtifactServiceServicer_to_server(
            service, grpc_server
        ),
        [NAME],
        max_deadline_s=MAX_TRANSFER_S,
    )
    reception = Reception(Path(settings.folder), settings.keep_free_bytes)
    sweeper = threading.Thread(
        target=keep_swept,
        args=(store, reception, settings.keep_days, settings.sweep_every_s, stopping),
        name="sweeper",
        daemon=True,
    )
    server.start()
    log.info("listening", address=settings.listen, port=server.port, store=settings.store)
    listening(server.port)
    try:
        while not stopping.is_set():
            server.set_serving(False)
            process.wait_for("the store of artifacts", store.check, stopping)
            server.set_serving(True)
            log.info("serving")
            if not sweeper.is_alive():
                sweeper.start()
            _watch(store, stopping)
    except process.Stopped:
        pass
    finally:
        server.stop(GRACE_S)
        log.info("stopped")


def _watch(store: Store, stopping: threading.Event) -> None:
    """Return when the store fails, or when the process is to stop."""
    while not stopping.wait(LOOK_S):
        try:
            store.check()
        except LoomError as error:
            log.warning("store_failed", why=error.detail)
            return


@contextmanager
def delivering(instance: str, stopping: threading.Event) -> Iterator[None]:
    """Deliver events to webhooks meanwhile, where a token for the ledger is set."""
    reached = load(DeliveringSettings)
    if not reached.token.get_secret_value():
        log.warning("no_webhooks", why="LOOM_LEDGER_TOKEN is not set")
        yield
        return
    settings = load(WebhookSettings)
    ledger = DatabaseClient.from_settings(
        LedgerClientSettings(target=reached.target, token=reached.token)
    )
    owner = f"{instance}-{new_message_id()}"
    deliverer = Deliverer(ledger, Post(settings), owner, settings.threads, settings.lease_s)
    thread = threading.Thread(target=deliverer.run, args=(stopping,), name="deliverer")
    thread.start()
    try:
        yield
    finally:
        stopping.set()
        thread.join(GRACE_S)
        ledger.close()


def main() -> int:
    """Read settings, serve; 0 when it was asked to stop."""
    service = load(ServiceSettings)
    stopping = process.start("connectors", service)
    try:
        settings = load(ConnectorsSettings)
        store = open_store(settings)
        with delivering(service.instance, stopping):
            serve(settings, store, stopping)
    except LoomError as error:
        log.error("cannot_start", why=process.explain(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
