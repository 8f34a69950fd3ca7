"""The pages of services, of events, of the audit trail and of access."""

from __future__ import annotations

import pytest
from page_world import Desk

from loom.control.pages import Links
from loom.domain.access import Role


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk().fill()


def test_every_service_is_shown_with_what_it_does(desk: Desk) -> None:
    page = desk.page("/services")
    rows = {row.attributes["id"] for row in page.all("tr", data_row="")}
    assert {"row-control", "row-dispatcher", "row-ingester", "row-engine", "row-broker"} <= rows
    assert "carries what the ledger owes" in page.words()


def test_a_part_that_is_away_is_named_with_what_that_means(desk: Desk) -> None:
    page = desk.page("/services")
    assert "broker is not well" in page.words()
    assert "nothing is handed out until it is back" in page.words()


def test_events_are_shown_newest_first_with_their_beads(desk: Desk) -> None:
    page = desk.page("/events")
    assert "bead.created" in page.words()
    assert any(a.attributes["href"].startswith("/beads/bd-") for a in page.all("a"))


def test_events_are_filtered_by_what_they_are_of(desk: Desk) -> None:
    words = desk.page("/events?kind=project").words()
    assert "project.created" in words
    assert "bead.created" not in words


def test_somebody_of_one_project_sees_its_events_alone(desk: Desk) -> None:
    mine = desk.token(yard=Role.VIEWER)
    assert "zoo" not in desk.page("/events", **mine).words()
    assert desk.get("/events?project=zoo", **mine).status_code == 404


def test_a_filter_that_cannot_be_filters_nothing(desk: Desk) -> None:
    assert "bead.created" in desk.page("/events?bead=%00&kind=none&cursor=x").words()


def test_the_trail_tells_who_did_what_and_why(desk: Desk) -> None:
    page = desk.page("/audit")
    assert list(page.all("tr", data_row=""))
    assert list(page.all("button", data_to="/api/v1/audit/verify"))
    assert list(page.all("a", href="/api/v1/audit/export"))


def test_the_trail_is_filtered_by_the_act(desk: Desk) -> None:
    assert "No line passes these filters" in desk.page("/audit?action=no.such").words()


def test_the_trail_is_filtered_by_what_was_acted_on(desk: Desk) -> None:
    desk.token(yard=Role.VIEWER)
    words = desk.page("/audit?of=access").words()
    assert "token.create" in words
    assert "bead.cancel" not in words
    assert "bead.cancel" in desk.page("/audit?of=beads").words()
    assert "bead.cancel" in desk.page("/audit?action=bead.*").words()
    assert "bead.cancel" in desk.page("/audit?of=odd").words()


def test_the_overview_shows_what_happened_lately_to_whoever_may_see_it(desk: Desk) -> None:
    page = desk.page("/")
    assert list(page.all("a", href="/events"))
    assert len([each for each in page.all("li") if "event-" in each.attributes.get("id", "")]) == 8
    assert "zoo" not in desk.page("/", **desk.token(yard=Role.VIEWER)).words()


def test_a_part_of_loom_leads_to_its_own_page_in_flower_and_rabbitmq() -> None:
    links = Links("http://flower.test/", "http://broker.test", "loom")
    assert links.worker("agent-zoo@one") == "http://flower.test/worker/agent-zoo%40one"
    assert links.task("bd-1") == "http://flower.test/task/bd-1"
    assert links.queue("loom.tasks.zoo") == "http://broker.test/#/queues/loom/loom.tasks.zoo"
    assert (Links().worker("a"), Links().task("b"), Links().queue("c")) == ("", "", "")


def test_access_shows_people_and_tokens_with_their_roles(desk: Desk) -> None:
    desk.token(yard=Role.OPERATOR)
    page = desk.page("/access")
    assert "operator in yard" in page.words()
    assert any(
        each.attributes.get("data-to", "").endswith("/revoke") for each in page.all("button")
    )


def test_access_is_for_admins_of_everything(desk: Desk) -> None:
    for roles in ({"role": Role.OPERATOR}, {"yard": Role.ADMIN}):
        assert desk.get("/access", **desk.token(**roles)).status_code == 403


def test_a_program_is_told_that_it_has_no_login(desk: Desk) -> None:
    page = desk.page("/me", **desk.token(yard=Role.VIEWER))
    assert "viewer in yard" in page.words()
    assert "You came with a token" in page.words()
