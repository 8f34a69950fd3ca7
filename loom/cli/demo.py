"""`loom demo`: two beads and one bad message, and what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from loom.cli import calculator, desk, output, profile
from loom.cli.unreadable import Operator
from loom.clients.control import ControlClient
from loom.domain.bead import Attempt, Bead, NewBead
from loom.domain.identity import new_message_id
from loom.domain.lifecycle import State
from loom.domain.project import Project
from loom.errors import Conflict, DeadlineExceeded, Unavailable
from loom.messaging.topology import dead_key
from loom.settings import load
from loom.stack.home import Home, StackSettings

PROJECT = "demo"
PATIENCE_S = 60.0
LOOK_EVERY_S = 0.2


@dataclass(frozen=True, slots=True)
class Sight:
    """Where one of the three is. proof: what shows it. ended: nothing more will happen."""

    state: str
    proof: str = ""
    ended: bool = False


@dataclass(slots=True)
class Case:
    """One of the three: how it has to end, how to look at it, and what was seen last."""

    what: str
    wanted: str
    look: Callable[[], Sight]
    where: str
    """The command that tells more."""
    sight: Sight = field(default_factory=lambda: Sight("filed"))
    seconds: float = 0.0

    @property
    def as_wanted(self) -> bool:
        """It ended as it had to."""
        return self.sight.ended and self.sight.state == self.wanted


@click.command()
@click.option("--timeout", default=PATIENCE_S, show_default=True, help="Seconds for all three.")
@output.as_json_option
@click.pass_context
def demo(ctx: click.Context, timeout: float, as_json: bool) -> None:
    """Show a whole trip: a bead that succeeds, one that fails, a message nobody can read.

    It makes a small repository with a bug in LOOM_HOME/demo, files the three, and shows what
    becomes of them. Every run files fresh ones. Exit code 1 if one does not end as it has to.

    \b
    loom demo
    """
    home = profile.local_home()
    with profile.of_stack(home).client() as client:
        operator = Operator(home)
        try:
            repository = calculator.lay_out(home, load(StackSettings).agent_user)
            ensure_project(client, repository)
            cases = file_all(client, operator, home)
            with _display(as_json) as show:
                watch(cases, timeout, show)
        finally:
            operator.close()
    if as_json:
        output.as_json(_document(cases, home))
    else:
        _conclude(cases, home)
    ctx.exit(0 if all(case.as_wanted for case in cases) else 1)


def ensure_project(client: ControlClient, repository: Path) -> None:
    """Make the demo's project where it is missing; raises Conflict if it is another's."""
    wanted = Project(
        PROJECT, str(repository), "The demo", calculator.BRANCH, calculator.TEST_COMMAND, 60
    )
    with suppress(Conflict):
        client.create_project(wanted)
    there = client.get_project(PROJECT)
    if there.repository != wanted.repository:
        raise Conflict(
            f"the project {PROJECT!r} has the repository {there.repository}, so it is not the "
            "demo's; run the demo on a stack of its own, with LOOM_HOME and LOOM_PORT_BASE set"
        )


def file_all(client: ControlClient, operator: Operator, home: Home) -> list[Case]:
    """File the two beads in one request, and name the message, which is sent once it can be."""
    beads = client.create_beads(
        PROJECT,
        [
            # First in the ledger's order, however much the project has waiting.
            NewBead("Mend the mean", context={"patch": calculator.MENDS}, priority=0),
            NewBead("Mend the mean, and miss", context={"patch": calculator.MISSES}, priority=0),
        ],
    ).items
    letter = f"riddle-{new_message_id()}"
    cases = [
        Case(bead.title, wanted, _bead_looker(client, home, bead.id), f"loom bead show {bead.id}")
        for bead, wanted in zip(beads, ("succeeded", "failed"), strict=True)
    ]
    return [
        *cases,
        Case(
            "A message no agent can read",
            "dead-lettered",
            _letter_looker(client, operator, letter),
            f"loom logs agent-{PROJECT}",
            Sight("waits for the project's queue"),
        ),
    ]


def watch(cases: list[Case], timeout_s: float, show: Callable[[list[Case]], None]) -> None:
    """Look at the cases until all have ended or the time is over; show gets every change."""
    start = time.monotonic()
    show(cases)
    while any(not case.sight.ended for case in cases) and time.monotonic() - start < timeout_s:
        for case in cases:
            if case.sight.ended:
                continue
            case.seconds = time.monotonic() - start
            try:
                case.sight = case.look()
            except (Unavailable, DeadlineExceeded) as error:
                # A part that is being restarted comes back; the deadline is the judge.
                case.sight = Sight(case.sight.state, error.detail)
        show(cases)
        time.sleep(LOOK_EVERY_S)


def _bead_looker(client: ControlClient, home: Home, bead_id: str) -> Callable[[], Sight]:
    def look() -> Sight:
        bead = client.get_bead(bead_id)
        word = output.state_of(bead)
        if bead.state is State.BLOCKED:
            return Sight(word, bead.reason, ended=True)
        if bead.state is not State.CLOSED:
            return Sight("filed" if bead.state is State.OPEN else "in_progress")
        if output.succeeded(bead):
            return _proven(bead, home)
        return Sight(word, failure(client.list_attempts(bead_id)) or bead.reason, ended=True)

    return look


def _proven(bead: Bead, home: Home) -> Sight:
    """The success, if the repository has what the ledger says."""
    for commit in bead.commits:
        if calculator.tip(home, commit.branch) == commit.sha:
            return Sight("succeeded", f"{commit.sha[:12]} on {commit.branch}", ended=True)
    return Sight("unproven", "the repository does not have the commit it names", ended=True)


def failure(attempts: tuple[Attempt, ...]) -> str:
    """The step that failed last: its exit code, and the last line it wrote."""
    for attempt in reversed(attempts):
        for step in reversed(attempt.steps):
            if not step.passed:
                lines = step.output_tail.strip().splitlines() or [""]
                return f"{step.name} exit {step.exit_code}: {lines[-1].strip()[:120]}"
    return ""


def _letter_looker(
    client: ControlClient, operator: Operator, message_id: str
) -> Callable[[], Sight]:
    sent = False

    def look() -> Sight:
        nonlocal sent
        if not sent:
            sent = operator.publish(PROJECT, message_id)
            return Sight("sent") if sent else Sight("waits for the project's queue")
        letters = client.list_dead_letters(PROJECT).items
        ours = next((letter for letter in letters if letter.message_id == message_id), None)
        # The broker is asked once the ledger has it: every look there costs a redelivery.
        if ours is None or not operator.died(PROJECT, message_id):
            return Sight("sent")
        proof = f"{ours.reason}: {ours.detail}"[:140]
        return Sight("dead-lettered", f"{proof} (in {dead_key(PROJECT)})", ended=True)

    return look


@contextmanager
def _display(as_json: bool) -> Iterator[Callable[[list[Case]], None]]:
    """A function that shows the cases: a live table, or a line for each change of state."""
    console = Console(highlight=False, stderr=as_json)
    if console.is_terminal and not as_json:
        with Live(console=console, refresh_per_second=8, transient=True) as live:
            yield lambda cases: live.update(_table(cases))
        return
    known: dict[str, str] = {}

    def show(cases: list[Case]) -> None:
        for case in cases:
            if known.get(case.what) != case.sight.state:
                known[case.what] = case.sight.state
                click.echo(f"{case.seconds:5.1f} s  {case.what}: {case.sight.state}", err=as_json)

    yield show


def _table(cases: list[Case]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("what", "state", "after", "proof"):
        table.add_column(heading, overflow="fold")
    for case in cases:
        table.add_row(
            escape(case.what),
            output.coloured(case.sight.state),
            f"{case.seconds:.1f} s",
            escape(case.sight.proof),
        )
    return table


def _conclude(cases: list[Case], home: Home) -> None:
    console = output.console()
    console.print()
    console.print(_table(cases))
    console.print()
    for address in _addresses(home):
        # Not in a table, which would cut a login off in a narrow window.
        click.echo(address)
    for case in cases:
        if not case.as_wanted:
            click.echo(
                f"\n{case.what!r} had to end {case.wanted} and is {case.sight.state}. See: "
                f"{case.where}, loom logs, loom doctor",
                err=True,
            )


def _addresses(home: Home) -> list[desk.Address]:
    how = "git --git-dir=<it> log --all --graph"
    return [*desk.addresses(home), desk.Address("Repository", str(calculator.path(home)), how)]


def _document(cases: list[Case], home: Home) -> dict[str, Any]:
    return {
        "ok": all(case.as_wanted for case in cases),
        "cases": [
            {
                "what": case.what,
                "wanted": case.wanted,
                **asdict(case.sight),
                "seconds": round(case.seconds, 2),
            }
            for case in cases
        ],
        "places": [{"name": each.name, "url": each.url} for each in _addresses(home)],
    }
