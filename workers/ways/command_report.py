"""The JSON file by which a project's own command reports back; docs/ways.md describes it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from loom.domain.actions import MAX_TEXT, BeadAsked, told
from loom.errors import Invalid
from workers.ways.files import Files

MAX_REPORT_BYTES = 256 * 1024
MAX_SUB_BEADS = 50

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT)]


class CommandReport(BaseModel):
    """What a command says of its work; all of it may be left out."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    outcome: Literal["done", "failed", "no_change"] = "done"
    reason: Text = ""
    notes: Text = ""
    commit_message: Text = ""
    sub_beads: Annotated[list[BeadAsked], Field(max_length=MAX_SUB_BEADS)] = []


def read(files: Files, name: str) -> CommandReport | None:
    """The report in a folder; None if there is none. Raises Invalid for one that cannot be read."""
    if not (files.root / name).is_symlink() and not (files.root / name).exists():
        return None
    try:
        content = files.read(name, MAX_REPORT_BYTES)
        if not content.strip():
            return None
        return CommandReport.model_validate_json(content)
    except Invalid as fault:
        raise Invalid(f"the command's report cannot be read: {fault.detail}") from fault
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        faults = "; ".join(told(each, "report") for each in found[:5])
        raise Invalid(f"the command's report cannot be read: {faults}") from error
