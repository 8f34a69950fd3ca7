"""What an operator tells an agent by the celery command and its API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from agent_stand import PATIENCE_S, ROOT, Stand, stand_up
from marathon import Marathon

from loom.database.migrate import upgrade
from loom.testing.database import running_database
from loom.testing.infrastructure import Infrastructure


@pytest.fixture(scope="module")
def stand(
    infrastructure: Infrastructure, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stand]:
    """A project on a vhost and a database of this file's own."""
    settings = infrastructure.make_database("workers_commands")
    upgrade(infrastructure.migration_named("workers_commands"))
    folder = tmp_path_factory.mktemp("workers")
    with running_database(settings, projects=("demo",)) as database:
        made = stand_up(infrastructure, "workers-commands", database, folder)
        yield made
        made.close()


@pytest.fixture
def marathon(stand: Stand, request: pytest.FixtureRequest) -> Iterator[Marathon]:
    """A command of this test's own."""
    with Marathon(stand.folder, request.node.name) as made:
        yield made


def celery(stand: Stand, *arguments: str) -> Any:
    """What the celery command answers an operator, at the root of the repository."""
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "workers.app", *arguments, "--json"],
        cwd=ROOT,
        env=operator(stand),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def operator(stand: Stand) -> dict[str, str]:
    """The environment of an operator who has a stack of his own."""
    home = stand.folder / "operator"
    (home / "etc").mkdir(parents=True, exist_ok=True)
    (home / "etc" / "operator.env").write_text(
        f"LOOM_BROKER_HOST={stand.broker.host}\nLOOM_BROKER_PORT={stand.broker.port}\n"
        f"LOOM_BROKER_VHOST={stand.broker.vhost}\nLOOM_BROKER_USERNAME={stand.broker.username}\n"
        f"LOOM_BROKER_PASSWORD={stand.broker.password.get_secret_value()}\n"
    )
    return {"PATH": os.environ["PATH"], "LOOM_HOME": str(home)}


def test_celerys_inspect_shows_the_agent_and_what_it_works_on(
    stand: Stand, marathon: Marathon
) -> None:
    with stand.agent(LOOM_AGENT_NAME="agent-demo@here") as agent:
        bead = stand.file(context=marathon.context)
        marathon.wait_for_start()
        assert celery(stand, "inspect", "ping") == {"agent-demo@here": {"ok": "pong"}}
        [active] = celery(stand, "inspect", "active")["agent-demo@here"]
        assert (active["id"], active["name"]) == (bead.id, "loom.bead")
        stats = celery(stand, "inspect", "stats")["agent-demo@here"]
        assert stats["pool"]["max-concurrency"] == 1
        [child] = agent.pool()
        os.kill(child, signal.SIGKILL)
        stand.result(bead.id)


def test_celerys_pool_grow_lets_an_agent_work_on_two_beads(stand: Stand) -> None:
    with (
        Marathon(stand.folder, "first") as first,
        Marathon(stand.folder, "second") as second,
        stand.agent(LOOM_AGENT_STOP_AFTER_S="0"),
    ):
        beads = [stand.file(context=first.context)]
        first.wait_for_start()
        celery(stand, "control", "pool_grow", "1")
        beads.append(stand.file(context=second.context))
        second.wait_for_start()
    with stand.agent():
        for bead in beads:
            assert stand.result(bead.id).type == "task.completed"


def test_celerys_shutdown_stops_the_agent(stand: Stand) -> None:
    with stand.agent() as agent:
        agent.wait_for("agent_ready")
        # Celery's shutdown answers nobody.
        subprocess.run(
            [sys.executable, "-m", "celery", "-A", "workers.app", "control", "shutdown"],
            cwd=ROOT, env=operator(stand), capture_output=True, timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert agent.process.wait(PATIENCE_S) == 0


def test_celerys_revoke_loses_no_bead(stand: Stand, marathon: Marathon) -> None:
    with stand.agent() as agent:
        bead = stand.file(context=marathon.context)
        marathon.wait_for_start()
        revoke = f"from workers.app import app; app.control.revoke({bead.id!r}, terminate=True)"
        subprocess.run(
            [sys.executable, "-c", revoke],
            cwd=ROOT, env=operator(stand), check=True, timeout=PATIENCE_S,
        )  # fmt: skip
        marathon.wait_for_end()
        assert stand.result(bead.id).type == "task.completed"
        agent.wait_for("attempt_reported", bead_id=bead.id)
