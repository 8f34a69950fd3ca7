"""The page of queues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from control_api import BEARER, TOKEN, Api
from page_world import Desk

from loom.broker.state import node_of, traffic_of
from loom.control.app import create_app
from loom.control.pages import Links
from loom.control.pages.queues import odd
from loom.domain.access import Role
from loom.domain.broker import BrokerState, Node, Traffic
from loom.domain.presence import AgentState
from loom.domain.reconciliation import Depth
from loom.rpc.callers import digest
from loom.settings import ControlSettings


def _read(names: Sequence[str]) -> tuple[Depth, ...]:
    gone = "loom.dead.yard"
    return tuple(Depth(name, 4321, 12, missing=name == gone) for name in names)


BROKER = BrokerState(
    (
        Node("a@host", memory_alarm=True, memory_used=2**32, memory_limit=2**31, disk_limit=1),
        Node("b@host", running=False),
    ),
    {
        "loom.tasks.zoo": Traffic("loom.tasks.zoo", 2, 3.25, 1.0, 1.0, online=1, members=3),
        "loom.tasks.yard": Traffic("loom.tasks.yard", 0),
        "loom.results": Traffic("loom.results", 1),
        "amq.gen": Traffic("amq.gen", 1),
    },
)


@pytest.fixture(scope="module")
def desk() -> Desk:
    api = Api()
    settings = ControlSettings(token_sha256=digest(TOKEN))
    links = Links(broker="http://broker.test/", vhost="a/b")
    api.app = create_app(
        api.ledger, settings, read_depths=_read, links=links, look_at_broker=lambda: BROKER
    )
    api.client = api.app.test_client()
    return Desk(api).fill()


def test_every_queue_is_shown_with_what_stands_in_it(desk: Desk) -> None:
    page = desk.page("/queues")
    rows = {row.attributes["id"] for row in page.all("tr", data_row="")}
    assert {"row-zoo", "row-yard", "row-loom.results", "row-loom.unrouted"} <= rows
    assert "4 321" in page.words()


def test_a_missing_queue_is_named(desk: Desk) -> None:
    assert "Missing: loom.dead.yard" in desk.page("/queues").words()


def test_a_queue_leads_to_its_page_at_the_broker(desk: Desk) -> None:
    where = "http://broker.test/#/queues/a%2Fb/loom.tasks.zoo"
    assert list(desk.page("/queues").all("a", href=where))


def test_somebody_of_one_project_sees_its_queues_alone_and_cannot_compare(desk: Desk) -> None:
    page = desk.page("/queues", **desk.token(yard=Role.OPERATOR))
    rows = [row.attributes["id"] for row in page.all("tr", data_row="")]
    assert rows == ["row-yard", "row-a@host", "row-b@host"]
    assert "zoo" not in page.words()
    assert not list(page.all("button", data_to="/api/v1/reconcile"))


def test_comparing_and_repairing_are_offered_with_a_place_for_the_answer(desk: Desk) -> None:
    page = desk.page("/queues")
    asked = list(page.all("button", data_to="/api/v1/reconcile"))
    assert [each.attributes["data-body"] for each in asked] == ["{}", '{"repair": true}']
    for each in asked:
        (place,) = page.all(id=each.attributes["data-answer"])
        assert "data-live" not in place.attributes


def test_nobody_says_how_deep_the_queues_are_without_a_broker() -> None:
    page = Desk().page("/queues")
    assert "Nobody says how deep the queues are" in page.words()
    assert "There is no project, so no queue" in page.words()


def test_an_alarm_of_the_broker_stands_on_every_page_that_tells_of_it(desk: Desk) -> None:
    for path in ("/", "/queues", "/services"):
        words = desk.page(path).words()
        assert "RabbitMQ is short of memory on a@host" in words, path
        assert "RabbitMQ's node b@host is down" in words, path
    assert "Every part answers" not in desk.page("/services").words()


def test_the_broker_tells_of_nodes_consumers_and_rates(desk: Desk) -> None:
    page = desk.page("/queues")
    ill = "Queue loom.tasks.zoo is short of replicas"
    for told in ("memory alarm", "4.0 GiB", "of 2.0 GiB", "3.2", ill):
        assert told in page.words(), told


def test_more_consumers_than_agents_is_explained(desk: Desk) -> None:
    words = desk.page("/queues").words()
    assert "2 consumers of zoo, 1 agent known" in words
    assert "Somebody takes beads of it whom Loom does not know" in words
    assert "0 consumers of yard" not in words


def test_fewer_consumers_than_working_agents_is_explained(desk: Desk) -> None:
    (agent,) = desk.api.ledger.list_agents().items
    assert "connecting anew" in odd(Traffic("q", 0), [agent])
    assert odd(Traffic("q", 1), [agent]) == odd(None, [agent]) == odd(Traffic("q"), [agent]) == ""
    draining = replace(agent, state=AgentState.DRAINING)
    assert odd(Traffic("q", 0), [draining]) == odd(Traffic("q", 1), [draining]) == ""


def test_the_api_tells_of_the_broker_what_the_page_does(desk: Desk) -> None:
    told = desk.api.client.get("/api/v1/broker", headers=BEARER).get_json()
    assert told["why"] == ""
    assert [node["troubles"] for node in told["nodes"]] == [["memory"], ["down"]]
    assert [each["queue"] for each in told["queues"]] == [
        "loom.results", "loom.tasks.yard", "loom.tasks.zoo",
    ]  # fmt: skip
    mine = desk.token(yard=Role.VIEWER)
    theirs = desk.api.client.get("/api/v1/broker", headers=mine).get_json()
    assert [each["queue"] for each in theirs["queues"]] == ["loom.tasks.yard"]


def test_without_a_management_api_both_say_what_is_missing() -> None:
    desk = Desk()
    told = desk.api.client.get("/api/v1/broker", headers=BEARER).get_json()
    assert "LOOM_BROKER_MANAGEMENT_URL" in told["why"]
    assert told["nodes"] == told["queues"] == []


def test_rows_of_the_management_are_read_whole_or_not() -> None:
    row = {
        "name": "q", "state": "running", "leader": "a@host", "online": ["a"], "members": ["a", "b"],
        "consumers": 2, "message_stats": {"publish_details": {"rate": 1.5}},
    }  # fmt: skip
    assert traffic_of(row) == Traffic("q", 2, 1.5, None, None, "running", "a@host", 1, 2)
    assert traffic_of({"name": "q"}) == Traffic("q")
    full = {
        "name": "a@host", "running": True, "mem_alarm": True, "disk_free_alarm": True,
        "partitions": ["b@host"], "mem_used": 1, "mem_limit": 2, "disk_free": 3,
        "disk_free_limit": "{mem_relative,1.0}", "sockets_used": 4, "uptime": 5000,
    }  # fmt: skip
    node = node_of(full)
    assert [each.value for each in node.troubles] == ["memory", "disk", "partition"]
    assert (node.disk_limit, node.up_s) == (0, 5.0)
    assert [each.value for each in node_of({"name": "b"}).troubles] == ["down"]
