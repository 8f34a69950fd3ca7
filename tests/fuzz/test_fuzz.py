"""Thousands of requests against the control plane of a whole stack: no 500, nothing undeclared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from loom.domain.bead import NewBead
from loom.drill.scratch import PROJECT, Scratch
from loom.testing.fuzzing import operations, try_out

EXAMPLES = int(os.environ.get("LOOM_FUZZ_EXAMPLES", "100"))
SEED = int(os.environ.get("LOOM_FUZZ_SEED", "20261122"))

pytestmark = pytest.mark.timeout(3_600)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    """A stack that nobody minds."""
    with Scratch(tmp_path_factory.mktemp("fuzz"), agents=1) as started:
        yield started


def test_no_request_is_answered_by_a_500_or_by_what_the_route_does_not_declare(
    scratch: Scratch,
) -> None:
    with scratch.client() as client:
        document = client.document()
        beads = [client.create_bead(PROJECT, NewBead(f"fuzz {n}")).id for n in range(10)]
        headers = client.headers() | {"If-Match": "*"}

        def call(case: Any) -> Any:
            return case.call(base_url=client.url, headers=headers)

        known = {
            "bead_id": beads, "blocker_id": beads, "project_id": [PROJECT], "epoch": ["1"],
            "letter_id": ["1"], "name": [f"agent-{PROJECT}-1"],
        }  # fmt: skip
        wrong: list[str] = []
        for operation in operations(document).values():
            wrong += try_out(operation, call, EXAMPLES, SEED, known)

    assert not wrong, "\n\n".join(wrong)
