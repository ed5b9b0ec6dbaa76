"""The gRPC service p4.v1.P4Runtime: a thin asyncio shell around a `Device` and its `Streams`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
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
from softswitch.p4runtime.device import Device
from softswitch.p4runtime.errors import P4RuntimeError, batch_failure, invalid
from softswitch.p4runtime.session import Session
from softswitch.p4runtime.streams import Streams, decode_election_id, role_name

if TYPE_CHECKING:
    from softswitch.grpc_server import Context

API_VERSION = "1.4.1"

STOP_GRACE = 1.0
"""Seconds that calls under way have when the server stops."""

_Request = TypeVar("_Request", bound=Message)


class P4RuntimeServer:
    """Serves one device on one address. Make it, `start` it and `stop` it inside one running event loop."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._streams = Streams(self.device)
        self._server = GrpcServer((self._service(), port_service.service(device.engine)))
        # Pipeline changes run in a thread, one after the other; writes and reads wait for them, not for one another.
        # What watches ports or the time is not looked at meanwhile, but once when they are done.
        self._pushes = asyncio.Lock()
        self._pipeline_lock = asyncio.Lock()
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
        for session in self._sessions:
            session.end(P4RuntimeError(StatusCode.UNAVAILABLE, "this switch is stopping"))
        await self._server.stop(STOP_GRACE)
        self.device.close()

    def _on_events(self) -> None:
        now = time.monotonic_ns()
        events = self.device.engine.read_events()
        self._streams.deliver(events, now)
        before, self._lost = self._lost, self.device.engine.lost_events
        lost = LostEvents(*map(sub, self._lost, before))
        self._streams.lost(lost)
        ports_changed = lost.ports or any(isinstance(event, PortEvent) for event in events)
        if ports_changed and not self._pipeline_lock.locked():
            self.device.ports_changed()
        self._schedule(now)

    def _on_timer(self) -> None:
        self._timer = None
        if self._pipeline_lock.locked():
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
        """Do a batch of updates."""
        request = _parse(p4r.WriteRequest, data)
        async with self._pipeline_lock:
            self._check_write(request)
            errors = self.device.write(request.updates, request.atomicity, data)
            self._schedule(time.monotonic_ns())
        if any(errors):
            raise batch_failure("update", errors)
        return b""

    async def _read(self, data: bytes, context: Context) -> None:
        """Answer a batch of queries."""
        request = _parse(p4r.ReadRequest, data)
        self.device.arbitration.check_device(request.device_id)
        async with self._pipeline_lock:
            responses, errors = self.device.read(request.entities)
        for response in responses:
            await context.write(response.SerializeToString())
        if any(errors):
            raise batch_failure("request", errors)

    async def _set_pipeline(self, data: bytes, _: Context) -> bytes:
        """Verify, save or commit a pipeline."""
        # The thread goes on when the client gives up, and others have to wait for it all the same.
        await asyncio.shield(self._change_pipeline(_parse(p4r.SetForwardingPipelineConfigRequest, data)))
        return b""

    async def _change_pipeline(self, request: p4r.SetForwardingPipelineConfigRequest) -> None:
        config = request.config if request.HasField("config") else None
        async with self._pushes:
            if request.action == request.RECONCILE_AND_COMMIT:
                await self._reconcile(request, config)
            else:
                async with self._changing_pipeline(request):
                    await asyncio.to_thread(self.device.set_pipeline, request.action, config)

    async def _reconcile(
        self, request: p4r.SetForwardingPipelineConfigRequest, config: p4r.ForwardingPipelineConfig | None
    ) -> None:
        """What takes long, compiling, holds up neither reads nor writes."""
        self._check_write(request)
        verified = await asyncio.to_thread(self.device.verify, config)
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

    @asynccontextmanager
    async def _changing_pipeline(self, request: p4r.SetForwardingPipelineConfigRequest) -> AsyncIterator[None]:
        """Reads and writes wait for what is done within."""
        async with self._pipeline_lock:
            self._check_write(request)
            try:
                yield
            finally:
                if not self._stopping:
                    self.device.ports_changed()
                    self._schedule(time.monotonic_ns())

    async def _stream_channel(self, context: Context) -> None:
        """Serve one controller's stream until it or the server ends."""
        session = Session()
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
