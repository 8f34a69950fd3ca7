"""The spool: a result is on disk whole or not at all, and leaves it only once it is confirmed."""

from __future__ import annotations

from pathlib import Path

import pytest

from loom.errors import Invalid
from loom.messaging.envelope import Envelope
from loom.messaging.topology import CORE, RESULTS, RESULTS_QUEUE, result_key
from loom.testing.broker import FakeBroker
from loom.testing.stopping import Unhurried
from workers import resending
from workers.spool import Spool, from_bytes, named, to_bytes


def envelope(message_id: str = "m-1") -> Envelope:
    return Envelope(
        RESULTS, result_key("demo"), '{"ü": 1}'.encode(), message_id, "corr-1", {"epoch": 3}
    )


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


@pytest.fixture
def broker() -> FakeBroker:
    made = FakeBroker()
    made.declare([CORE])
    return made


def test_an_envelope_comes_back_from_disk_as_it_was() -> None:
    assert from_bytes(to_bytes(envelope())) == envelope()


def test_a_result_is_kept_readable_by_its_agent_alone_and_found_by_its_bead(spool: Spool) -> None:
    assert not spool.waiting()
    spool.keep("bd-1.a", 3, envelope())
    [path] = spool.waiting()
    assert named(path) == ("bd-1.a", 3)
    assert path.stat().st_mode & 0o777 == 0o600
    assert spool.find("bd-1.a", 3) == path
    assert spool.find("bd-1.a", 2) == path
    assert spool.find("bd-1.a", 4) is None
    assert spool.find("bd-1", 1) is None


def test_nothing_stays_of_a_result_that_could_not_be_written(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool.keep("bd-0", 1, envelope())

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("workers.spool.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        spool.keep("bd-1", 1, envelope())
    monkeypatch.undo()
    assert [path.name for path in spool.waiting()[0].parent.iterdir()] == ["bd-0@1.result"]


def test_one_that_another_is_sending_is_left_to_it(spool: Spool, broker: FakeBroker) -> None:
    spool.keep("bd-1", 1, envelope())
    [path] = spool.waiting()
    with Spool(path.parent).taken(path) as mine:
        assert mine is not None
        assert not resending.send(spool, path, broker)
    assert not broker.messages[RESULTS_QUEUE]
    assert resending.send(spool, path, broker)
    assert broker.messages[RESULTS_QUEUE] == [envelope()]
    assert resending.send(spool, path, broker)
    assert not spool.waiting()


def test_what_is_not_confirmed_stays(spool: Spool, broker: FakeBroker) -> None:
    spool.keep("bd-1", 1, envelope())
    [path] = spool.waiting()
    broker.away = True
    assert not resending.sent(spool, path, broker)
    broker.away, broker.lose_after = False, 0
    assert not resending.sent(spool, path, broker)
    assert resending.sent(spool, path, broker)
    assert [message.message_id for message in broker.messages[RESULTS_QUEUE]] == ["m-1"]


def test_a_file_that_cannot_be_read_is_put_aside_and_told_of(
    spool: Spool, broker: FakeBroker
) -> None:
    spool.keep("bd-1", 1, envelope())
    [path] = spool.waiting()
    path.write_text("{")
    with pytest.raises(Invalid, match=r"bd-1@1\.unreadable cannot be read"):
        resending.send(spool, path, broker)
    assert not spool.waiting()
    assert path.with_suffix(".unreadable").read_text() == "{"


def test_the_spool_is_looked_after_until_it_is_empty(spool: Spool, broker: FakeBroker) -> None:
    for number in (1, 2):
        spool.keep("bd-1", number, envelope(f"m-{number}"))
    broker.lose_after = 1
    told: list[tuple[str, int]] = []
    stopping = Unhurried()
    resending.keep_sending(
        spool, broker, stopping, tell=lambda *bead: told.append(bead), idle=stopping.set
    )
    assert sorted(told) == [("bd-1", 1), ("bd-1", 2)]
    assert len(broker.messages[RESULTS_QUEUE]) == 2
    assert not spool.waiting()
