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


MAX_DETAILS = 1 << 20
"""Bytes of the errors of a batch that are told one by one."""


class P4RuntimeError(CallFailed):
    """What a client did wrong or asked for in vain."""

    def as_result(self) -> P4RuntimeError:
        """The same to be kept: an error that was raised refers to the frames it came through, and so to the list it is
        kept in, which would hold on to one another."""
        return P4RuntimeError(self.code, self.message)


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


class BatchResult:
    """What became of a batch, element by element, in bounded room."""

    def __init__(self) -> None:
        self.count = 0
        """Elements so far."""
        self.failed = 0
        self._cause: tuple[int, P4RuntimeError] | None = None
        """The first element that failed of itself, by its place from 1 on, and why."""
        self._details: list[bytes] = []
        self._octets = 0

    def add(self, errors: Sequence[P4RuntimeError | None]) -> None:
        """What became of the next elements; None is success."""
        if not any(errors):
            self.count += len(errors)
            self._keep(_SUCCESS * len(errors))
            return
        for error in errors:
            self.count += 1
            if error is not None:
                self.failed += 1
                # what was given up because of another element is not the cause
                if self._cause is None or (self._cause[1].code is StatusCode.ABORTED is not error.code):
                    self._cause = (self.count, error)
            if self._octets <= MAX_DETAILS:
                self._keep(_SUCCESS if error is None else _detail(error))

    def failure(self, what: str) -> P4RuntimeError:
        """The end of a batch of which some elements, each a `what`, failed (specification, "Error Reporting"): UNKNOWN,
        with one p4.v1.Error per element, in order, unless these would be more than MAX_DETAILS. The message says the
        first reason: many clients show nothing else."""
        assert self._cause is not None, "nothing has failed"
        place, cause = self._cause
        whole = self._octets <= MAX_DETAILS
        more = f"{self.failed} of {self.count} failed" + ("" if whole else ", too many to tell one by one")
        message = f"{what} {place}: {cause.code.name}: {cause.message[:MAX_REASON]}"
        message += f" ({more})" if self.failed > 1 else ""
        failure = P4RuntimeError(StatusCode.UNKNOWN, message)
        status = rpc_status.Status(code=number(StatusCode.UNKNOWN), message=failure.message)
        failure.details = status.SerializeToString() + (b"".join(self._details) if whole else b"")
        return failure

    def _keep(self, details: bytes) -> None:
        if self._octets <= MAX_DETAILS:
            self._details.append(details)
        self._octets += len(details)


def _detail(error: P4RuntimeError) -> bytes:
    return _packed(p4r.Error(canonical_code=number(error.code), message=error.message, space=ERROR_SPACE))


def _packed(error: p4r.Error) -> bytes:
    """One of a google.rpc.Status's details, serialized as a part of it."""
    status = rpc_status.Status()
    status.details.add().Pack(error)
    return bytes(status.SerializeToString())


_SUCCESS = _packed(p4r.Error())


def stream_error(error: P4RuntimeError, details: p4r.StreamError) -> p4r.StreamMessageResponse:
    """The message for a stream that goes on; `details` names the message that was refused, if one was."""
    details.canonical_code = number(error.code)
    details.message = error.message
    details.space = ERROR_SPACE
    return p4r.StreamMessageResponse(error=details)
