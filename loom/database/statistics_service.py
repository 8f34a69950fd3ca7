"""The StatisticsService over gRPC: requests in, counts out."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from loom.database.statistics import Statistics
from loom.rpc import statistics
from loom.rpc.v1 import statistics_pb2 as pb
from loom.rpc.v1 import statistics_pb2_grpc

NAME = "loom.v1.StatisticsService"


class StatisticsService(statistics_pb2_grpc.StatisticsServiceServicer):
    """Every call of proto/loom/v1/statistics.proto; errors are raised as Loom's own."""

    def __init__(self, known: Statistics, left: Callable[[grpc.ServicerContext], float]) -> None:
        """left: the seconds until a call's deadline; raises Unavailable without a database."""
        self._known = known
        self._left = left

    def GetFlow(
        self, request: pb.GetFlowRequest, context: grpc.ServicerContext
    ) -> pb.GetFlowResponse:
        flow = self._known.flow(list(request.project_ids), self._left(context))
        return statistics.flow_to_pb(flow)

    def GetSeries(
        self, request: pb.GetSeriesRequest, context: grpc.ServicerContext
    ) -> pb.GetSeriesResponse:
        series = self._known.series(
            request.window_s, request.buckets, list(request.project_ids), self._left(context)
        )
        return statistics.series_to_pb(series)

    def GetTrip(
        self, request: pb.GetTripRequest, context: grpc.ServicerContext
    ) -> pb.GetTripResponse:
        return statistics.trip_to_pb(self._known.trip(request.bead_id, self._left(context)))
