"""What can be done to a bead on its page: edited, taken by hand, given back."""

from __future__ import annotations

from typing import Any

import pytest
from control_api import BEARER
from page_world import HOSTILE, Desk, Reader

from loom.control.pages.words import coded
from loom.domain.access import Role
from loom.domain.audit import Intervention


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk().fill()


def shown(desk: Desk, name: str, **headers: str) -> Reader:
    return desk.page(f"/beads/{desk.beads[name].id}", **headers)


def form_of(page: Reader) -> dict[str, str] | None:
    found = [each.attributes for each in page.all("form", data_act="PATCH")]
    return found[0] if found else None


def acts(page: Reader) -> set[str]:
    targets = (each.attributes.get("data-to", "") for each in page.all("button", data_act="POST"))
    return {target.rpartition("/")[2] for target in targets}


def test_a_bead_that_waits_can_be_edited_as_the_version_that_was_seen(desk: Desk) -> None:
    bead = desk.beads["open"]
    page = shown(desk, "open")
    form = form_of(page)
    assert form is not None
    assert form["data-if-match"] == f'"{bead.version}"'
    assert {"data-changed-only", "data-folds"} <= form.keys()
    named = {each.attributes.get("name"): each for each in page.elements}
    assert {"title", "description", "priority", "max_attempts", "blocked_by"} <= named.keys()
    assert named["title"].attributes["value"] == f"open {HOSTILE}"
    assert named["description"].text.strip() == HOSTILE


def test_an_edit_of_another_version_is_refused_as_one_that_came_too_late(desk: Desk) -> None:
    bead = desk.beads["open"]
    send: dict[str, Any] = {"json": {"priority": 0}}
    stale = desk.api.client.patch(
        f"/api/v1/beads/{bead.id}", headers=BEARER | {"If-Match": '"99"'}, **send
    )
    # static/js/conflict.js goes by this code, and shows the fields of this document.
    assert stale.status_code == 412
    now = desk.api.client.get(f"/api/v1/beads/{bead.id}", headers=BEARER).get_json()
    assert {"title", "description", "priority", "max_attempts", "blocked_by", "version"} <= {*now}


def test_only_what_is_open_or_blocked_can_be_edited_and_taken(desk: Desk) -> None:
    for name in ("open", "blocked"):
        assert form_of(shown(desk, name)), name
        assert "claim" in acts(shown(desk, name)), name
    for name in ("running", "good"):
        assert form_of(shown(desk, name)) is None, name
        assert "claim" not in acts(shown(desk, name)), name


def test_what_somebody_took_can_be_given_back() -> None:
    desk = Desk().fill()
    desk.api.ledger.assign_bead(desk.beads["open"].id, "mia", Intervention("mia", "by hand"))
    page = shown(desk, "open")
    assert "taken by mia" in page.words()
    assert {"release"} == acts(page) & {"claim", "release"}


def test_a_viewer_can_do_none_of_it(desk: Desk) -> None:
    page = shown(desk, "open", **desk.token(zoo=Role.VIEWER))
    assert form_of(page) is None
    assert acts(page) == set()


def test_a_command_in_a_sentence_is_set_as_one_and_stays_text() -> None:
    assert str(coded("see `loom status <b>` & wait")) == (
        "see <code>loom status &lt;b&gt;</code> &amp; wait"
    )
    assert str(coded("<i>")) == "&lt;i&gt;"
