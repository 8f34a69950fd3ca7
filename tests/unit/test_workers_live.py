"""The agent's side of live logs: bytes into lines, and lines onto the broker, within limits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loom.broker.confirms import Published, Status
from loom.domain.log import MAX_LINE_BYTES, LineKind, LogChunk, LogLine
from loom.errors import Unavailable
from loom.messaging import log as message
from loom.messaging.envelope import Envelope
from loom.messaging.topology import MAX_LOG_BYTES
from workers.allowance import Limits
from workers.lines import Splitter
from workers.live import LiveLog

CONFIRMED = Published(Status.CONFIRMED)
QUICK = Limits(batch_s=0.01)


def split(chunks: Sequence[bytes]) -> list[str]:
    splitter = Splitter()
    texts = [piece.text for chunk in chunks for piece in splitter.feed(chunk)]
    last = splitter.finish()
    return texts if last is None else [*texts, last.text]


OUTPUT = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.text(max_size=20).map(str.encode),
        st.sampled_from([b"\n", b"\r\n", b"\r", b"\0", "é\n".encode(), b"\xff", b"\x1b[31m"]),
        st.integers(MAX_LINE_BYTES - 3, MAX_LINE_BYTES + 3).map(lambda n: "é".encode() * (n // 2)),
    ),
    max_size=12,
)


@given(OUTPUT, st.data())
def test_the_same_bytes_are_the_same_lines_however_they_are_cut_up(
    parts: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=20)))
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert split(pieces) == split([whole])


@given(OUTPUT, st.data())
def test_lines_that_are_skipped_are_counted_and_the_next_are_whole(
    parts: list[bytes], data: st.DataObject
) -> None:
    whole = b"".join(parts)
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    splitter = Splitter()
    before = [piece.text for piece in splitter.feed(whole[:begin])]
    skipped = splitter.skip(whole[begin:end])
    after = [piece.text for piece in splitter.feed(whole[end:])]
    if (last := splitter.finish()) is not None:
        after.append(last.text)
    every = split([whole])
    assert len(before) + skipped + len(after) == len(every)
    assert before == every[: len(before)]
    assert after == every[len(every) - len(after) :]


@given(OUTPUT)
def test_a_line_loses_nothing_but_its_end_and_what_no_text_holds(parts: list[bytes]) -> None:
    whole = b"".join(parts)
    lines = whole.split(b"\n")
    if lines[-1] == b"":
        del lines[-1]
    texts = split([whole])
    assert len(texts) == len(lines)
    for text, line in zip(texts, lines, strict=True):
        assert "\0" not in text
        assert len(text.encode()) <= 3 * MAX_LINE_BYTES + 40
        if len(line) <= MAX_LINE_BYTES:
            said = line.removesuffix(b"\r").decode(errors="replace")
            assert text == said.replace("\0", "\ufffd")


@given(OUTPUT, st.integers(1, 5))
def test_pauses_cut_a_line_into_pieces_that_make_it_up(parts: list[bytes], size: int) -> None:
    whole = b"".join(parts)
    splitter = Splitter()
    made, line = [], ""
    for at in range(0, min(len(whole), 400), size):
        for piece in splitter.feed(whole[at : min(at + size, 400)]):
            made.append(line + piece.text)
            line = ""
        if (paused := splitter.pause()) is not None:
            assert paused.more
            line += paused.text
    last = splitter.finish()
    if last is not None:
        made.append(line + last.text)
    assert made == split([whole[:400]])


def test_a_line_that_is_too_long_says_how_much_of_it_is_missing() -> None:
    (text,) = split([b"x" * (MAX_LINE_BYTES + 5), b"yy\n"])
    assert text == "x" * MAX_LINE_BYTES + "… and 7 more bytes"


class Broker:
    """Takes messages; away while told so, and held up while told so."""

    def __init__(self) -> None:
        self.chunks: list[LogChunk] = []
        self.away = False
        self.open = threading.Event()
        self.open.set()
        self.asked = threading.Event()
        self._more = threading.Condition()

    def publish(self, envelopes: Sequence[Envelope], _timeout_s: float) -> list[Published]:
        self.asked.set()
        assert self.open.wait(30)
        if self.away:
            raise Unavailable("the broker is away")
        for envelope in envelopes:
            assert len(envelope.body) < MAX_LOG_BYTES
            with self._more:
                self.chunks.append(message.read(envelope.headers, envelope.body).chunk())
                self._more.notify_all()
        return [CONFIRMED] * len(envelopes)

    @property
    def lines(self) -> list[LogLine]:
        return [line for chunk in self.chunks for line in chunk.lines]

    @property
    def texts(self) -> list[str]:
        return [line.text for line in self.lines]

    def wait_for(self, holds: Callable[[], bool]) -> None:
        with self._more:
            assert self._more.wait_for(holds, 30), self.texts[-20:]


@contextmanager
def live(broker: Broker, **more: Any) -> Iterator[LiveLog]:
    words: dict[str, Any] = {"limits": QUICK} | more
    made = LiveLog(
        broker.publish, project_id="shop", bead_id="bd-1", epoch=2, correlation_id="c", **words
    )
    try:
        yield made
    finally:
        made.close(30)


def test_a_step_is_told_of_from_its_beginning_to_its_end() -> None:
    broker = Broker()
    with live(broker) as log:
        log.begin("test", ["pytest", "-k", "a b"])
        log.write("test", b"one\ntw")
        log.write("test", b"o\n\xff\x1b[1mthree")
        log.end("test", 1, 2.34)
    assert [(line.kind, line.step, line.text) for line in broker.lines] == [
        (LineKind.BEGIN, "test", "pytest -k 'a b'"),
        (LineKind.OUT, "test", "one"),
        (LineKind.OUT, "test", "two"),
        (LineKind.OUT, "test", "\ufffd\x1b[1mthree"),
        (LineKind.END, "test", "ended with exit code 1 after 2.3 s"),
    ]


def test_messages_are_numbered_without_a_gap_and_the_last_says_so() -> None:
    broker = Broker()
    with live(broker) as log:
        for number in range(3_000):
            log.write("test", b"%d\n" % number)
    assert [chunk.seq for chunk in broker.chunks] == list(range(1, len(broker.chunks) + 1))
    assert [chunk.last for chunk in broker.chunks[:-1]] == [False] * (len(broker.chunks) - 1)
    assert broker.chunks[-1].last
    expected = 1
    for chunk in broker.chunks:
        assert chunk.first == expected
        expected += len(chunk.lines)
    assert broker.texts == [str(number) for number in range(3_000)]


def test_of_an_attempt_that_says_nothing_nothing_is_sent() -> None:
    broker = Broker()
    with live(broker) as log:
        pass
    log.begin("test")
    log.write("test", b"too late")
    assert not broker.chunks


def test_an_attempt_that_said_something_says_at_its_end_that_this_was_all() -> None:
    broker = Broker()
    with live(broker, limits=Limits(batch_s=0.0)) as log:
        log.write("test", b"a line\n")
        broker.wait_for(lambda: broker.texts == ["a line"])
    assert [chunk.last for chunk in broker.chunks] == [False, True]


def test_dots_are_shown_before_their_line_ends() -> None:
    broker = Broker()
    with live(broker, limits=Limits(batch_s=0.01, idle_s=0.02)) as log:
        log.write("test", b"....\xc3")
        broker.wait_for(lambda: broker.texts == ["...."])
        assert broker.lines[0].more
        log.write("test", b"\xa9..\n")
    assert broker.texts == ["....", "é.."]


def test_a_flood_is_limited_and_what_is_left_out_is_counted() -> None:
    broker = Broker()
    ticks = iter(range(10**9))
    still = Limits(batch_s=0.01, rate=6_500, burst=13_000)
    with live(broker, limits=still, clock=lambda: next(ticks) * 1e-9) as log:
        for number in range(10_000):
            log.write("test", b"%d\n" % number)
        log.end("test", 0, 1.0)
    kept = [line for line in broker.lines if line.kind is LineKind.OUT]
    (marker,) = [line for line in broker.lines if line.kind is LineKind.LEFT_OUT]
    assert 150 < len(kept) < 250
    assert [line.text for line in kept] == [str(number) for number in range(len(kept))]
    assert marker.text.startswith(f"… {10_000 - len(kept)} lines left out here: ")
    assert broker.lines[-1].kind is LineKind.END, "marks are never left out"


def test_lines_come_again_once_a_flood_is_over() -> None:
    broker = Broker()
    now = [0.0]
    limits = Limits(batch_s=0.01, rate=1_000, burst=1_000)
    with live(broker, limits=limits, clock=lambda: now[0]) as log:
        log.write("test", b"x\n" * 100)
        now[0] = 10.0
        log.write("test", b"later\n")
    assert broker.texts[-2].startswith("… 85 lines left out here")
    assert broker.texts[-1] == "later"


def test_an_attempt_has_a_limit_and_says_at_its_end_what_it_left_out() -> None:
    broker = Broker()
    with live(broker, limits=Limits(batch_s=0.01, whole=650)) as log:
        log.write("test", b"x\n" * 25)
    assert broker.texts[:10] == ["x"] * 10
    (marker,) = broker.texts[10:]
    assert marker == "… 15 lines left out here: the live log of an attempt holds 650 bytes"


def test_a_broker_that_is_away_holds_up_nobody_and_costs_lines_not_memory() -> None:
    broker = Broker()
    broker.open.clear()
    limits = Limits(batch_s=0.01, waiting=6_500, burst=10**9)
    with live(broker, limits=limits) as log:
        log.write("test", b"first\n")
        assert broker.asked.wait(30)
        for _ in range(1_000):
            log.write("test", b"y\n" * 10)
        broker.open.set()
    assert broker.texts[0] == "first"
    assert broker.texts[-1].startswith("… ")
    assert broker.texts[-1].endswith("lines left out here: the broker took no more")
    assert len(broker.texts) < 200


def test_what_a_broker_did_not_take_is_sent_again_under_the_same_number() -> None:
    broker = Broker()
    broker.away = True
    with live(broker) as log:
        log.write("test", b"one\n")
        assert broker.asked.wait(30)
        broker.away = False
        log.write("test", b"two\n")
    assert broker.texts == ["one", "two"]
    assert [chunk.seq for chunk in broker.chunks] == list(range(1, len(broker.chunks) + 1))


def test_closing_waits_for_a_lost_broker_no_longer_than_it_may() -> None:
    broker = Broker()
    broker.away = True
    log = LiveLog(
        broker.publish, project_id="shop", bead_id="bd-1", epoch=1, correlation_id="c",
        limits=QUICK,
    )  # fmt: skip
    log.write("test", b"one\n")
    log.close(0.05)
    log.write("test", b"two\n")
    log.close(0.05)
    assert broker.chunks == []


@pytest.mark.parametrize("threads", [4])
def test_many_threads_may_write_at_once(threads: int) -> None:
    broker = Broker()
    with live(broker) as log:
        writers = [
            threading.Thread(
                target=lambda n=n: [log.write(f"step{n}", b"%d\n" % i) for i in range(200)]
            )
            for n in range(threads)
        ]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    for n in range(threads):
        mine = [line.text for line in broker.lines if line.step == f"step{n}"]
        assert mine == [str(i) for i in range(200)]
