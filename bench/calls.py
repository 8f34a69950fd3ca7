"""What single calls of the database service take, through PgBouncer to PostgreSQL."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from grpc_health.v1 import health_pb2, health_pb2_grpc

from loom.bench.figures import percentile
from loom.clients.database import DatabaseClient
from loom.domain.audit import Intervention
from loom.domain.bead import NewBead
from loom.domain.identity import new_message_id
from loom.drill.small import Small
from loom.rpc.channel import connect
from loom.rpc.v1 import database_pb2 as pb
from loom.rpc.v1 import database_pb2_grpc
from loom.settings import LedgerClientSettings
from loom.stack import credentials
from loom.stack.ports import HOST
from loom.stack.postgres import DATABASE

Tell = Callable[[str], None]
Call = Callable[[], object]
WARM_UP = 5
LISTED = 50
THREADS = 4
ROLE = "loom_service"
ONE_ROW = "SELECT title FROM bead WHERE id = %s"


def measure(site: Small, count: int, tell: Tell) -> dict[str, Any]:
    """Milliseconds of each kind of call, one after the other, and of a read by several at once.

    health: a gRPC call that does nothing, with the same token, interceptors and channel: the floor.
    read_bead, list_beads: one bead, and LISTED. create_bead: a bead, its message and its event in
    one transaction; it is not to start for a long time, so that it wakes nobody. transaction:
    BeginTransaction, ExecuteQuery and Commit, three calls. select: what the same row costs psycopg
    on a connection of its own to PgBouncer, without the service; its difference to read_bead is
    what the service adds, and that reads what belongs to the bead, too. at_once: by threads of this
    one process, so that its interpreter takes part in what they wait for.
    """
    settings = _settings(site)
    client = DatabaseClient.from_settings(settings)
    with _beads(client, site.project) as (create, ids), _raw(site) as raw:
        for _ in range(LISTED):
            create()
        one = ids[0]
        calls: dict[str, Call] = {
            "read_bead": lambda: client.get_bead(one),
            "list_beads": lambda: client.list_beads(site.project, page_size=LISTED),
            "create_bead": create,
            "select": lambda: raw.execute(ONE_ROW, [one]).fetchall(),
        }
        with _stubs(site, one) as more:
            found = {}
            for name, call in (more | calls).items():
                _warm_up(call)
                found[name] = _timed(call, count)
                tell(f"{name}: p50 {_told(found[name])['p50']} ms of {count}")
        together, seconds = _at_once(calls["read_bead"], count)
    per_s = len(together) / seconds
    tell(f"read_bead by {THREADS} at once: p50 {_told(together)['p50']} ms, {per_s:.0f} a second")
    return {
        "count": count,
        "one_after_the_other_ms": {name: _told(times) for name, times in found.items()},
        "at_once": {
            "threads": THREADS,
            "read_bead_ms": _told(together),
            "read_beads_per_s": round(per_s, 1),
        },
    }


def _settings(site: Small) -> LedgerClientSettings:
    """As the control plane, which may file beads."""
    token = site.stack.home.secret(credentials.ledger("control"))
    return LedgerClientSettings(target=site.ledger_settings().target, token=token)


@contextmanager
def _beads(client: DatabaseClient, project: str) -> Iterator[tuple[Call, Sequence[str]]]:
    """What files one bead, and the ids of those it filed, which are given up at the end."""
    ids: list[str] = []
    later = datetime.now(UTC) + timedelta(days=1)

    def create() -> None:
        bead = NewBead("Measure what a call takes", not_before=later)
        [filed] = client.create_beads(project, [bead], new_message_id()).items
        ids.append(filed.id)

    try:
        yield create, ids
    finally:
        for each in ids:
            client.cancel_bead(each, Intervention("bench", "the bench has measured"))
        client.close()


@contextmanager
def _stubs(site: Small, bead_id: str) -> Iterator[dict[str, Call]]:
    """The calls that the client has no method for, as the operator."""
    settings = site.ledger_settings()
    with connect(settings.target, settings.token.get_secret_value()) as channel:
        # The stub's methods are made when it is, which mypy cannot see.
        health: Any = health_pb2_grpc.HealthStub(channel)
        service: Any = database_pb2_grpc.DatabaseServiceStub(channel)
        timeout = settings.deadline_s

        def transaction() -> None:
            opened = service.BeginTransaction(
                pb.BeginTransactionRequest(read_only=True), timeout=timeout
            ).transaction_id
            query = pb.ExecuteQueryRequest(
                sql=ONE_ROW, parameters=[pb.Value(text=bead_id)], transaction_id=opened
            )
            service.ExecuteQuery(query, timeout=timeout)
            service.Commit(pb.CommitRequest(transaction_id=opened), timeout=timeout)

        yield {
            "health": lambda: health.Check(health_pb2.HealthCheckRequest(), timeout=timeout),
            "transaction": transaction,
        }


@contextmanager
def _raw(site: Small) -> Iterator[psycopg.Connection[Any]]:
    connection = psycopg.connect(
        host=HOST,
        port=site.stack.ports.of("pgbouncer"),
        dbname=DATABASE,
        user=ROLE,
        password=site.stack.home.secret(credentials.postgres(ROLE)),
        autocommit=True,
        # The pooler gives every transaction another connection.
        prepare_threshold=None,
    )
    with connection:
        yield connection


def _warm_up(call: Call) -> None:
    for _ in range(WARM_UP):
        call()


def _timed(call: Call, count: int) -> list[float]:
    """Milliseconds of so many calls, one after the other."""
    times = []
    for _ in range(count):
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1000)
    return times


def _at_once(call: Call, count: int) -> tuple[list[float], float]:
    """Milliseconds of count calls by each of several threads, and how long all of it took."""
    start = threading.Barrier(THREADS + 1)

    def one() -> list[float]:
        _warm_up(call)
        start.wait()
        return _timed(call, count)

    with ThreadPoolExecutor(THREADS) as pool:
        futures = [pool.submit(one) for _ in range(THREADS)]
        start.wait()
        began = time.perf_counter()
        times = [each for future in futures for each in future.result()]
        return times, time.perf_counter() - began


def _told(times: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times)
    shares = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(percentile(ordered, share), 2) for name, share in shares.items()}
