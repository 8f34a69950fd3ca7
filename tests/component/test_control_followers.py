"""What followers cost, by count: one reading for all, nothing for who finds no place."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from control_api import PROJECT, TOKEN, Api, make_app, problem
from flask import Flask, request

from loom.bench.figures import told
from loom.control import feed as feed_module
from loom.control import followers as followers_module
from loom.control.feed import Feed
from loom.control.followers import FULL_S, Followers
from loom.control.pages import turns
from loom.control.server import Server
from loom.domain.event import EventFilter
from loom.errors import Exhausted
from loom.rpc.callers import digest
from loom.settings import ControlSettings
from loom.testing.ledger import FakeLedger

MANY = 50
STREAMS = ("/api/v1/events/stream", "/api/v1/beads/{bead}/log/stream")


class Counting(FakeLedger):
    """Counts the calls that followers make."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()
        self.known: list[set[str]] = []

    def watch_events(self, *words: Any, **more: Any) -> Any:
        self.calls["watch_events"] += 1
        return super().watch_events(*words, **more)

    def watch_logs(self, known: Any, wait_ms: int = 0) -> Any:
        self.calls["watch_logs"] += 1
        self.known.append(set(known))
        return super().watch_logs(known, wait_ms)

    def read_log(self, *words: Any, **more: Any) -> Any:
        self.calls["read_log"] += 1
        return super().read_log(*words, **more)


@pytest.fixture
def api() -> Api:
    made = Api(Counting())
    made.post("/api/v1/projects", PROJECT)
    return made


def watchers(name: str) -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == name}


@pytest.mark.parametrize("path", [*STREAMS, "/api/v1/beads/{bead}/log"])
def test_who_finds_no_place_costs_the_ledger_nothing_and_holds_up_nobody(
    api: Api, path: str
) -> None:
    ledger, bead = api.ledger, api.file()
    api.app = make_app(ledger, followers=1)
    api.client = api.app.test_client()
    first = api.get(STREAMS[0])
    ledger.calls.clear()  # type: ignore[attr-defined]

    waits = set()
    for _ in range(MANY):
        refused = api.get(path.format(bead=bead["id"]), Accept="text/event-stream, text/plain")
        problem(refused, 429, "exhausted")
        waits.add(int(refused.headers["Retry-After"]))

    assert not ledger.calls  # type: ignore[attr-defined]
    assert FULL_S[0] <= min(waits) < max(waits) <= FULL_S[1], "not all come again together"
    assert api.get("/api/v1/beads").status_code == 200
    first.close()


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/v1/beads/bd-nowhere/log/stream", 404), ("/api/v1/events/stream?since=1-2", 422)],
)
def test_a_question_that_is_refused_keeps_no_place(api: Api, path: str, status: int) -> None:
    api.client = make_app(api.ledger, followers=1).test_client()
    for _ in range(3):
        assert api.get(path).status_code == status
    with closing(api.get(STREAMS[0])) as there:
        assert there.status_code == 200


def test_all_followers_have_threads_beside_those_of_everybody_else() -> None:
    settings = ControlSettings(token_sha256=digest(TOKEN), threads=5, followers=7)
    server = Server(settings, lambda: make_app(FakeLedger()))
    assert server.cfg.threads == 5 + 7


def test_fifty_followers_of_logs_cost_the_ledger_one_watcher_and_are_forgotten(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers_module, "WATCH_MS", 10)
    monkeypatch.setattr(followers_module, "LOOK_S", 0.001)
    beads = {api.file()["id"] for _ in range(2)}
    followers = Followers(api.ledger, MANY, heartbeat_s=0)
    before = watchers("log-watch")
    streams = [followers.follow(bead, 0, "") for bead in beads for _ in range(MANY // 2)]
    for stream in streams:
        next(stream)
        assert next(stream).startswith(b":"), "it waits"

    (watcher,) = watchers("log-watch") - before
    while beads not in api.ledger.known:  # type: ignore[attr-defined]
        next(streams[0])
    for stream in streams:
        stream.close()  # type: ignore[attr-defined]
    watcher.join(timeout=30)
    assert not watcher.is_alive(), "nobody follows, and nobody watches"
    assert not followers._watched


def test_fifty_followers_of_events_cost_the_ledger_one_watcher_and_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "WATCH_MS", 10)
    monkeypatch.setattr(feed_module, "LOOK_S", 0.001)
    ledger = Counting()
    feed = Feed(ledger, heartbeat_s=0)
    now = ledger.watch_events().place
    before = watchers("event-watch")
    streams = [feed.follow(EventFilter(), now) for _ in range(MANY)]
    for stream in streams:
        next(stream)
        assert next(stream).startswith(b":"), "it waits"

    (watcher,) = watchers("event-watch") - before
    for stream in streams:
        stream.close()  # type: ignore[attr-defined]
    watcher.join(timeout=30)
    assert not watcher.is_alive(), "nobody follows, and nobody watches"
    assert not feed._newest


def test_pages_that_refresh_take_turns_and_hold_up_no_request_of_the_api() -> None:
    app = Flask("pages")
    turns.install(app, at_once=1, patience_s=0.05)
    making, go_on = threading.Event(), threading.Event()

    @app.get("/page")
    def page() -> str:
        if request.headers.get("X-Fragment") == "first":
            making.set()
            assert go_on.wait(30)
        return "made"

    def refresh(which: str) -> int:
        return app.test_client().get("/page", headers={"X-Fragment": which}).status_code

    app.register_error_handler(Exhausted, lambda _: ("", 429))
    with ThreadPoolExecutor(1) as other:
        first = other.submit(refresh, "first")
        assert making.wait(30)
        assert refresh("second") == 429
        assert app.test_client().get("/page").status_code == 200, "it waits for no page"
        go_on.set()
        assert first.result() == 200
    assert [refresh("third") for _ in range(3)] == [200] * 3


def test_times_are_told_by_what_few_exceed() -> None:
    assert told(range(1, 101)) == {"count": 100, "p50": 50, "p95": 95, "p99": 99, "max": 100}
    assert told([]) == {"count": 0}
