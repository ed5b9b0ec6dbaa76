"""The gRPC service p4.v1.P4Runtime: a thin asyncio shell around a `Device` and its `Streams`."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from typing import Any, NoReturn

import grpc
from finsy.proto import p4r, p4r_grpc
from grpc import StatusCode

from softswitch.p4runtime.config import restrict
from softswitch.p4runtime.device import Device
from softswitch.p4runtime.errors import STATUS_DETAILS_KEY, P4RuntimeError, batch_status
from softswitch.p4runtime.streams import Session, Streams, decode_election_id, role_name

API_VERSION = "1.4.1"

STOP_GRACE = 1.0
"""Seconds that calls under way have when the server stops."""

_SERVER_OPTIONS = (
    ("grpc.max_receive_message_length", 128 << 20),
    # Two switches on one port would share its connections instead of the second one being told.
    ("grpc.so_reuseport", 0),
)

_Context = Any  # grpc.aio.ServicerContext[Request, Response]: its stub knows no trailing metadata in abort


class PortTaken(OSError):
    """The address to serve on cannot be bound."""


class P4RuntimeServer:
    """Serves one device on one address. Make it, `start` it and `stop` it inside one running event loop."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self._streams = Streams(self.device)
        self._server: grpc.aio.Server | None = None
        # Pipeline changes run in a thread; writes and reads wait for them, not for one another.
        self._pipeline_lock = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._stopping = asyncio.Event()

    async def start(self, address: str, credentials: grpc.ServerCredentials | None = None) -> int:
        """Serve on `address` (host:port, port 0 for any). Returns the port. Raises PortTaken."""
        _check_bindable(address)
        server = grpc.aio.server(options=_SERVER_OPTIONS)
        p4r_grpc.add_P4RuntimeServicer_to_server(self, server)
        try:
            if credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise PortTaken(f"cannot serve on {address}: {error}") from error
        await server.start()
        self._server = server
        asyncio.get_running_loop().add_reader(self.device.engine.event_fd, self._on_events)
        return int(port)

    async def stop(self) -> None:
        """End all streams and calls and stop listening. The engine is the caller's to close."""
        asyncio.get_running_loop().remove_reader(self.device.engine.event_fd)
        if self._timer is not None:
            self._timer.cancel()
        if self._server is not None:
            self._stopping.set()
            await self._server.stop(grace=STOP_GRACE)
        self.device.close()

    def _on_events(self) -> None:
        now = time.monotonic_ns()
        self._streams.deliver(self.device.engine.read_events(), now)
        self._schedule_digests(now)

    def _on_timer(self) -> None:
        self._timer = None
        now = time.monotonic_ns()
        self._streams.deliver_due(now)
        self._schedule_digests(now)

    def _schedule_digests(self, now: int) -> None:
        deadline = self._streams.next_deadline()
        if deadline is not None and self._timer is None:
            delay = max(0, deadline - now) / 1e9
            self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    async def Capabilities(self, request: p4r.CapabilitiesRequest, context: _Context) -> p4r.CapabilitiesResponse:
        """Tell the version of the API."""
        try:
            if request.device_id:
                self.device.arbitration.check_device(request.device_id)
        except P4RuntimeError as error:
            await _abort(context, error)
        return p4r.CapabilitiesResponse(p4runtime_api_version=API_VERSION)

    async def Write(self, request: p4r.WriteRequest, context: _Context) -> p4r.WriteResponse:
        """Do a batch of updates."""
        try:
            async with self._pipeline_lock:
                self._check_write(request)
                errors = self.device.write(request.updates, request.atomicity)
        except P4RuntimeError as error:
            await _abort(context, error)
        if any(errors):
            await _abort_batch(context, "write failure", errors)
        return p4r.WriteResponse()

    async def Read(self, request: p4r.ReadRequest, context: _Context) -> AsyncIterator[p4r.ReadResponse]:
        """Answer a batch of queries."""
        try:
            self.device.arbitration.check_device(request.device_id)
            async with self._pipeline_lock:
                responses, errors = self.device.read(request.entities)
        except P4RuntimeError as error:
            await _abort(context, error)
        for response in responses:
            yield response
        if any(errors):
            await _abort_batch(context, "read failure", errors)

    async def SetForwardingPipelineConfig(
        self, request: p4r.SetForwardingPipelineConfigRequest, context: _Context
    ) -> p4r.SetForwardingPipelineConfigResponse:
        """Verify, save or commit a pipeline."""
        config = request.config if request.HasField("config") else None
        try:
            async with self._pipeline_lock:
                self._check_write(request)
                await asyncio.to_thread(self.device.set_pipeline, request.action, config)
        except P4RuntimeError as error:
            await _abort(context, error)
        return p4r.SetForwardingPipelineConfigResponse()

    async def GetForwardingPipelineConfig(
        self, request: p4r.GetForwardingPipelineConfigRequest, context: _Context
    ) -> p4r.GetForwardingPipelineConfigResponse:
        """Return what was pushed."""
        try:
            self.device.arbitration.check_device(request.device_id)
        except P4RuntimeError as error:
            await _abort(context, error)
        config = self.device.config()
        if config is None:
            return p4r.GetForwardingPipelineConfigResponse()
        return p4r.GetForwardingPipelineConfigResponse(config=restrict(config, request.response_type))

    async def StreamChannel(self, requests: AsyncIterator[p4r.StreamMessageRequest], context: _Context) -> None:
        """Serve one controller's stream until it or the server ends."""
        session = Session()
        receiver = asyncio.create_task(self._receive(session, requests))
        tasks = [receiver, asyncio.create_task(_send(session, context)), asyncio.create_task(self._stopping.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            self._streams.leave(session)
        if self._stopping.is_set():
            await _abort(context, P4RuntimeError(StatusCode.UNAVAILABLE, "this switch is stopping"))
        if receiver.done():
            try:
                receiver.result()
            except P4RuntimeError as error:
                await _abort(context, error)

    async def _receive(self, session: Session, requests: AsyncIterator[p4r.StreamMessageRequest]) -> None:
        async for request in requests:
            self._streams.receive(session, request)

    def _check_write(self, request: p4r.WriteRequest | p4r.SetForwardingPipelineConfigRequest) -> None:
        role = role_name(request.role, request.role_id)
        self.device.arbitration.check_write(request.device_id, role, decode_election_id(request))


def _check_bindable(address: str) -> None:
    """Say why `address` cannot be bound, which gRPC does not. Addresses without a port (unix:…) are left to it."""
    host, _, port = address.rpartition(":")
    if not port.isdecimal():
        return
    try:
        resolved = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, local = resolved[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(local)
    except OSError as error:
        raise PortTaken(f"cannot serve on {address}: {error.strerror}") from error


async def _send(session: Session, context: _Context) -> None:
    while True:
        await context.write(await session.outgoing.get())


async def _abort(context: _Context, error: P4RuntimeError) -> NoReturn:
    await context.abort(error.code, error.message)
    raise AssertionError("abort raises")


async def _abort_batch(context: _Context, message: str, errors: list[P4RuntimeError | None]) -> NoReturn:
    details = batch_status(message, errors).SerializeToString()
    await context.abort(StatusCode.UNKNOWN, message, trailing_metadata=((STATUS_DETAILS_KEY, details),))
    raise AssertionError("abort raises")
