"""The pages of projects."""

from __future__ import annotations

import json

import pytest
from page_world import HOSTILE, Desk

from loom.control.requests.projects import ProjectPatch
from loom.domain.access import Role
from loom.domain.audit import Intervention
from loom.domain.project import Project, ProjectChange, ProjectState
from loom.domain.rulebook import LimitsIn, RulesIn


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk().fill()


def _own(state: ProjectState, **more: int) -> Desk:
    desk = Desk()
    desk.api.ledger.create_project(Project("zoo", "/srv/zoo.git", state=state, **more), "c")
    return desk


def test_a_project_is_listed_with_its_numbers(desk: Desk) -> None:
    page = desk.page("/projects")
    rows = [row.attributes["id"] for row in page.all("tr", data_row="")]
    assert rows == ["row-yard", "row-zoo"]
    assert list(page.all("a", href="/projects/new"))


def test_without_a_project_the_page_says_how_to_make_one() -> None:
    page = Desk().page("/projects")
    assert "There is no project" in page.words()
    assert list(page.all("a", href="/projects/new"))


def test_a_bead_can_be_filed_in_a_project_that_was_made_just_now() -> None:
    desk = Desk()
    assert "There is no project" in desk.page("/beads/new").words()
    desk.api.ledger.create_project(Project("zoo", "/srv/zoo.git"), "c")
    assert "There is no project" not in desk.page("/beads/new").words()


def test_only_an_admin_of_everything_is_shown_how_to_make_a_project(desk: Desk) -> None:
    some = desk.token(zoo=Role.ADMIN)
    assert not list(desk.page("/projects", **some).all("a", href="/projects/new"))
    assert desk.get("/projects/new", **some).status_code == 403


def test_somebody_of_one_project_sees_no_other(desk: Desk) -> None:
    other = desk.token(yard=Role.VIEWER)
    assert "zoo" not in desk.page("/projects", **other).words()
    assert "zoo" not in desk.page("/projects/yard", **other).words()
    assert desk.get("/projects/zoo", **other).status_code == 404


def test_what_others_wrote_of_a_project_is_text(desk: Desk) -> None:
    page = desk.page("/projects/zoo")
    assert HOSTILE[:50] in next(each.text for each in page.all("h1"))
    assert not list(page.all("img"))


def test_the_steps_of_the_last_attempt_are_shown_with_their_evidence(desk: Desk) -> None:
    page = desk.page("/projects/zoo")
    words = page.words()
    assert "What its last attempt ran" in words
    assert "pytest" in words
    assert "The evidence" in words
    assert "No bead of it has ended yet" in desk.page("/projects/yard").words()


@pytest.mark.parametrize(
    ("state", "told", "verbs"),
    [
        (ProjectState.ACTIVE, "No agent works for it", {"drain", "pause", "close"}),
        (ProjectState.PAUSED, "It is paused", {"resume", "drain", "close"}),
        (ProjectState.DRAINING, "It is draining", {"resume", "pause", "close"}),
        (ProjectState.CLOSED, "It is closed", {"reopen"}),
    ],
)
def test_a_project_says_why_it_stands_still_and_offers_what_can_be_done(
    state: ProjectState, told: str, verbs: set[str]
) -> None:
    page = _own(state).page("/projects/zoo")
    assert told in page.words()
    asked = [each for each in page.all("button") if "data-reason" in each.attributes]
    assert {each.attributes["data-to"].rpartition("/")[2] for each in asked} == verbs


def test_an_operator_may_pause_and_neither_close_nor_set(desk: Desk) -> None:
    page = desk.page("/projects/zoo", **desk.token(zoo=Role.OPERATOR))
    targets = {each.attributes.get("data-to", "") for each in page.elements}
    assert "/api/v1/projects/zoo/pause" in targets
    assert "/api/v1/projects/zoo/close" not in targets
    assert not list(page.all("form", id="settings"))


def test_the_settings_are_meant_for_the_version_that_is_shown() -> None:
    desk = _own(ProjectState.ACTIVE, max_in_progress=7)
    for name in ("first", "second"):
        recipe = {"recipe": {"detect": []}} if name == "second" else {}
        change = ProjectChange(name=name, rules=recipe or None)
        desk.api.ledger.update_project("zoo", change, "c", by=Intervention("eve", "a test"))
    page = desk.page("/projects/zoo")
    (form,) = page.all("form", id="settings")
    etag = desk.api.get("/api/v1/projects/zoo").headers["ETag"]
    assert form.attributes["data-if-match"] == etag
    (cap,) = [e for e in page.all("input") if e.attributes.get("name") == "max_in_progress"]
    assert cap.attributes["value"] == "7"
    (shown,) = page.all("textarea", data_type="json")
    assert json.loads(shown.text) == {"detect": []}


def test_every_setting_that_the_api_takes_is_in_the_form(desk: Desk) -> None:
    page = desk.page("/projects/zoo")
    (form,) = page.all("form", data_to="/api/v1/projects/zoo")
    assert form.attributes["data-if-match"] == '"1"'
    named = {each.attributes.get("name") for each in page.elements}
    wanted = {*ProjectPatch.model_fields} - {"state", "rules"}
    wanted |= {f"rules.{name}" for name in RulesIn.model_fields if name != "limits"}
    wanted |= {f"rules.limits.{name}" for name in LimitsIn.model_fields}
    assert wanted <= named
