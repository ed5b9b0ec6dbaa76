"""The gRPC service p4.v1.P4Runtime: a thin asyncio shell around a `Device` and its `Streams`."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from finsy.proto import p4r
from google.protobuf.message import DecodeError, Message
from grpc import StatusCode

from softswitch.engine.events import PortEvent
from softswitch.p4runtime import ports as port_service
from softswitch.p4runtime.config import restrict
from softswitch.p4runtime.device import Device
from softswitch.p4runtime.errors import P4RuntimeError, batch_status, invalid
from softswitch.p4runtime.streams import Session, Streams, decode_election_id, role_name
from softswitch.rpc.calls import RpcError
from softswitch.rpc.server import Call, Server, Service, Unary

API_VERSION = "1.4.1"

STOP_GRACE = 1.0
"""Seconds that calls under way have when the server stops."""

_Request = TypeVar("_Request", bound=Message)


class PortTaken(OSError):
    """The address to serve on cannot be bound."""


class P4RuntimeServer:
    """Serves one device on one address. Make it, `start` it and `stop` it inside one running event loop."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._streams = Streams(self.device)
        self._server = Server(self._service())
        # Pipeline changes run in a thread; writes and reads wait for them, not for one another. What watches ports or
        # the time is not looked at meanwhile, but once when they are done.
        self._pipeline_lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = asyncio.Event()

    def _service(self) -> Service:
        unary: dict[str, Unary] = {
            "Capabilities": _unary(p4r.CapabilitiesRequest, self.capabilities),
            "Write": self._write,
            "SetForwardingPipelineConfig": self._set_pipeline,
            "GetForwardingPipelineConfig": _unary(p4r.GetForwardingPipelineConfigRequest, self.get_pipeline),
        }
        streaming = {"Read": self._read, "StreamChannel": self._stream_channel}
        prefix = "/p4.v1.P4Runtime/"
        ports = port_service.methods(self.device.engine)
        return Service({prefix + n: m for n, m in unary.items()}, {prefix + n: m for n, m in streaming.items()} | ports)

    async def start(self, address: str, context: ssl.SSLContext | None = None) -> int:
        """Serve on `address` (host:port, port 0 for any, or unix:path). Returns the port. Raises PortTaken."""
        try:
            port = await self._server.start(address, context)
        except OSError as error:
            # asyncio puts a sentence of its own around the system's
            why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
            raise PortTaken(f"cannot serve on {address}: {why}") from error
        asyncio.get_running_loop().add_reader(self.device.engine.event_fd, self._on_events)
        return port

    async def stop(self) -> None:
        """End all streams and calls and stop listening. The engine is the caller's to close."""
        asyncio.get_running_loop().remove_reader(self.device.engine.event_fd)
        if self._timer is not None:
            self._timer.cancel()
        self._stopping.set()
        await self._server.stop(STOP_GRACE)
        self.device.close()

    def _on_events(self) -> None:
        now = time.monotonic_ns()
        events = self.device.engine.read_events()
        self._streams.deliver(events, now)
        if not self._pipeline_lock.locked() and any(isinstance(event, PortEvent) for event in events):
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
        """Return what was pushed."""
        self.device.arbitration.check_device(request.device_id)
        config = self.device.config()
        if config is None:
            return p4r.GetForwardingPipelineConfigResponse()
        return p4r.GetForwardingPipelineConfigResponse(config=restrict(config, request.response_type))

    def _write(self, data: bytes) -> bytes | Awaitable[bytes]:
        """Do a batch of updates, at once unless a pipeline is being pushed."""
        request = _parse(p4r.WriteRequest, data)
        return self._write_later(request, data) if self._pipeline_lock.locked() else self._do_write(request, data)

    async def _write_later(self, request: p4r.WriteRequest, data: bytes) -> bytes:
        async with self._pipeline_lock:
            return self._do_write(request, data)

    def _do_write(self, request: p4r.WriteRequest, data: bytes) -> bytes:
        try:
            self._check_write(request)
            errors = self.device.write(request.updates, request.atomicity, data)
            self._schedule(time.monotonic_ns())
        except P4RuntimeError as error:
            raise _refusal(error) from error
        if any(errors):
            raise _batch_failure("write failure", errors)
        return b""

    async def _read(self, call: Call) -> None:
        """Answer a batch of queries."""
        request = _parse(p4r.ReadRequest, await call.receive() or b"")
        try:
            self.device.arbitration.check_device(request.device_id)
            async with self._pipeline_lock:
                responses, errors = self.device.read(request.entities)
        except P4RuntimeError as error:
            raise _refusal(error) from error
        for response in responses:
            await call.send(response.SerializeToString())
        if any(errors):
            raise _batch_failure("read failure", errors)

    async def _set_pipeline(self, data: bytes) -> bytes:
        """Verify, save or commit a pipeline."""
        request = _parse(p4r.SetForwardingPipelineConfigRequest, data)
        try:
            # The thread goes on when the client gives up, and others have to wait for it all the same.
            await asyncio.shield(self._change_pipeline(request))
        except P4RuntimeError as error:
            raise _refusal(error) from error
        return b""

    async def _change_pipeline(self, request: p4r.SetForwardingPipelineConfigRequest) -> None:
        config = request.config if request.HasField("config") else None
        async with self._pipeline_lock:
            self._check_write(request)
            try:
                await asyncio.to_thread(self.device.set_pipeline, request.action, config)
            finally:
                if not self._stopping.is_set():
                    self.device.ports_changed()
                    self._schedule(time.monotonic_ns())

    async def _stream_channel(self, call: Call) -> None:
        """Serve one controller's stream until it or the server ends."""
        session = Session()
        receiver = asyncio.create_task(self._receive(session, call))
        tasks = [receiver, asyncio.create_task(_send(session, call)), asyncio.create_task(self._stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            self._streams.leave(session)
        if self._stopping.is_set():
            raise RpcError(StatusCode.UNAVAILABLE, "this switch is stopping")
        if receiver.done():
            receiver.result()

    async def _receive(self, session: Session, call: Call) -> None:
        while (data := await call.receive()) is not None:
            request = _parse(p4r.StreamMessageRequest, data)
            try:
                self._streams.receive(session, request)
            except P4RuntimeError as error:
                raise _refusal(error) from error

    def _check_write(self, request: p4r.WriteRequest | p4r.SetForwardingPipelineConfigRequest) -> None:
        role = role_name(request.role, request.role_id)
        self.device.arbitration.check_write(request.device_id, role, decode_election_id(request))


async def _send(session: Session, call: Call) -> None:
    while True:
        await call.send((await session.outgoing.get()).SerializeToString())


def _unary(kind: type[_Request], handler: Callable[[_Request], Message]) -> Unary:
    """A handler of messages as one of bytes."""

    def handle(data: bytes) -> bytes:
        try:
            return handler(_parse(kind, data)).SerializeToString()
        except P4RuntimeError as error:
            raise _refusal(error) from error

    return handle


def _parse(kind: type[_Request], data: bytes) -> _Request:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise _refusal(invalid(f"this is no {kind.DESCRIPTOR.full_name}: {error}")) from error


def _refusal(error: P4RuntimeError) -> RpcError:
    return RpcError(error.code, error.message)


def _batch_failure(message: str, errors: Sequence[P4RuntimeError | None]) -> RpcError:
    return RpcError(StatusCode.UNKNOWN, message, batch_status(message, errors).SerializeToString())
