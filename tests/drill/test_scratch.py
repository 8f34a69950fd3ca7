"""A scratch stack: whole at its start, beads travel on it, and it is well again after faults."""

import re
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from loom.domain.bead import NewBead
from loom.domain.lifecycle import State
from loom.drill.cluster import NODES
from loom.drill.faults import FAULTS
from loom.drill.fleet import AGENT, KINDS
from loom.drill.scratch import PROJECT, Scratch
from loom.errors import LoomError, Unavailable
from loom.messaging.topology import task_key

pytestmark = pytest.mark.timeout(400)
PATIENCE_S = 90
PATCH = """\
diff --git a/{name} b/{name}
new file mode 100644
--- /dev/null
+++ b/{name}
@@ -0,0 +1 @@
+done
"""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    with Scratch(tmp_path_factory.mktemp("scratch"), agents=2) as started:
        yield started


def file_bead(scratch, name):
    """The id of a bead, asked for until a server takes it: its key makes it one bead."""
    context = {"patch": PATCH.format(name=name)}
    looked = threading.Event()
    for number in range(PATIENCE_S * 10):
        try:
            with scratch.client(number) as client:
                return client.create_bead(PROJECT, NewBead(name, context=context), name).id
        except Unavailable as error:
            refused = error
        looked.wait(0.1)
    raise AssertionError(f"nobody took {name}: {refused}; {scratch.unwell()}")


def until_closed(scratch, bead_id):
    looked = threading.Event()
    for number in range(PATIENCE_S * 10):
        try:
            with scratch.client(number) as client:
                bead = client.get_bead(bead_id)
            if bead.state is State.CLOSED:
                return bead
        except LoomError:
            pass
        looked.wait(0.1)
    raise AssertionError(f"{bead_id} is not closed: {scratch.unwell()}")


def fault(scratch, name):
    made = FAULTS[name]
    assert not made.why_not(scratch)
    return made.make(scratch, Random(1))  # noqa: S311 - always the same choice


def test_everything_is_there_in_numbers(scratch):
    up = scratch.processes()
    for kind in ("database", "control", "dispatcher", "ingester", "engine", "agent"):
        assert {f"{kind}-1", f"{kind}-2"} <= set(up)
    assert {"postgres-primary", "postgres-standby", "pgbouncer", *NODES} <= set(up)
    assert {"agent-1/1", "agent-2/1"} <= set(up)
    assert len(set(up.values())) == len(up)
    assert len(scratch.urls) == 2


def test_a_bead_travels_over_a_queue_on_three_nodes(scratch):
    bead = until_closed(scratch, file_bead(scratch, "travels"))
    assert bead.resolution == "succeeded"
    assert len(scratch.cluster.queue(task_key(PROJECT))["members"]) == 3


@pytest.mark.parametrize("name", ["kill-dispatcher", "kill-ingester", "kill-agent-both"])
def test_a_killed_process_comes_back(scratch, name):
    killing = fault(scratch, name)
    bead_id = file_bead(scratch, name)
    killing.inject()
    killing.heal()
    assert until_closed(scratch, bead_id).resolution == "succeeded"
    assert scratch.healthy(PATIENCE_S), scratch.unwell()


def test_what_was_accepted_is_on_the_promoted_standby(scratch):
    promotion = fault(scratch, "promote-standby")
    was = scratch.ledger.primary
    bead_id = file_bead(scratch, "promoted")
    promotion.inject()
    assert scratch.ledger.primary != was
    assert until_closed(scratch, bead_id).resolution == "succeeded"
    promotion.heal()
    assert scratch.healthy(PATIENCE_S), scratch.unwell()
    assert until_closed(scratch, file_bead(scratch, "after")).resolution == "succeeded"


def test_a_node_that_is_cut_off_joins_again(scratch):
    partition = fault(scratch, "partition-broker")
    cut_off = scratch.cluster.leader(task_key(PROJECT))
    partition.inject()
    for _look in range(PATIENCE_S * 10):
        if scratch.cluster.together() == set(NODES) - {cut_off}:
            break
        threading.Event().wait(0.1)
    assert scratch.cluster.together() == set(NODES) - {cut_off}
    assert until_closed(scratch, file_bead(scratch, "parted")).resolution == "succeeded"
    partition.heal()
    assert scratch.healthy(PATIENCE_S), scratch.unwell()


def test_a_bead_waits_while_confirms_are_dropped_and_is_done_once_after(scratch):
    dropping = fault(scratch, "drop-confirms")
    dropping.inject()
    bead_id = file_bead(scratch, "unconfirmed")
    dropping.heal()
    bead = until_closed(scratch, bead_id)
    assert bead.resolution == "succeeded"
    assert len(bead.commits) == 1


def test_a_full_database_volume_ends_the_primary_until_there_is_room(scratch):
    if why := FAULTS["full-database"].why_not(scratch):
        # Without a volume the class says so, and a drill reports it as not run.
        assert "tmpfs" in why
        return
    full = fault(scratch, "full-database")
    full.inject()
    full.heal()
    assert scratch.healthy(PATIENCE_S), scratch.unwell()
    assert until_closed(scratch, file_bead(scratch, "roomy")).resolution == "succeeded"


class Choosing:
    """Picks what a test wants, where it is there to be picked."""

    def __init__(self, wanted):
        self.wanted = wanted

    def choice(self, several):
        return next(each for each in several if each.split("-")[0] == self.wanted)


@pytest.mark.parametrize("kind", [*KINDS, AGENT])
def test_a_clock_can_be_off_in_one_process_alone(scratch, kind):
    made = FAULTS["clock-ahead"]
    if why := made.why_not(scratch):
        assert "libfaketime" in why
        return
    clock = made.make(scratch, Choosing(kind))
    assert clock.process == f"{kind}-1"
    log = scratch.home.log(clock.process)
    clock.inject()
    in_an_hour = datetime.now(UTC) + timedelta(minutes=55)
    for _look in range(PATIENCE_S * 10):
        if any(datetime.fromisoformat(at) > in_an_hour for at in timestamps(log)):
            break
        threading.Event().wait(0.1)
    assert any(datetime.fromisoformat(at) > in_an_hour for at in timestamps(log))
    assert until_closed(scratch, file_bead(scratch, f"ahead-{kind}")).resolution == "succeeded"
    assert scratch.healthy(PATIENCE_S), scratch.unwell()
    clock.heal()
    assert scratch.healthy(PATIENCE_S), scratch.unwell()


def timestamps(log):
    return re.findall(r'"timestamp": "([^"]+)"', log.read_text())


def test_an_armed_process_is_armed_once(scratch):
    before = scratch.processes()["engine-1"]
    scratch.arm("engine-1", {"LOOM_DRILL_SCRATCH": "1"})
    armed = scratch.processes()["engine-1"]
    assert armed != before
    assert b"LOOM_DRILL_SCRATCH=1" in Path(f"/proc/{armed}/environ").read_bytes()
    scratch.keeper.restart("engine-1")
    plain = scratch.keeper.await_up("engine-1")
    assert b"LOOM_DRILL_SCRATCH" not in Path(f"/proc/{plain}/environ").read_bytes()
