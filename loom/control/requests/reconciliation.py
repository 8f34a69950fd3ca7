"""What a request to compare ledger and broker says."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from loom.control.requests.reading import STRICT
from loom.domain.reconciliation import MAX_GRACE_S


class ReconcileIn(BaseModel):
    """Whether to mend, and how long a dispatched bead may wait before its message is missed."""

    model_config = STRICT

    repair: bool = False
    grace_s: Annotated[float, Field(ge=0, le=MAX_GRACE_S)] | None = None
