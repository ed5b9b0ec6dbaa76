"""The gRPC service p4.v1.P4Runtime: a thin asyncio shell around a `Device` and its `Streams`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from operator import sub
from typing import TYPE_CHECKING, TypeVar

import grpc
from finsy.proto import p4r
from google.protobuf.message import DecodeError, Message
from grpc import StatusCode

from softswitch.engine.events import LostEvents, PortEvent
from softswitch.grpc_server import GrpcServer, Service, Unary
from softswitch.p4runtime import ports as port_service
from softswitch.p4runtime.config import restrict
from softswitch.p4runtime.device import Device, Verified
from softswitch.p4runtime.errors import BatchResult, P4RuntimeError, invalid
from softswitch.p4runtime.gate import Gate
from softswitch.p4runtime.session import Session
from softswitch.p4runtime.streams import Streams, decode_election_id, role_name

if TYPE_CHECKING:
    from softswitch.grpc_server import Context

API_VERSION = "1.4.1"

STOP_GRACE = 0.5
"""Seconds that calls under way have when the server stops, and then the change of a pipeline."""

STRETCH = 1000
"""Updates of a batch that are done at a stretch, and events of the data plane that are passed on at one."""

MAX_WHOLE = 1 << 15
"""Updates of a batch that is done wholly or not at all: reads and writes wait for it."""

MAX_STREAMS = 1024
"""Open at a time, of controllers that have arbitrated or not."""

_Request = TypeVar("_Request", bound=Message)
_Result = TypeVar("_Result")


class P4RuntimeServer:
    """Serves one device on one address. Make it, `start` it and `stop` it inside one running event loop."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._streams = Streams(self.device)
        self._server = GrpcServer((self._service(), port_service.service(device.engine)))
        # Pipeline changes run in a thread, one after the other; writes and reads wait for them, not for one another,
        # nor while a program is compiled. What watches ports or the time is not looked at meanwhile, but once when
        # they are done.
        self._pushes = asyncio.Lock()
        self._gate = Gate()
        self._lost = device.engine.lost_events
        self._timer: asyncio.TimerHandle | None = None
        self._sessions: set[Session] = set()
        self._stopping = False

    def _service(self) -> Service:
        unary: dict[str, Unary] = {
            "Capabilities": _unary(p4r.CapabilitiesRequest, self.capabilities),
            "Write": self._write,
            "SetForwardingPipelineConfig": self._set_pipeline,
            "GetForwardingPipelineConfig": _unary(p4r.GetForwardingPipelineConfigRequest, self.get_pipeline),
        }
        return Service("p4.v1.P4Runtime", unary, {"Read": self._read}, {"StreamChannel": self._stream_channel})

    async def start(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Serve on `address` (host:port, port 0 for any, or unix:path). Returns the port. Raises CannotServe."""
        port = await self._server.start(address, credentials)
        asyncio.get_running_loop().add_reader(self.device.engine.event_fd, self._on_events)
        return port

    async def stop(self) -> None:
        """End all streams and calls and stop listening. The engine is the caller's to close."""
        asyncio.get_running_loop().remove_reader(self.device.engine.event_fd)
        if self._timer is not None:
            self._timer.cancel()
        self._stopping = True
        self.device.engine.stop_compiling()
        for session in self._sessions:
            session.end(P4RuntimeError(StatusCode.UNAVAILABLE, "this switch is stopping"))
        await self._server.stop(STOP_GRACE)
        # its thread goes on when its call has been cancelled, and uses the engines
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_GRACE), self._pushes:
                pass
        self.device.close()

    def _on_events(self) -> None:
        now = time.monotonic_ns()
        events = self.device.engine.read_events(STRETCH)
        self._streams.deliver(events, now)
        before, self._lost = self._lost, self.device.engine.lost_events
        lost = LostEvents(*map(sub, self._lost, before))
        self._streams.lost(lost)
        ports_changed = lost.ports or any(isinstance(event, PortEvent) for event in events)
        if ports_changed and not self._gate.closed:
            self.device.ports_changed()
        self._schedule(now)

    def _on_timer(self) -> None:
        self._timer = None
        if self._gate.closed:
            return
        now = time.monotonic_ns()
        self._streams.deliver_due(now)
        self._schedule(now)

    def _schedule(self, now: int) -> None:
        """Have `_on_timer` called when something is due."""
        deadline = self._streams.next_deadline()
        if deadline is None:
            return
        loop = asyncio.get_running_loop()
        when = loop.time() + max(0, deadline - now) / 1e9
        if self._timer is not None and self._timer.when() <= when:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = loop.call_at(when, self._on_timer)

    def capabilities(self, request: p4r.CapabilitiesRequest) -> p4r.CapabilitiesResponse:
        """Tell the version of the API."""
        if request.device_id:
            self.device.arbitration.check_device(request.device_id)
        return p4r.CapabilitiesResponse(p4runtime_api_version=API_VERSION)

    def get_pipeline(self, request: p4r.GetForwardingPipelineConfigRequest) -> p4r.GetForwardingPipelineConfigResponse:
        """Return what was pushed. Raises FAILED_PRECONDITION when nothing was: the specification would have an answer
        without config, but clients written for simple_switch_grpc wait for its error before they push."""
        self.device.arbitration.check_device(request.device_id)
        config = restrict(self.device.current().config, request.response_type)
        return p4r.GetForwardingPipelineConfigResponse(config=config)

    async def _write(self, data: bytes, _: Context) -> bytes:
        """Do a batch of updates, a long one piece by piece; others are served in between."""
        request = _parse(p4r.WriteRequest, data)
        result = BatchResult()
        if len(request.updates) <= STRETCH:
            async with self._gate.shared():
                self._check_write(request)
                result.add(self.device.write(request.updates, request.atomicity, data))
        elif request.atomicity == p4r.WriteRequest.CONTINUE_ON_ERROR:
            async with self._gate.shared():
                self._check_write(request)
                await self._write_pieces(request, result)
        elif len(request.updates) > MAX_WHOLE:
            sentence = (
                f"a batch done wholly or not at all has at most {MAX_WHOLE} updates: split it, or CONTINUE_ON_ERROR"
            )
            raise P4RuntimeError(StatusCode.RESOURCE_EXHAUSTED, sentence)
        else:
            async with self._changing_pipeline(request):
                result.add(await asyncio.to_thread(self.device.write, request.updates, request.atomicity, data))
        self._schedule(time.monotonic_ns())
        if result.failed:
            raise result.failure("update")
        return b""

    async def _write_pieces(self, request: p4r.WriteRequest, result: BatchResult) -> None:
        for errors in self.device.write_pieces(request.updates, STRETCH):
            result.add(errors)
            await asyncio.sleep(0)
            try:
                self._check_write(request)
            except P4RuntimeError as error:
                # another controller has become primary
                result.add([error.as_result()] * (len(request.updates) - result.count))
                break

    async def _read(self, data: bytes, context: Context) -> None:
        """Answer a batch of queries, a long one piece by piece."""
        request = _parse(p4r.ReadRequest, data)
        self.device.arbitration.check_device(request.device_id)
        result = BatchResult()
        for first in range(0, len(request.entities) or 1, STRETCH):
            if first:
                await asyncio.sleep(0)
            async with self._gate.shared():
                responses, errors = self.device.read(request.entities[first : first + STRETCH])
            result.add(errors)
            for response in responses:
                await context.write(response.SerializeToString())
        if result.failed:
            raise result.failure("request")

    async def _set_pipeline(self, data: bytes, _: Context) -> bytes:
        """Verify, save or commit a pipeline."""
        # The thread goes on when the client gives up, and others have to wait for it all the same.
        await asyncio.shield(self._change_pipeline(_parse(p4r.SetForwardingPipelineConfigRequest, data)))
        return b""

    async def _change_pipeline(self, request: p4r.SetForwardingPipelineConfigRequest) -> None:
        """What takes long, compiling, holds up neither reads nor writes."""
        config = request.config if request.HasField("config") else None
        device = self.device
        async with self._pushes:
            self._check_write(request)
            match request.action:
                case request.COMMIT:
                    async with self._changing_pipeline(request):
                        await asyncio.to_thread(device.commit, config)
                case request.VERIFY:
                    await asyncio.to_thread(device.verify, config)
                case request.VERIFY_AND_SAVE | request.VERIFY_AND_COMMIT:
                    verified = await asyncio.to_thread(device.verify, config)
                    put = device.save if request.action == request.VERIFY_AND_SAVE else device.replace
                    async with self._changing_pipeline(request):
                        await asyncio.to_thread(put, verified)
                case request.RECONCILE_AND_COMMIT:
                    await self._reconcile(request, await asyncio.to_thread(device.verify, config))
                case _:
                    raise invalid("action is not set")

    async def _reconcile(self, request: p4r.SetForwardingPipelineConfigRequest, verified: Verified) -> None:
        prepared = await asyncio.to_thread(self.device.prepare_reconcile, verified)
        if prepared is None:
            async with self._changing_pipeline(request):
                await asyncio.to_thread(self.device.install, verified)
            return
        spare = prepared.engine
        try:
            async with self._changing_pipeline(request):
                await asyncio.to_thread(self.device.reconcile, prepared)
        except Exception:
            # not when the loop ends and cancels this: a thread may be at it
            spare.close()
            raise

    async def between_calls(self, work: Callable[[Device], _Result]) -> _Result:
        """Do `work`, which is short, between controllers' writes and reads: for other ways to the same device."""
        async with self._gate.shared():
            result = work(self.device)
            self._schedule(time.monotonic_ns())
        return result

    async def change_program(self, change: Callable[[Device], None]) -> None:
        """Do `change`, which replaces the program, in a thread, as a controller's push is done."""
        async with self._pushes, self._gate.alone():
            try:
                await asyncio.to_thread(change, self.device)
            finally:
                if not self._stopping:
                    self.device.ports_changed()
                    self._schedule(time.monotonic_ns())

    @contextlib.asynccontextmanager
    async def _changing_pipeline(self, request: p4r.SetForwardingPipelineConfigRequest) -> AsyncIterator[None]:
        """Reads and writes wait for what is done within."""
        async with self._gate.alone():
            self._check_write(request)
            try:
                yield
            finally:
                if not self._stopping:
                    self.device.ports_changed()
                    self._schedule(time.monotonic_ns())

    async def _stream_channel(self, context: Context) -> None:
        """Serve one controller's stream until it or the server ends."""
        if len(self._sessions) >= MAX_STREAMS:
            raise P4RuntimeError(StatusCode.RESOURCE_EXHAUSTED, f"there are {MAX_STREAMS} streams already")
        session = Session(self._streams.room)
        self._sessions.add(session)
        receiver = asyncio.ensure_future(self._receive(session, context))
        sender = asyncio.ensure_future(_send(session, context))
        over = asyncio.ensure_future(session.over.wait())
        try:
            await asyncio.wait((receiver, sender, over), return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
            self._sessions.remove(session)
            self._streams.leave(session)
            # grpc cannot take back a read or a write that is under way: both end with the call
            receiver.add_done_callback(_forget)
            sender.add_done_callback(_forget)
        await asyncio.wait((sender,))
        if session.reason is not None:
            raise session.reason
        if receiver.done():
            receiver.result()

    async def _receive(self, session: Session, context: Context) -> None:
        end = grpc.aio.EOF  # type: ignore[attr-defined]  # not in its stubs
        while (data := await context.read()) is not end and not session.over.is_set():
            self._streams.receive(session, _parse(p4r.StreamMessageRequest, data))

    def _check_write(self, request: p4r.WriteRequest | p4r.SetForwardingPipelineConfigRequest) -> None:
        role = role_name(request.role, request.role_id)
        self.device.arbitration.check_write(request.device_id, role, decode_election_id(request))


async def _send(session: Session, context: Context) -> None:
    while (data := await session.take()) is not None:
        await context.write(data)


def _forget(task: asyncio.Future[None]) -> None:
    """What became of it matters no longer."""
    if not task.cancelled():
        task.exception()


def _unary(kind: type[_Request], handler: Callable[[_Request], Message]) -> Unary:
    """A handler of messages as one of bytes."""

    async def handle(data: bytes, _: Context) -> bytes:
        return handler(_parse(kind, data)).SerializeToString()

    return handle


def _parse(kind: type[_Request], data: bytes) -> _Request:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise invalid(f"this is no {kind.DESCRIPTOR.full_name}: {error}") from error
