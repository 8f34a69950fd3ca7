"""What docs/events.md says holds: its table of types, and its receiver."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import HTTPServer
from pathlib import Path
from typing import Any

import pytest

from loom.connectors.posting import Post
from loom.domain.event import TYPES, EventLine, Place
from loom.domain.webhook import Errand, new_secret
from loom.settings.webhooks import WebhookSettings

TEXT = (Path(__file__).parents[2] / "docs/events.md").read_text()
SECRET = new_secret()
EVENT = EventLine(
    Place(1, 2, 3), "01message", "bead.closed", "shop", "bd-1", 1,
    datetime(2026, 11, 22, 9, tzinfo=UTC), {"resolution": "succeeded"}, "corr",
)  # fmt: skip


def test_every_type_of_event_is_in_the_table_with_its_data() -> None:
    rows = dict(re.findall(r"^\| `([a-z_]+\.[a-z_]+)` \| (.+) \|$", TEXT, re.MULTILINE))
    assert rows == dict(TYPES)


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, dict[str, Any]]]:
    """The receiver of the page, listening."""
    monkeypatch.setenv("WEBHOOK_SECRET", SECRET)
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "docs/events.md", "exec"), names)  # noqa: S102 - it is ours
    names["Receiver"].log_message = lambda *_: None
    server = HTTPServer(("127.0.0.1", 0), names["Receiver"])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/", names
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_receiver_takes_what_loom_sends_and_does_nothing_twice(
    example: tuple[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, names = example
    post = Post(WebhookSettings(allow="127.0.0.1"))
    for _ in range(2):
        assert post(Errand(1, "wh-1", url, SECRET, EVENT)).status == 204
    assert capsys.readouterr().out == "bead.closed bd-1 succeeded\n"
    assert names["seen"] == {"01message"}


def test_the_receiver_refuses_what_somebody_else_sends(
    example: tuple[str, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    url, names = example
    post = Post(WebhookSettings(allow="127.0.0.1"))
    assert post(Errand(1, "wh-1", url, new_secret(), EVENT)).status == 401
    assert names["seen"] == set()
    assert capsys.readouterr().out == ""
