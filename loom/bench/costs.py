"""What a stretch of time cost: processor, memory, transactions, connections."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

from loom.drill.ledger import Ledger
from loom.drill.site import Site

TICKS = os.sysconf("SC_CLK_TCK")
TRANSACTIONS = (
    "SELECT xact_commit + xact_rollback, numbackends FROM pg_stat_database "
    "WHERE datname = current_database()"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """How things stand. cpu_s, rss_kb and threads: by process, children included."""

    at: float
    cpu_s: Mapping[str, float]
    rss_kb: Mapping[str, int]
    threads: Mapping[str, int]
    transactions: int
    ledger_connections: int
    broker_connections: int
    load: float


class Meter:
    """Reads the counters of one stack. processes: whose, by their names there."""

    def __init__(self, site: Site, processes: Iterable[str]) -> None:
        self._site, self._processes = site, tuple(processes)
        self._ledger = Ledger(site.ledger_settings())
        broker = site.broker_settings()
        self._management = httpx.Client(
            base_url=site.management_url,
            auth=(broker.username, broker.password.get_secret_value()),
            trust_env=False,
        )

    def close(self) -> None:
        """Close the connections."""
        self._ledger.close()
        self._management.close()

    def read(self) -> Sample:
        """How things stand now."""
        pids = self._site.processes()
        of = {name: list(_family(pids[name])) for name in self._processes}
        ((transactions, connections),) = self._ledger.ask(TRANSACTIONS)
        answer = self._management.get("/api/connections", params={"columns": "name"})
        return Sample(
            at=time.monotonic(),
            cpu_s={name: sum(map(_cpu_s, family)) for name, family in of.items()},
            rss_kb={name: sum(_status(p, "VmRSS") for p in family) for name, family in of.items()},
            threads={
                name: sum(_status(p, "Threads") for p in family) for name, family in of.items()
            },
            transactions=int(transactions),
            ledger_connections=int(connections),
            broker_connections=len(answer.raise_for_status().json()),
            load=os.getloadavg()[0],
        )


def spent(before: Sample, after: Sample) -> dict[str, object]:
    """What the time between two samples cost, by second, and how things stood at its end."""
    seconds = after.at - before.at
    cpu = {n: round((after.cpu_s[n] - before.cpu_s[n]) / seconds, 3) for n in after.cpu_s}
    return {
        "seconds": round(seconds, 1),
        "cpu_s_per_s": cpu,
        "rss_mb": {name: round(kb / 1024, 1) for name, kb in after.rss_kb.items()},
        "threads": dict(after.threads),
        "transactions_per_s": round((after.transactions - before.transactions) / seconds, 1),
        "ledger_connections": after.ledger_connections,
        "broker_connections": after.broker_connections,
        "load_average": round(after.load, 1),
    }


def _family(pid: int) -> Iterable[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from _family(int(child))


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _status(pid: int, name: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return int(value.split()[0])
    return 0
