"""Bodies as JSON, and the digest that tells whether two of them say the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loom.control.body import fingerprint, parse
from loom.errors import BadRequest

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=40)
@given(VALUES)
def test_every_json_value_is_read_as_it_was_written(value: Any) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value


@settings(max_examples=20)
@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_the_order_of_keys_does_not_change_the_fingerprint(value: dict[str, Any]) -> None:
    turned = dict(reversed(value.items()))

    assert fingerprint(turned) == fingerprint(value)


def test_values_that_differ_have_different_fingerprints() -> None:
    differing = [1, "1", True, None, [1], {"1": 1}, {"1": "1"}, [], {}, [[]], "", 1.5]

    assert len({fingerprint(value) for value in differing}) == len(differing)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_or_refused_in_words(raw: bytes) -> None:
    try:
        parse(raw)
    except BadRequest as error:
        assert error.detail.startswith("the body")


def test_what_is_wrong_is_said_with_its_place() -> None:
    with pytest.raises(BadRequest, match="line 2"):
        parse(b'{"a": 1,\n}')
    with pytest.raises(BadRequest, match="'a' stands twice"):
        parse(b'{"a": 1, "b": 2, "a": 3}')
