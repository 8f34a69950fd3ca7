"""`loom agent`: who works, and how much."""

from __future__ import annotations

import time
from collections.abc import Mapping

import click
from rich.markup import escape

from loom.cli import output, profile
from loom.cli.group import Group
from loom.cli.known import PROJECT
from loom.clients.agents import agent_to_json
from loom.clients.answers import every
from loom.domain.presence import Agent, AgentState, AgentWish
from loom.errors import NotFound, Unavailable
from loom.settings import load
from loom.stack import posts
from loom.stack.home import Home, StackSettings
from loom.stack.lifecycle import Stack
from loom.stack.posts import Post
from loom.stack.supervisor import Supervisor

STARTED_S = 60.0
"""How long a start waits for the fleet, and the fleet for the broker, on a slow machine."""
LOOK_EVERY_S = 0.2

_reason = click.option(
    "--reason", default="", help="Why: it stands in the audit trail.", metavar="TEXT"
)


@click.group(cls=Group)
def agent() -> None:
    """Who works: agents, what each does, and how many there are.

    An agent is alive (it waits for work), busy, draining (it finishes what it runs and takes
    nothing more), lost (it has not reported for 20 s) or stopped.
    """


@agent.command("list")
@click.option("--project", "project_id", type=PROJECT, default="", help="Of one project.")
@click.option("--state", type=click.Choice([state.value for state in AgentState]), help="In it.")
@output.as_json_option
def list_some(*, project_id: str, state: str | None, as_json: bool) -> None:
    """Show agents.

    \b
    loom agent list --state lost
    """
    wanted = AgentState(state) if state else None
    with profile.current().client() as client:
        found = list(every(lambda cursor: client.list_agents(project_id, wanted, 500, cursor)))
    if as_json:
        output.as_json({"agents": [agent_to_json(each) for each in found]})
        return
    output.table(
        ("name", "project", "state", "runs", "since", "load", "versions"),
        [
            (
                escape(each.name),
                escape(each.project_id),
                _state(each),
                escape(_runs(each)),
                output.age(each.since),
                f"{each.load:.1f}",
                escape(_words({k: each.versions[k] for k in _SHORT if k in each.versions})),
            )
            for each in found
        ],
    )


@agent.command()
@click.argument("name")
@output.as_json_option
def show(name: str, as_json: bool) -> None:
    """Show one agent.

    \b
    loom agent show agent-shop@host
    """
    with profile.current().client() as client:
        found = client.get_agent(name)
    if as_json:
        output.as_json(agent_to_json(found))
        return
    output.facts(
        (
            ("name", escape(found.name)),
            ("project", escape(found.project_id)),
            ("state", f"{_state(found)} for {output.age(found.since)}"),
            ("wanted", found.wish.value),
            ("runs", escape(_runs(found))),
            ("at once", str(found.concurrency)),
            ("host", escape(f"{found.host}, pid {found.pid}")),
            ("load", f"{found.load:.2f}"),
            ("disk free", f"{found.disk_free / 1024**3:.1f} GiB"),
            ("started", f"{output.age(found.started_at)} ago"),
            ("last heard", f"{found.silent_s:.0f} s ago"),
            ("versions", escape(_words(found.versions))),
            ("tools", escape(_words(found.tools))),
        )
    )


@agent.command()
@click.argument("name")
@_reason
@output.as_json_option
def drain(name: str, reason: str, as_json: bool) -> None:
    """Let an agent finish what it runs and take nothing more, over restarts too.

    \b
    loom agent drain agent-shop@host --reason 'new disk'
    """
    _told(_steer(name, "drain", reason), as_json)


@agent.command()
@click.argument("name")
@_reason
@output.as_json_option
def resume(name: str, reason: str, as_json: bool) -> None:
    """Let a drained agent take work again.

    \b
    loom agent resume agent-shop@host
    """
    _told(_steer(name, "resume", reason), as_json)


@agent.command()
@click.argument("name")
@_reason
@output.as_json_option
def stop(name: str, reason: str, as_json: bool) -> None:
    """Drain an agent and let it end; one of the stack here is not started again by `loom up`.

    One elsewhere ends with exit code 0: its own supervisor must not restart it for that.

    \b
    loom agent stop agent-shop@host
    """
    home = _local_home()
    try:
        stopped = _steer(name, "stop", reason)
    finally:
        # One that never came up is stopped all the same.
        if home is not None and _is_here(home, name):
            post = posts.find(name, posts.recorded(home))
            gone = Post(post.project_id, post.label, post.concurrency, stopped=True)
            posts.record(home, _stack(home).plan().accounts, gone)
    _told(stopped, as_json)


@agent.command()
@click.argument("project_id", metavar="PROJECT", type=PROJECT)
@click.option("--name", "label", default="", help="What stands behind the '@' in its name.")
@click.option(
    "--concurrency", type=click.IntRange(1, 64), default=1, show_default=True,
    help="Beads that it works on at once.",
)  # fmt: skip
@output.as_json_option
def start(*, project_id: str, label: str, concurrency: int, as_json: bool) -> None:
    """Start a further agent of PROJECT on this machine, or one that was stopped.

    It shares the project's queue, and has its own workspace, home and log. It is kept over
    `loom down` and `loom up` until `loom agent stop`. Naming one that runs changes its concurrency.

    \b
    loom agent start shop --concurrency 2
    """
    home = _local_home()
    if home is None or not Supervisor(home, home.ports()).pid:
        raise Unavailable("no stack runs here to start an agent in: `loom up`")
    with profile.current().client() as client:
        client.get_project(project_id)
        written = posts.recorded(home)
        if label:
            named = posts.find(f"agent-{project_id}@{label.rpartition('@')[2]}", written)
            post = Post(project_id, named.label, concurrency)
        else:
            post = posts.vacant(project_id, written, concurrency)
        posts.record(home, _stack(home).plan().accounts, post)
        try:
            if client.get_agent(post.name).wish is not AgentWish.WORK:
                client.steer_agent(post.name, "resume", _words_for("start"))
        except NotFound:
            pass
    _await(home, post)
    if as_json:
        output.as_json({"name": post.name, "project_id": project_id, "concurrency": concurrency})
    else:
        click.echo(f"{post.name} is started: loom agent show {post.name}")


_SHORT = ("loom", "celery", "python")


def _steer(name: str, act: str, reason: str) -> Agent:
    with profile.current().client() as client:
        return client.steer_agent(name, act, reason or _words_for(act))


def _words_for(act: str) -> str:
    return f"`loom agent {act}`, no reason given"


def _local_home() -> Home | None:
    """The home of the stack here, unless the command speaks to a Loom elsewhere."""
    given = click.get_current_context().find_object(profile.Profile)
    if given is not None or profile.elsewhere(load(profile.RemoteSettings)) is not None:
        return None
    home = profile.local_home()
    return home if home.agent_programs.is_dir() else None


def _is_here(home: Home, name: str) -> bool:
    post = posts.find(name, posts.recorded(home))
    return (home.agent_programs / f"{post.program}.conf").exists()


def _stack(home: Home) -> Stack:
    return Stack(home, home.ports(), load(StackSettings))


def _await(home: Home, post: Post) -> None:
    """Return once the process runs; raises Unavailable if the fleet does not start it in time."""
    supervisor = Supervisor(home, home.ports())
    give_up = time.monotonic() + STARTED_S
    while time.monotonic() < give_up:
        if any(p.name == post.program and p.pid for p in supervisor.processes()):
            return
        time.sleep(LOOK_EVERY_S)
    raise Unavailable(
        f"{post.name} is wanted, and was not started in {STARTED_S:.0f} s: `loom logs fleet` says "
        "why; it goes on trying"
    )


def _told(found: Agent, as_json: bool) -> None:
    if as_json:
        output.as_json(agent_to_json(found))
        return
    runs = len(found.running)
    more = f", and finishes {runs} bead{'' if runs == 1 else 's'}" if runs else ""
    click.echo(f"{found.name} is {found.state.value}: it shall {found.wish.value}{more}")


def _state(found: Agent) -> str:
    return output.coloured(found.state.value)


def _runs(found: Agent) -> str:
    return ", ".join(bead.bead_id for bead in found.running)


def _words(pairs: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}".strip() for name, version in pairs.items())
