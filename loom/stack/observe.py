"""The state of every service: what the supervisor says, what its port answers, what it logs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from loom.errors import Unavailable
from loom.stack import probe
from loom.stack.home import Home
from loom.stack.ports import HOST, Ports
from loom.stack.probe import Answer
from loom.stack.supervisor import Process, Supervisor

TAIL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Service:
    """One service as a person wants to see it.

    state: running (it answers), waiting (for a part that it needs), starting, backoff (it ended
    and will be started again), stopped or failed.
    """

    name: str
    state: str
    pid: int
    url: str = ""
    waiting_for: str = ""

    def as_json(self) -> dict[str, object]:
        """The service as `status --json` gives it."""
        return asdict(self)


def urls(ports: Ports) -> dict[str, str]:
    """Where each service is found."""
    return {
        "control": f"http://{HOST}:{ports.of('control')}",
        "flower": f"http://{HOST}:{ports.of('flower')}",
        "rabbitmq": f"http://{HOST}:{ports.of('management')}",
        "postgres": f"postgresql://{HOST}:{ports.of('postgres')}/loom",
        "pgbouncer": f"postgresql://{HOST}:{ports.of('pgbouncer')}/loom",
        "database": f"grpc://{HOST}:{ports.of('database')}",
        "connectors": f"grpc://{HOST}:{ports.of('connectors')}",
        "epmd": f"epmd://{HOST}:{ports.of('epmd')}",
    }


def probes(ports: Ports) -> dict[str, Callable[[], Answer]]:
    """The question to each service that listens."""

    def rabbitmq() -> Answer:
        # An AMQP greeting that is broken off would fill the broker's log with warnings.
        broker = probe.listens(ports.of("amqp"))
        management = f"http://{HOST}:{ports.of('management')}/api/overview"
        return probe.http(management) if broker.well else broker

    return {
        "control": lambda: probe.http(f"http://{HOST}:{ports.of('control')}/readyz"),
        "flower": lambda: probe.http(f"http://{HOST}:{ports.of('flower')}/healthcheck"),
        "rabbitmq": rabbitmq,
        "postgres": lambda: probe.postgres(ports.of("postgres")),
        "pgbouncer": lambda: probe.pooler(ports.of("pgbouncer")),
        "database": lambda: probe.grpc_health(ports.of("database")),
        "connectors": lambda: probe.grpc_health(ports.of("connectors")),
        "epmd": lambda: probe.epmd(ports.of("epmd")),
    }


def state_of(process: Process, answer: Answer | None, logged: str) -> tuple[str, str]:
    """What the three witnesses make together: the state, and what is waited for.

    answer: what its port answered; None for a service without one. logged: what the end of its
    log says that it waits for.
    """
    match process.state:
        case "STARTING" | "RUNNING" if answer:
            return _state_by_answer(answer, logged)
        case "STARTING" | "RUNNING" if logged:
            return "waiting", logged
        case "STARTING" | "RUNNING" | "STOPPED":
            # The supervisor calls STARTING what it has not yet seen stay up.
            return process.state.lower(), ""
        # Of all programs only an agent ends by itself: one that was asked to.
        case "STOPPING" | "EXITED" if process.state == "STOPPING" or process.exit_code == 0:
            return "stopped", ""
        case "BACKOFF":
            return "backoff", process.said
    return "failed", process.said


def _state_by_answer(answer: Answer, logged: str) -> tuple[str, str]:
    if answer.well:
        return "running", ""
    if answer.waits or logged:
        return "waiting", logged or answer.why
    return "starting", answer.why


def waiting_in(log_tail: str) -> str:
    """What the service waits for, if that is the last event it logged; else empty."""
    for line in reversed(log_tail.splitlines()):
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict) and "event" in event:
            return str(event.get("waiting_for", "")) if event["event"] == "waiting" else ""
    return ""


def tail(file: Path, lines: int) -> str:
    """The end of the file, as far as TAIL_BYTES reach back; empty if there is none."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, log.seek(0, 2) - TAIL_BYTES))
            text = log.read().decode(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join(text.splitlines()[-lines:])


class Observer:
    """Looks at the stack of one home."""

    def __init__(self, home: Home, ports: Ports) -> None:
        self._home = home
        self._probes = probes(ports)
        self._urls = urls(ports)
        self._supervisor = Supervisor(home, ports)

    def look(self) -> list[Service]:
        """Every service's state now; none when no supervisor runs."""
        if not self._supervisor.pid:
            return []
        try:
            processes = self._supervisor.processes()
        except Unavailable:
            return []
        with ThreadPoolExecutor(max_workers=8) as pool:
            return list(pool.map(self._service, processes))

    def look_or_stopped(self, names: Iterable[str]) -> list[Service]:
        """Every service's state now; those named are stopped when no supervisor runs."""
        return self.look() or [
            Service(name, "stopped", 0, self._urls.get(name, "")) for name in names
        ]

    def explain(self, services: list[Service]) -> str:
        """Why these services are not well, with the end of each one's log."""
        parts = []
        for service in services:
            why = f" ({service.waiting_for})" if service.waiting_for else ""
            log = self._home.log(service.name)
            parts.append(
                f"{service.name} is {service.state}{why}. The end of {log}:\n{tail(log, 12)}"
            )
        return "\n".join(parts)

    def _service(self, process: Process) -> Service:
        question = self._probes.get(process.name)
        answer = question() if question and process.pid else None
        logged = ""
        if answer is None or not answer.well:
            logged = waiting_in(tail(self._home.log(process.name), 50))
        state, reason = state_of(process, answer, logged)
        return Service(process.name, state, process.pid, self._urls.get(process.name, ""), reason)
