"""A project's rules as a JSON object, and back: the one place for every wire and the ledger."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from loom.domain import document, placeholders, recipe_file
from loom.domain.document import Document, Words, fault
from loom.domain.rules import Limits, Network, Rules, Strategy
from loom.errors import Invalid

MAX_RECIPE_BYTES = recipe_file.MAX_BYTES
_DAY_S = 86_400
_MB = Annotated[int, Field(ge=1, le=16 * 1024 * 1024)]


class LimitsIn(Document):
    """Limits as a person writes them; what is left out or null is the default."""

    cpu_s: Annotated[int, Field(ge=0, le=_DAY_S)] | None = None
    memory_mb: Annotated[int, Field(ge=16, le=16 * 1024 * 1024)] | None = None
    processes: Annotated[int, Field(ge=1, le=100_000)] | None = None
    file_mb: _MB | None = None
    output_mb: Annotated[int, Field(ge=1, le=1024)] | None = None
    disk_mb: _MB | None = None


def _recipe(value: dict[str, Any]) -> dict[str, Any]:
    if not value:
        return value
    try:
        recipe_file.parse(value, "")
        size = len(json.dumps(value).encode())
    except Invalid as error:
        raise fault(error.detail) from error
    except (TypeError, ValueError) as error:
        raise fault(f"cannot be written as JSON: {error}") from error
    if size > MAX_RECIPE_BYTES:
        raise fault(f"takes {size} bytes; the limit is {MAX_RECIPE_BYTES}")
    return value


def _command(argv: list[str]) -> list[str]:
    try:
        if argv:
            placeholders.check(argv)
    except Invalid as error:
        raise fault(error.detail) from error
    return argv


Protocol = Literal["file", "git", "http", "https", "ssh"]
"""What git may speak; not `ext` and `fd`, which run commands of the address's own."""


class RulesIn(Document):
    """Rules as a person writes them; what is left out or null is the default."""

    network: Literal["never", "prepare", "always"] | None = None
    strategy: Literal["branch", "direct"] | None = None
    allow_no_tests: bool | None = None
    submodules: bool | None = None
    protocols: Annotated[list[Protocol], Field(max_length=8)] | None = None
    scan_secrets: bool | None = None
    command: Annotated[Words, AfterValidator(_command)] | None = None
    recipe: Annotated[dict[str, Any], AfterValidator(_recipe)] | None = None
    limits: LimitsIn | None = None

    def applied(self, rules: Rules) -> Rules:
        """The rules with what is given here; null takes one back to its default."""
        given: dict[str, Any] = {}
        for name in self.model_fields_set - {"limits"}:
            value = getattr(self, name)
            given[name] = getattr(_DEFAULT, name) if value is None else _domain(name, value)
        if "limits" in self.model_fields_set:
            given["limits"] = Limits()
            if self.limits is not None:
                given["limits"] = replace(rules.limits, **_given_limits(self.limits))
        return replace(rules, **given)


_DEFAULT = Rules()


def _domain(name: str, value: Any) -> Any:
    kinds = {"network": Network, "strategy": Strategy, "protocols": tuple, "command": tuple}
    return kinds[name](value) if name in kinds else value


def _given_limits(limits: LimitsIn) -> dict[str, int]:
    standard = asdict(Limits())
    return {
        name: standard[name] if (value := getattr(limits, name)) is None else value
        for name in limits.model_fields_set
    }


def read(value: Any, rules: Rules = _DEFAULT) -> Rules:
    """The rules with what the object says; raises Invalid naming what in it is wrong."""
    return document.read(RulesIn, value, "rules").applied(rules)


def to_json(rules: Rules) -> dict[str, Any]:
    """Every rule, as JSON has it."""
    return {
        "network": rules.network.value,
        "strategy": rules.strategy.value,
        "allow_no_tests": rules.allow_no_tests,
        "submodules": rules.submodules,
        "protocols": list(rules.protocols),
        "scan_secrets": rules.scan_secrets,
        "command": list(rules.command),
        "recipe": dict(rules.recipe),
        "limits": asdict(rules.limits),
    }


def dump(rules: Rules) -> str:
    """Every rule, as the text of a JSON object."""
    return json.dumps(to_json(rules), sort_keys=True)


@lru_cache(maxsize=1_000)
def load(text: str) -> Rules:
    """The rules in a text of Loom's own; a rule that this Loom does not know is left out."""
    return of_json(parsed(text)) if text else Rules()


def of_json(value: Any) -> Rules:
    """The rules in an object of Loom's own; a rule that this Loom does not know is left out.

    The recipe is taken as it is: whoever runs it reads it, and says what in it is wrong.
    """
    if not isinstance(value, Mapping):
        raise Invalid(f"rules has to be an object; it is {document.kind_of(value)}", field="rules")
    known = {name: value[name] for name in RulesIn.model_fields if name in value}
    limits, kept = known.get("limits"), known.pop("recipe", None)
    if isinstance(limits, Mapping):
        known["limits"] = {name: limits[name] for name in LimitsIn.model_fields if name in limits}
    return replace(read(known), recipe=dict(kept) if isinstance(kept, Mapping) else {})


def parsed(text: str) -> Any:
    """The JSON in a text; raises Invalid."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"rules are no JSON: {error}", field="rules") from error
