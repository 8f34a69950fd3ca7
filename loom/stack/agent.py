"""The agent of one project: all that it needs on this machine, and its process."""

from __future__ import annotations

from loom.messaging.topology import agent_user, permission_of_agent
from loom.stack import credentials, render, services
from loom.stack.home import as_settings_file
from loom.stack.management import Management
from loom.stack.program import Program
from loom.stack.program import render as render_program


def name_of(project_id: str) -> str:
    """The agent's name: as a process, a broker user and a caller of the database service."""
    return agent_user(project_id)


def admit(plan: render.Plan, broker: Management, project_id: str) -> None:
    """Make the agent's broker user; raises Unavailable when the broker does not answer."""
    name = name_of(project_id)
    password = plan.home.secret(credentials.broker(name))
    broker.put_user(name, password, permission_of_agent(project_id))


def equip(plan: render.Plan, project_id: str) -> None:
    """Give the project's agent its secrets, its settings and its folders.

    Doing it again changes nothing.
    """
    name, who = name_of(project_id), plan.accounts
    credentials.ensure(
        plan.home,
        who,
        credentials.broker(name),
        credentials.ledger(name),
        credentials.connectors(name),
    )
    render.write_tokens(plan)
    folder = plan.home.workspaces / project_id
    for place in (folder, folder / "home", folder / "work"):
        who.folder(place, who.agent, 0o700)
    settings: dict[str, str | int] = {
        "LOOM_LOG_LEVEL": plan.settings.log_level,
        "LOOM_OTLP_ENDPOINT": plan.settings.otlp_endpoint,
        "LOOM_AGENT_PROJECT": project_id,
        "LOOM_AGENT_WORKSPACE": str(folder / "work"),
        **render.ledger_settings(plan, name),
        **render.broker_settings(plan, name),
        **render.artifact_settings(plan, name),
    }
    who.write(plan.home.settings_file(name), as_settings_file(settings), who.agent)


def process(plan: render.Plan, project_id: str) -> Program:
    """The agent's process."""
    name = name_of(project_id)
    settings = plan.home.settings_file(name)
    return Program(
        name,
        services.python("workers"),
        plan.accounts.agent,
        services.settings_environment(settings)
        | {"HOME": str(plan.home.workspaces / project_id / "home")},
        stop_wait_s=20,
        digest=render.code_digest("loom", "workers") + render.digest_of(settings),
    )


def enlist(plan: render.Plan, project_id: str) -> bool:
    """Write the agent's process for the supervisor; False if that stood there already."""
    text = render_program(process(plan, project_id), plan.home, switching=plan.accounts.switching)
    file = plan.home.agent_programs / f"{name_of(project_id)}.conf"
    return plan.accounts.write(file, text, plan.accounts.operator)
