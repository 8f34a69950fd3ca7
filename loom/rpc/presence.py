"""Agents as messages of the contract, and back."""

from __future__ import annotations

from collections.abc import Iterable

from loom.domain.audit import Intervention
from loom.domain.presence import (
    Agent,
    AgentState,
    AgentWish,
    Registration,
    Report,
    RunningBead,
)
from loom.errors import Invalid
from loom.rpc import codec
from loom.rpc.v1 import agents_pb2 as pb


def registration_to_pb(told: Registration) -> pb.RegisterAgentRequest:
    """What an agent is."""
    return pb.RegisterAgentRequest(
        name=told.name,
        project_id=told.project_id,
        instance=told.instance,
        host=told.host,
        pid=told.pid,
        versions=told.versions,
        tools=told.tools,
    )


def registration_from_pb(told: pb.RegisterAgentRequest) -> Registration:
    """What an agent is."""
    return Registration(
        name=told.name,
        project_id=told.project_id,
        instance=told.instance,
        host=told.host,
        pid=told.pid,
        versions=dict(told.versions),
        tools=dict(told.tools),
    )


def report_to_pb(told: Report) -> pb.ReportAgentRequest:
    """What an agent does."""
    return pb.ReportAgentRequest(
        name=told.name,
        instance=told.instance,
        concurrency=told.concurrency,
        running=_running_to_pb(told.running),
        consuming=told.consuming,
        load=told.load,
        disk_free=told.disk_free,
        asks=told.asks.value if told.asks else "",
        goodbye=told.goodbye,
    )


def report_from_pb(told: pb.ReportAgentRequest) -> Report:
    """What an agent does; raises Invalid for a wish that there is not."""
    return Report(
        name=told.name,
        instance=told.instance,
        concurrency=told.concurrency,
        running=_running_from_pb(told.running),
        consuming=told.consuming,
        load=told.load,
        disk_free=told.disk_free,
        asks=wish_from_pb(told.asks) if told.asks else None,
        goodbye=told.goodbye,
    )


def agent_to_pb(agent: Agent) -> pb.Agent:
    """An agent as the ledger knows it."""
    return pb.Agent(
        name=agent.name,
        project_id=agent.project_id,
        state=agent.state.value,
        wish=agent.wish.value,
        host=agent.host,
        pid=agent.pid,
        versions=agent.versions,
        tools=agent.tools,
        concurrency=agent.concurrency,
        running=_running_to_pb(agent.running),
        consuming=agent.consuming,
        load=agent.load,
        disk_free=agent.disk_free,
        started_at=codec.stamp(agent.started_at),
        last_seen=codec.stamp(agent.last_seen),
        since=codec.stamp(agent.since),
        silent_s=agent.silent_s,
    )


def agent_from_pb(agent: pb.Agent) -> Agent:
    """An agent as the ledger knows it."""
    return Agent(
        name=agent.name,
        project_id=agent.project_id,
        state=AgentState(agent.state),
        wish=AgentWish(agent.wish),
        host=agent.host,
        pid=agent.pid,
        versions=dict(agent.versions),
        tools=dict(agent.tools),
        concurrency=agent.concurrency,
        running=_running_from_pb(agent.running),
        consuming=agent.consuming,
        load=agent.load,
        disk_free=agent.disk_free,
        started_at=codec.moment(agent.started_at),
        last_seen=codec.moment(agent.last_seen),
        since=codec.moment(agent.since),
        silent_s=agent.silent_s,
    )


def steer_to_pb(name: str, wish: AgentWish, by: Intervention) -> pb.SteerAgentRequest:
    """What somebody wants of an agent."""
    return pb.SteerAgentRequest(
        name=name,
        wish=wish.value,
        actor=by.actor,
        reason=by.reason,
        correlation_id=by.correlation_id,
        traceparent=by.traceparent,
    )


def wish_from_pb(word: str) -> AgentWish:
    """A wish; raises Invalid if it is none."""
    try:
        return AgentWish(word)
    except ValueError as error:
        raise Invalid(
            f"of an agent is wanted {', '.join(AgentWish)}, not {word!r}", field="wish"
        ) from error


def state_from_pb(word: str) -> AgentState | None:
    """A state that is asked for, None for any; raises Invalid if it is none."""
    try:
        return AgentState(word) if word else None
    except ValueError as error:
        raise Invalid(
            f"an agent is {', '.join(AgentState)}, not {word!r}", field="state"
        ) from error


def _running_to_pb(running: Iterable[RunningBead]) -> list[pb.RunningBead]:
    return [pb.RunningBead(bead_id=bead.bead_id, epoch=bead.epoch) for bead in running]


def _running_from_pb(running: Iterable[pb.RunningBead]) -> tuple[RunningBead, ...]:
    return tuple(RunningBead(bead.bead_id, bead.epoch) for bead in running)
