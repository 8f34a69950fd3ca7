"""A document that a person wrote, read into a model, or refused saying exactly what is wrong where.

A fault names the place (`step 2.run`: lists are counted from 1), what has to be there, and what is.
"""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from loom.errors import Invalid

MAX_WORDS = 256
MAX_WORD = 8_192
SHOWN_FAULTS = 5
SHOWN = 60

M = TypeVar("M", bound=BaseModel)


class Document(BaseModel):
    """A part of a document: strict types, and no key that nobody knows."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def fault(message: str) -> PydanticCustomError:
    """What a validator raises. message: what the value has to be."""
    return PydanticCustomError("rule", "{message}", {"message": message})


def _text(text: str) -> str:
    if "\0" in text or any("\ud800" <= char <= "\udfff" for char in text):
        raise fault("has to be text without NUL and half characters")
    return text


def _no_line(words: Any) -> Any:
    """A shell line is told apart from any other wrong type, as it is the likely mistake."""
    if isinstance(words, str):
        try:
            split = shlex.split(words[:MAX_WORD])
        except ValueError:
            split = words.split()
        shown = ", ".join(f'"{word}"' for word in split[:4])
        more = ", …" if len(split) > 4 else ""
        raise fault(
            "has to be a list of strings, one for each argument, as no shell reads it: "
            f"[{shown}{more}]"
        )
    return words


def _program(words: list[str]) -> list[str]:
    if words and not words[0].strip():
        raise fault("has to begin with the name of a program")
    return words


Text = Annotated[str, StringConstraints(max_length=MAX_WORD), AfterValidator(_text)]
Words = Annotated[
    list[Text], Field(max_length=MAX_WORDS), BeforeValidator(_no_line), AfterValidator(_program)
]
"""A command; empty for none."""
Argv = Annotated[
    list[Text],
    Field(min_length=1, max_length=MAX_WORDS),
    BeforeValidator(_no_line),
    AfterValidator(_program),
]
"""A command."""


def read(kind: type[M], value: Any, where: str) -> M:
    """The value as a model; raises Invalid with every fault. where: the document's name,
    empty where the reader knows which it is."""
    if not isinstance(value, Mapping):
        raise Invalid(f"{where} has to be an object; it is {kind_of(value)}")
    try:
        return kind.model_validate(dict(value))
    except ValidationError as error:
        faults = error.errors(include_url=False)
    told = [
        f"{_place(each)}: {message_of(each, kind, each['loc'])}" for each in faults[:SHOWN_FAULTS]
    ]
    more = f" (and {len(faults) - len(told)} more)" if len(faults) > len(told) else ""
    field = ".".join(str(part)[:SHOWN] for part in faults[0]["loc"])
    said = f"{'; '.join(told)}{more}"
    raise Invalid(f"{where}: {said}" if where else said, field=field)


def message_of(error: ErrorDetails, kind: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """What the value at a place of that model has to be, and what it is."""
    told = _MESSAGES.get(error["type"])
    if error["type"] == "extra_forbidden":
        return f"nobody knows this key{_suggestion(kind, loc)}"
    if told is None:
        return error["msg"]
    message = told(error.get("ctx") or {})
    if error["type"].endswith("_type"):
        return f"{message}; it is {kind_of(error['input'])}"
    if error["type"].endswith(("_equal", "_than", "_error")):
        return f"{message}; it is {_shown(error['input'])}"
    return message


def _place(error: ErrorDetails) -> str:
    place = ""
    for part in error["loc"]:
        place += f" {part + 1}" if isinstance(part, int) else f".{str(part)[:SHOWN]}"
    return place.lstrip(".") or "it"


def _suggestion(kind: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """The key that was meant, or all that there are."""
    model: type[BaseModel] | None = kind
    for part in loc[:-1]:
        if isinstance(part, str) and model is not None:
            model = _model_in(model, part)
    if model is None:
        return ""
    known = [field.alias or name for name, field in model.model_fields.items()]
    close = difflib.get_close_matches(str(loc[-1])[:SHOWN], known, n=1)
    return f": did you mean {close[0]}?" if close else f": the keys are {', '.join(known)}"


def _model_in(model: type[BaseModel], name: str) -> type[BaseModel] | None:
    """The model in a field, whatever list or option it stands in."""
    for key, field in model.model_fields.items():
        if name in (key, field.alias):
            return _model_of(field.annotation)
    return None


def _model_of(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (_model_of(each) for each in getattr(annotation, "__args__", ()))
    return next((each for each in found if each is not None), None)


def kind_of(value: object) -> str:
    """What kind of value it is, in a person's words."""
    names = {
        type(None): "null", bool: "true or false", int: "a number", float: "a number",
        str: "text", list: "a list", tuple: "a list", dict: "an object",
    }  # fmt: skip
    return names.get(type(value), type(value).__name__)


def _shown(value: object) -> str:
    if isinstance(value, int) and not -(10**15) < value < 10**15:
        return "a number far out"
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


_MESSAGES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "is needed",
    "literal_error": lambda ctx: f"has to be {ctx['expected']}",
    "string_type": lambda _: "has to be text",
    "bool_type": lambda _: "has to be true or false",
    "int_type": lambda _: "has to be a whole number",
    "float_type": lambda _: "has to be a number",
    "list_type": lambda _: "has to be a list",
    "dict_type": lambda _: "has to be an object",
    "model_type": lambda _: "has to be an object",
    "string_too_long": lambda ctx: f"has more than {ctx['max_length']} characters",
    "too_long": lambda ctx: f"has {ctx['actual_length']} entries; the limit is {ctx['max_length']}",
    "too_short": lambda _: "has to have an entry",
    "greater_than": lambda ctx: f"has to be over {ctx['gt']:g}",
    "greater_than_equal": lambda ctx: f"has to be at least {ctx['ge']}",
    "less_than_equal": lambda ctx: f"has to be at most {ctx['le']:.16g}",
    "finite_number": lambda _: "has to be a number that ends",
}
