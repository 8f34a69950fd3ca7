"""Artifacts over HTTP and by the command line: listed, sent whole and in part, never as a page."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

import httpx
import pytest
from click.testing import CliRunner, Result
from control_api import BEARER, PROJECT, TOKEN, Api, finish, problem
from structlog.testing import capture_logs

from loom.cli import cli
from loom.cli.profile import Profile
from loom.clients.artifacts import Download
from loom.control.app import create_app
from loom.domain.evidence import Artifact, FailureClass, Outcome, Step
from loom.errors import Internal, NotFound, Unavailable
from loom.rpc.callers import digest
from loom.settings import ControlSettings

REPORT = b"<testsuite>" + bytes(range(256)) * 3 + b"</testsuite>"


@dataclass
class MemoryStore:
    """Artifacts in memory. open: how many downloads have not ended."""

    held: dict[tuple[str, str], bytes] = field(default_factory=dict)
    asked: list[tuple[int, int]] = field(default_factory=list)
    open: int = 0
    breaks: bool = False

    def add(self, name: str, content: bytes, media_type: str = "text/xml") -> Artifact:
        artifact = Artifact(name, hashlib.sha256(content).hexdigest(), len(content), media_type)
        self.held["shop", artifact.sha256] = content
        return artifact

    @contextmanager
    def get(
        self, project_id: str, sha256: str, offset: int = 0, length: int = 0
    ) -> Iterator[Download]:
        self.asked.append((offset, length))
        content = self.held.get((project_id, sha256))
        if content is None:
            raise NotFound("it was removed for its age")
        part = content[offset : offset + length] if length else content[offset:]
        self.open += 1
        try:
            yield Download(len(content), self._pieces(part))
        finally:
            self.open -= 1

    def _pieces(self, part: bytes) -> Iterator[bytes]:
        for start in range(0, len(part), 100):
            if self.breaks and start:
                raise Unavailable("the store went away")
            yield part[start : start + 100]


class Shop(Api):
    """A Loom with a bead whose two attempts left artifacts."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        settings = ControlSettings(token_sha256=digest(TOKEN))
        self.app = create_app(self.ledger, settings, store=self.store)
        self.client = self.app.test_client()
        self.post("/api/v1/projects", PROJECT)
        self.bead = self.file(id="b-1")["id"]

    def leave(self, *artifacts: Artifact, log: Artifact | None = None) -> None:
        step = Step("test", ("make", "test"), 1, 0.5, log=log)
        outcome = Outcome(
            succeeded=False, steps=(step,), artifacts=artifacts, failure_class=FailureClass.WORK,
            reason="the test fails",
        )  # fmt: skip
        finish(self.ledger, "b-1", outcome)

    def of(self, name: str, epoch: int = 1) -> str:
        return f"/api/v1/beads/b-1/attempts/{epoch}/artifacts/{name}"

    def run(self, *words: str) -> Result:
        stack = Profile("http://loom", TOKEN, httpx.WSGITransport(self.app))
        with capture_logs():
            return CliRunner().invoke(cli, ("bead", *words), obj=stack)


@pytest.fixture
def shop() -> Shop:
    """A shop with a report and a log."""
    shop = Shop()
    report = shop.store.add("reports/junit.xml", REPORT)
    shop.leave(report, log=shop.store.add("log/test.txt", b"all of it\n", "text/plain"))
    return shop


def test_what_attempts_left_is_listed_with_its_address(shop: Shop) -> None:
    found = shop.get("/api/v1/beads/b-1/artifacts").get_json()["artifacts"]
    assert [one["name"] for one in found] == ["log/test.txt", "reports/junit.xml"]
    report = found[1]
    assert report == {
        "name": "reports/junit.xml",
        "bead_id": "b-1",
        "attempt": 1,
        "size": len(REPORT),
        "sha256": hashlib.sha256(REPORT).hexdigest(),
        "media_type": "text/xml",
        "links": {"content": shop.of("reports/junit.xml")},
    }
    assert shop.get(report["links"]["content"]).data == REPORT
    assert shop.get("/api/v1/beads/b-1/artifacts?attempt=2").get_json() == {"artifacts": []}
    problem(shop.get("/api/v1/beads/b-1/artifacts?attempt=x"), 422, "invalid")
    problem(shop.get("/api/v1/beads/b-2/artifacts"), 404, "not_found")


def test_content_is_sent_with_its_length_and_hash_and_never_as_a_page(shop: Shop) -> None:
    page = shop.store.add('ev"il ✂.html', b"<script>alert(1)</script>", "text/html")
    shop = _again(shop, page)
    (listed,) = shop.get("/api/v1/beads/b-1/artifacts").get_json()["artifacts"]
    answer = shop.get(listed["links"]["content"])
    assert answer.data == b"<script>alert(1)</script>"
    assert answer.headers["Content-Length"] == "25"
    assert answer.headers["ETag"] == f'"{page.sha256}"'
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]
    disposition = answer.headers["Content-Disposition"]
    assert disposition.startswith('attachment; filename="ev_il .html"; ')
    assert unquote(disposition.rpartition("''")[2]) == 'ev"il ✂.html'
    answer.close()
    assert shop.store.open == 0


def _again(shop: Shop, *artifacts: Artifact) -> Shop:
    """A fresh shop with the same store."""
    fresh = Shop()
    fresh.store.held.update(shop.store.held)
    fresh.leave(*artifacts)
    return fresh


@pytest.mark.parametrize(
    ("media_type", "told"),
    [
        ("text/xml", "text/plain; charset=utf-8"),
        ("image/svg+xml", "application/octet-stream"),
        ("application/xhtml+xml", "application/octet-stream"),
        ("application/json", "application/json"),
        ("TEXT/HTML; charset=x", "text/plain; charset=utf-8"),
        ("nonsense\r\nX-Evil: 1", "application/octet-stream"),
    ],
)
def test_a_type_that_a_browser_would_run_is_not_told(media_type: str, told: str) -> None:
    shop = Shop()
    shop.leave(shop.store.add("a", b"x", media_type))
    answer = shop.get(shop.of("a"))
    assert answer.headers["Content-Type"] == told
    assert "X-Evil" not in answer.headers


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("bytes=0-9", 0, 10), ("bytes=700-", 700, len(REPORT)), ("bytes=-5", -5, None)],
)
def test_a_part_is_sent_on_its_own(shop: Shop, asked: str, start: int, stop: int | None) -> None:
    answer = shop.get(shop.of("reports/junit.xml"), Range=asked)
    assert answer.status_code == 206
    assert answer.data == REPORT[start:stop]
    first = start % len(REPORT)
    last = (stop or len(REPORT)) - 1
    assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(REPORT)}"
    assert answer.headers["Content-Length"] == str(len(answer.data))


def test_ranges_that_mean_nothing_here_get_the_whole_or_are_refused(shop: Shop) -> None:
    where = shop.of("reports/junit.xml")
    for odd in ("bytes=0-1,5-6", "lines=1-2", "bytes=x"):
        answer = shop.get(where, Range=odd)
        assert (answer.status_code, answer.data) == (200, REPORT)
    stale = shop.get(where, **{"Range": "bytes=0-1", "If-Range": '"another"'})
    assert (stale.status_code, stale.data) == (200, REPORT)
    beyond = shop.get(where, Range=f"bytes={len(REPORT)}-")
    assert beyond.status_code == 416
    assert beyond.headers["Content-Range"] == f"bytes */{len(REPORT)}"
    assert beyond.get_json()["status"] == 416


def test_what_the_caller_has_or_only_asks_about_is_not_read(shop: Shop) -> None:
    where = shop.of("reports/junit.xml")
    etag = shop.get(where).headers["ETag"]
    shop.store.asked.clear()
    known = shop.get(where, **{"If-None-Match": etag})
    assert (known.status_code, known.data) == (304, b"")
    head = shop.client.head(where, headers=BEARER)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(REPORT)))
    assert shop.store.asked == []


def test_an_empty_artifact_is_sent_as_such() -> None:
    shop = Shop()
    shop.leave(shop.store.add("empty", b""))
    answer = shop.get(shop.of("empty"))
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.headers["Content-Length"] == "0"


def test_what_is_not_there_is_said_before_a_byte_is_sent(shop: Shop) -> None:
    problem(shop.get(shop.of("other.xml")), 404, "not_found")
    problem(shop.get(shop.of("reports/junit.xml", 2)), 404, "not_found")
    shop.store.held.clear()
    gone = problem(shop.get(shop.of("reports/junit.xml")), 404, "not_found")
    assert "age" in gone["detail"]
    assert shop.client.get(shop.of("log/test.txt")).status_code == 401


def test_a_control_plane_without_a_store_says_so() -> None:
    api = Api()
    api.post("/api/v1/projects", PROJECT)
    api.file(id="b-1")
    artifact = Artifact("a", "0" * 64, 1)
    finish(api.ledger, "b-1", Outcome(
        succeeded=False, steps=(Step("test", ("x",), 1, 0.1),), artifacts=(artifact,),
        failure_class=FailureClass.WORK, reason="it fails",
    ))  # fmt: skip
    answer = api.get("/api/v1/beads/b-1/attempts/1/artifacts/a")
    assert "LOOM_ARTIFACTS_TARGET" in problem(answer, 503, "unavailable")["detail"]


def test_too_many_downloads_at_once_are_put_off(shop: Shop) -> None:
    where = shop.of("reports/junit.xml")
    running = [shop.client.get(where, headers=BEARER, buffered=False) for _ in range(8)]
    assert shop.store.open == 8
    problem(shop.get(where), 429, "exhausted")
    for answer in running:
        answer.close()
    assert shop.store.open == 0
    assert shop.get(where).status_code == 200


def test_the_command_lists_and_fetches(shop: Shop, tmp_path: Path) -> None:
    listed = shop.run("artifacts", "b-1")
    assert "reports/junit.xml" in listed.stdout
    document = json.loads(shop.run("artifacts", "b-1", "--json").stdout)
    assert len(document["artifacts"]) == 2
    target = tmp_path / "report.xml"
    fetched = shop.run("artifact", "get", "b-1", "reports/junit.xml", "-o", str(target))
    assert fetched.exit_code == 0, fetched.output
    assert target.read_bytes() == REPORT
    assert list(tmp_path.iterdir()) == [target]
    shown = shop.run("artifact", "get", "b-1", "log/test.txt", "-o", "-")
    assert shown.stdout == "all of it\n"


def test_the_command_overwrites_only_when_told(shop: Shop, tmp_path: Path) -> None:
    target = tmp_path / "mine"
    target.write_text("mine")
    words = ("artifact", "get", "b-1", "log/test.txt", "-o", str(target))
    refused = shop.run(*words)
    assert refused.exit_code != 0
    assert "--force" in refused.output
    assert target.read_text() == "mine"
    assert shop.run(*words, "--force").exit_code == 0
    assert target.read_text() == "all of it\n"


def test_the_command_keeps_nothing_that_is_not_as_it_was_kept(shop: Shop, tmp_path: Path) -> None:
    (key,) = [key for key, held in shop.store.held.items() if held == REPORT]
    words = ("artifact", "get", "b-1", "reports/junit.xml", "-o", str(tmp_path / "report"))
    shop.store.held[key] = b"X" + REPORT[1:]
    wrong = shop.run(*words)
    assert wrong.exit_code != 0
    assert "hash" in wrong.output
    shop.store.held[key] = REPORT
    shop.store.breaks = True
    assert shop.run(*words).exit_code != 0
    assert list(tmp_path.iterdir()) == []
    unknown = shop.run("artifact", "get", "b-1", "nothing")
    assert "loom bead artifacts b-1" in unknown.output


def test_a_transfer_that_ends_too_early_ends_by_an_error(shop: Shop) -> None:
    (key,) = [key for key, held in shop.store.held.items() if held == REPORT]
    shop.store.held[key] = REPORT[:-1]
    answer = shop.client.get(shop.of("reports/junit.xml"), headers=BEARER, buffered=False)
    with pytest.raises(Internal, match="1 bytes too early"):
        list(answer.iter_encoded())
    answer.close()
    assert shop.store.open == 0
