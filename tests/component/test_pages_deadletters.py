"""The pages of dead letters."""

from __future__ import annotations

import pytest
from page_world import HOSTILE, Desk

from loom.control.pages.deadletters import body_text
from loom.domain.access import Role
from loom.domain.audit import Intervention

BY = Intervention("eve", "a test")


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk().fill()


def test_letters_are_shown_by_their_cause(desk: Desk) -> None:
    page = desk.page("/dead-letters")
    assert [row.attributes["id"] for row in page.all("tr", data_row="")] == ["row-f"]
    assert list(page.all("a", href="/dead-letters/groups/f"))
    assert not list(page.all("img"))


def test_filters_narrow_the_causes(desk: Desk) -> None:
    words = desk.page("/dead-letters?project=yard").words()
    assert "No dead letter passes these filters" in words
    assert list(desk.page("/dead-letters?project=odd&state=odd").all("tr", id="row-f"))


def test_without_a_letter_the_page_says_that_all_is_well() -> None:
    assert "There is no dead letter" in Desk().page("/dead-letters").words()


def test_a_letter_is_shown_with_all_that_is_known_of_it(desk: Desk) -> None:
    page = desk.page("/dead-letters/1")
    words = page.words()
    for told in ("malformed", "loom.tasks.zoo", "Headers", "x-death", desk.beads["blocked"].id):
        assert told in words
    assert any(HOSTILE in each.text for each in page.all("span"))
    assert not list(page.all("img"))


def test_a_letter_or_cause_that_is_not_there_is_not_found(desk: Desk) -> None:
    for path in ("/dead-letters/999", f"/dead-letters/{10**30}", "/dead-letters/groups/none"):
        assert desk.get(path).status_code == 404, path


def test_somebody_of_one_project_sees_no_letter_of_another(desk: Desk) -> None:
    other = desk.token(yard=Role.OPERATOR)
    assert not list(desk.page("/dead-letters", **other).all("tr", data_row=""))
    for path in ("/dead-letters/1", "/dead-letters/groups/f"):
        assert desk.get(path, **other).status_code == 404


def test_a_group_is_replayed_and_discarded_with_a_dry_run_unless_it_is_taken_back(
    desk: Desk,
) -> None:
    page = desk.page("/dead-letters/groups/f")
    forms = {form.attributes["data-to"] for form in page.all("form") if _acts(form)}
    group = "/api/v1/dead-letters/groups/f"
    assert forms == {f"{group}/replay", f"{group}/discard"}
    dry = [each for each in page.all("input") if each.attributes.get("name") == "dry_run"]
    assert len(dry) == 2
    assert all("checked" in each.attributes for each in dry)
    names = {each.attributes["name"] for each in page.all("input") if "name" in each.attributes}
    assert {"canary", "rate_per_s"} <= names


def test_the_progress_of_a_replay_is_shown() -> None:
    desk = Desk().fill()
    assert "has not been replayed" in desk.page("/dead-letters/groups/f").words()
    desk.api.ledger.replay_dead_letter_group("f", BY, canary=True)
    page = desk.page("/dead-letters/groups/f")
    assert list(page.all("progress"))
    assert "eve: a test" in page.words()


def test_a_letter_that_was_settled_says_by_whom_and_offers_nothing() -> None:
    desk = Desk().fill()
    desk.api.ledger.discard_dead_letter(1, BY)
    page = desk.page("/dead-letters/1")
    assert "by eve" in page.words()
    assert not [each for each in page.elements if _acts(each)]


def test_a_body_is_read_as_people_do() -> None:
    assert body_text(b'{"a":1}') == '{\n  "a": 1\n}'
    assert body_text(b"{") == "{"
    assert body_text(b"\xff\x00") == "ff 00"


def _acts(element: object) -> bool:
    return "data-act" in element.attributes  # type: ignore[attr-defined]
