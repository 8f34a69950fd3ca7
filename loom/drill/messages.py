"""Faults that need no process: messages that are wrong, forged, late, doubled or out of order."""

from __future__ import annotations

import json
import threading
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from loom.clients.control import ControlClient
from loom.domain.evidence import FailureClass, Outcome, Step
from loom.domain.identity import new_bead_id, new_message_id
from loom.drill.book import Sort
from loom.drill.fault import Scene
from loom.drill.load import Order
from loom.drill.operator import Broker, Copy, copies, properties
from loom.errors import DeadlineExceeded, Unavailable
from loom.messaging import result
from loom.messaging.envelope import VERSION, Envelope
from loom.messaging.result import ResultMessage
from loom.messaging.task import CELERY_TASK
from loom.messaging.topology import (
    MAX_RESULT_BYTES,
    MAX_TASK_BYTES,
    RESULTS,
    RESULTS_QUEUE,
    TASKS,
    result_key,
    task_key,
)

TASKS_TAP, RESULTS_TAP = "drill.tasks", "drill.results"
"""Queues of the drill's own, which get copies while a fault lasts."""
LOOK_S = 0.1
START_S = 30.0


class Messages:
    """What every fault of this kind has: the broker as operator, and the project's queues."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.broker = Broker(scene.site.management_url, scene.site.broker_settings())
        self.project = scene.site.project
        self.tasks = task_key(self.project)

    def heal(self) -> None:
        """Close the connection; nothing else is left."""
        self.broker.close()

    def refused(self, queue: str, body: bytes, headers: dict[str, Any]) -> None:
        """Send a message that has to become one dead letter."""
        message_id = new_message_id()
        self.scene.book.sends_letter(message_id, queue)
        self.send(queue, Copy(queue, body, properties(message_id, headers)))

    def send(self, queue: str, copy: Copy) -> None:
        """Put it into the queue; raises Unavailable if there is none."""
        if not self.broker.send(queue, copy):
            raise Unavailable(f"the broker has no queue {queue}")


def task_headers(bead_id: str) -> dict[str, Any]:
    """The headers of a task message that is well up to its body."""
    return {
        "lang": "py", "task": CELERY_TASK, "id": bead_id, "root_id": bead_id,
        "version": VERSION, "message_id": new_message_id(), "epoch": 1, "attempt": 1,
    }  # fmt: skip


class Poison(Messages):
    """Messages that nobody can read, among the tasks and among the results."""

    def inject(self) -> None:
        """Send some of each; each has to become one dead letter, and hold up nothing."""
        headers = task_headers(new_bead_id())
        riddle = json.dumps([[{"type": "task.riddle", "project_id": self.project}], {}, {}])
        self.refused(self.tasks, b"\xff\xfe not JSON", headers)
        self.refused(self.tasks, riddle.encode(), headers)
        self.refused(self.tasks, b"[[], {}, {}]", headers | {"version": 99})
        self.refused(RESULTS_QUEUE, b"{", {})
        self.refused(RESULTS_QUEUE, b'{"type": "task.riddle"}', {})


class Oversize(Messages):
    """Messages larger than their limits."""

    def inject(self) -> None:
        """Send one of each kind; each has to become one dead letter."""
        self.refused(self.tasks, b" " * (MAX_TASK_BYTES + 1), task_headers(new_bead_id()))
        self.refused(RESULTS_QUEUE, b" " * (MAX_RESULT_BYTES + 1), {})


class Forged(Messages):
    """Results that no agent sent: of no bead, of another's attempt, of the past, of the future."""

    def inject(self) -> None:
        """Send them while the bead runs that they lie about; none may change anything."""
        nonce, bead_id, agent_id, epoch = self.running_bead(Sort.VERIFY)
        done = Outcome(succeeded=True, steps=(Step("test", ("true",), 0, 0.1, "forged"),))
        failed = Outcome(
            succeeded=False, failure_class=FailureClass.WORK, reason=f"forged against {nonce}"
        )
        self.report(new_bead_id(), agent_id, 1, done, refused=True)
        self.report(bead_id, agent_id, epoch + 7, done, refused=True)
        self.report(bead_id, "agent-of-nobody", epoch, Outcome(succeeded=True))
        self.report(bead_id, "agent-of-nobody", epoch, done)
        self.report(bead_id, "agent-of-nobody", epoch, failed)
        if epoch > 1:
            self.report(bead_id, agent_id, epoch - 1, failed)

    def running_bead(self, sort: Sort, seconds: float = 4.0) -> tuple[str, str, str, int]:
        """File a bead that takes a while; its nonce, id, agent and epoch once it runs.

        Raises DeadlineExceeded if nobody takes it.
        """
        nonce = f"drill-long-{new_message_id()}"
        order = Order(nonce, sort, keyed=True, named=False, seconds=seconds)
        deadline = time.monotonic() + START_S
        bead_id = self.scene.load.file(order, until=lambda: time.monotonic() > deadline, priority=0)
        agent_id, epoch = self.attempt_after(bead_id, 0)
        return nonce, bead_id, agent_id, epoch

    def attempt_after(self, bead_id: str, epoch: int) -> tuple[str, int]:
        """Agent and epoch of the running attempt once it is a later one than that.

        Raises DeadlineExceeded if nobody takes it.
        """
        deadline = time.monotonic() + START_S
        with ControlClient(self.scene.site.urls[0], self.scene.site.token) as client:
            while bead_id and time.monotonic() < deadline:
                with suppress(Unavailable, DeadlineExceeded):
                    for attempt in client.list_attempts(bead_id):
                        if attempt.outcome == "running" and attempt.epoch > epoch:
                            return attempt.agent_id, attempt.epoch
                time.sleep(LOOK_S)
        raise DeadlineExceeded(f"nobody took the bead {bead_id} in {START_S:g} s")

    def report(
        self, bead_id: str, agent_id: str, epoch: int, outcome: Outcome, *, refused: bool = False
    ) -> None:
        """Report in that agent's name. refused: it has to become a dead letter."""
        message = result.report(
            outcome,
            message_id=new_message_id(),
            project_id=self.project,
            bead_id=bead_id,
            agent_id=agent_id,
            epoch=epoch,
            correlation_id="drill",
            timestamp=datetime.now(UTC),
        )
        if refused:
            self.scene.book.sends_letter(message.message_id, RESULTS_QUEUE)
        send_result(self, message)


def send_result(messages: Messages, message: ResultMessage) -> None:
    """Send a result to whoever takes results."""
    messages.send(RESULTS_QUEUE, _copy(result.to_envelope(message)))


class Replayed(Messages):
    """Results that were recorded long ago come again: as they were, and under new ids."""

    def inject(self) -> None:
        """Tap some results, and send each of them again, the last one first."""
        self.broker.tap(RESULTS_TAP, RESULTS, result_key(self.project))
        for _ in range(2):
            self.scene.load.probe(START_S)
        seen = copies(self.broker.take(RESULTS_TAP))
        for copy in reversed(seen):
            self.send(RESULTS_QUEUE, copy)
            self.send(RESULTS_QUEUE, _renamed(copy))

    def heal(self) -> None:
        """Take the tap away."""
        with suppress(Unavailable):
            self.broker.delete(RESULTS_TAP)
        super().heal()


class Copied(Messages):
    """While it lasts, what goes through the broker comes more than once, or out of order."""

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="copies", daemon=True)

    def inject(self) -> None:
        """Begin."""
        self.broker.tap(TASKS_TAP, TASKS, self.tasks)
        self.broker.tap(RESULTS_TAP, RESULTS, result_key(self.project))
        self._thread.start()

    def heal(self) -> None:
        """End, and take the taps away."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        for tap in (TASKS_TAP, RESULTS_TAP):
            with suppress(Unavailable):
                self.broker.delete(tap)
        super().heal()

    def turn(self) -> None:
        """Do it to what has come since the last turn."""
        raise NotImplementedError

    def _run(self) -> None:
        while not self._ended.wait(LOOK_S):
            with suppress(Unavailable):
                self.turn()


class Duplicated(Copied):
    """Every task and every result comes three times."""

    def turn(self) -> None:
        """Send two copies of each."""
        for tap, queue in ((TASKS_TAP, self.tasks), (RESULTS_TAP, RESULTS_QUEUE)):
            for copy in copies(self.broker.take(tap)):
                self.send(queue, copy)
                self.send(queue, copy)


class Reordered(Copied):
    """Tasks that wait change places; results come again, later ones first."""

    def turn(self) -> None:
        """Take what waits out of the tasks' own queue and put it back the other way round."""
        self.broker.take(TASKS_TAP)
        waiting = copies(self.broker.take(self.tasks, 5))
        for copy in reversed(waiting):
            self._put_back(copy)
        for copy in reversed(copies(self.broker.take(RESULTS_TAP))):
            self.send(RESULTS_QUEUE, copy)

    def _put_back(self, copy: Copy) -> None:
        """What was taken out is the drill's to bring back, however often it has to try."""
        deadline = time.monotonic() + START_S
        while True:
            try:
                self.send(self.tasks, copy)
                return
            except Unavailable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(LOOK_S)


def _copy(envelope: Envelope) -> Copy:
    return Copy(
        envelope.routing_key,
        envelope.body,
        properties(envelope.message_id, dict(envelope.headers), envelope.correlation_id),
    )


def _renamed(copy: Copy) -> Copy:
    """The same result under another message id."""
    body = json.loads(copy.body)
    message_id = new_message_id()
    body["message_id"] = message_id
    headers = dict(copy.properties.get("headers") or {}) | {"message_id": message_id}
    return replace(
        copy,
        body=json.dumps(body).encode(),
        properties=copy.properties | {"message_id": message_id, "headers": headers},
    )
