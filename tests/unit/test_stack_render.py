"""What a stack writes for the programs it runs, read back by those programs' own rules."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from pathlib import Path

import pytest
from dotenv import dotenv_values
from supervisor.options import ServerOptions

from loom.errors import Invalid, NotFound
from loom.messaging.topology import permission_of, permission_of_agent
from loom.stack import credentials, pgbouncer, postgres, rabbitmq, supervisor
from loom.stack.accounts import Account
from loom.stack.home import Home, as_settings_file, find_home
from loom.stack.ports import OFFSETS, SPAN, Ports
from loom.stack.program import Program, render
from loom.stack.render import own_connectors_settings

ME = Account("me", os.getuid(), os.getgid())


def test_every_port_is_another_one() -> None:
    assert len(set(Ports(9000).all().values())) == len(OFFSETS) == SPAN
    assert Ports(9000).of("control") == 9000


@pytest.mark.parametrize("base", [0, 80, 65530, -1])
def test_a_base_without_room_for_the_ports_is_refused(base: int) -> None:
    with pytest.raises(Invalid, match="port base"):
        Ports(base)


def test_the_home_is_the_one_configured_or_the_nearest_above(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    inside = repository / "a" / "b"
    inside.mkdir(parents=True)
    (repository / ".git").mkdir()
    assert find_home("", inside).path == repository / ".loom"
    assert find_home(str(tmp_path / "x"), inside).path == tmp_path / "x"
    (inside / ".loom").mkdir()
    (inside / ".loom" / "stack.json").write_text("{}")
    assert find_home("", inside).path == inside / ".loom"


def test_a_home_that_was_never_started_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="loom up"):
        Home(tmp_path).ports()
    with pytest.raises(NotFound, match="loom up"):
        Home(tmp_path).secret("api-token")


def test_the_ports_are_remembered(tmp_path: Path) -> None:
    Home(tmp_path).remember(Ports(9100))
    assert Home(tmp_path).ports() == Ports(9100)
    assert Home(tmp_path).ports_or_default() == Ports(9100)
    assert Home(tmp_path).ports_or_default(9200) == Ports(9200)


def test_a_settings_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    values = {"A": "it's \\ here", "B": "$HOME #no comment", "C": 12}
    file = tmp_path / "x.env"
    file.write_text(as_settings_file(values))
    assert dotenv_values(file, interpolate=False) == {"A": values["A"], "B": values["B"], "C": "12"}


def test_the_supervisor_reads_what_is_rendered(tmp_path: Path) -> None:
    home = Home(tmp_path / "a home, 100% odd")
    home.agent_programs.mkdir(parents=True)
    home.logs.mkdir()
    home.run.mkdir()
    program = Program(
        "one",
        ["/bin/echo", "a b", 'c"d', "100%"],
        ME,
        {"ERL": "-kernel inet_dist_use_interface {127,0,0,1}", "PER": "100%s"},
        digest="abc",
    )
    agent = Program("agent-x", ["/bin/true"], ME)
    (home.agent_programs / "agent-x.conf").write_text(render(agent, home, switching=False))
    home.supervisor_config.write_text(
        supervisor.config(home, Ports(9000), "secret", [program], switching=False)
    )
    options = ServerOptions()
    options.realize(["-c", str(home.supervisor_config)])
    (first, second) = sorted(options.process_group_configs, key=lambda group: group.name)
    assert first.name == "agent-x"
    (process,) = second.process_configs
    assert process.command == '"/bin/echo" "a b" "c\\"d" "100%"'
    assert process.environment["ERL"] == "-kernel inet_dist_use_interface {127,0,0,1}"
    assert process.environment["PER"] == "100%s"
    assert process.environment["LOOM_CONFIG_DIGEST"] == "abc"
    assert process.autorestart
    assert process.stdout_logfile == str(home.log("one"))
    assert "secret" not in home.supervisor_config.read_text().replace("secrets", "")


def test_an_environment_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    program = Program("one", ["/bin/true"], ME, {"A": 'say "no"'})
    with pytest.raises(Invalid, match="quote"):
        render(program, Home(tmp_path), switching=False)


def test_a_broker_password_is_kept_as_rabbitmq_checks_it() -> None:
    kept = base64.b64decode(credentials.broker_hash("hunter", b"abcd"))
    assert kept[:4] == b"abcd"
    assert kept[4:] == hashlib.sha256(b"abcdhunter").digest()


def test_definitions_hold_every_user_with_its_permission_and_no_password() -> None:
    passwords = {user: f"password-of-{user}" for user in credentials.BROKER_USERS}
    permissions = {user: permission_of(user) for user in passwords}
    text = rabbitmq.definitions(passwords, permissions)
    document = json.loads(text)
    assert "password-of" not in text
    assert text == rabbitmq.definitions(passwords, permissions), "rendering twice restarts nothing"
    assert {user["name"] for user in document["users"]} == set(credentials.BROKER_USERS)
    assert "guest" not in text
    for permission in document["permissions"]:
        assert permission["write"] == permission_of(permission["user"]).write


def test_definitions_limit_an_agent_to_the_keys_of_its_own_project() -> None:
    text = rabbitmq.definitions({"agent-alpha": "p"}, {"agent-alpha": permission_of_agent("alpha")})
    limits = {each["exchange"]: each for each in json.loads(text)["topic_permissions"]}
    assert set(limits) == {"loom.results", "loom.dead", "loom.logs"}
    assert re.fullmatch(limits["loom.results"]["write"], "loom.results.alpha")
    for key in ("loom.results.alphabet", "loom.results.beta", "loom.results", "loomxresults.alpha"):
        assert not re.fullmatch(limits["loom.results"]["write"], key)
    assert {(each["user"], each["read"]) for each in limits.values()} == {("agent-alpha", "^$")}


def test_every_server_listens_on_loopback_alone(tmp_path: Path) -> None:
    home, ports = Home(tmp_path), Ports(9000)
    assert re.findall(r"(?:tcp\.ip|tcp\.local) = (\S+)", rabbitmq.config(home, ports)) == [
        f"127.0.0.1:{ports.of('amqp')}",
        "127.0.0.1",
        "127.0.0.1",
    ]
    assert "listen_addresses = '127.0.0.1'" in postgres.config(home, ports)
    assert "unix_socket_directories = ''" in postgres.config(home, ports)
    assert "listen_addr = 127.0.0.1" in pgbouncer.config(home, ports)
    environment = rabbitmq.environment(home, ports)
    assert environment["ERL_EPMD_ADDRESS"] == "127.0.0.1"
    assert "{127,0,0,1}" in environment["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"]


def test_a_bead_of_a_day_stays_with_its_agent(tmp_path: Path) -> None:
    match = re.search(r"consumer_timeout = (\d+)", rabbitmq.config(Home(tmp_path), Ports(9000)))
    assert match
    assert int(match[1]) > 24 * 3600 * 1000


def test_artifacts_go_to_a_bucket_once_the_operator_names_one(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.secrets.mkdir()
    assert own_connectors_settings(home) == {}
    home.connectors_own.write_text("LOOM_CONNECTORS_KEEP_DAYS=7\n")
    assert own_connectors_settings(home) == {"LOOM_CONNECTORS_KEEP_DAYS": "7"}
    home.connectors_own.write_text("LOOM_S3_BUCKET=loom\nLOOM_S3_SECRET_KEY='it$ #1'\n")
    assert own_connectors_settings(home) == {
        "LOOM_CONNECTORS_STORE": "s3",
        "LOOM_S3_BUCKET": "loom",
        "LOOM_S3_SECRET_KEY": "it$ #1",
    }
    home.connectors_own.write_text("LOOM_CONNECTORS_LISTEN=0.0.0.0:1\n")
    with pytest.raises(Invalid, match="LOOM_CONNECTORS_LISTEN"):
        own_connectors_settings(home)
