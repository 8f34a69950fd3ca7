"""The admin pages: what stands on them, and what never does."""

from __future__ import annotations

import json
import re
from urllib.parse import unquote, urlsplit

import pytest
from control_api import BEARER
from page_world import HOSTILE, Desk, Reader
from werkzeug.exceptions import HTTPException

from loom.control import operation
from loom.control.pages import assets, beads, menu
from loom.domain.access import Role
from loom.domain.project import Project
from loom.errors import Unavailable

OWN = "/static/"
EVENT_HANDLER = re.compile(r"on[a-z]+")


@pytest.fixture(scope="module")
def desk() -> Desk:
    return Desk().fill()


@pytest.fixture(scope="module")
def pages(desk: Desk) -> dict[str, Reader]:
    return {path: desk.page(path) for path in desk.paths()}


# What never stands on a page.


def test_no_page_has_a_script_or_style_within_it(pages: dict[str, Reader]) -> None:
    for path, page in pages.items():
        for element in page.elements:
            assert element.name != "style", path
            assert "style" not in element.attributes, (path, element)
            assert element.name != "script" or element.attributes["src"].startswith(OWN), path
            handlers = [name for name in element.attributes if EVENT_HANDLER.fullmatch(name)]
            assert not handlers, (path, element)


def test_no_page_loads_anything_from_elsewhere(pages: dict[str, Reader]) -> None:
    for path, page in pages.items():
        for element in page.elements:
            loaded = [element.attributes.get(name, "") for name in ("src", "srcset", "data-icons")]
            if element.name in {"link", "use", "image"}:
                loaded.append(element.attributes.get("href", ""))
            for address in filter(None, loaded):
                assert address.startswith(OWN), (path, element)


def test_what_others_wrote_is_text_and_nothing_else(pages: dict[str, Reader], desk: Desk) -> None:
    for path, page in pages.items():
        assert not list(page.all("img")), path
        # What HOSTILE would end in, if a template had worked it out.
        assert "`49" not in page.words(), path
    good = pages[f"/beads/{desk.beads['good'].id}"]
    assert HOSTILE in next(page.text for page in good.all("h1"))
    assert any(HOSTILE in each.text for each in good.all("pre"))


def test_every_id_on_a_page_is_there_once(pages: dict[str, Reader]) -> None:
    for path, page in pages.items():
        ids = [each.attributes["id"] for each in page.elements if "id" in each.attributes]
        assert sorted(ids) == sorted(set(ids)), path


def test_every_answer_forbids_what_is_inline_and_from_elsewhere(desk: Desk) -> None:
    policy = desk.get("/").headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


# What every page keeps.


def test_every_field_and_button_has_a_name(pages: dict[str, Reader]) -> None:
    for path, page in pages.items():
        for element in page.all("button"):
            index = page.elements.index(element)
            inner = "".join(each.text for each in page.elements[index : index + 4])
            assert inner.strip() or element.attributes.get("aria-label"), (path, element)


def test_every_action_is_one_that_the_api_takes(pages: dict[str, Reader], desk: Desk) -> None:
    app = desk.api.app
    found = set()
    for page in pages.values():
        for element in page.elements:
            told = element.attributes
            if "data-act" in told:
                filled = told["data-to"].replace("{id}", "bd-1").replace("{project}", "zoo")
                found.add((told["data-act"], filled))
            json.loads(told.get("data-body", "{}"))
    assert len(found) >= 5
    for method, path in found:
        try:
            endpoint, _ = app.url_map.bind("").match(path, method)
        except HTTPException as error:
            raise AssertionError(f"{method} {path}") from error
        declared = operation.of(app.view_functions[endpoint])
        assert declared is not None
        assert not declared.page, f"{method} {path} is no route of the API"


def test_every_act_on_many_is_one_that_the_api_takes(desk: Desk) -> None:
    page = desk.page("/beads?view=table")
    told = [each.attributes for each in page.all("button") if "data-bulk-act" in each.attributes]
    assert {each["data-bulk-act"] for each in told} == {"cancel", "unblock", "priority"}
    ids = [each.attributes["value"] for each in page.all("input", data_choose="")]
    for each in told:
        body = json.loads(each.get("data-body", "{}")) | {"act": each["data-bulk-act"], "ids": ids}
        asked = body | {"reason": each["data-reason"], "dry_run": True}
        answer = desk.api.client.post("/api/v1/beads/bulk", json=asked, headers=BEARER)
        assert answer.status_code == 200, answer.text


def test_somebody_chooses_beads_of_the_projects_that_they_steer_alone(desk: Desk) -> None:
    who = desk.token(yard=Role.OPERATOR, zoo=Role.VIEWER)
    page = desk.page("/beads?view=table", **who)
    assert list(page.all("button", data_bulk_act="cancel"))
    assert not list(page.all("input", data_choose=""))


def test_all_that_match_are_asked_for_as_the_api_takes_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beads, "ROWS", 1)
    path = "/beads?view=table&find=o&project=zoo&priority=2&state=odd"
    (button,) = [
        each for each in desk.page(path).all("button") if "data-bulk-further" in each.attributes
    ]
    query = button.attributes["data-bulk-further"]
    assert query == "project=zoo&priority=2&q=o"
    answer = desk.api.client.get(f"/api/v1/beads?{query}", headers=BEARER)
    assert answer.status_code == 200


def test_every_link_within_the_pages_leads_somewhere(pages: dict[str, Reader], desk: Desk) -> None:
    adapter = desk.api.app.url_map.bind("")
    for path, page in pages.items():
        for element in page.all("a"):
            where = urlsplit(element.attributes.get("href", "/")).path or urlsplit(path).path
            assert adapter.test(unquote(where), "GET"), f"{path} leads to {where}"


def test_the_files_that_pages_name_are_there(pages: dict[str, Reader], desk: Desk) -> None:
    named = {
        element.attributes.get(name, "").partition("#")[0]
        for page in pages.values()
        for element in page.elements
        for name in ("src", "href")
        if element.attributes.get(name, "").startswith(OWN)
    }
    assert len(named) > 5
    for path in named:
        answer = desk.get(path)
        assert answer.status_code == 200, path
        assert "immutable" in answer.headers["Cache-Control"]
        answer.close()


def test_every_icon_on_a_page_is_in_the_sprite(pages: dict[str, Reader]) -> None:
    sprite = (assets.ROOT / "icons.svg").read_text()
    known = set(re.findall(r'<symbol id="([^"]+)"', sprite))
    used = {
        each.attributes["href"].partition("#")[2]
        for page in pages.values()
        for each in page.all("use")
        if "icons.svg" in each.attributes["href"]
    }
    assert used <= known


def test_every_module_names_modules_that_are_there() -> None:
    folder = assets.ROOT / "js"
    for module in folder.glob("*.js"):
        text = module.read_text()
        for name in re.findall(r'(?:from|import)\s+"\./([^"]+)"', text):
            assert (folder / name).is_file(), f"{module.name} imports {name}"
        assert "innerHTML" not in text, module.name
        assert "eval(" not in text, module.name


def test_a_page_asks_only_for_modules_that_are_there(pages: dict[str, Reader]) -> None:
    for page in pages.values():
        for element in page.elements:
            for name in element.attributes.get("data-modules", "").split():
                assert (assets.ROOT / "js" / f"{name}.js").is_file()


# Browsers and programs, whole pages and parts.


def test_a_browser_gets_the_overview_and_a_program_the_index(desk: Desk) -> None:
    assert desk.get("/").mimetype == "text/html"
    assert desk.get("/", Accept="application/json").get_json()["service"] == "loom"
    assert desk.get("/", Accept="*/*").mimetype == "application/json"


def test_a_page_that_refreshes_itself_gets_what_is_within_its_frame(desk: Desk) -> None:
    headers = {"X-Fragment": "main"}
    part = desk.get("/beads", **headers)
    assert "<html" not in part.text
    assert 'id="board"' in part.text
    again = desk.get("/beads", **headers, **{"If-None-Match": part.headers["ETag"]})
    assert again.status_code == 304


def test_what_is_live_is_in_the_whole_page_and_in_the_part(desk: Desk) -> None:
    for path in desk.paths():
        whole = {each.attributes["id"] for each in _live(desk.page(path))}
        part = Reader(f"<main>{desk.get(path, **{'X-Fragment': 'main'}).text}</main>")
        assert whole == {each.attributes["id"] for each in _live(part)}, path


def test_a_bead_that_moves_on_has_the_same_live_parts(desk: Desk) -> None:
    shown = [desk.page(f"/beads/{desk.beads[name].id}") for name in ("open", "running", "bad")]
    ids = [[each.attributes["id"] for each in _live(page)] for page in shown]
    assert ids[0] == ids[1] == ids[2]


def test_a_page_that_is_not_there_says_so_to_whoever_asks(desk: Desk) -> None:
    for path in ("/nowhere", "/beads/bd-nobody"):
        answer = desk.get(path)
        assert (answer.status_code, answer.mimetype) == (404, "text/html")
        page = Reader(answer.text)
        assert answer.headers["X-Correlation-Id"] in page.words()
        assert not list(page.all(data_again=""))
    assert desk.get("/nowhere", Accept="application/json").mimetype == "application/problem+json"
    assert desk.get("/api/v1/nowhere").mimetype == "application/problem+json"


def test_a_page_comes_back_by_itself_when_the_ledger_is_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    desk = Desk()

    def away(*_: object, **__: object) -> None:
        raise Unavailable("the database service does not answer")

    monkeypatch.setattr(desk.api.ledger, "flow", away)
    answer = desk.get("/")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    page = Reader(answer.text)
    assert "the database service does not answer" in page.words()
    assert list(page.all(data_again=""))


def test_an_old_address_of_a_static_file_gives_the_file_of_today(desk: Desk) -> None:
    answer = desk.get("/static/0123456789ab/loom.css")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-cache"
    answer.close()
    assert desk.get(f"/static/{assets.version()}/../app.py").status_code == 404


def test_the_menu_leads_to_pages_that_are_there(desk: Desk) -> None:
    entries = [entry for group in menu.shown(desk.api.app) for entry in group.entries]
    assert {"Overview", "Beads"} <= {entry.name for entry in entries}
    for entry in entries:
        assert desk.get(entry.path).status_code == 200
    every = [entry for group in menu.GROUPS for entry in group.entries]
    assert len({entry.key for entry in every}) == len(every)


def test_one_entry_of_the_menu_is_where_one_is(desk: Desk) -> None:
    for path, entry in (("/events", "/events"), ("/events/webhooks", "/events/webhooks")):
        here = [each for each in desk.page(path).all("a", aria_current="page") if _key(each)]
        assert [each.attributes["href"] for each in here] == [entry]


def test_the_menu_leads_nobody_to_a_page_that_refuses_them(desk: Desk) -> None:
    for role in Role:
        who = desk.token(role)
        for link in desk.page("/", **who).all("a"):
            if _key(link):
                path = link.attributes["href"]
                assert desk.get(path, **who).status_code == 200, (role, path)


# Who may see and do what.


def test_a_viewer_sees_everything_and_no_action(desk: Desk) -> None:
    viewer = desk.token(Role.VIEWER)
    for path in desk.paths():
        if path.endswith(("/new", "/access")) or path.startswith("/events/webhooks"):
            assert desk.get(path, **viewer).status_code == 403
            continue
        page = desk.page(path, **viewer)
        for name in ("data-act", "data-bulk-act", "data-choose"):
            assert not [each for each in page.elements if name in each.attributes], path


def test_somebody_of_one_project_sees_that_one_alone(desk: Desk) -> None:
    other = desk.token(yard=Role.VIEWER)
    for path in ("/", "/beads", "/beads?view=table"):
        words = desk.page(path, **other).words()
        assert "zoo" not in words, path
        assert "alert(1)" not in words, path
    for path in ("/beads?project=zoo", "/projects/zoo", f"/beads/{desk.beads['good'].id}"):
        assert desk.get(path, **other).status_code == 404


# Beads.


def test_a_bead_is_found_by_its_id(desk: Desk) -> None:
    bead = desk.beads["good"]
    answer = desk.get(f"/beads?find={bead.id}")
    assert (answer.status_code, answer.headers["Location"]) == (302, f"/beads/{bead.id}")


def test_filters_narrow_the_table(desk: Desk) -> None:
    rows = list(desk.page("/beads?view=table&state=blocked").all("tr", data_row=""))
    assert [row.attributes["id"] for row in rows] == [f"row-{desk.beads['blocked'].id}"]
    nothing = desk.page("/beads?view=table&find=nothing-has-this-title").words()
    assert "No bead passes these filters" in nothing


def test_what_is_no_filter_filters_nothing(desk: Desk) -> None:
    path = "/beads?view=table&state=odd&sort=odd&priority=9&resolution=odd"
    rows = list(desk.page(path).all("tr", data_row=""))
    assert len(rows) == len(desk.beads)


def test_the_board_has_a_column_for_every_state(desk: Desk) -> None:
    board = desk.page("/beads")
    for state in ("open", "in_progress", "blocked", "closed"):
        assert list(board.all("h2", id=f"column-{state}"))
    assert list(board.all("li", id=f"card-{desk.beads['running'].id}"))


def test_the_evidence_of_an_attempt_is_shown(desk: Desk) -> None:
    words = desk.page(f"/beads/{desk.beads['bad'].id}").words()
    for told in ("Attempt 1", "failed", "exit 1", "Failed tests", "pytest"):
        assert told in words


def test_a_blocked_bead_can_be_unblocked_and_a_closed_one_not_cancelled(desk: Desk) -> None:
    blocked = desk.page(f"/beads/{desk.beads['blocked'].id}")
    targets = {each.attributes["data-to"] for each in blocked.all("button") if _acts(each)}
    assert any(target.endswith("/unblock") for target in targets)
    closed = desk.page(f"/beads/{desk.beads['good'].id}")
    assert not [each for each in closed.all("button") if _acts(each)]


def test_linked_beads_are_named(desk: Desk) -> None:
    words = desk.page(f"/beads/{desk.beads['after'].id}").words()
    assert "It waits for" in words
    assert f"open {HOSTILE[:8]}" in words


# Empty states.


def test_an_empty_loom_says_what_to_do_first() -> None:
    desk = Desk()
    assert "loom project add" in desk.page("/").words()
    assert "loom project add" in desk.page("/beads").words()
    assert "loom project add" in desk.page("/beads/new").words()


def test_a_project_without_beads_says_how_to_file_one() -> None:
    desk = Desk()
    desk.api.ledger.create_project(Project("zoo", "/srv/zoo.git"), "c")
    assert "loom bead file" in desk.page("/beads").words()
    assert "1 project" in desk.page("/").words()
    assert "Nobody says how deep the queues are" in desk.page("/").words()


def _live(page: Reader) -> list:
    return [each for each in page.elements if "data-live" in each.attributes]


def _key(element: object) -> bool:
    return "data-key" in element.attributes  # type: ignore[attr-defined]


def _acts(element: object) -> bool:
    return "data-act" in element.attributes  # type: ignore[attr-defined]
