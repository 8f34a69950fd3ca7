"""The API's own description, and the page to try it on."""

from __future__ import annotations

import re

import pytest
from control_api import Api, make_app
from flask import Flask
from openapi_spec_validator import OpenAPIV31SpecValidator

from loom.control import csrf, docs, openapi, operation
from loom.testing.ledger import FakeLedger


@pytest.fixture(scope="module")
def app() -> Flask:
    """The app over an empty ledger."""
    return make_app(FakeLedger())


def test_every_route_declares_what_it_is(app: Flask) -> None:
    bare = [
        rule.rule
        for rule in app.url_map.iter_rules()
        if operation.of(app.view_functions[rule.endpoint]) is None
    ]
    assert not bare


def test_the_description_is_valid_openapi_3_1(app: Flask) -> None:
    document = openapi.document(app)

    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")


def test_the_description_is_served_to_anybody_who_may_call(app: Flask) -> None:
    api = Api()
    served = api.get("/api/v1/openapi.json").get_json()

    assert served == openapi.document(app)
    names = [
        each["operationId"]
        for path in served["paths"].values()
        for method, each in path.items()
        if method != "parameters"
    ]
    assert len(names) == len(set(names))


def test_every_operation_says_what_it_answers_to_somebody_without_a_token(app: Flask) -> None:
    for path in openapi.document(app)["paths"].values():
        for each in path.values():
            assert ("401" in each["responses"]) is (each.get("security") != [])


def test_the_page_knows_what_the_requests_of_a_login_have_to_show() -> None:
    api = Api()
    assert "csrf-token" not in api.get("/api/docs").text
    api.client.set_cookie("loom_session", "a secret")
    page = api.client.get("/api/docs")

    assert f'content="{csrf.token("a secret")}"' in page.text
    assert page.headers["Cache-Control"] == "no-store"


def test_the_page_loads_its_own_files_and_nothing_else() -> None:
    api = Api()
    page = api.get("/api/docs")

    assert "unsafe" not in page.headers["Content-Security-Policy"]
    assert "http" not in page.text
    assert "<style" not in page.text
    assert re.findall(r"<script(?![^>]* src=)", page.text) == []
    for name in docs.FILES:
        assert name == "index.html" or f"docs/{name}" in page.text
        assert api.get(f"/api/docs/{name}").status_code == 200
    assert api.get("/api/docs/other.js").status_code == 404
