"""The calls of the database service that count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from loom.domain.statistics import Flow, Series, Trip
from loom.rpc import statistics
from loom.rpc.v1 import statistics_pb2 as pb
from loom.rpc.v1 import statistics_pb2_grpc


class StatisticsCalls:
    """Calls of the StatisticsService; DatabaseClient has the others."""

    _statistics: statistics_pb2_grpc.StatisticsServiceStub
    _call: Callable[..., Any]

    def flow(self, project_ids: Sequence[str] = ()) -> Flow:
        """Where work stands now, in these projects or in all."""
        request = pb.GetFlowRequest(project_ids=project_ids)
        return statistics.flow_from_pb(self._call(self._statistics.GetFlow, request))

    def series(self, window_s: int, buckets: int, project_ids: Sequence[str] = ()) -> Series:
        """What went through in the last window_s seconds, in so many parts. Raises Invalid."""
        request = pb.GetSeriesRequest(project_ids=project_ids, window_s=window_s, buckets=buckets)
        return statistics.series_from_pb(self._call(self._statistics.GetSeries, request))

    def trip(self, bead_id: str) -> Trip:
        """A bead's way to an agent, and the beads it is linked with. Raises NotFound."""
        request = pb.GetTripRequest(bead_id=bead_id)
        return statistics.trip_from_pb(self._call(self._statistics.GetTrip, request))
