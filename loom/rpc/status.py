"""Loom's errors over gRPC: a status with google.rpc.ErrorInfo, and back again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import grpc
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from loom.errors import BY_CODE, DeadlineExceeded, Internal, LoomError, Unavailable

DOMAIN = "loom"


def abort(context: grpc.ServicerContext, error: LoomError) -> NoReturn:
    """End the call with the error, its code and its data."""
    detail = any_pb2.Any()
    detail.Pack(error_details_pb2.ErrorInfo(reason=error.code, domain=DOMAIN, metadata=error.data))
    status = status_pb2.Status(
        code=code_pb2.Code.Value(error.meaning.grpc), message=error.detail, details=[detail]
    )
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort returns never")


def from_call(call: grpc.RpcError, what: str) -> LoomError:
    """The error that the server raised, or one that says the server could not be asked."""
    status = rpc_status.from_call(call) if isinstance(call, grpc.Call) else None
    details: Iterable[any_pb2.Any] = status.details if status else ()
    for detail in details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info) and info.domain == DOMAIN and info.reason in BY_CODE:
            return BY_CODE[info.reason](str(call.details()), **dict(info.metadata))
    code = call.code() if isinstance(call, grpc.Call) else grpc.StatusCode.UNKNOWN
    words = call.details() if isinstance(call, grpc.Call) else str(call)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(f"{what} did not answer in time", service=what)
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return Unavailable(f"{what} cannot be reached: {words}", service=what)
    return Internal(f"{what} failed with {code.name}: {words}", service=what)
