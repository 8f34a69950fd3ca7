"""The log of a bead over HTTP and on the command line: in pages, as text, as it comes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import click
import httpx
import pytest
from click.testing import CliRunner, Result
from control_api import BEARER, PROJECT, TOKEN, Api, finish, make_app, problem
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from loom.cli import cli, livelog
from loom.cli.livelog import shown
from loom.cli.profile import Profile
from loom.control import followers as followers_module
from loom.control.followers import Followers
from loom.domain.evidence import FailureClass, Outcome, Step
from loom.domain.log import LineKind, LogChunk, LogLine
from loom.errors import Exhausted, Unavailable
from loom.testing.ledger import FakeLedger

AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
AGENT = "agent-shop"
PROVEN = Outcome(succeeded=True, steps=(Step("test", ("true",), 0, 0.5),))
NO_DISK = Outcome(succeeded=False, failure_class=FailureClass.INFRA, reason="no space left")
FAILED = Outcome(succeeded=False, failure_class=FailureClass.WORK, reason="2 tests failed")


@pytest.fixture
def api() -> Api:
    made = Api(FakeLedger(jitter=lambda: 0.0))
    made.post("/api/v1/projects", PROJECT)
    return made


class Work:
    """A bead that an agent works on."""

    def __init__(self, api: Api) -> None:
        self.ledger = api.ledger
        self.id: str = api.file()["id"]
        self.path = f"/api/v1/beads/{self.id}/log"
        self.epoch = self.seq = self.first = 0

    def claim(self) -> None:
        self.epoch = self.ledger.claim_bead(self.id, self.epoch + 1, AGENT).epoch
        self.seq, self.first = 0, 1

    def say(self, *texts: str, last: bool = False, **more: Any) -> None:
        lines = tuple(LogLine(AT, text, "test", **more) for text in texts)
        self.seq += 1
        chunk = LogChunk("shop", self.id, self.epoch, self.seq, self.first, lines, last)
        assert self.ledger.append_logs([chunk]) == ("kept",)
        self.first += len(lines)


@pytest.fixture
def work(api: Api) -> Work:
    made = Work(api)
    made.claim()
    return made


def events(stream: TestResponse | bytes) -> list[tuple[str, str, dict[str, Any]]]:
    """The id, the kind and the data of every event."""
    text = (stream if isinstance(stream, bytes) else stream.data).decode()
    found = []
    for block in text.split("\n\n"):
        words = dict(line.split(": ", 1) for line in block.splitlines() if line[:1] not in ":")
        if "data" in words:
            found.append((words["id"], words["event"], json.loads(words["data"])))
    return found


def said(stream: TestResponse | bytes) -> list[str]:
    return [data["text"] for _, kind, data in events(stream) if kind == "line"]


def test_a_log_is_read_in_pages(api: Api, work: Work) -> None:
    work.say("one", "two\x1b[31m", "three")
    first = api.get(f"{work.path}?limit=2").get_json()
    assert [line["text"] for line in first["lines"]] == ["one", "two\x1b[31m"]
    assert (first["attempt"], first["state"]) == (1, "more")
    second = api.get(f"{work.path}?cursor={first['next_cursor']}").get_json()
    (line,) = second["lines"]
    assert line == {
        "cursor": second["next_cursor"], "attempt": 1, "at": "2026-11-22T09:30:00.000000Z",
        "step": "test", "kind": "out", "text": "three", "more": False,
    }  # fmt: skip
    assert second["state"] == "quiet"


def test_a_log_is_text_for_who_asks_for_text(api: Api, work: Work) -> None:
    work.say("pytest -q", kind=LineKind.BEGIN)
    work.say("..", more=True)
    work.say(".", "done")
    answer = api.get(work.path, Accept="text/plain")
    assert answer.mimetype == "text/plain"
    assert answer.text == "=== test: pytest -q\n...\ndone\n"


def test_a_stream_tells_every_line_and_the_end(api: Api, work: Work) -> None:
    work.say("one", "two", last=True)
    finish(api.ledger, work.id, PROVEN)
    answer = api.get(f"{work.path}/stream")
    assert answer.mimetype == "text/event-stream"
    assert [kind for _, kind, _ in events(answer)] == ["attempt", "line", "line", "end"]
    assert said(answer) == ["one", "two"]
    _, _, end = events(answer)[-1]
    assert (end["state"], end["resolution"], end["attempt"]) == ("closed", "succeeded", 1)


def test_a_stream_goes_on_after_the_event_that_was_seen_last(api: Api, work: Work) -> None:
    work.say("one", "two")
    work.say("three", last=True)
    finish(api.ledger, work.id, PROVEN)
    whole = events(api.get(f"{work.path}/stream"))
    for index, (id_, _, _) in enumerate(whole[:-1]):
        rest = events(api.get(f"{work.path}/stream", **{"Last-Event-ID": id_}))
        if rest:
            assert [event for event in rest if event[1] != "attempt"] == [
                event for event in whole[index + 1 :] if event[1] != "attempt"
            ]
    again = api.get(f"{work.path}/stream", **{"Last-Event-ID": whole[-1][0]})
    assert again.status_code == 204, "by which an EventSource knows not to come again"


def test_who_cannot_send_a_header_names_the_place_in_the_query(api: Api, work: Work) -> None:
    work.say("one", "two", last=True)
    finish(api.ledger, work.id, PROVEN)
    whole = events(api.get(f"{work.path}/stream"))
    first = next(id_ for id_, kind, _ in whole if kind == "line")

    rest = events(api.get(f"{work.path}/stream?cursor={first}"))

    assert [line["text"] for _, kind, line in rest if kind == "line"] == ["two"]
    assert api.get(f"{work.path}/stream?cursor=nowhere").status_code == 422


def test_a_stream_from_now_begins_with_what_comes(api: Api, work: Work) -> None:
    work.say("before")
    stream = iter(api.get(f"{work.path}/stream?from=now", Accept="*/*").response)
    assert next(stream).startswith(b"retry:")
    work.say("after", last=True)
    finish(api.ledger, work.id, PROVEN)
    assert said(b"".join(stream)) == ["after"]


def test_a_stream_goes_over_to_the_next_attempt(api: Api, work: Work) -> None:
    work.say("first", last=True)
    finish(api.ledger, work.id, NO_DISK)
    stream = iter(api.get(f"{work.path}/stream").response)
    got = next(stream) + next(stream)
    assert said(got) == ["first"]
    work.claim()
    work.say("second", last=True)
    finish(api.ledger, work.id, PROVEN)
    rest = b"".join(stream)
    assert said(rest) == ["second"]
    assert [data["attempt"] for _, kind, data in events(rest) if kind == "attempt"] == [2]
    only = api.get(f"{work.path}/stream?attempt=1")
    assert said(only) == ["first"]


def test_a_quiet_stream_gives_signs_of_life(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followers_module, "LOOK_S", 0.01)
    stream = Followers(work.ledger, 1, heartbeat_s=0.0).follow(work.id, 0, "")
    assert next(stream).startswith(b"retry:")
    assert next(stream).startswith(b"id: 1.0.0\nevent: attempt")
    assert next(stream).startswith(b":")
    stream.close()


def test_a_ledger_that_is_away_for_a_while_breaks_no_stream(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followers_module, "AGAIN_S", 0.01)
    work.say("one")
    followers = Followers(work.ledger, 1)
    stream = followers.follow(work.id, 0, "")
    next(stream)
    read = work.ledger.read_log
    with monkeypatch.context() as patch:

        def away(*_: Any, **__: Any) -> None:
            raise Unavailable("the ledger is away")

        patch.setattr(work.ledger, "read_log", away)
        assert next(stream).startswith(b":")
        patch.setattr(work.ledger, "read_log", read)
    assert said(next(stream)) == ["one"]
    stream.close()


def test_a_reader_too_many_is_told_so_and_a_place_given_back_is_taken(work: Work) -> None:
    followers = Followers(work.ledger, 1)
    give_back = followers.take_place()
    with pytest.raises(Exhausted, match="1 readers follow"):
        followers.take_place()
    give_back()
    give_back()
    followers.take_place()
    with pytest.raises(Exhausted):
        followers.take_place()


def test_a_reader_too_many_over_http_is_told_when_to_come_again(api: Api, work: Work) -> None:
    client = make_app(api.ledger, followers=1).test_client()
    first = client.get(f"{work.path}/stream", headers=BEARER)
    refused = client.get(f"{work.path}/stream", headers=BEARER)
    problem(refused, 429, "exhausted")
    assert refused.headers["Retry-After"]
    first.close()
    again = client.get(f"{work.path}/stream", headers=BEARER)
    assert again.status_code == 200
    again.close()


def test_followers_at_one_place_cost_the_ledger_one_reading(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    work.say("one", last=True)
    finish(work.ledger, work.id, PROVEN)
    read, count = work.ledger.read_log, []

    def counted(*words: Any, **more: Any) -> Any:
        count.append(words)
        return read(*words, **more)

    monkeypatch.setattr(work.ledger, "read_log", counted)
    monkeypatch.setattr(work.ledger, "watch_logs", lambda *_: {})
    followers = Followers(work.ledger, 10)
    streams = [b"".join(followers.follow(work.id, 0, "")) for _ in range(10)]
    assert len(set(streams)) == 1
    assert len(count) == 1


def test_a_process_that_stops_ends_its_streams(work: Work) -> None:
    stopping = threading.Event()
    stream = Followers(work.ledger, 1, stopping).follow(work.id, 0, "")
    next(stream)
    next(stream)
    stopping.set()
    assert list(stream) == []


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("?cursor=x", 422, "invalid"),
        ("?cursor=1.0", 422, "invalid"),
        ("?attempt=0", 422, "invalid"),
        ("?attempt=9", 404, "not_found"),
        ("?limit=100000", 422, "invalid"),
        ("/stream?from=yesterday", 422, "invalid"),
        ("/stream?attempt=9", 404, "not_found"),
    ],
)
def test_a_wrong_question_is_a_problem(
    api: Api, work: Work, query: str, status: int, code: str
) -> None:
    problem(api.get(work.path + query), status, code)


def test_a_log_of_no_bead_is_not_found(api: Api) -> None:
    for path in ("log", "log/stream"):
        problem(api.get(f"/api/v1/beads/bd-nowhere/{path}"), 404, "not_found")


# The command line.


class Cutting(httpx.BaseTransport):
    """Cuts the connection after each so many bytes of a stream."""

    def __init__(self, inner: httpx.BaseTransport, most: int) -> None:
        self._inner, self._most, self.cuts = inner, most, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._inner.handle_request(request)
        if not request.url.path.endswith("/stream"):
            return answer
        return httpx.Response(answer.status_code, headers=answer.headers, stream=self._cut(answer))

    def _cut(self, answer: httpx.Response) -> httpx.SyncByteStream:
        outer = self

        class Stream(httpx.SyncByteStream):
            def __iter__(self) -> Iterator[bytes]:
                body = answer.read()
                yield body[: outer._most]
                if len(body) > outer._most:
                    outer.cuts += 1
                    raise httpx.ReadError("cut")

        return Stream()


def run(api: Api, *arguments: str, cut: int = 10**9) -> tuple[Result, Cutting]:
    transport = Cutting(httpx.WSGITransport(app=api.app), cut)
    profile = Profile("http://loom.test", TOKEN, transport)
    # The API runs in this process, and its log would stand in the command's output.
    with capture_logs():
        result = CliRunner().invoke(cli, ["bead", "logs", *arguments], obj=profile)
    return result, transport


def test_the_command_shows_what_there_is(api: Api, work: Work) -> None:
    work.say("pytest -q", kind=LineKind.BEGIN)
    work.say(*(f"\x1b[32mline {number}\x1b[0m" for number in range(5)))
    result, _ = run(api, work.id)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "=== test: pytest -q", *(f"line {number}" for number in range(5)),
    ]  # fmt: skip


@pytest.mark.parametrize(("outcome", "code"), [(PROVEN, 0), (FAILED, 1)])
def test_the_command_follows_to_the_end_and_says_how_it_was(
    api: Api, work: Work, outcome: Outcome, code: int
) -> None:
    work.say("one", last=True)
    finish(api.ledger, work.id, outcome)
    result, _ = run(api, work.id, "-f")
    assert result.stdout == "one\n"
    assert result.exit_code == code


def test_the_command_comes_back_after_every_cut_and_shows_each_line_once(
    api: Api, work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(livelog, "AGAIN_S", 0.0)
    lines = [f"line {number}" for number in range(40)]
    work.say(*lines[:25])
    work.say(*lines[25:], last=True)
    finish(api.ledger, work.id, PROVEN)
    result, transport = run(api, work.id, "-f", cut=1_777)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == lines
    assert transport.cuts >= 3


def test_the_command_tells_programs_in_json(api: Api, work: Work) -> None:
    work.say("\x1b[31mred", last=True)
    finish(api.ledger, work.id, PROVEN)
    result, _ = run(api, work.id, "-f", "--json")
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert [each["event"] for each in documents] == ["attempt", "line", "end"]
    assert documents[1]["text"] == "\x1b[31mred"


def test_from_now_without_following_is_not_understood(api: Api, work: Work) -> None:
    assert run(api, work.id, "--from", "now")[0].exit_code == click.UsageError.exit_code


@pytest.mark.parametrize(
    ("text", "plain", "coloured"),
    [
        ("\x1b[1;31mred\x1b[0m", "red", "\x1b[1;31mred\x1b[0m\x1b[0m"),
        ("\x1b]52;c;c3RlYWw=\x07copied", "copied", "copied"),
        ("\x1b]0;title\x1b\\named", "named", "named"),
        ("\x1b[2J\x1b[Hclean", "clean", "clean"),
        ("\x9b31mc1 \x07bell\x08", "31mc1 bell", "31mc1 bell"),
        (" 10%\r 50%\r100%\r", "100%", "100%"),
        ("a\tb", "a\tb", "a\tb"),
    ],
)
def test_a_terminal_gets_colours_and_no_other_control(text: str, plain: str, coloured: str) -> None:
    line = LogLine(AT, text, "test")
    assert shown(line, colours=False) == plain + "\n"
    assert shown(line, colours=True) == coloured + "\n"


@given(st.text(st.sampled_from("\x1b[]()P\\;0m1KJ\x07\x9b\x9d\r\naé"), max_size=40))
def test_no_line_writes_anything_but_text_and_colours(text: str) -> None:
    line = LogLine(AT, text, "test")
    assert not any(
        ord(char) < 32 or 127 <= ord(char) < 160 for char in shown(line, colours=False)[:-1]
    )
    left = livelog._COLOUR.sub("", shown(line, colours=True)[:-1])
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in left)
