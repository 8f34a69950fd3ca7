"""`loom dlq`, `loom audit` and what `loom bead` does to beads, over the API in this process."""

from __future__ import annotations

import pytest
from control_api import PROJECT, Api
from test_cli_commands import Shell
from test_control_steering import dies

WHY = ("--reason", "the parser is mended")


@pytest.fixture
def shell() -> Shell:
    api = Api()
    api.post("/api/v1/projects", PROJECT)
    return Shell(api)


def test_a_bead_is_cancelled_and_filed_anew(shell: Shell) -> None:
    bead = shell.api.file(title="Mend [it]", priority=1, context={"patch": "x"})
    assert shell.run("bead", "cancel", bead["id"], *WHY).output == f"{bead['id']} is cancelled\n"
    refused = shell.run("bead", "unblock", bead["id"], *WHY)
    assert refused.exit_code == 1
    assert f"loom bead refile {bead['id']}" in refused.output
    anew = shell.document("bead", "refile", bead["id"])
    assert anew["id"] != bead["id"]
    assert (anew["title"], anew["priority"], anew["context"]) == ("Mend [it]", 1, {"patch": "x"})
    assert anew["state"] == "open"


def test_an_act_needs_a_reason(shell: Shell) -> None:
    for words in (("bead", "cancel", "bd-1"), ("dlq", "discard", "1"), ("dlq", "replay", "1")):
        assert shell.run(*words).exit_code == 2


def test_a_blocked_bead_is_unblocked(shell: Shell) -> None:
    bead = shell.api.file()
    dies(shell.api, bead_id=bead["id"], epoch=1)
    assert shell.document("bead", "unblock", bead["id"], *WHY)["state"] == "open"


def test_letters_are_listed_grouped_and_shown(shell: Shell) -> None:
    number = dies(shell.api, detail="first [line]\nsecond")
    assert "first [line]" in shell.run("dlq", "ls", "--state", "open").output
    assert "cause" in shell.run("dlq", "groups").output
    shown = shell.run("dlq", "show", str(number)).output
    assert "loom.tasks.shop" in shown
    assert "/wA=" in shown
    assert shell.document("dlq", "show", str(number))["body_encoding"] == "base64"
    assert len(shell.document("dlq", "ls")["dead_letters"]) == 1
    assert len(shell.document("dlq", "groups", "--project", "shop")["groups"]) == 1


def test_one_letter_is_replayed_or_discarded(shell: Shell) -> None:
    one, two = dies(shell.api, 1), dies(shell.api, 2)
    dry = shell.run("dlq", "replay", str(one), *WHY, "--dry-run")
    assert dry.output == f"letter {one} would be replayed\n"
    assert shell.run("dlq", "replay", str(one), *WHY).output == f"letter {one} is replayed\n"
    assert shell.document("dlq", "discard", str(two), *WHY)["state"] == "discarded"


def test_a_group_is_replayed_at_a_rate_behind_a_canary(shell: Shell) -> None:
    for number in range(3):
        dies(shell.api, number)
    group = ("--group", "cause", *WHY)
    assert "3 open letters" in shell.run("dlq", "replay", *group, "--dry-run").output
    begun = shell.run("dlq", "replay", *group, "--rate", "5", "--canary")
    assert "is canary: 1 replayed, 0 refused, 2 left" in begun.output
    assert shell.run("dlq", "replay", *group).exit_code == 1
    assert "canary" in shell.run("dlq", "replays").output
    assert shell.document("dlq", "replays")["replays"][0]["rate_per_s"] == 5.0


def test_a_group_is_discarded(shell: Shell) -> None:
    dies(shell.api)
    group = ("--group", "cause", *WHY)
    assert "1 letters" in shell.run("dlq", "discard", *group, "--dry-run").output
    assert shell.document("dlq", "discard", *group) == {"matching": 1, "discarded": 1}


@pytest.mark.parametrize("words", [(), ("1", "--group", "cause")])
def test_either_a_letter_or_a_group_is_named(shell: Shell, words: tuple[str, ...]) -> None:
    for act in ("replay", "discard"):
        assert shell.run("dlq", act, *words, *WHY).exit_code == 2


def test_the_audit_is_shown(shell: Shell) -> None:
    number = dies(shell.api)
    shell.run("dlq", "discard", str(number), *WHY)
    told = shell.run("audit").output
    assert "dead_letter.discard" in told
    assert "the parser is mended" in told
    (line,) = shell.document("audit", "--target", str(number))["lines"]
    assert line["actor"] == "operator"
