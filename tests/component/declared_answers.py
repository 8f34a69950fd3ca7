"""Holds every answer of the control plane to what its route declares."""

from __future__ import annotations

import json
from typing import Any, cast

from flask.testing import FlaskClient
from pydantic import TypeAdapter, ValidationError
from werkzeug.exceptions import HTTPException
from werkzeug.test import TestResponse

from loom.control import openapi, operation
from loom.control.answers.problems import ProblemOut
from loom.control.operation import Content
from loom.control.problem import MIME
from loom.errors import MEANINGS


class Checked(FlaskClient):
    """A client that fails where an answer is not one that the route declares."""

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """The answer, after a look at it."""
        answer = cast(TestResponse, super().open(*args, **kwargs))
        check(self, answer)
        return answer


def check(client: FlaskClient, answer: TestResponse) -> None:
    """Raise AssertionError unless the answer's status and body are declared by its route."""
    method, path = answer.request.method, answer.request.path
    try:
        endpoint, _ = client.application.url_map.bind("").match(path, method)
    except HTTPException:
        return  # there is no such route, and that is what it says
    if method in ("HEAD", "OPTIONS"):
        return
    declared = operation.of(client.application.view_functions[endpoint])
    assert declared is not None, f"{endpoint} has no @operation"
    if declared.page or answer.mimetype == "text/html":
        return  # for a person's eyes: no program goes by it
    (rule,) = (
        each
        for each in client.application.url_map.iter_rules(endpoint)
        if method in (each.methods or ()) and _serves(client, each.rule, path, method)
    )
    told = f"{method} {path} -> {answer.status_code}"
    if answer.mimetype == MIME:
        problem = ProblemOut.model_validate_json(answer.get_data())
        codes = openapi.refusals(rule, method, declared)
        known = {MEANINGS[code].http for code in codes} | set(declared.answers)
        assert answer.status_code in known, f"{told} ({problem.code}) is not declared"
        assert problem.code in codes or answer.status_code in declared.answers, told
        return
    not_modified = declared.versioned and answer.status_code == 304
    assert answer.status_code in declared.answers or not_modified, f"{told} is not declared"
    if not_modified:
        return
    kind = declared.answers[answer.status_code]
    _check_body(kind if isinstance(kind, tuple) else (kind,), answer, told)


def _serves(client: FlaskClient, rule: str, path: str, method: str) -> bool:
    adapter = client.application.url_map.bind("")
    return str(adapter.match(path, method, return_rule=True)[0].rule) == rule


def _check_body(kinds: tuple[Any, ...], answer: TestResponse, told: str) -> None:
    if answer.mimetype != "application/json":
        assert any(isinstance(each, Content) or each is None for each in kinds), told
        return
    for kind in kinds:
        if not isinstance(kind, Content) and kind is not None:
            try:
                TypeAdapter(kind).validate_json(json.dumps(answer.get_json()), strict=True)
            except ValidationError as error:
                raise AssertionError(f"{told} is not as it is declared: {error}") from error
            return
    raise AssertionError(f"{told} is JSON, and not declared so")
