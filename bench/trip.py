"""The whole trip of work that does nothing, by Loom and by plain Celery on the same servers."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import psycopg

from bench.processor import Processor
from loom.bench.figures import told
from loom.clients.control import ControlClient
from loom.domain.bead import NewBead
from loom.drill.small import Small
from loom.errors import DeadlineExceeded
from loom.stack import credentials
from loom.stack.home import as_settings_file
from loom.stack.ports import HOST
from loom.stack.postgres import SUPERUSER

Tell = Callable[[str], None]
CONCURRENCY = 8
AT_ONCE = 500
"""Beads in one request."""
WAIT_S, LOOK_S = 120.0, 0.25
ROOT = Path(__file__).resolve().parents[1]
REAL = 40
"""Beads that a real agent works on, checkout and all."""


class Side(Protocol):
    """Loom or its peer."""

    @property
    def name(self) -> str:
        """Which."""
        ...

    @property
    def pids(self) -> Mapping[str, int]:
        """The processes that do its work, by what they are."""
        ...

    def one(self) -> str:
        """Have one accepted; its id."""
        ...

    def bulk(self, count: int) -> float:
        """Have so many accepted and done; seconds from the first request to the last result."""
        ...

    def begun(self) -> Mapping[str, float]:
        """When each began, by its id: seconds since the epoch."""
        ...


class Told:
    """The file in which workers say when they begin."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch(mode=0o600)

    def read(self) -> dict[str, float]:
        """The moment of each id, the first of several."""
        moments: dict[str, float] = {}
        for line in self.path.read_text().splitlines():
            name, moment = line.split()
            moments.setdefault(name, float(moment))
        return moments


class Loom:
    """Beads over HTTP; an agent of Loom's own that does nothing."""

    name = "loom"

    def __init__(self, site: Small, told_in: Told, agent: int) -> None:
        self._site, self._told = site, told_in
        self._client = ControlClient(site.urls[0], site.token)
        self.pids = {"agent": agent}

    def one(self) -> str:
        return self._client.create_bead(self._site.project, NewBead("Nothing")).id

    def bulk(self, count: int) -> float:
        began, ids = time.time(), []
        for first in range(0, count, AT_ONCE):
            beads = [NewBead("Nothing")] * min(AT_ONCE, count - first)
            ids += [bead.id for bead in self._client.create_beads(self._site.project, beads).items]
        return self.await_end(ids) - began

    def await_end(self, ids: Sequence[str]) -> float:
        """Return when the last of them was closed, all having succeeded; by the ledger's clock."""
        _until(lambda: not self._client.list_beads(
            self._site.project, ["open", "in_progress", "blocked"], limit=1
        ).items, f"{len(ids)} beads are not done")  # fmt: skip
        wanted, closed, cursor = set(ids), [], ""
        while wanted:
            page = self._client.list_beads(self._site.project, limit=200, cursor=cursor)
            for bead in page.items:
                if bead.id in wanted:
                    assert bead.resolution == "succeeded", bead  # noqa: S101 - else no figure
                    wanted.remove(bead.id)
                    closed.append(bead.closed_at or bead.updated_at)
            cursor = page.next_cursor
        return max(closed).timestamp()

    def begun(self) -> Mapping[str, float]:
        return self._told.read()


class Peer:
    """Celery's own way: apply_async, and rows of its result backend."""

    name = "celery"

    def __init__(self, told_in: Told, worker: int, backend: str) -> None:
        from bench import peer  # noqa: PLC0415 - it reads its environment when it is imported

        self._told, self._task = told_in, peer.nothing
        self._rows = psycopg.connect(backend, autocommit=True)
        self.pids = {"worker": worker}

    def one(self) -> str:
        return str(self._task.apply_async().id)

    def bulk(self, count: int) -> float:
        began = time.time()
        ids = [self.one() for _ in range(count)]
        _until(lambda: self._done(ids)[0] == count, f"{count} tasks are not done")
        _, last = self._done(ids)
        return last - began

    def _done(self, ids: Sequence[str]) -> tuple[int, float]:
        [count, last] = self._rows.execute(
            "select count(*), max(date_done) from celery_taskmeta "
            "where task_id = any(%s) and status = 'SUCCESS'",
            [list(ids)],
        ).fetchone() or (0, None)
        moment = last.replace(tzinfo=None) if isinstance(last, datetime) else None
        return count, (moment - datetime(1970, 1, 1)).total_seconds() if moment else 0.0

    def begun(self) -> Mapping[str, float]:
        return self._told.read()


def measure(
    sides: Sequence[Side],
    processor: Processor,
    *,
    per_second: float,
    seconds: float,
    beads: int,
    rounds: int,
    tell: Tell,
) -> dict[str, Any]:
    """Start times at a pace and throughput in bulk, the sides in turns; raw samples too.

    start_ms: from the reply that accepts to the first instruction. whole: done a second.
    processor_ms: what one of a bulk takes of the processor, by service.
    """
    starts: dict[str, list[float]] = {side.name: [] for side in sides}
    rates: dict[str, list[float]] = {side.name: [] for side in sides}
    spent: dict[str, dict[str, float]] = {side.name: defaultdict(float) for side in sides}
    for side in sides:
        side.bulk(20)
    for number in range(rounds):
        # Each goes first as often, since what comes second finds the machine warmer.
        for side in sides if number % 2 == 0 else list(reversed(sides)):
            taken = _paced(side, per_second, seconds / rounds)
            starts[side.name] += taken
            before = processor.spent_s()
            took_s = side.bulk(beads)
            for name, seconds_now in processor.spent_s().items():
                spent[side.name][name] += seconds_now - before.get(name, 0.0)
            rates[side.name].append(beads / took_s)
            tell(
                f"round {number + 1}, {side.name}: start p50 {statistics.median(taken):.1f} ms, "
                f"{beads / took_s:.0f} a second of {beads} in bulk"
            )
    return {
        "concurrency": CONCURRENCY,
        "start_ms": {
            name: told(each) | {"samples": _rounded(each)} for name, each in starts.items()
        },
        "whole_per_s": {
            name: {
                "median": round(statistics.median(each), 1),
                "best": round(max(each), 1),
                "worst": round(min(each), 1),
                "beads": beads,
                "samples": _rounded(each),
            }
            for name, each in rates.items()
        },
        "processor_ms": {
            name: {what: round(each_s * 1000 / (beads * rounds), 2) for what, each_s in by.items()}
            for name, by in spent.items()
        },
    }


def real(site: Small, tell: Tell) -> dict[str, Any]:
    """Beads whose command is `true`, by the stack's own agent: checkout, command, evidence."""
    side = Loom(site, Told(site.stack.home.path / "told-of-none"), 0)
    side.bulk(5)
    took_s = side.bulk(REAL)
    tell(f"{REAL} beads with a checkout and a command: {REAL / took_s:.1f} a second")
    return {"beads": REAL, "per_s": round(REAL / took_s, 1)}


@contextmanager
def both(site: Small, folder: Path) -> Iterator[tuple[Loom, Peer]]:
    """Both sides, ready: the stack's own agent is drained, so that only the idle one works."""
    with ControlClient(site.urls[0], site.token) as client:
        [own] = client.list_agents(site.project).items
        client.steer_agent(own.name, "drain", "the bench has an agent of its own")
    ours, theirs = Told(folder / "loom.told"), Told(folder / "peer.told")
    backend = _database(site)
    broker = site.broker_settings()
    login = f"{quote(broker.username)}:{quote(broker.password.get_secret_value(), safe='')}"
    os.environ |= {
        "PEER_BROKER": f"amqp://{login}@{broker.host}:{broker.port}/{quote(broker.vhost, safe='')}",
        "PEER_BACKEND": f"db+{backend.replace('postgresql', 'postgresql+psycopg', 1)}",
    }
    settings = folder / "agent.env"
    settings.write_text(
        site.stack.home.settings_file(f"agent-{site.project}").read_text()
        + as_settings_file({
            "LOOM_AGENT_NAME": f"agent-{site.project}@bench",
            "LOOM_AGENT_WORKSPACE": str(folder / "workspaces"),
            "LOOM_AGENT_CONCURRENCY": CONCURRENCY,
        })
    )  # fmt: skip
    celery = [sys.executable, "-m", "celery", "-A", "bench.peer", "worker", "--loglevel=WARNING"]
    celery += [f"--concurrency={CONCURRENCY}", "--without-gossip", "--without-mingle", "-Q"]
    with (
        _running(
            [sys.executable, "-m", "bench.idle_agent"], folder / "agent.log",
            {"LOOM_SETTINGS_FILE": str(settings), "BENCH_TOLD": str(ours.path)}, folder,
        ) as agent,
        _running([*celery, "bench.peer"], folder / "peer.log", {"BENCH_TOLD": str(theirs.path)},
                 folder) as worker,
    ):  # fmt: skip
        os.environ["BENCH_TOLD"] = str(folder / "unused.told")
        yield Loom(site, ours, agent), Peer(theirs, worker, backend)


def _paced(side: Side, per_second: float, seconds: float) -> list[float]:
    accepted: dict[str, float] = {}
    due = time.monotonic()
    for _ in range(round(per_second * seconds)):
        time.sleep(max(0.0, due - time.monotonic()))
        due += 1 / per_second
        name = side.one()
        accepted[name] = time.time()
    _until(lambda: accepted.keys() <= side.begun().keys(), "not all have begun")
    begun = side.begun()
    return [(begun[name] - moment) * 1000 for name, moment in accepted.items()]


def _database(site: Small) -> str:
    """A database for the peer on the stack's own PostgreSQL; its URL."""
    password = site.stack.home.secret(credentials.postgres(SUPERUSER))
    port = site.stack.ports.of("postgres")
    url = f"postgresql://{SUPERUSER}:{quote(password, safe='')}@{HOST}:{port}"
    with psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
        connection.execute("create database peer")
    return f"{url}/peer"


@contextmanager
def _running(argv: Sequence[str], log: Path, more: Mapping[str, str], home: Path) -> Iterator[int]:
    """A process of the bench; its pid. It is asked to stop at the end."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(home), **more}
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT
        )
        try:
            yield process.pid
        finally:
            process.terminate()
            try:
                process.wait(15.0)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _until(holds: Callable[[], bool], otherwise: str) -> None:
    """Look until it holds; raises DeadlineExceeded."""
    give_up, pause = time.monotonic() + WAIT_S, threading.Event()
    while not holds():
        if time.monotonic() > give_up:
            raise DeadlineExceeded(f"after {WAIT_S:g} s {otherwise}")
        pause.wait(LOOK_S)


def _rounded(samples: Sequence[float]) -> list[float]:
    return [round(each, 2) for each in samples]
