"""Every fault that can be done to a scratch stack, by its name: the one table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import Protocol

from loom.drill import faults_broker as broker
from loom.drill import faults_machine as machine
from loom.drill import faults_network as network
from loom.drill import faults_process as process
from loom.drill.scratch import Scratch


class Injector(Protocol):
    """One fault, once. heal() puts right what does not come back by itself, and may be called
    whatever inject() came to."""

    def inject(self) -> None:
        """Let it go wrong."""

    def heal(self) -> None:
        """Put it right."""


def _possible(_scratch: Scratch) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class FaultClass:
    """make: the fault on this stack, its choices by the seed. why_not: why it cannot be done
    here; empty when it can."""

    make: Callable[[Scratch, Random], Injector]
    why_not: Callable[[Scratch], str] = _possible


FAULTS: Mapping[str, FaultClass] = {
    **{
        f"kill-{kind}": FaultClass(partial(process.Kill, kind=kind))
        for kind in ("database", "control", "dispatcher", "ingester", "engine", "pgbouncer")
    },
    "kill-agent-parent": FaultClass(process.KillAgentParent),
    "kill-agent-child": FaultClass(process.KillAgentChild),
    "kill-agent-both": FaultClass(process.KillAgentBoth),
    "pause-agent": FaultClass(process.PauseAgent),
    "rolling-restart": FaultClass(process.RollingRestart),
    "kill-primary": FaultClass(process.KillPrimary),
    "kill-standby": FaultClass(process.KillStandby),
    "promote-standby": FaultClass(process.PromoteStandby),
    "kill-broker-leader": FaultClass(broker.KillLeader),
    "kill-broker-follower": FaultClass(broker.KillFollower),
    "kill-broker-majority": FaultClass(broker.KillMajority),
    "kill-broker-all": FaultClass(broker.KillAll),
    "partition-broker": FaultClass(broker.Partition),
    "pause-broker-node": FaultClass(broker.PauseNode),
    "memory-alarm": FaultClass(broker.MemoryAlarm),
    "disk-alarm": FaultClass(broker.DiskAlarm),
    "rolling-restart-broker": FaultClass(broker.RollingRestart),
    "partition-agent-broker": FaultClass(network.PartAgent),
    "stall-broker": FaultClass(network.StallBroker),
    "reset-broker": FaultClass(network.ResetBroker),
    "drop-confirms": FaultClass(network.DropConfirms),
    "stall-ledger": FaultClass(network.StallLedger),
    "reset-ledger": FaultClass(network.ResetLedger),
    "full-broker": FaultClass(machine.FullBroker, machine.why_no_volumes),
    "full-database": FaultClass(machine.FullDatabase, machine.why_no_volumes),
    "full-workspace": FaultClass(machine.FullWorkspace, machine.why_no_volumes),
    "clock-ahead": FaultClass(partial(machine.Clock, offset="+3600"), machine.why_no_clock),
    "clock-behind": FaultClass(partial(machine.Clock, offset="-3600"), machine.why_no_clock),
}
