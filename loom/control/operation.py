"""What a route is: who may call it, what it takes and what it answers, declared beside its code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

from loom.domain.access import Role

ATTRIBUTE = "loom_operation"

F = TypeVar("F", bound=Callable[..., Any])


class Within(Enum):
    """Where the role is needed."""

    PROJECT = "the project that the address names"
    BEAD = "the project of the bead that the address names"
    AGENT = "the project of the agent that the address names"
    LETTER = "the project of the dead letter that the address names"
    GROUP = "the project of the group of dead letters that the address names"
    SOME = "any project: the view answers with what the caller may see"
    ALL = "every project"
    SELF = "nowhere: whoever is known may call it, about themself"
    ANYBODY = "nowhere: the route is open"


@dataclass(frozen=True, slots=True)
class Content:
    """What an answer holds that is no JSON. media: its type."""

    media: str


@dataclass(frozen=True, slots=True)
class Operation:
    """A route's declaration. needs: the least role, within what `within` says.

    body: the model (or any type that pydantic can describe) of the request's JSON; query: the
    model of its parameters; answers: the model of the body by each status it answers when all
    goes well: None where there is none, Content where it is no JSON, a tuple of these where the
    caller chooses by Accept. refuses: the codes of the problems that it answers beside those that
    follow from the rest (loom.control.problems_of). keyed: it takes an Idempotency-Key. versioned:
    it answers with an ETag, and an edit takes If-Match. page: it is for people, and not in the
    API's document.
    """

    summary: str
    needs: Role = Role.VIEWER
    within: Within = Within.SOME
    body: Any = None
    query: Any = None
    answers: Mapping[int, Any] = field(default_factory=dict)
    page: bool = False
    refuses: tuple[str, ...] = ()
    keyed: bool = False
    versioned: bool = False


def operation(
    summary: str, *, needs: Role = Role.VIEWER, within: Within = Within.SOME, body: Any = None,
    query: Any = None, answers: Mapping[int, Any] | None = None, page: bool = False,
    refuses: tuple[str, ...] = (), keyed: bool = False, versioned: bool = False,
) -> Callable[[F], F]:  # fmt: skip
    """Declare a view; put it between the route and the function."""
    declared = Operation(
        summary, needs, within, body, query, answers or {}, page, refuses, keyed, versioned
    )

    def declare(view: F) -> F:
        setattr(view, ATTRIBUTE, declared)
        return view

    return declare


def of(view: Callable[..., Any]) -> Operation | None:
    """A view's declaration; None if it has none, and then nobody may call it."""
    return getattr(view, ATTRIBUTE, None)
