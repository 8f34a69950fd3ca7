"""One id finds a bead everywhere: in Loom, Flower, RabbitMQ, git and the logs."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import httpx
from whole import Loom, eventually

from loom.cli import calculator
from loom.cli.waiting import follow
from loom.domain.bead import NewBead
from loom.domain.presence import AgentState
from loom.domain.project import Project
from loom.stack import credentials, flower
from loom.stack.home import Home, StackSettings


def _pages(loom: Loom) -> str:
    return str(loom.services()["flower"]["url"])


def test_one_id_finds_a_bead_everywhere(loom: Loom) -> None:
    repository = calculator.lay_out(Home(loom.home.path / "oneid"), StackSettings().agent_user)
    with loom.client() as client:
        new = Project("oneid", str(repository), test_command=calculator.TEST_COMMAND)
        client.create_project(new)
        # Flower knows of what was told since it knows of the agent.
        login = (flower.USER, loom.home.secret(credentials.FLOWER))
        workers = f"{_pages(loom)}/workers?json=1"
        eventually(
            "Flower knows the agent",
            lambda: "agent-oneid" in httpx.get(workers, auth=login, trust_env=False).text,
        )
        found = client.create_bead("oneid", NewBead("x", context={"patch": calculator.MENDS}))
        bead = follow(client, found, lambda _bead: None)
    assert bead.resolution == "succeeded", bead.reason

    # Loom
    told = loom.document("bead", "where", bead.id)
    places = {each["place"]: each for each in told["places"]}
    assert set(places) == {"Loom", "its page", "Flower", "RabbitMQ", "git", "the logs"}
    token = {"Authorization": f"Bearer {loom.home.secret(credentials.API_TOKEN)}"}
    answer = httpx.get(places["Loom"]["address"], headers=token, trust_env=False)
    assert answer.json()["id"] == bead.id

    # Flower
    def task() -> httpx.Response:
        url = f"{_pages(loom)}/api/task/info/{bead.id}"
        return httpx.get(url, auth=login, trust_env=False)

    eventually("Flower has heard of it", lambda: task().status_code == 200)
    assert task().json()["uuid"] == bead.id
    assert httpx.get(places["Flower"]["address"], auth=login, trust_env=False).status_code == 200

    # git
    shown = subprocess.run(
        ["git", f"--git-dir={repository}", "log", "--all", f"--grep=^Bead-Id: {bead.id}$",
         "--format=%H"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert shown == [commit.sha for commit in bead.commits]

    # the logs
    def logged() -> set[str]:
        lines = loom.run("logs", "-n", "100000").stdout.splitlines()
        return {line.split(" | ")[0] for line in lines if bead.id in line}

    eventually("services log it", lambda: {"control", "agent-oneid"} <= logged())


def test_the_message_of_a_bead_has_its_id_in_rabbitmq(loom: Loom) -> None:
    with loom.client() as client:
        client.create_project(Project("stilled", "/nowhere.git"))
        eventually("its agent is there", lambda: bool(client.list_agents("stilled").items))
        agent = client.list_agents("stilled").items[0].name
        client.steer_agent(agent, "stop", "its message has to stay on the queue")
        eventually("it is gone", lambda: client.get_agent(agent).state is AgentState.STOPPED)
        bead = client.create_bead("stilled", NewBead("wait"))
    login = ("operator", loom.home.secret(credentials.broker("operator")))
    url = f"{loom.services()['rabbitmq']['url']}/api/queues/loom/loom.tasks.stilled/get"
    body = {"count": 5, "ackmode": "ack_requeue_true", "encoding": "auto"}

    def ids() -> list[str]:
        answer = httpx.post(url, json=body, auth=login, trust_env=False).json()
        return [each["properties"]["headers"]["id"] for each in answer]

    eventually("its message is on the queue", lambda: ids() == [bead.id])


def test_flower_lets_nobody_in_without_its_password_and_listens_here_alone(loom: Loom) -> None:
    base = httpx.URL(_pages(loom))
    for path in ("/", "/workers", "/tasks", "/api/workers", "/api/tasks", "/api/task/info/x"):
        for auth in (None, (flower.USER, "guess"), ("admin", "admin")):
            answer = httpx.get(base.join(path), auth=auth, trust_env=False)
            assert answer.status_code == 401, path
    assert base.host == "127.0.0.1"
    listening = [
        line.split()[1]
        for line in Path("/proc/net/tcp").read_text().splitlines()
        if line.split()[3] == "0A" and line.split()[1].endswith(f":{base.port:04X}")
    ]
    here = socket.inet_aton("127.0.0.1")[::-1].hex().upper()
    assert listening == [f"{here}:{base.port:04X}"]
    assert f":{base.port:04X} " not in Path("/proc/net/tcp6").read_text()
