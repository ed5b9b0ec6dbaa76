"""A function's worker: takes requests from the node's gateway one at a time and runs the handler on them."""

from __future__ import annotations

import json
import os
import select
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Protocol

from hitless.client.blocking import BlockingClient
from hitless.runtime import logs, upstream
from hitless.runtime.awaiting import Awaiting
from hitless.runtime.body import BodyStream, WholeBody
from hitless.runtime.context import Context, Readable, RequestIds
from hitless.runtime.event import event_of
from hitless.runtime.gateway import GatewayConnection, GatewayLost, Wake, complain
from hitless.runtime.handler import FunctionError, Handler
from hitless.runtime.result import IllegalAnswer, MarshalError, Parts, Result, result_of
from hitless.runtime.slots import Slot
from hitless.wire.worker_codec import encode
from hitless.wire.worker_frames import (
    PART,
    WHOLE,
    Body,
    Cancel,
    Configure,
    Frame,
    Hello,
    Ready,
    Request,
    Response,
    ResponseBody,
    ResponseEnd,
    ResponseHead,
    Shutdown,
)

JSON = {"content-type": "application/json"}
TRACE = "_X_AMZN_TRACE_ID"
"""The variable in which AWS's tracing looks for what the request's header of that kind says."""
_SETTLED = frozenset({dict, str, list, int, float, bool, type(None)})
WARM_UP_MS = 60_000
"""What a warm-up event is told that its client waits."""


class Beside(Protocol):
    """What a worker looks after while it has no request."""

    def fileno(self) -> int:
        """Readable when `turn` has something to do."""

    def turn(self) -> None:
        """Do it, without waiting. Ends this process if what it looks after has ended."""

    @property
    def ended(self) -> bool:
        """Whether that is known to be so."""


class Worker:
    """One connection to the gateway, one request at a time."""

    def __init__(
        self,
        gateway: GatewayConnection,
        handler: Handler,
        handler_name: str,
        context: type[Context],
        request_id: logs.RequestId,
        launch: int,
        slot: Slot,
        beside: Beside | None = None,
    ) -> None:
        """`context` is the class of the function's contexts; `request_id` is told the id of each request."""
        self._gateway = gateway
        self._handler = handler
        self._handler_name = handler_name
        self._context = context
        self._function_name = context.function_name
        self._request_id = request_id
        self._ids = RequestIds()
        self._awaiting = Awaiting()
        self._awaiting.prepare(handler)
        self._launch = launch
        self._slot = slot
        self._beside = beside
        self._configuration: dict[str, Any] = {}
        self._payload = "2.0"
        """Version of the event's format."""
        self._traced = False
        """Whether the last request said how it is traced."""
        self._asked = False
        """Whether there has been a request."""
        self._warm = False
        """Whether the event to warm up with was handled."""
        self._ready = False
        """Whether this connection was told so."""
        self._upstream = BlockingClient()
        self._pid = os.getpid()

    def run(self) -> None:
        """Serve until the gateway says Shutdown or SIGTERM comes; what was sent before is finished first.

        Must run in the main thread. A gateway that is gone is waited for.
        """
        wake = Wake(signal.SIGTERM, signal.SIGINT)
        os.register_at_fork(after_in_child=lambda: self._forked(wake))
        while True:
            try:
                if not self._connect(wake):
                    break
                self._serve(wake)
                break
            except GatewayLost as error:
                complain(f"worker {self._pid}: {error}: connecting again")
                self._gateway.close()
        self._slot.leaving()
        self._gateway.close()

    def _connect(self, wake: Wake) -> bool:
        """Connect and say hello. Returns whether it is connected; else it is to end."""
        while (again_at := self._gateway.connect_again(time.monotonic())) is not None:
            select.select([wake.readable], [], [], max(0.0, again_at - time.monotonic()))
            if wake.taken():
                return False
        self._ready = False
        self._gateway.send(Hello(self._pid, self._handler_name, self._launch))
        return True

    def _serve(self, wake: Wake) -> None:
        gateway, own, signals = self._gateway, self._gateway.fileno(), wake.readable.fileno()
        poll = select.poll()
        poll.register(own, select.POLLIN)
        poll.register(signals, select.POLLIN)
        if self._beside is not None:
            poll.register(self._beside.fileno(), select.POLLIN)
        last = False
        while True:
            while gateway.pending:
                if not self._take(gateway.next()):
                    return
            ready = dict(poll.poll())
            if self._beside is not None and self._beside.fileno() in ready:
                self._beside.turn()
            elif own in ready:
                if not gateway.read(last=last):
                    return
            else:
                # What the gateway has sent is still served; what it sends now, it gives to another.
                poll.unregister(signals)
                gateway.take_no_more()
                last = True

    def _take(self, frame: Frame) -> bool:
        """Do what a frame says. Returns whether to go on."""
        match frame:
            case Request():
                self._execute(frame)
            case Configure():
                self._configuration = frame.configuration
                self._payload = str(frame.configuration.get("payload_format_version", "2.0"))
                if not self._ready:
                    self._warm_up()
            case Shutdown():
                return False
            case Body() | Cancel():
                pass  # of a request that has been answered
            case _:
                raise GatewayLost(f"gateway sent a {type(frame).__name__}, expected a request")
        return True

    def _warm_up(self) -> None:
        """Say Ready, once for each connection; before it, handle the event for it, once for each worker."""
        event = self._configuration.get("warm_up")
        if not self._warm and event is not None:
            deadline = time.monotonic() + WARM_UP_MS / 1000
            context = self._context(self._ids.next(), self._configuration, deadline)
            self._request_id.current = context.aws_request_id
            invocation = upstream.enter(self._upstream, context, 0)
            try:
                result = result_of(self._call(event, context))
            finally:
                upstream.leave(invocation)
            if isinstance(result.body, Parts):
                for _ in result.body:
                    pass
                result.body.close()
        self._warm = self._ready = True
        self._slot.ready()
        self._gateway.send(Ready())

    def _call(self, event: dict[str, Any], context: Context) -> object:
        value = self._handler(event, context)
        return value if type(value) in _SETTLED else self._awaiting.settled(value)

    def _execute(self, request: Request) -> None:
        if not self._asked:
            self._asked = True
            self._slot.asked()
        body: Readable | None = None
        if request.body is None:
            body = BodyStream(self._gateway, request.id)
        elif self._configuration.get("streamed"):
            body = WholeBody(request.body)
        request_id = self._request_id.current = self._ids.next()
        event = event_of(
            request, request_id, self._function_name, time.time(), payload=self._payload, with_body=body is None
        )
        if self._traced or "x-amzn-trace-id" in event["headers"]:
            self._trace(event["headers"].get("x-amzn-trace-id"))
        context = self._context(request_id, self._configuration, request.deadline_ns / 1e9, body)
        started_ns = time.monotonic_ns()
        invocation = upstream.enter(self._upstream, context, request.request_id)
        try:
            result = result_of(self._call(event, context))
            whole = result.body
            if isinstance(whole, Parts):
                self._send_parts(request, result, whole, started_ns)
                return
        except GatewayLost:
            raise
        except BaseException as error:  # the handler's, which ends its own request only
            result, whole = _failure(error, request_id)
        finally:
            upstream.leave(invocation)
        self._end_if_forked()
        if len(whole) > WHOLE:
            headers = {**result.headers, "content-length": str(len(whole))}
            self._send_parts(request, Result(result.status, headers, b""), Parts(_pieces(whole)), started_ns)
            return
        finished_ns = time.monotonic_ns()
        self._answered(encode(Response(request.id, result.status, started_ns, finished_ns, whole, result.headers)))

    def _send_parts(self, request: Request, result: Result, body: Parts, started_ns: int) -> None:
        """Send an answer as it comes. What fails before its first part is an answer of its own: raises that."""
        parts = iter(body)
        failure = ""
        begun = False
        try:
            # The first part before the head: a generator's code runs here, and may fail.
            part = next(parts, None)
            self._end_if_forked()
            self._gateway.send(ResponseHead(request.id, result.status, started_ns, result.headers))
            begun = True
            while part is not None and not self._cancelled(request):
                for piece in _pieces(part):
                    self._gateway.send(ResponseBody(request.id, piece))
                part = next(parts, None)
                self._end_if_forked()
        except GatewayLost:
            with suppress(BaseException):
                body.close()
            raise
        except BaseException as error:
            if not begun:
                raise
            failure = _said(error)
            if isinstance(error, FunctionError):
                complain(failure)  # its traceback would be one of this program
            else:
                traceback.print_exc()
        try:
            body.close()
        except BaseException:
            traceback.print_exc()
        self._answered(encode(ResponseEnd(request.id, time.monotonic_ns(), failure)))

    def _cancelled(self, request: Request) -> bool:
        return any(isinstance(frame, Cancel) and frame.id == request.id for frame in self._gateway.arrived())

    def _answered(self, frame: bytes) -> None:
        if self._beside is not None and self._beside.ended:
            self._gateway.take_no_more()  # what this answer would make the gateway send goes to another
        self._gateway.write(frame)
        self._slot.answered()

    def _trace(self, header: str | None) -> None:
        """Let AWS's tracing have what a request says of it."""
        self._traced = header is not None
        if header is not None:
            os.environ[TRACE] = header
        else:
            os.environ.pop(TRACE, None)

    def _forked(self, wake: Wake) -> None:
        """Let a process that the handler forks have nothing of this one's: connection and signals are the worker's."""
        wake.close()
        self._gateway.close()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def _end_if_forked(self) -> None:
        """End a process that the handler forked and that came back from it: the connection is its parent's."""
        if os.getpid() != self._pid:
            os._exit(0)


def _failure(error: BaseException, request_id: str) -> tuple[Result, bytes]:
    """The answer for what a handler raised, as Lambda words it; where it was raised is for the log alone."""
    kind = _kind(error)
    try:
        message = str(error)
    except Exception:  # of the exception's own text
        message = ""
    if isinstance(error, IllegalAnswer):
        complain(f"{kind}: {message}")
    else:
        logs.log_error(kind, message, error, request_id)
    said = json.dumps({"errorMessage": message, "errorType": kind, "requestId": request_id}).encode()
    return Result(502 if isinstance(error, IllegalAnswer) else 500, JSON, said), said


def _kind(error: BaseException) -> str:
    """Lambda's word for it."""
    if isinstance(error, FunctionError):
        return error.kind
    return "Runtime.MarshalError" if isinstance(error, MarshalError) else type(error).__name__


def _said(error: BaseException) -> str:
    try:
        return f"{_kind(error)}: {error}"
    except Exception:  # of the exception's own text
        return _kind(error)


def _pieces(data: bytes) -> Iterator[bytes]:
    if len(data) <= PART:
        yield data
    else:
        for start in range(0, len(data), PART):
            yield data[start : start + PART]
