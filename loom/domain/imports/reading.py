"""Files of other trackers: cut into records, each with its line, and read as issues."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from loom.domain.comment import check_author, check_text
from loom.domain.imports import bd, difference, github, native, spreadsheet
from loom.domain.imports.difference import View
from loom.domain.imports.fields import check_storable
from loom.domain.imports.issue import MAX_RECORD_BYTES, Issue, Source, Where
from loom.errors import Invalid

_READ: Mapping[Source, Callable[[Mapping[str, Any]], Issue]] = {
    Source.BD: bd.read,
    Source.GITHUB: github.read,
    Source.CSV: spreadsheet.read,
    Source.LOOM: native.read,
}
_WRITE = {
    Source.BD: bd.write,
    Source.GITHUB: github.write,
    Source.CSV: spreadsheet.write,
    Source.LOOM: native.write,
}


@dataclass(frozen=True, slots=True)
class Line:
    """A record of a file, or what is wrong with it. number: of its first line, from 1."""

    number: int
    record: Mapping[str, Any] | None = None
    fault: str = ""


def read(source: Source, record: Mapping[str, Any]) -> Issue:
    """The issue in a record. Raises Invalid."""
    check_storable(record)
    issue = _READ[source](record)
    if issue.where is Where.GONE:
        return issue
    for each in issue.comments:
        check_author(each.author)
        if each.text.strip():
            check_text(each.text)
    return replace(issue, comments=tuple(each for each in issue.comments if each.text.strip()))


def write(source: Source, view: View) -> dict[str, Any]:
    """The record of a bead: the one that it came from, with what is not so any more.

    Of a bead that came from elsewhere, or was filed here, all that the format can say.
    """
    origin = view.origin
    if origin is not None and origin.source is source:
        issue = read(source, origin.record)
        return _WRITE[source](
            origin.record, difference.difference(view, issue, origin.pending), view
        )
    details = read(origin.source, origin.record).details if origin is not None else None
    return _WRITE[source]({}, difference.whole(view, source, details), view)


def cut(source: Source, text: str) -> list[Line]:
    """The records of a file, in its order. Raises Invalid for one that is not of that kind."""
    text = text.removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    if source is Source.CSV:
        return list(_rows(text))
    if source is Source.GITHUB:
        return _with_comments(list(_objects(text)))
    return list(_lines(text))


def _lines(text: str) -> Iterator[Line]:
    """JSONL: an object a line."""
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            yield Line(number, fault=f"is no JSON object on one line: {error}")
            continue
        yield (
            Line(number, value)
            if isinstance(value, dict)
            else Line(number, fault="is JSON, and no object")
        )


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _objects(text: str) -> Iterator[Line]:
    """JSON: objects and arrays of them, one after another, as pages that were put together."""
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    place = line = depth = 0
    seen = 0
    while True:
        while place < len(text) and text[place] in " \t\r\n,[]":
            depth += {"[": 1, "]": -1}.get(text[place], 0)
            place += 1
        if place == len(text):
            if depth:
                raise Invalid("the file ends within a list: it was cut off")
            return
        line += text.count("\n", seen, place)
        seen = place
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError) as error:
            raise Invalid(
                f"line {line + 1} is no JSON: {error}. Issues come as a list of objects, as "
                "`gh issue list --state all --limit 10000 --json "
                "number,title,body,state,labels,assignees,…` prints it"
            ) from error
        if isinstance(value, dict):
            yield Line(line + 1, value)
        else:
            yield Line(line + 1, fault="is JSON, and no object")


def _with_comments(lines: Sequence[Line]) -> list[Line]:
    """Comments that stand beside the issues, as GitHub lists them, put into them."""
    found: list[Line] = []
    said: dict[str, list[Mapping[str, Any]]] = {}
    for line in lines:
        issue_url = (line.record or {}).get("issue_url")
        if line.record is not None and isinstance(issue_url, str) and "number" not in line.record:
            said.setdefault(issue_url.rsplit("/", 1)[-1], []).append(line.record)
        else:
            found.append(line)
    if not said:
        return found
    merged = []
    for line in found:
        more = said.get(str((line.record or {}).get("number")), [])
        if line.record is not None and more:
            inside = line.record.get("comments")
            known = inside if isinstance(inside, list) else []
            whole = dict(line.record) | {"comments": [*known, *more]}
            merged.append(Line(line.number, whole))
        else:
            merged.append(line)
    return merged


def _rows(text: str) -> Iterator[Line]:
    """CSV: a header, then a row an issue."""
    head, _, _ = text.partition("\n")
    csv.field_size_limit(MAX_RECORD_BYTES)
    separator = max(",;\t", key=head.count)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    headings: list[str] = []
    begun = 1
    try:
        for row in rows:
            number, begun = begun, rows.line_num + 1
            if not any(cell.strip() for cell in row):
                continue
            if not headings:
                headings = _headings(row)
                continue
            try:
                yield Line(number, spreadsheet.cells(headings, row))
            except Invalid as error:
                yield Line(number, fault=error.detail)
    except csv.Error as error:
        raise Invalid(f"line {rows.line_num} is no CSV: {error}") from error
    if not headings:
        raise Invalid("the file is empty: its first line has to name the columns")


def _headings(row: Sequence[str]) -> list[str]:
    names = [spreadsheet.column(each) for each in row]
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise Invalid(
            f"two columns stand for {sorted(twice)[0]!r}: rename one. docs/import.md has the names"
        )
    for needed in ("id", "title"):
        if needed not in names:
            raise Invalid(
                f"no column stands for {needed!r}: the header has {', '.join(row)[:200]}. "
                f"Name one so, or say which it is with --column {needed}=HEADING"
            )
    return [name or f"column {place}" for place, name in enumerate(names, 1)]
