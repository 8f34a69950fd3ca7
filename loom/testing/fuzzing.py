"""Requests by the thousand, made from the API's own description, and what is wrong with answers.

The same seed makes the same requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis.checks import CHECKS, load_all_checks

HELD_TO = (
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
"""What each answer has to be: of a status, type, headers and body that its route declares."""
METHOD_NOT_ALLOWED = 405
ENDLESS = "text/event-stream"

Call = Callable[[Any], Any]
"""Makes the request of a case; the answer."""


def operations(document: Mapping[str, Any], app: Any = None) -> dict[str, Any]:
    """What can be asked for, by its name as `GET /api/v1/beads`; streams without an end are not.

    app: to be called by itself; None: over HTTP.
    """
    load_all_checks()
    schema = schemathesis.openapi.from_dict(dict(document))
    if app is not None:
        schema.app = app
    found = [result.ok() for result in schema.get_all_operations()]  # type: ignore[union-attr]
    return {each.label: each for each in found if not _endless(document, each)}


def _endless(document: Mapping[str, Any], each: Any) -> bool:
    answers = document["paths"][each.path][each.method.lower()]["responses"]
    return any(ENDLESS in answer.get("content", {}) for answer in answers.values())


def try_out(
    operation: Any, call: Call, examples: int, number: int, known: Mapping[str, Sequence[str]]
) -> list[str]:
    """What is wrong with the answers to so many requests, of them as many right as wrong ones.

    number: the seed. known: values of the parts of addresses, by their names, so that about half of
    the requests reach something.
    """
    wrong: list[str] = []
    modes = schemathesis.GenerationMode
    requests = st.one_of(
        operation.as_strategy(generation_mode=modes.POSITIVE),
        operation.as_strategy(generation_mode=modes.NEGATIVE),
    )

    @seed(number)
    @settings(
        max_examples=examples, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(requests, st.fixed_dictionaries(_choices(known)), st.booleans())
    def each(case: Any, chosen: dict[str, str], reach: bool) -> None:
        if reach and case.path_parameters:
            case.path_parameters |= {
                name: value for name, value in chosen.items() if name in case.path_parameters
            }
        wrong.extend(_wrong(case, call(case)))

    each()
    return wrong


def _choices(known: Mapping[str, Sequence[str]]) -> dict[str, st.SearchStrategy[str]]:
    return {name: st.sampled_from(list(values)) for name, values in known.items()}


def _wrong(case: Any, answer: Any) -> Iterator[str]:
    if answer.status_code == METHOD_NOT_ALLOWED:
        # A part that is `..` or has a `/` makes the address another's.
        return
    asked = case.as_curl_command()
    if answer.status_code == 500:
        yield f"500 for {asked}: {answer.text}"
        return
    try:
        case.validate_response(answer, checks=CHECKS.get_by_names(list(HELD_TO)))
    except BaseExceptionGroup as failures:
        for failure in failures.exceptions:
            yield f"{failure} for {asked}: {answer.text[:500]}"
