"""`loom user`, `loom token` and `loom audit`, over the API in this process."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from control_api import PROJECT, Api
from test_cli_commands import Shell

from loom.cli import admins
from loom.control.passwords import Passwords

API = "/api/v1"


@pytest.fixture
def shell() -> Shell:
    api = Api()
    api.post(f"{API}/projects", PROJECT)
    return Shell(api)


def test_a_user_is_made_and_gets_roles_and_loses_them(shell: Shell) -> None:
    made = shell.document("user", "add", "ada", "--role", "viewer", "--in", "shop=operator")
    assert (made["user"]["role"], made["user"]["projects"]) == ("viewer", {"shop": "operator"})
    kept, _ = shell.api.ledger.get_login("ada")
    assert Passwords().match(made["password"], kept)
    assert "ada" in shell.run("user", "list").output
    given = shell.run("user", "grant", "ada", "admin").output
    assert given == "ada: admin everywhere, operator in shop\n"
    left = shell.document("user", "revoke", "ada", "--project", "shop")
    assert left["projects"] == {}
    assert shell.run("user", "disable", "ada").output == "ada is disabled\n"
    assert shell.document("user", "enable", "ada")["disabled"] is False
    again = shell.document("user", "reset-password", "ada")["password"]
    assert Passwords().match(again, shell.api.ledger.get_login("ada")[0])


def test_what_is_wrong_with_a_user_is_said_in_words(shell: Shell) -> None:
    for words, said in (
        (("user", "add", "Ada"), "no user name"),
        (("user", "add", "operator"), "one of Loom's services"),
        (("user", "add", "ada", "--in", "shop"), "PROJECT=ROLE"),
        (("user", "add", "ada", "--in", "nowhere=viewer"), "no project nowhere"),
        (("user", "grant", "nobody", "viewer"), "loom user list"),
        (("token", "create", "ci"), "--role viewer"),
        (("token", "create", "ci", "--role", "viewer", "--expires", "soon"), "30d"),
        (("token", "revoke", "zz"), "loom token list"),
    ):
        answer = shell.run(*words)
        assert answer.exit_code in (1, 2, 3)
        assert said in answer.output, answer.output


def test_a_token_is_made_used_listed_and_revoked(shell: Shell) -> None:
    made = shell.document("token", "create", "ci", "--in", "shop=operator", "--expires", "8w")
    headers = {"Authorization": f"Bearer {made['token']}"}
    assert shell.api.client.get(f"{API}/me", headers=headers).json["projects"] == {
        "shop": "operator"
    }
    assert made["details"]["id"] in shell.run("token", "list").output
    # By the token itself, as somebody has it who found it.
    revoked = shell.run("token", "revoke", made["token"]).output
    assert revoked == f"token {made['details']['id']} (ci) is revoked\n"
    assert shell.document("token", "list") == {"tokens": []}
    assert len(shell.document("token", "list", "--all")["tokens"]) == 1
    assert shell.api.client.get(f"{API}/me", headers=headers).status_code == 401


def test_the_trail_is_exported_and_verified_also_without_the_server(
    shell: Shell, tmp_path: Path
) -> None:
    for name in ("ada", "eve", "grace"):
        shell.run("user", "add", name)
    assert "ada" in shell.run("audit").output
    said = shell.document("audit", "verify")
    assert said["broken"] is None
    kept = tmp_path / "audit.jsonl"
    assert shell.run("audit", "export", "--output", str(kept)).exit_code == 0
    by_file = ("audit", "verify", "--file", str(kept))
    assert shell.run(*by_file, "--head", said["head"]).exit_code == 0
    lines = kept.read_text().splitlines()
    kept.write_text("\n".join(lines[:-1]))
    cut = shell.run(*by_file, "--head", said["head"])
    assert cut.exit_code == 1
    assert "lines were taken away" in cut.output
    lines[1] = json.dumps(json.loads(lines[1]) | {"actor": "nobody"})
    kept.write_text("\n".join(lines))
    broken = shell.run(*by_file)
    assert broken.exit_code == 1
    assert "broken at line 2" in broken.output


def test_the_first_start_makes_one_admin_and_shows_the_password_once(shell: Shell) -> None:
    where = shell.profile
    password = admins.first(where)
    assert Passwords().match(password, shell.api.ledger.get_login("admin")[0])
    assert shell.api.ledger.get_user("admin").role == "admin"
    assert admins.first(where) == ""
