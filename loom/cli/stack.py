"""`loom up`, `down`, `status`, `logs`, `doctor` and `token`: the stack on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from loom.cli import admins, desk, output, profile
from loom.cli.exits import failed
from loom.cli.group import Group
from loom.cli.output import as_json_option
from loom.errors import LoomError
from loom.settings import load
from loom.stack import credentials, logbook, services
from loom.stack.doctor import FAIL, OK, Doctor
from loom.stack.home import Home, StackSettings, find_home
from loom.stack.lifecycle import PATIENCE_S, Stack
from loom.stack.observe import Observer, Service, urls

MARKS = {
    "running": "green",
    "waiting": "yellow",
    "starting": "yellow",
    "backoff": "red",
    "stopped": "dim",
    "failed": "red",
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
}


@contextmanager
def in_words() -> Iterator[None]:
    """A LoomError ends the command with its words and its exit code."""
    try:
        yield
    except PermissionError as error:
        raise click.ClickException(
            f"{error.filename} belongs to the user who started the stack: run this as that user"
        ) from error
    except LoomError as error:
        raise failed(error) from error


def current_home() -> Home:
    """The home that LOOM_HOME names, or the one around the current folder."""
    return find_home(load(StackSettings).home, Path.cwd())


def current_stack() -> Stack:
    """The stack of the current home, at the base wanted or the one it last had."""
    settings = load(StackSettings)
    home = find_home(settings.home, Path.cwd())
    return Stack(home, home.ports_or_default(settings.port_base), settings)


@click.command()
@click.option(
    "--timeout",
    default=PATIENCE_S,
    show_default=True,
    help="Seconds until every service has to be healthy.",
)
@as_json_option
def up(timeout: float, as_json: bool) -> None:
    """Start Loom on this machine, or bring what runs up to date.

    RabbitMQ, PostgreSQL, PgBouncer and Loom's services run as private, supervised processes. Their
    state is in LOOM_HOME (default: .loom in this repository), and they listen on 127.0.0.1 from
    LOOM_PORT_BASE (default: 8080) on. Doing it again restarts only what changed.

    \b
    loom up
    LOOM_HOME=/tmp/second LOOM_PORT_BASE=9080 loom up     a second stack beside the first
    """
    with in_words():
        stack = current_stack()
        console = Console(stderr=as_json, highlight=False)
        with _progress(console) as show:
            started = stack.up(patience_s=timeout, show=show)
        password = admins.first(profile.of_stack(stack.home))
        if as_json:
            document = _as_document(list(started.services))
            document |= {"was_running": started.was_running, "changed": list(started.changed)}
            document |= {"admin_password": password} if password else {}
            click.echo(json.dumps(document))
            return
        if started.was_running and not started.changed:
            console.print("Loom was running already, and nothing had changed.")
        elif started.was_running:
            console.print(f"Loom was running; restarted: {', '.join(started.changed)}")
        _say_where(console, stack)
        if password:
            where = f"{urls(stack.ports)['control']}/login"
            console.print(
                f"Log in at {where} as {admins.NAME} with the password {password}\n"
                "It is shown this once; `loom user reset-password admin` makes another.",
                soft_wrap=True,
                markup=False,
            )


@click.command()
@as_json_option
def down(as_json: bool) -> None:
    """Stop Loom: every process, in order. The data stay in LOOM_HOME for the next `loom up`.

    \b
    loom down
    """
    with in_words():
        home = current_home()
        ended = Stack(home, home.ports()).down() if (home.path / "stack.json").exists() else 0
    if as_json:
        click.echo(json.dumps({"ended": ended}))
    elif ended:
        click.echo(f"Loom is down: {ended} processes ended. Its data stay in {home.path}")
    else:
        click.echo(f"Loom was not running in {home.path}")


@click.command()
@click.option("--check", is_flag=True, help="Exit with 1 unless every service runs.")
@as_json_option
@click.pass_context
def status(context: click.Context, check: bool, as_json: bool) -> None:
    """Show each service: its state, its process, where it is found and what it waits for.

    A service is running (it answers), waiting (for a part that it needs), starting, backoff (it
    ended and will be started again), stopped or failed.

    \b
    loom status
    loom status --check --json
    """
    with in_words():
        home = current_home()
        ports = home.ports()
        agents = sorted(file.stem for file in home.agent_programs.glob("*.conf"))
        known = (*services.INFRASTRUCTURE, *services.LOOM, *agents)
        seen = Observer(home, ports).look_or_stopped(known)
    if as_json:
        click.echo(json.dumps(_as_document(seen)))
    else:
        output.console().print(_table(seen))
    if check and any(service.state != "running" for service in seen):
        context.exit(1)


@click.command()
@click.argument("service", required=False, default="")
@click.option("-f", "--follow", is_flag=True, help="Go on as lines are written, until Ctrl-C.")
@click.option("-n", "--lines", default=40, show_default=True, help="Lines of each log, at most.")
@as_json_option
def logs(service: str, follow: bool, lines: int, as_json: bool) -> None:
    """Show what the services log; all of them, or one.

    \b
    loom logs dispatcher -f
    loom logs --json | jq 'select(.correlation_id == "…")'
    """
    with in_words():
        files = logbook.files(current_home(), service)
        for line in logbook.last(files, lines):
            click.echo(_as_text(line, as_json))
        if follow:
            for line in logbook.follow(files):
                click.echo(_as_text(line, as_json))


@click.command()
@as_json_option
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Look for what is wrong, and say what to do about each: exit code 1 if something fails.

    It looks at programs and versions, users, the sandbox, disk, limits, secrets, ports, services,
    the broker's settings and alarms, and where the broker differs from Loom's topology.

    \b
    loom doctor
    """
    with in_words():
        settings = load(StackSettings)
        home = find_home(settings.home, Path.cwd())
        ports = home.ports_or_default(settings.port_base)
        findings = list(Doctor(home, ports, settings).findings())
    failed = any(finding.verdict == FAIL for finding in findings)
    if as_json:
        document = {"ok": not failed, "findings": [finding.as_json() for finding in findings]}
        click.echo(json.dumps(document))
    else:
        console = output.console()
        for finding in findings:
            mark = f"[{MARKS[finding.verdict]}]{finding.verdict:4}[/]"
            console.print(f"{mark} {finding.what}: ", end="")
            console.print(finding.detail, markup=False, soft_wrap=True)
            if finding.verdict != OK:
                console.print(f"     do: {finding.cure}", markup=False, soft_wrap=True)
    context.exit(1 if failed else 0)


@click.group(cls=Group)
def token() -> None:
    """Tokens for programs, and the secrets that the first `loom up` generated (`show`)."""


@token.command()
@click.option(
    "--service",
    default="api",
    show_default=True,
    help="api (the HTTP API), flower or rabbitmq (their pages), or a caller of the database "
    "service: operator, control, dispatcher, ingester, engine, agent-<project>.",
)
@as_json_option
def show(service: str, as_json: bool) -> None:
    """Print a token or password of the stack on this machine.

    \b
    loom token show --service flower
    curl -H "Authorization: Bearer $(loom token show)" http://127.0.0.1:8080/api/v1/projects
    """
    names = {
        "api": credentials.API_TOKEN,
        "flower": credentials.FLOWER,
        "rabbitmq": credentials.broker("operator"),
    }
    with in_words():
        secret = current_home().secret(names.get(service, credentials.ledger(service)))
    click.echo(json.dumps({"service": service, "token": secret}) if as_json else secret)


@contextmanager
def _progress(console: Console) -> Iterator[Callable[[list[Service]], None]]:
    """A function that shows services as they come up: a live table, or a line for each change."""
    if console.is_terminal:
        with Live(console=console, refresh_per_second=8, transient=True) as live:
            yield lambda seen: live.update(_table(seen))
        return
    known: dict[str, tuple[str, str]] = {}

    def show_changes(seen: list[Service]) -> None:
        for service in seen:
            state = (service.state, service.waiting_for if service.state == "waiting" else "")
            if known.get(service.name) != state:
                known[service.name] = state
                reason = f": {state[1]}" if state[1] else ""
                console.print(f"{service.name} {service.state}{reason}", markup=False)

    yield show_changes


def _table(seen: list[Service]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("service", "state", "pid", "url", "waits for"):
        table.add_column(heading, overflow="fold")
    for service in seen:
        table.add_row(
            service.name,
            f"[{MARKS[service.state]}]{service.state}[/]",
            str(service.pid or ""),
            service.url,
            escape(service.waiting_for),
        )
    return table


def _as_document(seen: list[Service]) -> dict[str, object]:
    return {"services": [service.as_json() for service in seen]}


def _say_where(console: Console, stack: Stack) -> None:
    lines = [f"Loom is up; its state is in {stack.home.path}"]
    lines += [str(address) for address in desk.addresses(stack.home)]
    console.print("\n".join(lines), soft_wrap=True, markup=False)


def _as_text(line: logbook.Line, as_json: bool) -> str:
    event = line.event()
    if as_json:
        return json.dumps({"service": line.service} | (event or {"line": line.text}))
    if event is None:
        return f"{line.service} | {line.text}"
    leading = [str(event.pop(key, "")) for key in ("timestamp", "level", "event")]
    for known in ("service", "instance"):
        event.pop(known, None)
    rest = " ".join(f"{key}={value}" for key, value in event.items())
    return f"{line.service} | {' '.join(leading)} {rest}".rstrip()
