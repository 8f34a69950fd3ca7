"""What linters write as JSON: ruff, eslint, golangci-lint and clippy."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from loom.domain.evidence import Finding
from workers.reports import lint_lines
from workers.reports.documents import document, objects, within
from workers.reports.tally import JSON_CHARS, Unreadable, count, whole_lines, words


def ruff(text: str) -> Iterator[Finding]:
    """What ruff found. Raises Unreadable."""
    try:
        found = document(text, _is_list)
    except Unreadable:
        yield from lint_lines.ruff(text)
        return
    for each in objects(found):
        yield Finding(
            "ruff",
            words(each.get("filename")),
            count(within(each, "location", "row")),
            words(each.get("code")) or "syntax",
            words(each.get("message")),
        )


def eslint(text: str) -> Iterator[Finding]:
    """What eslint found, errors and warnings. Raises Unreadable."""
    for file in objects(document(text, _is_list)):
        for each in objects(file.get("messages")):
            yield Finding(
                "eslint",
                words(file.get("filePath")),
                count(each.get("line")),
                words(each.get("ruleId")) or ("fatal" if each.get("fatal") is True else ""),
                words(each.get("message")),
            )


def golangci(text: str) -> Iterator[Finding]:
    """What golangci-lint found. Raises Unreadable."""
    found = document(text, lambda value: isinstance(value, dict) and "Issues" in value)
    for each in objects(found["Issues"]):
        yield Finding(
            "golangci-lint",
            words(within(each, "Pos", "Filename")),
            count(within(each, "Pos", "Line")),
            words(each.get("FromLinter")),
            words(each.get("Text")),
        )


def clippy(text: str) -> Iterator[Finding]:
    """What the compiler and clippy found, each thing once. Raises Unreadable."""
    told: set[Finding] = set()
    known = False
    for line in whole_lines(text, JSON_CHARS):
        event = _object(line)
        reason = event.get("reason")
        known = known or isinstance(reason, str)
        if reason != "compiler-message" or within(event, "message", "level") not in (
            "warning", "error", "error: internal compiler error",
        ):  # fmt: skip
            continue
        found = _compiler(event["message"])
        # A library is compiled for itself and for its tests, and says all twice.
        if found is not None and found not in told:
            told.add(found)
            yield found
    if not known:
        raise Unreadable("it has no message of cargo's")


def _compiler(message: dict[str, Any]) -> Finding | None:
    spans = list(objects(message.get("spans")))
    span = next((each for each in spans if each.get("is_primary") is True), None)
    if span is None:
        # A sum of what was found, such as '2 warnings emitted'.
        return None
    return Finding(
        "clippy",
        words(span.get("file_name")),
        count(span.get("line_start")),
        words(within(message, "code", "code")) or words(message.get("level")),
        words(message.get("message")),
    )


def _object(line: str) -> dict[str, Any]:
    if not line.startswith("{"):
        return {}
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)
