"""Webhooks over HTTP and on the command line."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from control_api import BEARER, PROJECT, Api, problem
from test_cli_commands import Shell

from loom.cli import webhook as webhook_cli
from loom.domain.audit import Intervention
from loom.domain.webhook import TRIES, Tried

HOOKS = "/api/v1/webhooks"
URL = "https://chat.example/hooks?key=hidden"
BY = Intervention("ada", "why not")


@pytest.fixture
def api() -> Api:
    made = Api()
    made.post("/api/v1/projects", PROJECT)
    return made


@pytest.fixture
def shell(api: Api) -> Shell:
    return Shell(api)


def make(api: Api, **words: Any) -> dict[str, Any]:
    answer = api.post(HOOKS, {"url": URL, "types": ["bead.*"], **words})
    assert answer.status_code == 201, answer.text
    return dict(answer.get_json())


def dead(api: Api, hook: dict[str, Any]) -> int:
    """A delivery that was tried as often as it may be."""
    api.file()
    for _ in range(TRIES):
        (errand,) = api.ledger.lease_deliveries("c", 1, 60)
        api.ledger.settle_deliveries("c", [Tried(errand.delivery_id, 500, response="no")])
        api.ledger.advance(86_400)
    found = api.ledger.list_deliveries(hook["id"], "dead").items
    return found[0].id


def test_a_webhook_is_made_and_its_secret_shown_once(api: Api) -> None:
    made = make(api, project_id="shop")
    assert made["secret"].startswith("whsec_")
    shown = api.get(made["links"]["self"]).get_json()
    assert shown == made | {"secret": None}
    assert api.get(HOOKS).get_json()["webhooks"] == [shown]


@pytest.mark.parametrize(
    "body",
    [{}, {"url": "chat.example"}, {"url": URL, "types": ["x"]}, {"url": URL, "secret": "short"},
     {"url": URL, "project_id": "A"}, {"url": URL, "more": 1}, {"url": 5}],
)  # fmt: skip
def test_a_webhook_that_cannot_be_is_refused(steady: Api, body: dict[str, Any]) -> None:
    problem(steady.post(HOOKS, body), 422, "invalid")


def test_a_webhook_of_an_unknown_project_is_refused(api: Api) -> None:
    problem(api.post(HOOKS, {"url": URL, "project_id": "gone"}), 404, "not_found")


def test_a_webhook_is_changed_and_removed(api: Api) -> None:
    path = make(api, project_id="shop")["links"]["self"]
    words = {"types": [], "active": False, "project_id": ""}
    changed = api.client.patch(path, json=words, headers=BEARER).get_json()
    assert (changed["types"], changed["active"], changed["project_id"]) == ([], False, None)
    assert changed["url"] == URL
    problem(api.client.patch(path, json={"url": "x"}, headers=BEARER), 422, "invalid")
    problem(api.post(f"{path}/test", None), 409, "illegal_transition")
    assert api.client.delete(path, headers=BEARER).status_code == 204
    problem(api.get(path), 404, "not_found")
    problem(api.client.delete(path, headers=BEARER), 404, "not_found")


def test_deliveries_are_shown_sent_again_and_given_up(api: Api) -> None:
    hook = make(api)
    number = dead(api, hook)
    listed = api.get(f"{hook['links']['deliveries']}?state=dead").get_json()["deliveries"]
    assert [(each["id"], each["status"], each["response"]) for each in listed] == [
        (number, 500, "no")
    ]
    one = listed[0]["links"]
    assert api.get(one["self"]).get_json() == listed[0]
    problem(api.post(one["redeliver"], {}), 422, "invalid")
    reason = {"reason": "it is mended"}
    assert api.post(one["redeliver"], reason).get_json() == {"deliveries": 1}
    problem(api.post(one["discard"], reason), 409, "illegal_transition")
    every = hook["links"]["deliveries"]
    assert api.post(f"{every}/discard", reason).get_json() == {"deliveries": 0}
    assert api.post(f"{every}/redeliver", reason).get_json() == {"deliveries": 0}
    problem(api.get(f"{every}/99"), 404, "not_found")
    problem(api.get(f"{every}?state=lost"), 422, "invalid")


# On the command line.


def test_add_shows_the_secret_and_list_does_not(shell: Shell) -> None:
    made = shell.document("webhook", "add", URL, "--type", "bead.*", "--project", "shop")
    assert made["secret"].startswith("whsec_")
    shown = shell.run("webhook", "list").output
    assert "chat.example" in shown
    assert "hidden" not in shown
    assert made["secret"] not in shell.run("webhook", "show", made["id"]).output
    assert "whsec_" in shell.run("webhook", "add", URL).output
    assert len(shell.document("webhook", "list")["webhooks"]) == 2


def test_change_switches_it_off_and_on_and_remove_removes_it(shell: Shell) -> None:
    id_ = make(shell.api)["id"]
    assert shell.document("webhook", "change", id_, "--off")["active"] is False
    assert "off" in shell.run("webhook", "show", id_).output
    assert shell.document("webhook", "change", id_, "--on")["active"] is True
    assert shell.run("webhook", "remove", id_).output == f"{id_} is removed\n"
    assert shell.run("webhook", "show", id_).exit_code == 3


@pytest.fixture
def receiving(api: Api) -> Iterator[dict[str, Any]]:
    """Carries deliveries out, as it is told."""
    how: dict[str, Any] = {"status": 200}
    stopping = threading.Event()

    def deliver() -> None:
        while not stopping.is_set():
            for errand in api.ledger.lease_deliveries("c", 10, 60, 50):
                api.ledger.settle_deliveries("c", [Tried(errand.delivery_id, **how)])

    thread = threading.Thread(target=deliver)
    thread.start()
    yield how
    stopping.set()
    thread.join()


def test_test_says_whether_it_arrived(
    shell: Shell, receiving: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(webhook_cli, "LOOK_EVERY_S", 0.01)
    id_ = make(shell.api)["id"]
    arrived = shell.run("webhook", "test", id_)
    assert (arrived.exit_code, arrived.output[:15]) == (0, "it arrived: 200")
    receiving |= {"status": 0, "error": "it could not be reached"}
    failed = shell.run("webhook", "test", id_)
    assert failed.exit_code == 1
    assert "it could not be reached" in failed.output


def test_test_says_what_to_look_at_where_nobody_delivers(shell: Shell) -> None:
    id_ = make(shell.api)["id"]
    late = shell.run("webhook", "test", id_, "--timeout", "0")
    assert late.exit_code == 5
    assert "loom logs connectors" in late.output


def test_dead_deliveries_are_listed_and_dealt_with(shell: Shell) -> None:
    hook = make(shell.api)
    number = dead(shell.api, hook)
    assert "it answered 500" in shell.run("webhook", "deliveries", hook["id"]).output
    assert shell.run("webhook", "redeliver", hook["id"]).exit_code == 2
    one = shell.run("webhook", "redeliver", hook["id"], str(number))
    assert one.output == "1 delivery is sent again\n"
    assert shell.document("webhook", "discard", hook["id"], "--all-dead") == {"deliveries": 0}
    pending = shell.document("webhook", "deliveries", hook["id"], "--state", "pending")
    assert [each["id"] for each in pending["deliveries"]] == [number]


def test_events_are_listed_and_tailed(shell: Shell) -> None:
    bead = shell.api.file(title="Mend the [till]")
    assert bead["id"] in shell.run("event", "list", "--project", "shop").output
    found = shell.document("event", "list", "--type", "bead.*", "--oldest-first")["events"]
    assert [each["type"] for each in found] == ["bead.created"]
    line = shell.run("event", "tail", "--type", "bead.*").output
    assert "title: Mend the [till]" in line
    assert shell.run("event", "tail", "--type", "nothing").exit_code == 1
    assert shell.run("event", "list", "--since", "yesterday").exit_code == 1
    place = json.loads(shell.run("event", "tail", "-n", "1", "--json").output)["place"]
    assert shell.run("event", "tail", "--after", place).output == ""
    second = shell.api.file()
    assert second["id"] in shell.run("event", "tail", "--after", place).output
