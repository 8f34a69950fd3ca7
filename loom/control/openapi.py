"""The API's own description: an OpenAPI 3.1 document, made from the routes and their models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, get_args

from flask import Flask
from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema
from werkzeug.routing import Rule

from loom import __version__
from loom.control import operation
from loom.control.answers.problems import ProblemOut
from loom.control.numbers import LARGEST
from loom.control.operation import Content, Operation, Within
from loom.control.problem import MIME, RETRY_AFTER_S
from loom.domain.identity import BEAD_ID, PROJECT_ID
from loom.errors import MEANINGS

VERSION = "3.1.0"
DIALECT = "https://spec.openapis.org/oas/3.1/dialect/base"
REF = "#/components/schemas/{model}"
EDITS = frozenset({"PATCH", "PUT", "DELETE"})
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

_CONVERTED = re.compile(r"<(?:(?P<kind>[a-z]+)(?:\((?P<words>[^)]*)\))?:)?(?P<name>[a-z_0-9]+)>")
_FORMS = {
    "project_id": {"pattern": f"^{PROJECT_ID.pattern}$", "examples": ["shop"]},
    "bead_id": {"pattern": f"^{BEAD_ID.pattern}$", "examples": ["bd-01m82msc5gdnfj2paa28cdjrra"]},
}
"""Of parts of addresses, by their names."""
_WORDS = {
    304: "It is what the caller has",
    204: "There is nothing more",
    206: "The part that was asked for",
}


class Undeclared(Exception):
    """A route has no declaration."""


def operations(app: Flask) -> Iterator[tuple[Rule, str, Operation]]:
    """Every route with each method that it declares. Raises Undeclared for one without."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda each: each.rule):
        declared = operation.of(app.view_functions[rule.endpoint])
        if declared is None:
            raise Undeclared(f"{rule.rule} ({rule.endpoint}) has no @operation")
        for method in METHODS:
            if method in (rule.methods or ()):
                yield rule, method, declared


def refusals(rule: Rule, method: str, declared: Operation) -> frozenset[str]:
    """The codes of the problems that a route may answer with."""
    codes = {"internal", "unavailable", "deadline", "exhausted", "bad_request", *declared.refuses}
    if declared.within is not Within.ANYBODY:
        codes |= {"unauthenticated", "forbidden"}
    if rule.arguments:
        codes |= {"not_found"}
    if declared.query is not None:
        codes |= {"invalid"}
    if declared.body is not None:
        codes |= {"invalid", "too_large", "unsupported_media_type"}
    if declared.keyed:
        codes |= {"invalid", "idempotency_key_reused"}
    if declared.versioned and method in EDITS:
        codes |= {"precondition_failed", "precondition_required", "stale"}
    return frozenset(codes)


def document(app: Flask) -> dict[str, Any]:
    """The whole document. Raises Undeclared."""
    routes = [each for each in operations(app) if not each[2].page]
    models = _models(routes)
    _, definitions = models_json_schema(models, ref_template=REF)
    components: dict[str, dict[str, Any]] = {
        "schemas": _tidy(definitions.get("$defs", {})),
        "responses": {},
        "headers": _HEADERS,
        "securitySchemes": _SECURITY,
    }
    paths: dict[str, dict[str, Any]] = {}
    for rule, method, declared in routes:
        address, parameters = _address(rule)
        paths.setdefault(address, {})[method.lower()] = _operation(
            rule, method, declared, parameters, components
        )
    return {
        "openapi": VERSION,
        "jsonSchemaDialect": DIALECT,
        "info": {
            "title": "Loom",
            "version": __version__,
            "summary": "Orchestrates work on code: beads in, proven results out.",
            "description": _ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/", "description": "this control plane"}],
        "security": [{"token": []}, {"session": []}],
        "tags": [{"name": name} for name in sorted({_tag(rule) for rule, _, _ in routes})],
        "paths": paths,
        "components": {kind: dict(sorted(all_.items())) for kind, all_ in components.items()},
    }


_ABOUT = """\
Every error is a problem document (RFC 9457) with a stable `code`. Lists are paged: pass
`next_cursor` on as `cursor` until it is null. A POST that makes something takes an
`Idempotency-Key`: sent again, it answers as the first did. What can be edited has an `ETag`, and
an edit takes it as `If-Match`. `X-Correlation-Id` leads from a request to its log, its messages
and its commit.
"""
_SECURITY = {
    "token": {"type": "http", "scheme": "bearer", "description": "`loom token show` prints one"},
    "session": {
        "type": "apiKey", "in": "cookie", "name": "loom_session",
        "description": "of somebody who is logged in; a change takes X-CSRF-Token beside it",
    },
}  # fmt: skip
_TEXT = {"type": "string"}
_HEADERS = {
    "X-Correlation-Id": {"description": "the id of this request in Loom's log", "schema": _TEXT},
    "Retry-After": {"description": "seconds to wait first", "schema": {"type": "integer"}},
    "Location": {"description": "where it is", "schema": {**_TEXT, "format": "uri-reference"}},
    "ETag": {"description": "its version, for If-Match", "schema": _TEXT},
    "Idempotency-Replayed": {
        "description": "`true`: an earlier request with this key did the work", "schema": _TEXT,
    },
    "WWW-Authenticate": {"description": "how to authenticate", "schema": _TEXT},
}  # fmt: skip


def _models(routes: Iterable[tuple[Rule, str, Operation]]) -> list[tuple[type[BaseModel], Any]]:
    """Every model that a route names, each as whoever gets it reads it."""
    found: dict[tuple[type[BaseModel], Any], None] = {(ProblemOut, "validation"): None}
    for _, _, declared in routes:
        for kind in (declared.body, *declared.answers.values()):
            found.update(dict.fromkeys((model, "validation") for model in _within(kind)))
    return list(found)


def _within(kind: Any) -> Iterator[type[BaseModel]]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    elif isinstance(kind, tuple):
        for each in kind:
            yield from _within(each)
    else:
        for each in get_args(kind):
            yield from _within(each)


def _schema(kind: Any) -> dict[str, Any]:
    """The schema of a model or of any other type; definitions are the document's own."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {"$ref": REF.format(model=kind.__name__)}
    schema = TypeAdapter(kind).json_schema(ref_template=REF)
    schema.pop("$defs", None)
    return dict(_tidy(schema))


def _tidy(schema: Any) -> Any:
    """The schema without the titles that pydantic makes of names, and without defaults that a
    request could not send: they say that there is none."""
    if isinstance(schema, list):
        return [_tidy(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {key: _tidy(value) for key, value in schema.items()}
    if isinstance(kept.get("title"), str):
        del kept["title"]
    if not kept.get("default", True) and {"pattern", "minItems", "minLength"} & kept.keys():
        del kept["default"]
    return kept


def _address(rule: Rule) -> tuple[str, list[dict[str, Any]]]:
    """The route as OpenAPI writes it, and the parameters of its path."""
    parameters = []
    for match in _CONVERTED.finditer(rule.rule):
        kind, words, name = match["kind"] or "string", match["words"], match["name"]
        schema: dict[str, Any] = {"type": "string", "minLength": 1, **_FORMS.get(name, {})}
        if kind == "int":
            schema = {"type": "integer", "minimum": 0, "maximum": LARGEST}
        if kind == "any":
            schema = {"type": "string", "enum": [word.strip() for word in words.split(",")]}
        parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
    return _CONVERTED.sub(r"{\g<name>}", rule.rule), parameters


def _operation(
    rule: Rule, method: str, declared: Operation, path: Sequence[Mapping[str, Any]],
    components: dict[str, dict[str, Any]],
) -> dict[str, Any]:  # fmt: skip
    schemas = components["schemas"]
    parameters = [*path, *_query(declared, schemas), *_headers(method, declared)]
    told: dict[str, Any] = {
        "operationId": _name(rule, method),
        "summary": declared.summary,
        "tags": [_tag(rule)],
        "x-loom-role": declared.needs.value,
        "x-loom-within": declared.within.name.lower(),
        "parameters": parameters,
        "responses": _responses(rule, method, declared, components["responses"]),
    }
    if declared.body is not None:
        told["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _schema(declared.body)}},
        }
    if declared.within is Within.ANYBODY:
        told["security"] = []
    return {key: value for key, value in told.items() if value or key == "security"}


def _name(rule: Rule, method: str) -> str:
    """Of an operation: what it does, and to what; no two have the same."""
    words = re.findall(r"[a-z0-9]+", rule.rule.removeprefix("/api/v1"))
    return "_".join([method.lower(), *words])


def _tag(rule: Rule) -> str:
    if not rule.rule.startswith("/api/v1/"):
        return "system"
    return rule.rule.removeprefix("/api/v1/").split("/")[0].split(".")[0]


def _query(declared: Operation, schemas: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parameters of a URL, each with its schema and default."""
    if declared.query is None:
        return
    schema = declared.query.model_json_schema(ref_template=REF, by_alias=True)
    schemas.update(_tidy(schema.get("$defs", {})))
    for name, field in _tidy(schema.get("properties", {})).items():
        # A parameter that is not sent is not null: it is not there.
        options = [each for each in field.get("anyOf", ()) if each != {"type": "null"}]
        if len(options) == 1:
            field = {**{k: v for k, v in field.items() if k != "anyOf"}, **options[0]}  # noqa: PLW2901
        if field.get("default", "") is None:
            field = {k: v for k, v in field.items() if k != "default"}  # noqa: PLW2901
        parameter = {"name": name, "in": "query", "schema": field}
        if "description" in field:
            parameter["description"] = field["description"]
        yield parameter


def _headers(method: str, declared: Operation) -> Iterator[dict[str, Any]]:
    if declared.keyed:
        yield {
            "name": "Idempotency-Key", "in": "header",
            "description": "sent again with the same body, the request answers as the first did",
            "schema": {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
        }  # fmt: skip
    if declared.versioned and method in EDITS:
        yield {
            "name": "If-Match", "in": "header", "required": True,
            "description": "the ETag that the edit is meant for, or `*` for whichever it has",
            "schema": {**_TEXT, "examples": ['"3"', "*"]},
        }  # fmt: skip
    if declared.versioned and method == "GET":
        yield {
            "name": "If-None-Match", "in": "header",
            "description": "an ETag: 304 if it still is that", "schema": _TEXT,
        }  # fmt: skip


def _responses(
    rule: Rule, method: str, declared: Operation, problems: dict[str, Any]
) -> dict[str, Any]:
    answers: dict[int, dict[str, Any]] = {}
    for status, kind in declared.answers.items():
        answers[status] = _answer(status, kind, method, declared)
    if declared.versioned and method == "GET":
        answers[304] = _answer(304, None, method, declared)
    by_status: dict[int, list[str]] = {}
    for code in sorted(refusals(rule, method, declared)):
        by_status.setdefault(MEANINGS[code].http, []).append(code)
    for status, codes in by_status.items():
        told = _problem(status, codes, problems)
        if status in answers:
            shared = problems[told["$ref"].rpartition("/")[2]]
            told = {
                "description": f"{answers[status]['description']}, or: {shared['description']}",
                "headers": {**answers[status]["headers"], **shared["headers"]},
                "content": {**answers[status].get("content", {}), **shared["content"]},
            }
        answers[status] = told
    return {str(status): answers[status] for status in sorted(answers)}


def _answer(status: int, kind: Any, method: str, declared: Operation) -> dict[str, Any]:
    headers = ["X-Correlation-Id"]
    if status in (201, 202):
        headers.append("Location")
    if declared.keyed:
        headers.append("Idempotency-Replayed")
    if declared.versioned:
        headers.append("ETag")
    content: dict[str, Any] = {}
    for each in kind if isinstance(kind, tuple) else (kind,):
        if isinstance(each, Content):
            content[each.media] = {"schema": _TEXT}
        elif each is ProblemOut:
            content[MIME] = {"schema": _schema(each)}
        elif each is not None:
            content["application/json"] = {"schema": _schema(each)}
    words = _WORDS.get(status) or declared.summary
    told: dict[str, Any] = {"description": words, "headers": _refer(headers)}
    return told | ({"content": content} if content else {})


def _problem(status: int, codes: Sequence[str], problems: dict[str, Any]) -> dict[str, Any]:
    """A reference to the answer with one of these problems; routes share them."""
    headers = ["X-Correlation-Id"]
    if any(code in RETRY_AFTER_S for code in codes):
        headers.append("Retry-After")
    if "unauthenticated" in codes:
        headers.append("WWW-Authenticate")
    schema = {
        "allOf": [
            {"$ref": REF.format(model="ProblemOut")},
            {"type": "object", "properties": {"code": {"enum": list(codes)}}},
        ]
    }
    name = f"{status}_{'_or_'.join(codes)}"
    problems[name] = {
        "description": "; ".join(f"{MEANINGS[code].title} (`{code}`)" for code in codes),
        "headers": _refer(headers),
        "content": {MIME: {"schema": schema}},
    }
    return {"$ref": f"#/components/responses/{name}"}


def _refer(headers: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
