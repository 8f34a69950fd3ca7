"""Files of other trackers: read, given back, and what is wrong with them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.domain.audit import Intervention
from loom.domain.imports import spreadsheet
from loom.domain.imports.issue import Issue, Source, Where
from loom.domain.imports.reading import Line, cut, read, write
from loom.domain.project import Project
from loom.errors import Invalid
from loom.testing.ledger import FakeLedger

FILES = Path(__file__).parent / "imports"
BY = Intervention("ada", "import", "corr")


def issues(source: Source, name: str) -> dict[str, Issue]:
    lines = cut(source, (FILES / name).read_bytes().decode())
    found = [read(source, line.record) for line in lines if line.record is not None]
    return {issue.id: issue for issue in found}


def ledger() -> FakeLedger:
    fake = FakeLedger()
    fake.create_project(Project("shop", "/srv/shop.git"), "corr")
    return fake


def bring(to: FakeLedger, source: Source, records: list[dict[str, Any]]) -> list[str]:
    lines = [Line(at, record) for at, record in enumerate(records, 1)]
    verdicts = to.import_beads("shop", source, lines, BY)
    return [f"{v.action.value}{list(v.changes) or ''}" for v in verdicts]


def given_back(of: FakeLedger, source: Source) -> list[dict[str, Any]]:
    views = of.list_exports("shop", 500).items
    return [json.loads(json.dumps(write(source, view))) for view in views]


def test_the_issues_of_bd_are_read_with_all_that_they_say() -> None:
    found = issues(Source.BD, "issues.jsonl")
    slow = found["shop-k3f"]
    assert (slow.title, slow.priority, slow.where) == ("Checkout is slow", 1, Where.READY)
    assert slow.context == {
        "design": "Load prices in one query.",
        "acceptance_criteria": "Under 300 ms with 100 items.",
    }
    assert (slow.blocked_by, slow.parent) == (("shop-a1b",), "")
    assert slow.details.labels == ("performance", "cart")
    assert (slow.details.estimated_minutes, slow.details.url) == (90, "gh-12")
    assert slow.comments[0].author == "mira"
    assert found["shop-a1b"].where is Where.DONE
    assert found["shop-e"].where is Where.HELD, "an epic is no work"
    assert found["shop-e.1"].parent == "shop-e"
    assert found["shop-e.1"].priority == 3
    assert found["shop-old"].where is Where.GONE


def test_the_issues_of_github_are_read_from_its_pages_with_the_comments_beside_them() -> None:
    found = issues(Source.GITHUB, "github.json")
    assert list(found) == ["12", "7", "9", "10"]
    cart = found["12"]
    assert (cart.priority, cart.blocked_by) == (1, ("7", "9"))
    assert cart.details.milestone == "1.2"
    assert cart.details.url == "https://github.example/me/shop/issues/12"
    assert [said.text for said in cart.comments] == ["I can see it too."]
    assert (found["7"].where, found["7"].details.close_reason) == (Where.DONE, "completed")
    assert found["9"].priority == 3
    assert found["10"].where is Where.GONE, "a pull request is no issue"


def test_what_gh_prints_reads_as_what_the_api_answers() -> None:
    found = issues(Source.GITHUB, "gh.json")
    assert (found["3"].priority, found["3"].details.assignees) == (0, ("mira",))
    assert found["3"].comments[0].text == "Yes."
    assert (found["4"].where, found["4"].details.close_reason) == (Where.DONE, "not planned")


def test_a_spreadsheet_is_read_by_its_header() -> None:
    found = issues(Source.CSV, "backlog.csv")
    first = found["OPS-1"]
    assert first.title == "Renew the certificate; soon"
    assert first.description == 'First line\r\nsecond "line"'
    assert (first.priority, first.where) == (1, Where.READY)
    assert first.details.labels == ("ops", "tls")
    assert first.record["team"] == "blue"
    assert found["OPS-2"].where is Where.DONE
    assert (found["OPS-3"].where, found["OPS-3"].blocked_by) == (Where.HELD, ("OPS-1", "OPS-2"))


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (Source.BD, "issues.jsonl"), (Source.GITHUB, "github.json"), (Source.GITHUB, "gh.json"),
        (Source.CSV, "backlog.csv"),
    ],
)  # fmt: skip
def test_a_file_is_given_back_and_importing_that_changes_nothing(source: Source, name: str) -> None:
    lines = cut(source, (FILES / name).read_bytes().decode())
    to = ledger()
    to.import_beads("shop", source, lines, BY)
    told = given_back(to, source)
    wanted = {
        issue.id: issue.record
        for line in lines
        if line.record is not None and (issue := read(source, line.record)).where is not Where.GONE
    }
    assert {read(source, record).id: record for record in told} == wanted
    assert set(bring(to, source, told)) == {"same"}
    # In the form of any other tracker it is known again, too.
    for other in Source:
        assert set(bring(to, other, given_back(to, other))) == {"same"}, other


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12)
LINE = TEXT.filter(lambda text: bool(text.strip()))
MOMENT = st.sampled_from(
    ["2025-01-02T03:04:05Z", "2025-01-02T03:04:05.123456789-07:00", "2024-12-31T23:59:59.5+05:30"]
)
IDS = [f"x-{n}" for n in range(4)]


def _issue(id_: str) -> st.SearchStrategy[dict[str, Any]]:
    link = st.fixed_dictionaries(
        {
            "issue_id": st.just(id_),
            "depends_on_id": st.sampled_from([*IDS, "x-gone"]),
            "type": st.sampled_from(["blocks", "parent-child", "related", "waits-for"]),
            "created_at": MOMENT,
            "created_by": TEXT,
        }
    )
    comment = st.fixed_dictionaries(
        {"id": st.integers(1, 99), "author": LINE, "text": LINE, "created_at": MOMENT}
    )
    open_ = {"status": st.sampled_from(["open", "in_progress", "blocked", "deferred", "ours"])}
    closed = {"status": st.just("closed"), "closed_at": MOMENT, "close_reason": TEXT}
    words = {
        "id": st.just(id_),
        "title": LINE,
        "priority": st.integers(0, 4),
        "issue_type": st.sampled_from(["bug", "task", "epic", "custom"]),
        "created_at": MOMENT,
        "updated_at": MOMENT,
    }
    more = {
        "description": TEXT,
        "notes": TEXT,
        "labels": st.lists(LINE, max_size=3),
        "assignee": TEXT,
        "estimated_minutes": st.integers(0, 10_000),
        "defer_until": MOMENT,
        "dependencies": st.lists(
            link, max_size=4, unique_by=lambda d: (d["depends_on_id"], d["type"])
        ),
        "comments": st.lists(comment, max_size=3, unique_by=lambda c: (c["author"], c["text"])),
        "some_new_field": st.dictionaries(TEXT, st.integers() | TEXT, max_size=2),
    }
    return st.one_of(
        st.fixed_dictionaries(words | open_, optional=more),
        st.fixed_dictionaries(words | closed, optional=more),
    )


FILE = st.tuples(*map(_issue, IDS)).map(list)


@given(records=FILE)
def test_whatever_bd_writes_is_given_back(records: list[dict[str, Any]]) -> None:
    to = ledger()
    assert {each[:6] for each in bring(to, Source.BD, records)} == {"create"}
    assert set(bring(to, Source.BD, records)) == {"same"}
    told = given_back(to, Source.BD)
    assert {each["id"]: each for each in told} == {
        each["id"]: read(Source.BD, each).record for each in records
    }
    assert set(bring(to, Source.BD, told)) == {"same"}


@given(records=FILE, source=st.sampled_from([Source.CSV, Source.GITHUB, Source.LOOM]))
def test_any_project_goes_through_any_format_into_another_and_back(
    records: list[dict[str, Any]], source: Source
) -> None:
    first, second = ledger(), ledger()
    bring(first, Source.BD, records)
    told = given_back(first, source)
    assert {each[:6] for each in bring(second, source, told)} == {"create"}
    again = given_back(second, source)
    key = {Source.GITHUB: "loom_id"}.get(source, "id")
    assert {each[key]: each for each in again} == {
        each[key]: read(source, each).record for each in told
    }
    assert set(bring(second, source, again)) == {"same"}
    titles = {view.bead.title for view in second.list_exports("shop", 500).items}
    assert titles == {view.bead.title for view in first.list_exports("shop", 500).items}


@given(st.lists(st.dictionaries(LINE.filter(lambda t: t != "extra"), TEXT, max_size=4), max_size=4))
def test_a_row_is_read_as_it_was_written(more: list[dict[str, str]]) -> None:
    cells = io.StringIO(newline="")
    writer = csv.writer(cells)
    writer.writerow(spreadsheet.COLUMNS)
    rows = []
    for number, each in enumerate(more):
        known = {spreadsheet.column(name): text for name, text in each.items() if text}
        known = {name: text for name, text in known.items() if name not in spreadsheet.COLUMNS}
        rows.append(known | {"id": str(number), "title": "x"})
        writer.writerow(spreadsheet.row(rows[-1]))
    if rows:
        assert [line.record for line in cut(Source.CSV, cells.getvalue())] == rows


def test_a_line_that_is_no_object_is_told_by_its_number() -> None:
    lines = cut(Source.BD, '{"id": "a"}\n\n{"id": \n[1]\n{"id": "b"}\n')
    assert [(line.number, bool(line.fault)) for line in lines] == [
        (1, False), (3, True), (4, True), (5, False),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "text", "words"),
    [
        (Source.GITHUB, '[{"number": 1},', "cut off"),
        (Source.GITHUB, "[{'number': 1}]", "line 1 is no JSON"),
        (Source.GITHUB, "\n\n nonsense", "line 3 is no JSON"),
        (Source.CSV, "", "the file is empty"),
        (Source.CSV, "a,b\n1,2\n", "no column stands for 'id'"),
        (Source.CSV, "id,summary,title\n", "two columns stand for 'title'"),
        (Source.CSV, 'id,title\n1,"never closed\n', "is no CSV"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_what_to_do(
    source: Source, text: str, words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        cut(source, text)


@pytest.mark.parametrize(
    ("source", "record", "words"),
    [
        (Source.BD, {"id": "a", "title": 7}, "title has to be text"),
        (Source.BD, {"id": "", "title": "x"}, "id is needed"),
        (Source.BD, {"id": "a", "labels": "x"}, "labels has to be a list of texts"),
        (Source.BD, {"id": "a", "priority": True}, "priority has to be 0 to 4"),
        (Source.BD, {"id": "a", "created_at": "12.5.2025"}, "created_at is '12.5.2025'"),
        (Source.BD, {"id": "a", "x": {"y": ["\0"]}}, "NUL"),
        (Source.BD, {"id": "a", "x": "\ud800"}, "cannot be kept"),
        (Source.BD, {"id": "a", "x": float("nan")}, "cannot be kept"),
        (Source.GITHUB, {"number": 1, "state": "merged"}, "state has to be open or closed"),
        (Source.GITHUB, {"title": "x", "state": "open"}, "loom_id is needed"),
        (Source.CSV, {"id": "1", "priority": "soon"}, "priority is 'soon'"),
        (Source.CSV, {"id": "1", "comments": "hm"}, "comments is no JSON"),
        (Source.LOOM, {"id": "a", "state": "gone"}, "state has to be"),
    ],
)
def test_a_record_that_breaks_a_rule_says_which(
    source: Source, record: dict[str, Any], words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        read(source, record)
