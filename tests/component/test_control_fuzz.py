"""Requests made from the API's own description: none is answered by a 500, or undeclared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
import structlog
from control_api import BEARER, PROJECT, Api, finish, make_app

from loom.control import openapi
from loom.domain.evidence import Outcome
from loom.testing.fuzzing import operations, try_out
from loom.testing.ledger import FakeLedger

EXAMPLES = int(os.environ.get("LOOM_FUZZ_EXAMPLES", "4"))
"""Of each operation; `make fuzz` makes thousands in all, on a stack with everything."""
DOCUMENT = openapi.document(make_app(FakeLedger()))


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    """The API with a project, and beads in every state."""
    api = Api()
    api.post("/api/v1/projects", PROJECT)
    with structlog.testing.capture_logs():
        yield api


@pytest.fixture(scope="module")
def known(api: Api) -> dict[str, list[str]]:
    """Ids of what there is."""
    beads = [api.file(id=id_)["id"] for id_ in ("bd-open", "bd-runs", "bd-ended", "bd-held")]
    api.ledger.claim_bead("bd-runs", 1, "agent-shop")
    finish(api.ledger, "bd-ended", Outcome(succeeded=False, reason="no"))
    api.post("/api/v1/beads/bd-held/claim", {"reason": "mine"})
    return {"bead_id": beads, "blocker_id": beads, "project_id": ["shop"], "epoch": ["1"]}


@pytest.fixture(scope="module")
def routes(api: Api) -> dict[str, Any]:
    """What can be asked for."""
    return operations(DOCUMENT, api.app)


@pytest.mark.parametrize("name", operations(DOCUMENT))
def test_no_request_is_answered_by_a_500_or_by_what_the_route_does_not_declare(
    routes: dict[str, Any], known: dict[str, list[str]], name: str
) -> None:
    wrong = try_out(routes[name], partial(_call, BEARER), EXAMPLES, 20261122, known)

    assert not wrong, "\n\n".join(wrong)


def _call(headers: dict[str, str], case: Any) -> Any:
    return case.call(headers=headers | {"If-Match": "*"})
