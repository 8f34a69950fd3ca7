"""What a drill's seed decides, and the accountant's record on the disk."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from loom.drill.book import Answer, Book, Sort
from loom.drill.load import orders
from loom.drill.report import ClassFigures, Report
from loom.drill.schedule import plan
from loom.drill.verdict import Verdict


def test_the_same_seed_gives_the_same_schedule_and_the_same_load() -> None:
    names = ["kill-control", "kill-agent", "poison"]

    assert plan(7, 12, names) == plan(7, 12, list(reversed(names)))
    assert plan(7, 12, names) != plan(8, 12, names)
    assert orders(7, 50) == orders(7, 50)
    assert orders(7, 50) != orders(8, 50)


def test_every_class_comes_as_often_as_any_other() -> None:
    counts = Counter(turn.fault for turn in plan(1, 11, ["a", "b", "c"]))

    assert max(counts.values()) - min(counts.values()) <= 1
    assert sum(counts.values()) == 11


def test_the_load_has_beads_of_every_sort_with_and_without_keys() -> None:
    some = orders(1, 100)

    assert {order.sort for order in some} == set(Sort)
    assert {order.keyed for order in some} == {order.named for order in some} == {True, False}
    assert len({order.nonce for order in some}) == 100


def test_the_record_says_what_was_asked_and_what_was_seen(tmp_path: Path) -> None:
    book = Book(tmp_path / "book")
    book.asks("n-1", Sort.PATCH, during=0)
    book.answered("n-1", Answer.INDETERMINATE, why="no answer")
    book.asks("n-1", Sort.PATCH, during=1)
    book.answered("n-1", Answer.ACCEPTED, "bd-1")
    book.asks("n-2", Sort.FAIL, during=1, bead_id="bd-2")
    book.sends_letter("m-1", "a-queue")
    book.close()

    page = Book(tmp_path / "book").read()

    first, second = page.filings["n-1"], page.filings["n-2"]
    assert (first.answer, first.bead_id, first.tries, first.during) == (
        Answer.ACCEPTED, "bd-1", 2, 0,
    )  # fmt: skip
    assert (second.answer, second.bead_id) == (Answer.NONE, "bd-2")
    assert [letter.message_id for letter in page.letters] == ["m-1"]


def test_an_accepted_bead_stays_accepted_whatever_is_seen_later(tmp_path: Path) -> None:
    book = Book(tmp_path / "book")
    book.asks("n-1", Sort.VERIFY, during=0)
    book.answered("n-1", Answer.ACCEPTED, "bd-1")
    book.answered("n-1", Answer.INDETERMINATE, why="asked once more")

    assert book.read().filings["n-1"].answer is Answer.ACCEPTED


def test_the_report_has_the_figures_at_its_top_and_says_so_when_beads_are_lost() -> None:
    verdict = Verdict(accepted=9, lost=["n-1"], re_executed=2, indeterminate=1)
    figures = ClassFigures(injected=3, survived=2, recovery_s=[1.0, 5.0, 2.0])

    report = Report(42, verdict, {"kill-agent": figures}, 60.0, "small")
    document = json.loads(json.dumps(report.as_json()))

    assert not report.passed
    top = ("accepted", "lost", "doubled", "unexpected", "re_executed", "indeterminate", "seed")
    assert [document[key] for key in top] == [9, 1, 0, 0, 2, 1, 42]
    assert document["classes"]["kill-agent"] == {
        "injected": 3, "survived": 2, "recovery_s": {"median": 2.0, "worst": 5.0},
    }  # fmt: skip
