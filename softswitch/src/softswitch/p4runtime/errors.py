"""Errors as P4Runtime carries them: one canonical code and sentence each, and a status per element of a batch."""

from __future__ import annotations

from collections.abc import Sequence

from finsy.proto import p4r, rpc_status
from grpc import StatusCode

from softswitch.grpc_server import CallFailed

ERROR_SPACE = "softswitch"
"""The `space` of our p4.v1.Error messages."""

MAX_REASON = 1000
"""Characters of a reason that go into a status message, which shares 8 kB of headers with the details."""


class P4RuntimeError(CallFailed):
    """What a client did wrong or asked for in vain."""


def invalid(message: str) -> P4RuntimeError:
    """An INVALID_ARGUMENT error."""
    return P4RuntimeError(StatusCode.INVALID_ARGUMENT, message)


def check_presence(kind: int, exists: bool, what: str) -> None:
    """INSERT wants no entity, MODIFY and DELETE want one. Raises ALREADY_EXISTS or NOT_FOUND naming `what`."""
    if kind == p4r.Update.INSERT and exists:
        raise P4RuntimeError(StatusCode.ALREADY_EXISTS, f"{what} already exists")
    if kind != p4r.Update.INSERT and not exists:
        raise P4RuntimeError(StatusCode.NOT_FOUND, f"{what} does not exist")


def number(code: StatusCode) -> int:
    """The canonical number of a code, as `google.rpc.Code` has it."""
    value: int = code.value[0]
    return value


def batch_failure(what: str, errors: Sequence[P4RuntimeError | None]) -> P4RuntimeError:
    """The end of a batch of which some elements, each a `what`, failed (specification, "Error Reporting"): UNKNOWN,
    with one p4.v1.Error per element, in order. The message says the first reason: many clients show nothing else."""
    message = _first_reason(what, errors)
    status = rpc_status.Status(code=number(StatusCode.UNKNOWN), message=message)
    for error in errors:
        detail = p4r.Error()
        if error is not None:
            detail.canonical_code = number(error.code)
            detail.message = error.message
            detail.space = ERROR_SPACE
        status.details.add().Pack(detail)
    return P4RuntimeError(StatusCode.UNKNOWN, message, status.SerializeToString())


def _first_reason(what: str, errors: Sequence[P4RuntimeError | None]) -> str:
    failed = [(place, error) for place, error in enumerate(errors, 1) if error is not None]
    # what was given up because of another element is not the cause
    place, cause = next((f for f in failed if f[1].code is not StatusCode.ABORTED), failed[0])
    more = f" ({len(failed)} of {len(errors)} failed)" if len(failed) > 1 else ""
    return f"{what} {place}: {cause.code.name}: {cause.message[:MAX_REASON]}{more}"


def stream_error(error: P4RuntimeError, details: p4r.StreamError) -> p4r.StreamMessageResponse:
    """The message for a stream that goes on; `details` names the message that was refused, if one was."""
    details.canonical_code = number(error.code)
    details.message = error.message
    details.space = ERROR_SPACE
    return p4r.StreamMessageResponse(error=details)
