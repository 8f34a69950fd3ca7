"""The page of queues."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from control_api import TOKEN, Api
from page_world import Desk

from loom.control.app import create_app
from loom.control.pages import Links
from loom.domain.access import Role
from loom.domain.reconciliation import Depth
from loom.rpc.callers import digest
from loom.settings import ControlSettings


def _read(names: Sequence[str]) -> tuple[Depth, ...]:
    gone = "loom.dead.yard"
    return tuple(Depth(name, 4321, 12, missing=name == gone) for name in names)


@pytest.fixture(scope="module")
def desk() -> Desk:
    api = Api()
    settings = ControlSettings(token_sha256=digest(TOKEN))
    links = Links(broker="http://broker.test/", vhost="a/b")
    api.app = create_app(api.ledger, settings, read_depths=_read, links=links)
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
    assert rows == ["row-yard"]
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
