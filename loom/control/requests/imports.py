"""What requests say of imports and exports."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from loom.control.requests.reading import LOOSE
from loom.domain.bead import MAX_BATCH
from loom.domain.imports.issue import Source
from loom.domain.imports.reading import Line


class RecordIn(BaseModel):
    """An issue as its source has it, and the line of its file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    line: Annotated[int, Field(ge=0, lt=2**31)]
    record: dict[str, Any]


class ImportIn(BaseModel):
    """Issues that are to be brought in. run: what is ready there may run here at once."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, populate_by_name=True)

    source: Annotated[Source, Field(alias="from", strict=False)]
    records: Annotated[list[RecordIn], Field(min_length=1, max_length=MAX_BATCH)]
    dry_run: bool = False
    run: bool = False

    def lines(self) -> list[Line]:
        """The domain's values."""
        return [Line(each.line, each.record) for each in self.records]


class ImportQuery(BaseModel):
    """The query of an import whose body is the file itself; a JSON body says these itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    source: Annotated[Source | None, Field(alias="from")] = None
    dry_run: bool = False
    run: bool = False


class ExportQuery(BaseModel):
    """The query of an export."""

    model_config = LOOSE

    format: Source = Source.LOOM
