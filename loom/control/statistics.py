"""The route of statistics; what the ledger counted serves everybody who asks soon after."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Protocol

from flask import Blueprint, Response, jsonify, request
from pydantic import BaseModel, Field

from loom.clients.representation import time_to_json
from loom.control import visible
from loom.control.answers.statistics import StatisticsOut
from loom.control.fresh import Fresh
from loom.control.operation import operation
from loom.control.requests.fields import ProjectId
from loom.control.requests.reading import LOOSE, read_query
from loom.domain.statistics import (
    LONGEST_WINDOW_S,
    MOST_BUCKETS,
    Bucket,
    Flow,
    Series,
    Spread,
    Trip,
)

FLOW_S = 2.0
SERIES_S = (2.0, 60.0)
"""How long a series is kept at least and at most; within that, a tenth of a part's width."""
KEPT = 64
"""How many different questions' answers are kept."""


class Statistics(Protocol):
    """The calls of loom.clients.statistics.StatisticsCalls."""

    def flow(self, project_ids: Sequence[str] = ()) -> Flow:
        """Where work stands now."""

    def series(self, window_s: int, buckets: int, project_ids: Sequence[str] = ()) -> Series:
        """What went through."""

    def trip(self, bead_id: str) -> Trip:
        """A bead's way to an agent."""


class StatisticsQuery(BaseModel):
    """The query: of one project, and over which window in how many parts."""

    model_config = LOOSE

    project: ProjectId | None = None
    window_s: Annotated[int, Field(ge=1, le=LONGEST_WINDOW_S)] = 3_600
    buckets: Annotated[int, Field(ge=1, le=MOST_BUCKETS)] = 60


class Counted:
    """The ledger's counts, each asked for again only when it has become old."""

    def __init__(self, ledger: Statistics) -> None:
        self._ledger = ledger
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Any, ...], Fresh[Any]] = OrderedDict()

    def flow(self, project_ids: Sequence[str] = ()) -> Flow:
        """Where work stands now, in these projects or in all."""
        scope = tuple(sorted(project_ids))
        found: Flow = self._of(
            ("flow", scope), Fresh(FLOW_S, lambda: self._ledger.flow(scope))
        ).get()
        return found

    def series(self, window_s: int, buckets: int, project_ids: Sequence[str] = ()) -> Series:
        """What went through in the last window_s seconds."""
        scope = tuple(sorted(project_ids))
        keep_s = min(max(SERIES_S[0], window_s / buckets / 10), SERIES_S[1])
        found: Series = self._of(
            ("series", window_s, buckets, scope),
            Fresh(keep_s, lambda: self._ledger.series(window_s, buckets, scope)),
        ).get()
        return found

    def _of(self, question: tuple[Any, ...], fresh: Fresh[Any]) -> Fresh[Any]:
        with self._lock:
            kept = self._kept.setdefault(question, fresh)
            self._kept.move_to_end(question)
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
            return kept


def routes(counted: Counted) -> Blueprint:
    """Tell what the ledger counts."""
    statistics = Blueprint("statistics", __name__)

    @statistics.get("/statistics")
    @operation(
        "Tell where work stands and what went through", query=StatisticsQuery,
        answers={200: StatisticsOut},
    )  # fmt: skip
    def show() -> Response:
        query = read_query(StatisticsQuery, request.args.to_dict(flat=False))
        scope = visible.scope(query.project or "")
        flow = counted.flow(scope)
        series = counted.series(query.window_s, query.buckets, scope)
        return jsonify(
            {
                "at": time_to_json(flow.at),
                "total": asdict(flow.total()),
                "projects": [asdict(each) for each in flow.projects],
                "events_owed": flow.events_owed,
                "oldest_event_s": flow.oldest_event_s,
                "publish_error": flow.publish_error,
            }
            | series_to_json(series)
        )

    return statistics


def series_to_json(series: Series) -> dict[str, Any]:
    """What went through."""
    return {"width_s": series.width_s, "buckets": [_bucket(each) for each in series.buckets]}


def _bucket(bucket: Bucket) -> dict[str, Any]:
    return {
        "start": time_to_json(bucket.start),
        "filed": bucket.filed,
        "succeeded": bucket.succeeded,
        "failed": bucket.failed,
        "cancelled": bucket.cancelled,
        "attempts": bucket.attempts,
        "pickup": _spread(bucket.pickup),
        "run": _spread(bucket.run),
        "trip": _spread(bucket.trip),
    }


def _spread(spread: Spread | None) -> dict[str, float] | None:
    return None if spread is None else {"p50": spread.half, "p95": spread.most}
