"""An agent of a project: all that it needs on this machine, and its process.

All agents of a project share its queue, its broker user and its token for the ledger: their rights
are the project's, and on one machine they run as one user. They share its credential for git and
the mirrors of its repositories; each has its own workspace, home, spool and settings.
"""

from __future__ import annotations

from pathlib import Path

from loom.messaging.topology import agent_user, permission_of_agent
from loom.stack import credentials, gitaccess, render, services
from loom.stack.home import as_settings_file
from loom.stack.management import Management
from loom.stack.posts import Post
from loom.stack.program import Program
from loom.stack.program import render as render_program


def name_of(project_id: str) -> str:
    """Its agents' name as a broker user and a caller, and the first one's as a process."""
    return agent_user(project_id)


def admit(plan: render.Plan, broker: Management, project_id: str) -> None:
    """Make the agents' broker user; raises Unavailable when the broker does not answer."""
    name = name_of(project_id)
    password = plan.home.secret(credentials.broker(name))
    broker.put_user(name, password, permission_of_agent(project_id))


def equip(plan: render.Plan, project_id: str, post: Post | None = None) -> None:
    """Give an agent of the project its secrets, its settings and its folders.

    Doing it again changes nothing. post: another than the project's first.
    """
    post = post or Post(project_id)
    name, who = name_of(project_id), plan.accounts
    credentials.ensure(
        plan.home,
        who,
        credentials.broker(name),
        credentials.ledger(name),
        credentials.connectors(name),
    )
    render.write_tokens(plan)
    folder = _folder(plan, post)
    mirrors = plan.home.workspaces / project_id / "mirrors"
    for place in (folder, folder / "home", folder / "work", mirrors):
        who.folder(place, who.agent, 0o700)
    settings: dict[str, str | int] = {
        "LOOM_LOG_LEVEL": plan.settings.log_level,
        "LOOM_OTLP_ENDPOINT": plan.settings.otlp_endpoint,
        "LOOM_AGENT_PROJECT": project_id,
        "LOOM_AGENT_WORKSPACE": str(folder / "work"),
        "LOOM_AGENT_CREDENTIALS": str(gitaccess.folder_of(plan.home, project_id)),
        "LOOM_AGENT_MIRRORS": str(mirrors),
        "LOOM_AGENT_CONCURRENCY": post.concurrency,
        **({"LOOM_AGENT_NAME": post.name} if post.label else {}),
        **render.ledger_settings(plan, name),
        **render.artifact_settings(plan, name),
        **render.broker_settings(plan, name),
    }
    who.write(plan.home.settings_file(post.program), as_settings_file(settings), who.agent)


def process(plan: render.Plan, post: Post) -> Program:
    """The agent's process."""
    settings = plan.home.settings_file(post.program)
    return Program(
        post.program,
        services.python("workers"),
        plan.accounts.agent,
        services.settings_environment(settings) | {"HOME": str(_folder(plan, post) / "home")},
        stop_wait_s=20,
        digest=render.code_digest("loom", "workers") + render.digest_of(settings),
        # One that was asked to stop, by `loom agent stop` or `celery control shutdown`, stays so.
        ends_by_itself=True,
    )


def enlist(plan: render.Plan, post: Post) -> bool:
    """Write the agent's process for the supervisor; False if that stood there already."""
    text = render_program(process(plan, post), plan.home, switching=plan.accounts.switching)
    return plan.accounts.write(_file(plan, post), text, plan.accounts.operator)


def discharge(plan: render.Plan, post: Post) -> bool:
    """Take the agent's process away from the supervisor's eyes; False if it was not there."""
    try:
        _file(plan, post).unlink()
    except FileNotFoundError:
        return False
    return True


def _file(plan: render.Plan, post: Post) -> Path:
    return plan.home.agent_programs / f"{post.program}.conf"


def _folder(plan: render.Plan, post: Post) -> Path:
    return plan.home.workspaces / post.program.removeprefix("agent-")
