"""A whole stack's life, as its commands tell of it; its end is the fixture's, after all tests."""

from __future__ import annotations

from whole import Loom

from loom.stack import credentials, services


def test_the_first_start_told_of_every_part_that_it_runs(loom: Loom) -> None:
    assert not loom.started["was_running"]
    told = loom.started["services"]
    assert {each["name"] for each in told} == {*services.INFRASTRUCTURE, *services.LOOM}
    assert {each["state"] for each in told} == {"running"}


def test_each_part_is_shown_with_its_state_its_process_and_its_place(loom: Loom) -> None:
    shown = loom.document("status")["services"]
    assert all({"name", "state", "pid", "url"} <= each.keys() for each in shown)
    assert {each["name"] for each in shown} >= {*services.INFRASTRUCTURE, *services.LOOM}


def test_the_token_that_is_shown_is_the_apis(loom: Loom) -> None:
    assert loom.run("token", "show").stdout.strip() == loom.home.secret(credentials.API_TOKEN)


def test_the_doctor_finds_nothing_that_fails(loom: Loom) -> None:
    findings = loom.document("doctor")["findings"]
    assert [each for each in findings if each["verdict"] == "fail"] == []
    assert {"topology", "permissions", "consumer_timeout"} <= {each["what"] for each in findings}
