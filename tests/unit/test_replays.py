"""A dead letter's way back: from the ledger's outbox to the queue it died in, step by step."""

import json
import threading

import pytest
from test_dispatcher import a_dispatcher, a_row, ids

from loom.database import interventions
from loom.database.sweeping import TRIES
from loom.dispatcher.message import envelope_of
from loom.dispatcher.sweeper import Sweeper
from loom.domain.audit import Intervention
from loom.domain.bead import NewBead
from loom.domain.lifecycle import State
from loom.domain.outbox import OutboxKind
from loom.domain.project import Project
from loom.domain.replay import BATCH, allowance
from loom.engine import replays
from loom.errors import Invalid, Unavailable
from loom.ingester.burial import Refused, Undertaker
from loom.ingester.letters import Letters
from loom.messaging import deadletter
from loom.messaging.envelope import Delivery
from loom.messaging.topology import (
    CORE,
    DEAD,
    DEAD_LEDGER_QUEUE,
    MAX_TASK_BYTES,
    RESULTS,
    RESULTS_QUEUE,
    TASKS,
    dead_key,
    task_key,
)
from loom.testing.broker import FakeBroker
from loom.testing.ledger import FakeLedger
from loom.testing.stopping import Unhurried

BY = Intervention("ada", "it is mended")
TASKS_OF_P1 = task_key("p1")
HEADERS = {
    "task": "other", "id": "bd-1", "x-loom-reason": "unknown_type", "x-loom-detail": "d",
    "x-loom-queue": "q", "x-loom-project": "p1", "x-first-death-queue": "q", "x-death": [],
    "x-last-death-reason": "rejected", "x-delivery-count": 3, "CC": ["elsewhere"],
}  # fmt: skip


def a_replay(queue=TASKS_OF_P1, body=b"x", headers=HEADERS):
    payload = {"queue": queue, "headers": headers, "content_type": "text/plain"}
    return a_row(7, kind=OutboxKind.REPLAY, type="dead_letter.replayed", payload=payload, body=body)


def test_a_replay_goes_to_the_queue_it_died_in_without_the_marks_of_its_death():
    envelope = envelope_of(a_replay(body=b"\x00\xff"), "")
    assert (envelope.exchange, envelope.routing_key) == (TASKS, task_key("p1"))
    assert envelope.headers == {"task": "other", "id": "bd-1"}
    assert (envelope.body, envelope.content_type) == (b"\x00\xff", "text/plain")
    assert (envelope.message_id, envelope.correlation_id) == ("m7", "c7")
    assert envelope.mandatory


def test_a_replayed_result_goes_to_the_results():
    envelope = envelope_of(a_replay(RESULTS_QUEUE), "")
    assert envelope.exchange == RESULTS
    broker = FakeBroker()
    broker.declare([CORE])
    broker.publish([envelope], 1)
    assert ids(broker, RESULTS_QUEUE) == ["m7"]


def test_a_replay_may_be_larger_than_a_task():
    assert envelope_of(a_replay(body=b"x" * (MAX_TASK_BYTES + 1)), "")


@pytest.mark.parametrize("queue", ["", "loom.dead.p1", "loom.dead._ledger", "loom.unrouted", "x"])
def test_nothing_is_replayed_to_another_queue(queue):
    with pytest.raises(Invalid, match="Discard"):
        envelope_of(a_replay(queue), "")


def test_a_poison_message_is_replayed_dies_again_and_is_told_apart_from_the_first():
    ledger, broker = FakeLedger(), FakeBroker()
    ledger.create_project(Project("p1", "/srv/p1.git"), "c")
    dispatcher = a_dispatcher(ledger, broker)
    dispatcher.turn(threading.Event())
    undertaker = Undertaker(broker.publish, lambda: broker.declare([CORE]), 1)

    def die(message_id):
        delivery = Delivery(1, task_key("p1"), TASKS, task_key("p1"), b"junk", {}, message_id)
        undertaker.bury([Refused(delivery, "malformed", "not JSON")], threading.Event())
        Letters(ledger).handle(broker.take(DEAD_LEDGER_QUEUE), threading.Event())
        broker.messages[DEAD_LEDGER_QUEUE].clear()

    die("poison")
    (letter,) = ledger.list_dead_letters().items
    ledger.replay_dead_letter(letter.id, BY)
    dispatcher.turn(threading.Event())
    (again,) = broker.messages[task_key("p1")]
    assert again.body == b"junk"
    die(again.message_id)
    newest, oldest = ledger.list_dead_letters().items
    assert (newest.state, oldest.state) == ("open", "replayed")
    assert newest.fingerprint == oldest.fingerprint


def test_a_refused_result_leads_to_its_bead_even_without_its_headers():
    ledger, broker = FakeLedger(), FakeBroker()
    ledger.create_project(Project("p1", "/srv/p1.git"), "c")
    (bead,) = ledger.create_beads("p1", [NewBead("x")], "c").items
    ledger.claim_bead(bead.id, 1, "agent-p1")
    about = {
        deadletter.BEAD: bead.id, deadletter.EPOCH: 1, deadletter.PROJECT: "p1",
    }  # fmt: skip
    # AMQP does not take back a float among the headers.
    delivery = Delivery(1, RESULTS_QUEUE, RESULTS, "loom.results.p1", b"{}", {"f": 0.5}, "r1")
    undertaker = Undertaker(broker.publish, lambda: broker.declare([CORE]), 1)
    broker.declare([CORE])
    undertaker.bury([Refused(delivery, "unproven", "no step", about)], Unhurried())
    Letters(ledger).handle(broker.take(DEAD_LEDGER_QUEUE), Unhurried())
    now = ledger.get_bead(bead.id)
    assert now.state is State.BLOCKED
    assert "unproven: no step" in now.reason


@pytest.mark.parametrize(
    ("headers", "project"),
    [({"x-loom-project": "p1"}, "p1"), ({"x-loom-project": "Not A Slug"}, ""), ({}, "")],
)
def test_a_dead_result_names_its_project_in_a_header(headers, project):
    delivery = Delivery(
        1, DEAD_LEDGER_QUEUE, "loom.dead", "loom.dead._results", b"{}",
        {"x-loom-queue": RESULTS_QUEUE, "id": "bd-1", "epoch": 2} | headers, "r1",
        user_id="ingester",
    )  # fmt: skip
    read = deadletter.read(delivery)
    assert (read.project_id, read.bead_id, read.epoch) == (project, "bd-1", 2)


def test_a_tasks_project_is_its_queues_whatever_a_header_says():
    delivery = Delivery(
        1, DEAD_LEDGER_QUEUE, "loom.dead", "loom.dead.p1", b"{}",
        {"x-loom-queue": task_key("p1"), "x-loom-project": "p2"}, "r1", user_id="agent-p1",
    )  # fmt: skip
    assert deadletter.read(delivery).project_id == "p1"


def test_a_letter_too_large_to_keep_says_so():
    delivery = Delivery(1, DEAD_LEDGER_QUEUE, "", "", b"x" * (deadletter.MAX_KEPT_BYTES + 1), {})
    read = deadletter.read(delivery)
    assert read.cut
    assert (len(read.body), read.size) == (deadletter.MAX_KEPT_BYTES, len(delivery.body))


def test_a_rate_allows_what_it_says_and_never_more_than_a_batch():
    assert allowance(2, 0.4) == 0
    assert allowance(2, 3) == 6
    assert allowance(1_000, 3_600) == BATCH
    assert allowance(2, -5) == 0


def test_a_canary_message_is_well_only_after_a_while_without_a_death():
    def judge(**facts):
        return interventions.canary(None, 1, **({"died_again": False, "quiet_s": None} | facts))

    assert judge().state == "waiting"
    assert judge(quiet_s=1.0).state == "waiting"
    assert judge(quiet_s=10.0).state == "well"
    assert judge(quiet_s=10.0, died_again=True).state == "failed"


def test_the_engine_carries_replays_on():
    ledger = FakeLedger()
    ledger.create_project(Project("p1", "/srv/p1.git"), "c")
    for number in range(3):
        words = json.dumps({"n": number})
        delivery = Delivery(
            1,
            DEAD_LEDGER_QUEUE,
            DEAD,
            dead_key("p1"),
            words.encode(),
            {"x-loom-queue": task_key("p1")},
            user_id="dispatcher",
        )
        ledger.record_dead_letters([deadletter.read(delivery)])
    fingerprint = ledger.list_dead_letters().items[0].fingerprint
    ledger.replay_dead_letter_group(fingerprint, BY, rate_per_s=1)
    ledger.advance(1)
    assert replays.advance(ledger) is False
    ledger.advance(1)
    replays.advance(ledger)
    (done,) = ledger.list_replays().items
    assert (done.state, done.replayed) == ("done", 3)


# Sweeping the copies on the broker.


class Queues:
    """Queues of dead letters from which messages are taken."""

    def __init__(self, **standing):
        self.standing = standing
        self.away = False

    def take(self, queue, wanted):
        if self.away:
            raise Unavailable("the broker is away")
        found = [d for d in self.standing.get(queue, []) if wanted(d)]
        for delivery in found:
            self.standing[queue].remove(delivery)
        return found


def a_copy(message_id, queue=TASKS_OF_P1, body=b"x"):
    headers = {"x-loom-queue": queue, "x-loom-reason": "malformed"}
    key = deadletter.dead_letter_key(queue)
    return Delivery(1, key, DEAD, key, body, headers, message_id, user_id="operator")


def discarded(*copies):
    ledger = FakeLedger()
    ledger.record_dead_letters([deadletter.read(copy) for copy in copies])
    for letter in ledger.list_dead_letters().items:
        ledger.discard_dead_letter(letter.id, BY)
    return ledger


def test_the_copies_of_what_is_dealt_with_go_and_those_of_others_stay():
    mine, result_, other = a_copy("m1"), a_copy("r1", RESULTS_QUEUE), a_copy("m2")
    ledger = discarded(mine, result_)
    ledger.record_dead_letters([deadletter.read(other)])
    queues = Queues(**{"loom.dead.p1": [mine, other], "loom.dead._results": [result_]})
    sweeper = Sweeper(ledger, queues.take)
    assert sweeper.turn() == 2
    assert queues.standing == {"loom.dead.p1": [other], "loom.dead._results": []}
    assert ledger.list_sweepable() == ()


def test_a_message_without_an_id_is_known_by_what_it_is():
    nameless, other = a_copy("", body=b"1"), a_copy("", body=b"2")
    queues = Queues(**{"loom.dead.p1": [nameless, other]})
    assert Sweeper(discarded(nameless), queues.take).turn() == 1
    assert queues.standing["loom.dead.p1"] == [other]


def test_the_same_message_that_died_in_another_queue_stays():
    ledger = discarded(a_copy("m1"))
    elsewhere = a_copy("m1", RESULTS_QUEUE)
    assert Sweeper(ledger, Queues(**{"loom.dead.p1": [elsewhere]}).take).turn() == 0


def test_a_copy_that_is_not_there_is_looked_for_a_few_times_and_no_more():
    ledger = discarded(a_copy("m1"))
    sweeper = Sweeper(ledger, Queues().take)
    turns = 0
    while ledger.list_sweepable():
        sweeper.turn()
        turns += 1
    assert turns == TRIES


def test_a_broker_that_is_away_costs_no_look():
    ledger, queues = discarded(a_copy("m1")), Queues(**{"loom.dead.p1": [a_copy("m1")]})
    queues.away = True
    sweeper = Sweeper(ledger, queues.take)
    with pytest.raises(Unavailable):
        sweeper.turn()
    queues.away = False
    assert sweeper.turn() == 1


def test_the_sweeper_goes_on_after_any_trouble_until_it_is_told_to_stop():
    queues = Queues(**{"loom.dead.p1": [a_copy("m1")]})
    queues.away = True

    class Stopping(threading.Event):
        waits = 0

        def wait(self, timeout=None):
            self.waits += 1
            queues.away = self.waits < 3
            return self.waits > 4

    Sweeper(discarded(a_copy("m1")), queues.take).run(Stopping())
    assert queues.standing == {"loom.dead.p1": []}
