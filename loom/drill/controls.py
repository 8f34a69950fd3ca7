"""Negative controls: with one guard switched off, the accountant has to notice.

Each is run twice on one site, with the guard and without it: only what is found without it alone
counts as caught.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from loom.domain.evidence import FailureClass, Outcome
from loom.domain.identity import new_message_id
from loom.drill.accountant import Accountant
from loom.drill.book import Sort
from loom.drill.fault import Scene
from loom.drill.ledger import PROGRESS, Ledger
from loom.drill.load import Order
from loom.drill.messages import Forged, send_result
from loom.drill.site import Site, named
from loom.drill.verdict import Verdict
from loom.errors import DeadlineExceeded, LoomError
from loom.messaging import result
from loom.messaging.topology import task_key

SETTLE_S, PATIENCE_S = 9.0, 90.0
MEND_S = 60.0
LOOK_S = 0.1
LIMITED_S = 1.5
"""How long the broker takes to see that a queue is over its new limit."""
ENDED_S = 2.0
"""How long agents take to see that their queue is gone. RabbitMQ 3.10 delivers to nobody what comes
to a queue that was declared again before that, until its old consumers hang up."""
REFUSED_S = 3.0
"""How long the broker refuses messages: so long that the first batch was answered."""
RECONCILING = {"LOOM_RECONCILE_EVERY_S": "1", "LOOM_RECONCILE_GRACE_S": "2"}

Scenario = Callable[["Scene", bool], None]


@dataclass(frozen=True, slots=True)
class Control:
    """A guard, whose process holds it, and the scenario that needs it.

    scenario: is told whether the guard is there. masked_by: what would mend its absence, and is
    therefore off as well.
    """

    guard: str
    kind: str
    scenario: Scenario
    what: str
    masked_by: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a control. guarded, unguarded: what was found in each of its two runs."""

    control: Control
    guarded: Sequence[str]
    unguarded: Sequence[str]
    mended: bool | None

    @property
    def caught(self) -> bool:
        """It was noticed, and only because the guard was off."""
        return bool(self.unguarded) and not self.guarded

    def as_json(self) -> dict[str, Any]:
        """The control as `loom drill --controls --json` gives it."""
        return {
            "guard": self.control.guard,
            "caught": self.caught,
            "scenario": self.control.what,
            "found_with_the_guard": list(self.guarded),
            "found_without_it": list(self.unguarded),
            "masked_by": self.control.masked_by,
            "mended_by_it_afterwards": self.mended,
        }


def run(
    scene: Scene,
    accountant: Accountant,
    tell: Callable[[str], None],
    guards: Sequence[str] = (),
) -> list[Tried]:
    """Try every control on a site that is up and quiet, or those of the guards named."""
    done: list[Tried] = []
    for control in CONTROLS:
        if guards and control.guard not in guards:
            continue
        tell(f"without {control.guard}: {control.what}")
        tried = _try(control, scene, accountant, tell)
        tell(f"    {'caught' if tried.caught else 'NOT caught'}: {list(tried.unguarded)[:2]}")
        done.append(tried)
    return done


def _try(
    control: Control, scene: Scene, accountant: Accountant, tell: Callable[[str], None]
) -> Tried:
    site = scene.site
    _reconcile(site, repair=not control.masked_by)
    before = _found(accountant.judge(SETTLE_S, PATIENCE_S, tell))
    control.scenario(scene, True)
    guarded = _found(accountant.judge(SETTLE_S, PATIENCE_S, tell)) - before
    for process in named(site, control.kind):
        site.arm(process, {"LOOM_DRILL_UNGUARDED": control.guard}, lasting=True)
    site.healthy(PATIENCE_S)
    try:
        control.scenario(scene, False)
        after = _found(accountant.judge(SETTLE_S, PATIENCE_S, tell))
    finally:
        for process in named(site, control.kind):
            site.arm(process, {})
        _reconcile(site, repair=True)
        site.healthy(PATIENCE_S)
    unguarded = after - before - guarded
    mended = None
    if control.masked_by and unguarded:
        left = _found(accountant.judge(MEND_S, PATIENCE_S, tell))
        mended = not unguarded & left
    return Tried(control, sorted(guarded), sorted(unguarded), mended)


def _found(verdict: Verdict) -> set[str]:
    return {*verdict.lost, *verdict.doubled, *verdict.unexpected}


def _reconcile(site: Site, *, repair: bool) -> None:
    for process in named(site, "engine"):
        site.arm(
            process, {**RECONCILING, "LOOM_RECONCILE_REPAIR": str(repair).lower()}, lasting=True
        )
    site.healthy(PATIENCE_S)


def _order(sort: Sort = Sort.VERIFY, seconds: float = 0.0) -> Order:
    nonce = f"drill-control-{new_message_id()}"
    return Order(nonce, sort, keyed=True, named=False, seconds=seconds)


def _queue_gone(scene: Scene, _guarded: bool) -> None:
    """A bead is dispatched to a queue that somebody has deleted."""
    actor = Forged(scene)
    try:
        actor.broker.delete(task_key(scene.site.project))
        for _ in range(3):
            scene.load.file(_order())
        _pause(ENDED_S)
    finally:
        actor.heal()


def _queue_full(scene: Scene, _guarded: bool) -> None:
    """The broker takes some messages of a batch and refuses others."""
    actor = Forged(scene)
    try:
        # A quorum queue refuses only once it is over its limit.
        actor.running_bead(Sort.VERIFY, seconds=8.0)
        queue = task_key(scene.site.project)
        scene.load.file_together([_order() for _ in range(2)])
        _wait(lambda: actor.broker.depths().get(queue, 0) > 2, "beads wait in the queue")
        actor.broker.limit(queue, 1)
        _pause(LIMITED_S)
        # The events of this request are in the same batch, and the broker takes those.
        scene.load.file_together([_order() for _ in range(3)])
        _pause(REFUSED_S)
    finally:
        with suppress(LoomError):
            actor.broker.unlimit()
        actor.heal()


def _late_result(scene: Scene, _guarded: bool) -> None:
    """An agent that was given up reports a failure while another works on its bead."""
    actor = Forged(scene)
    try:
        _nonce, bead_id, agent_id, epoch = actor.running_bead(Sort.PATCH, seconds=6.0)
        for name in named(scene.site, "agent"):
            with suppress(ProcessLookupError, KeyError):
                os.kill(scene.site.processes()[name], signal.SIGKILL)
        _agent, _later = actor.attempt_after(bead_id, epoch)
        late = Outcome(
            succeeded=False, failure_class=FailureClass.WORK, reason="too late to be heard"
        )
        actor.report(bead_id, agent_id, epoch, late)
    finally:
        actor.heal()


def _same_again(scene: Scene, _guarded: bool) -> None:
    """One report of progress is delivered twice."""
    actor = Forged(scene)
    ledger = Ledger(scene.site.ledger_settings())
    try:
        _nonce, bead_id, agent_id, epoch = actor.running_bead(Sort.VERIFY, seconds=6.0)
        words = f"{PROGRESS}{new_message_id()}"
        message = result.report(
            Outcome(succeeded=True, output=words),
            message_id=new_message_id(),
            project_id=scene.site.project,
            bead_id=bead_id,
            agent_id=agent_id,
            epoch=epoch,
            correlation_id="drill",
            timestamp=datetime.now(UTC),
        ).model_copy(update={"type": "task.progress"})

        def told() -> int:
            return ledger.read(scene.site.project).said.get((bead_id, words), 0)

        send_result(actor, message)
        _wait(lambda: told() == 1, "the progress is in the journal")
        send_result(actor, message)
    finally:
        ledger.close()
        actor.heal()


def _dies_in_between(scene: Scene, guarded: bool) -> None:
    """The dispatcher dies between the lease of a task and its publication."""
    # Without the guard it tells the ledger first that the broker has the message.
    (process,) = named(scene.site, "dispatcher")[:1]
    place = "dispatcher.leased" if guarded else "dispatcher.settled"
    variables = {"LOOM_DRILL_FAILPOINTS": f"{place}=kill@1"}
    if not guarded:
        variables["LOOM_DRILL_UNGUARDED"] = "ack_order"
    scene.site.arm(process, variables)
    before = scene.site.processes().get(process)
    scene.load.file(_order())
    _wait(lambda: scene.site.processes().get(process, before) != before, "the dispatcher has died")


def _asked_again(scene: Scene, _guarded: bool) -> None:
    """A client that saw no answer sends its request again with the same key."""
    order = _order(Sort.PATCH)
    scene.load.file(order)
    scene.load.file(replace(order))


CONTROLS: tuple[Control, ...] = (
    Control("mandatory", "dispatcher", _queue_gone, _queue_gone.__doc__ or "", "the reconciler"),
    Control("tag_counting", "dispatcher", _queue_full, _queue_full.__doc__ or "", "the reconciler"),
    Control(
        "ack_order", "dispatcher", _dies_in_between, _dies_in_between.__doc__ or "",
        "the reconciler",
    ),
    Control("fence", "database", _late_result, _late_result.__doc__ or ""),
    Control("inbox", "database", _same_again, _same_again.__doc__ or ""),
    Control("idempotency", "control", _asked_again, _asked_again.__doc__ or ""),
)  # fmt: skip
"""Every guard that can be switched off, with the scenario that needs it."""


def _wait(holds: Callable[[], bool], what: str, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while True:
        with suppress(LoomError):
            if holds():
                return
        if time.monotonic() > deadline:
            raise DeadlineExceeded(f"not within {within_s:g} s: {what}")
        time.sleep(LOOK_S)


def _pause(seconds: float) -> None:
    time.sleep(seconds)
