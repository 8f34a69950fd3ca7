"""What requests say of comments."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field, StringConstraints

from loom.control.requests.fields import by
from loom.control.requests.reading import STRICT, Paging
from loom.domain.comment import MAX_COMMENT, check_text


class CommentIn(BaseModel):
    """What somebody says, in Markdown."""

    model_config = STRICT

    text: Annotated[str, StringConstraints(min_length=1, max_length=MAX_COMMENT), by(check_text)]


class CommentQuery(Paging):
    """The query of a list of comments."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
