"""Events over HTTP: listed, and followed without one lost or told twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from control_api import PROJECT, Api, make_app, problem
from flask import g
from hypothesis import given
from hypothesis import strategies as st

from loom.clients.eventstream import event_from_json, event_to_json
from loom.control import feed as feed_module
from loom.control.feed import Feed
from loom.domain.access import Principal, Role
from loom.domain.bead import NewBead
from loom.domain.event import START, EventFilter, EventLine, EventPage, Place
from loom.domain.project import Project
from loom.errors import Unavailable
from loom.testing.ledger import FakeLedger

ALL = EventFilter()
EVENTS = "/api/v1/events"


@pytest.fixture
def api() -> Api:
    made = Api()
    made.post("/api/v1/projects", PROJECT)
    made.post("/api/v1/projects", PROJECT | {"id": "barn"})
    return made


def told(frames: bytes) -> list[tuple[str, str, dict[str, Any] | None]]:
    """The id, the type and the document of each block, as a browser reads them."""
    found = []
    for block in frames.decode().split("\n\n"):
        words = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] != ":")
        if "id" in words:
            data = json.loads(words["data"]) if "data" in words else None
            found.append((words["id"], words.get("event", ""), data))
    return found


class Reader:
    """Reads a stream as a browser would, as far as it is asked to."""

    def __init__(self, feed: Feed, wants: EventFilter = ALL, place: Place = START) -> None:
        self.stream = feed.follow(wants, place)
        self.last = told(next(self.stream))[0][0]
        self.waiting: list[tuple[str, str, dict[str, Any] | None]] = []

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()  # type: ignore[attr-defined]

    def read(self, count: int) -> list[str]:
        """The ids of the next events; more may have arrived, and are lost with the connection."""
        found: list[str] = []
        while len(found) < count:
            if not self.waiting:
                self.waiting = told(next(self.stream))
            place, _, document = self.waiting.pop(0)
            self.last = place
            if document is not None:
                found.append(document["id"])
        return found


def ledger_of(*projects: str) -> FakeLedger:
    ledger = FakeLedger()
    for project in projects:
        ledger.create_project(Project(id=project, repository="/srv/x.git"), "corr")
    return ledger


def file(ledger: FakeLedger, project: str = "shop", count: int = 1) -> None:
    ledger.create_beads(project, [NewBead(f"bead {n}") for n in range(count)], "corr")


def journal(ledger: FakeLedger, wants: EventFilter = ALL) -> list[EventLine]:
    return list(ledger.watch_events(START, wants, 500).events)


# Lists.


def test_an_event_is_told_as_a_cloud_event(api: Api) -> None:
    bead = api.file(title="Mend the till")
    answer = api.get(f"{EVENTS}?type=bead.*")
    (event,) = answer.get_json()["events"]
    assert event["specversion"] == "1.0"
    assert (event["type"], event["subject"]) == ("bead.created", bead["id"])
    assert (event["source"], event["projectid"]) == ("/api/v1/projects/shop", "shop")
    assert event["data"]["title"] == "Mend the till"
    assert event["data"]["bead_id"] == bead["id"]
    assert event["correlationid"] == bead["correlation_id"]
    assert event["time"].endswith("Z")


def test_an_event_comes_back_as_it_was_told() -> None:
    ledger = ledger_of("shop")
    file(ledger)
    for event in journal(ledger):
        again = event_from_json(event_to_json(event))
        assert event_to_json(again) == event_to_json(event)


def test_a_list_begins_with_the_newest_and_goes_on_by_its_cursor(api: Api) -> None:
    api.file()
    api.file()
    first = api.get(f"{EVENTS}?limit=3").get_json()
    assert [e["type"] for e in first["events"]] == [
        "bead.created", "bead.created", "project.created"
    ]  # fmt: skip
    rest = api.get(f"{EVENTS}?limit=3&cursor={first['next_cursor']}").get_json()
    assert [e["type"] for e in rest["events"]] == ["project.created"]
    assert rest["next_cursor"] is None


def test_the_oldest_come_first_where_that_is_asked(api: Api) -> None:
    page = api.get(f"{EVENTS}?order=oldest&limit=1").get_json()
    assert page["events"][0]["data"]["name"] == "shop"
    rest = api.get(f"{EVENTS}?order=oldest&cursor={page['place']}").get_json()
    assert [e["projectid"] for e in rest["events"]] == ["barn"]


def test_a_list_takes_projects_a_bead_types_and_moments(api: Api) -> None:
    bead = api.file()
    both = api.get(f"{EVENTS}?project=shop&project=barn").get_json()["events"]
    assert len(both) == 3
    assert len(api.get(f"{EVENTS}?project=barn").get_json()["events"]) == 1
    assert len(api.get(f"{EVENTS}?bead={bead['id']}").get_json()["events"]) == 1
    assert len(api.get(f"{EVENTS}?type=project.created&type=agent.*").get_json()["events"]) == 2
    assert len(api.get(f"{EVENTS}?until=2020-01-01T00:00:00Z").get_json()["events"]) == 0
    assert len(api.get(f"{EVENTS}?since=2020-01-01T00:00:00Z").get_json()["events"]) == 3


@pytest.mark.parametrize(
    "query",
    ["type=bead", "type=nothing.*", "cursor=x", "order=up", "since=now", "limit=0", "project=A",
     "more=1"],
)  # fmt: skip
def test_a_list_refuses_what_means_nothing(steady: Api, query: str) -> None:
    problem(steady.get(f"{EVENTS}?{query}"), 422, "invalid")


@pytest.mark.parametrize("query", ["since=yesterday", "type=x", "since=1-2", "until=now"])
def test_a_stream_refuses_what_means_nothing(steady: Api, query: str) -> None:
    problem(steady.get(f"{EVENTS}/stream?{query}"), 422, "invalid")


def test_a_stream_refuses_an_id_that_no_event_had(api: Api) -> None:
    problem(api.get(f"{EVENTS}/stream", **{"Last-Event-ID": "17"}), 422, "invalid")


def test_who_may_see_one_project_sees_its_events_alone(api: Api) -> None:
    api.file()
    one = Principal("eve", projects={"barn": Role.VIEWER})
    for query, expected in (("", {"barn"}), ("?project=shop", set()), ("?project=barn", {"barn"})):
        with api.app.test_request_context(f"{EVENTS}{query}"):
            g.principal = one
            page = api.app.view_functions["events.list_all"]().get_json()
            assert {event["projectid"] for event in page["events"]} == expected
    with api.app.test_request_context(f"{EVENTS}/stream?since=start"):
        g.principal = one
        stream = api.app.view_functions["events.stream"]()
        with closing(stream.response) as frames:
            next(frames)
            assert [data["projectid"] for _, _, data in told(next(frames)) if data] == ["barn"]
        stream.close()


# Streams.


def test_a_stream_begins_now_and_tells_what_comes_after(api: Api) -> None:
    answer = api.get(f"{EVENTS}/stream")
    assert answer.mimetype == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-store"
    frames: Iterator[bytes] = iter(answer.response)  # type: ignore[arg-type]
    ((place, kind, data),) = told(next(frames))
    assert (kind, data) == ("", None)
    bead = api.file()
    ((after, kind, data),) = told(next(frames))
    assert data is not None
    assert (kind, data["subject"]) == ("bead.created", bead["id"])
    assert Place.parse(after) > Place.parse(place)
    answer.close()


def test_a_stream_goes_on_after_the_last_id(api: Api) -> None:
    api.file()
    events = api.get(f"{EVENTS}?order=oldest").get_json()["events"]
    answer = api.get(f"{EVENTS}/stream?since=start", **{"Last-Event-ID": events[0]["place"]})
    frames: Iterator[bytes] = iter(answer.response)  # type: ignore[arg-type]
    next(frames)
    assert [data["id"] for _, _, data in told(next(frames)) if data] == [
        event["id"] for event in events[1:]
    ]
    answer.close()


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("file"), st.sampled_from(["shop", "barn"]), st.integers(1, 5)),
        st.tuples(st.just("read"), st.just(""), st.integers(1, 5)),
        st.tuples(st.just("cut"), st.just(""), st.just(0)),
    ),
    max_size=12,
)


@given(
    STEPS, st.sampled_from([ALL, EventFilter(frozenset({"shop"})), EventFilter(types=("bead.*",))])
)
def test_cut_off_as_often_as_it_may_be_a_reader_gets_every_event_once(
    steps: list[tuple[str, str, int]], wants: EventFilter
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed_module, "KEPT", 4)
        patch.setattr(feed_module, "PIECE", 3)
        ledger = ledger_of("shop", "barn")
        stopping = threading.Event()
        feed = Feed(ledger, stopping)
        got: list[str] = []
        reader = Reader(feed, wants)
        for what, project, count in steps:
            if what == "file":
                file(ledger, project, count)
            elif what == "read":
                got += reader.read(min(count, len(journal(ledger, wants)) - len(got)))
            else:
                reader.__exit__()
                reader = Reader(feed, wants, Place.parse(reader.last))
        expected = [event.id for event in journal(ledger, wants)]
        got += reader.read(len(expected) - len(got))
        reader.__exit__()
        stopping.set()
    assert got == expected


class Counting(FakeLedger):
    """Counts who waits, and is away when told to be."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = self.reads = 0
        self.counting = threading.Lock()
        self.away = False

    def watch_events(
        self, place: Place | None = None, wants: EventFilter = ALL, limit: int = 0,
        wait_ms: int = 0,
    ) -> EventPage:  # fmt: skip
        with self.counting:
            self.waits += bool(wait_ms)
            self.reads += 1
        if self.away:
            raise Unavailable("it is away")
        return super().watch_events(place, wants, limit, wait_ms)


def test_fifty_followers_cost_the_ledger_what_one_does() -> None:
    ledger = Counting()
    ledger.create_project(Project(id="shop", repository="/srv/x.git"), "corr")
    stopping = threading.Event()
    feed = Feed(ledger, stopping)
    now = ledger.watch_events().place
    readers = [Reader(feed, place=now) for _ in range(50)]
    file(ledger)
    assert len({reader.read(1)[0] for reader in readers}) == 1
    # Once the watcher has begun, whoever is up to date reads what is new from it.
    for _ in range(20):
        reads, waits = ledger.reads, ledger.waits
        file(ledger, count=3)
        assert len({tuple(reader.read(3)) for reader in readers}) == 1
        if ledger.reads - reads == ledger.waits - waits <= 5:
            break
    else:
        pytest.fail("each follower asks the ledger itself")
    for reader in readers:
        reader.__exit__()
    stopping.set()


def test_a_reader_that_takes_nothing_holds_up_nobody_and_misses_nothing() -> None:
    ledger = ledger_of("shop")
    stopping = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed_module, "KEPT", 10)
        feed = Feed(ledger, stopping)
        with Reader(feed) as stalled, Reader(feed) as quick:
            for _ in range(10):
                file(ledger, count=5)
                quick.read(5)
            quick.read(1)
            assert stalled.read(51) == [event.id for event in journal(ledger)]
    stopping.set()


def test_a_quiet_stream_gives_signs_of_life_with_its_place() -> None:
    ledger = ledger_of("shop")
    stopping = threading.Event()
    feed = Feed(ledger, stopping, heartbeat_s=0)
    wants = EventFilter(types=("agent.*",))
    stream = feed.follow(wants, START)
    next(stream)
    assert next(stream).startswith(b": still here")
    file(ledger)
    newest = str(journal(ledger)[-1].place)
    for frames in stream:
        ((place, kind, data),) = told(frames)
        assert (kind, data) == ("", None)
        if place == newest:
            break
    stopping.set()


def test_a_stream_outlives_a_ledger_that_is_away() -> None:
    ledger = Counting()
    ledger.create_project(Project(id="shop", repository="/srv/x.git"), "corr")
    stopping = threading.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed_module, "AGAIN_S", 0.01)
        ledger.away = True
        stream = Feed(ledger, stopping).follow(ALL, START)
        next(stream)
        assert next(stream) == b": the ledger is away\n\n"
        ledger.away = False
        frames = next(each for each in stream if not each.startswith(b":"))
    assert [kind for _, kind, _ in told(frames)] == ["project.created"]
    stopping.set()


def test_a_stream_ends_when_its_reader_leaves_when_loom_stops_and_after_its_time() -> None:
    ledger = ledger_of("shop")
    stopping = threading.Event()
    now = ledger.watch_events().place
    assert len(list(Feed(ledger, stopping).follow(ALL, now, gone=lambda: True))) == 1
    assert len(list(Feed(ledger, stopping, longest_s=0).follow(ALL, START))) == 2
    stopping.set()
    assert len(list(Feed(ledger, stopping).follow(ALL, now))) == 1


def test_places_for_followers_are_bounded_and_given_back(api: Api) -> None:
    api.app = make_app(api.ledger, followers=1)
    api.client = api.app.test_client()
    first = api.get(f"{EVENTS}/stream?since=start")
    problem(api.get(f"{EVENTS}/stream?since=start"), 429, "exhausted")
    first.close()
    api.get(f"{EVENTS}/stream?since=start").close()
