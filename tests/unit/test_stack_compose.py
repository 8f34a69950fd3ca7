"""compose.yaml describes the same stack, and safely."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from loom.stack import containers, services
from loom.stack.accounts import Account, Accounts
from loom.stack.home import Home

ROOT = Path(__file__).resolve().parents[2]
OWN = {"rabbitmq": "rabbitmq:4-management", "postgres": "postgres:17"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file as compose reads it."""
    document: dict[str, Any] = YAML(typ="safe").load(ROOT / "compose.yaml")
    return document


def test_the_services_are_those_of_the_local_stack(compose: dict[str, Any]) -> None:
    # RabbitMQ's image starts epmd itself; in containers there is one agent, and no fleet.
    local = {*services.INFRASTRUCTURE, *services.LOOM} - {"epmd", "fleet"}
    assert set(compose["services"]) == local | {"setup", "migrate", "agent"}


def test_every_published_port_is_on_loopback(compose: dict[str, Any]) -> None:
    published = [p for service in compose["services"].values() for p in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_servers_are_official_and_the_rest_is_looms_own(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["image"] == OWN.get(name, "loom")


def test_no_secret_stands_in_an_environment(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for variable in service.get("environment", {}):
            assert "PASSWORD" not in variable or variable.endswith("_FILE")
            assert "TOKEN" not in variable


def test_whoever_is_called_is_a_service_and_tells_whether_it_is_well(
    compose: dict[str, Any],
) -> None:
    for address in containers.ADDRESSES.values():
        assert "healthcheck" in compose["services"][address.host]


def test_every_dependency_exists_and_reports_what_is_waited_for(compose: dict[str, Any]) -> None:
    for service in compose["services"].values():
        for name, how in service.get("depends_on", {}).items():
            target = compose["services"][name]
            if how["condition"] == "service_healthy":
                assert "healthcheck" in target
            else:
                assert target["restart"] in {"no", "on-failure"}


def test_what_setup_writes_is_what_the_services_read(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    me = Account("me", 0, 0)
    home = Home(tmp_path / "loom")
    containers.set_up(home, Accounts(me, me, me, me, me, switching=False), "demo")
    before = {file: file.read_bytes() for file in home.path.rglob("*") if file.is_file()}
    containers.set_up(home, Accounts(me, me, me, me, me, switching=False), "demo")
    assert before == {file: file.read_bytes() for file in home.path.rglob("*") if file.is_file()}

    text = (ROOT / "compose.yaml").read_text().replace("${LOOM_PROJECT:-demo}", "demo")
    text += (ROOT / "docker" / "postgres-roles.sh").read_text()
    named = {word.strip("\"',[]}") for word in text.split() if "/loom/etc/" in word}
    named = {word[word.index("/loom/etc/") :] for word in named}
    assert len(named) >= 10
    for name in named:
        assert (home.path / Path(name).relative_to("/loom")).is_file(), name
