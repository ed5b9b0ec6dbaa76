"""The gateway's side of the Unix socket at which a function's workers and their supervisors connect."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
from typing import Any, Protocol, cast

from greengrass_agent.gateway.job import Job
from hitless.wire.worker_codec import Decoder, encode
from hitless.wire.worker_frames import (
    PART,
    Body,
    Cancel,
    Configure,
    End,
    Frame,
    Hello,
    Ready,
    Request,
    Response,
    ResponseBody,
    ResponseEnd,
    ResponseHead,
    Shutdown,
    WorkerProtocolError,
    Workers,
)

log = logging.getLogger(__name__)


class Owner(Protocol):
    """What is told of the connections. A connection that left without a Hello was never told of."""

    def connected(self, connection: WorkerConnection) -> None:
        """A worker whose handler is loaded, or a supervisor."""

    def ready(self, connection: WorkerConnection) -> None:
        """A worker is warm."""

    def began(self, connection: WorkerConnection, head: ResponseHead) -> Job | None:
        """A worker begins an answer in parts. Returns the request whose client gets them, if there is one."""

    def responded(self, connection: WorkerConnection, end: Response | ResponseEnd) -> None:
        """A worker has answered."""

    def whole(self, job: Job) -> None:
        """The last byte of a streamed request body has been passed on."""

    def cancelled(self, job: Job) -> bool:
        """The client of a request has gone. Returns whether its worker is to be told."""

    def left(self, connection: WorkerConnection) -> None:
        """The connection is closed."""


class WorkerConnection(asyncio.Protocol):
    """One worker, or one supervisor."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._decoder = Decoder()
        self._transport: asyncio.Transport | None = None
        self._descriptor = -1
        """The transport's, until `connection_lost`."""
        self._peer = 0
        """The process at the other end, by the kernel's word."""
        self.hello: Hello | None = None
        self.streaming: Job | None = None
        """Whose client gets the parts of the answer that is coming."""
        self.sending: Job | None = None
        """Whose body is passed on."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for its Hello."""
        # A stream's, but uvloop's is no asyncio.Transport by type.
        self._transport = cast(asyncio.Transport, transport)
        connected = transport.get_extra_info("socket")
        credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self._peer = int.from_bytes(credentials[:4], sys.byteorder)
        self._descriptor = connected.fileno()

    def data_received(self, data: bytes) -> None:
        """Take frames; a worker that does not speak the protocol is disconnected."""
        try:
            for frame in self._decoder.feed(data):
                self._take(frame)
        except WorkerProtocolError as error:
            log.error("worker %s: %s: disconnected", self.hello.pid if self.hello else "unknown", error)
            self.disconnect()

    def connection_lost(self, error: Exception | None) -> None:
        """The process has ended, or was disconnected."""
        self._transport = None
        if self.hello is not None:
            log.info("%s %d has left%s", self.hello.role, self.hello.pid, f": {error}" if error else "")
            self._owner.left(self)

    def pause_writing(self) -> None:
        """The worker does not take its request's body as fast as it comes."""
        if self.sending is not None:
            self.sending.client.body_wanted(False)

    def resume_writing(self) -> None:
        """It has room again."""
        if self.sending is not None:
            self.sending.client.body_wanted(True)

    @property
    def launch(self) -> int:
        """Which start of the component's script it belongs to."""
        return self.hello.launch if self.hello is not None else 0

    @property
    def pid(self) -> int:
        """Of the process; 0 before its Hello."""
        return self.hello.pid if self.hello is not None else 0

    def execute(self, job: Job) -> bool:
        """Give it a request. Returns whether it takes it.

        Raises WorkerProtocolError for a request that no frame can hold.
        """
        request = Request(
            job.number, job.client_id, job.request_id, job.parent_id, job.deadline_ns, job.body, job.http, job.invoked
        )
        if not self._send(encode(request)):
            return False
        job.flow = JobFlow(self, self._owner, job)
        if job.body is None:
            self.sending = job
            job.client.body_wanted(True)
        return True

    def configure(self, configuration: dict[str, Any]) -> None:
        """Give a worker the component's configuration as it is now."""
        self._write(Configure(configuration))

    def want(self, count: int) -> None:
        """Tell a supervisor how many workers to keep."""
        self._write(Workers(count))

    def end(self, pid: int) -> None:
        """Tell a supervisor to kill a worker that is stuck."""
        self._write(End(pid))

    def shut_down(self) -> None:
        """Let it finish what it has and exit."""
        self._write(Shutdown())

    def body(self, job: Job, data: bytes, *, last: bool) -> None:
        """Pass a part of a request's body on."""
        if self.sending is job:
            if last:
                self.sending = None
            for start in range(0, max(len(data), 1), PART):
                part = data[start : start + PART]
                self._write(Body(job.number, last and start + PART >= len(data), part))

    def pause(self, job: Job) -> None:
        """Read no more of an answer for now."""
        if self.streaming is job and self._transport is not None:
            self._transport.pause_reading()

    def resume(self, job: Job) -> None:
        """Read on."""
        if self.streaming is job and self._transport is not None:
            self._transport.resume_reading()

    def cancel(self, job: Job) -> None:
        """Tell it that nobody waits for an answer any more."""
        self.resume(job)
        self.forget(job)
        self._write(Cancel(job.number))

    def forget(self, job: Job) -> None:
        """This job's client wants nothing more of this worker."""
        if self.streaming is job:
            self.streaming = None
        if self.sending is job:
            self.sending = None

    def disconnect(self) -> None:
        """Close the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _write(self, frame: Frame) -> None:
        self._send(encode(frame))

    def _send(self, data: bytes) -> bool:
        """Returns whether the process will have it, unless it ends before."""
        transport = self._transport
        if transport is None:
            return False
        if not transport.get_write_buffer_size():
            # Not by the transport, which does not tell that the other side reads no more.
            try:
                sent = os.write(self._descriptor, data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return False  # it leaves or has gone, which `connection_lost` will say
            if sent == len(data):
                return True
            data = data[sent:]
        transport.write(data)
        return True

    def _take(self, frame: Frame) -> None:
        kind = type(frame)
        if kind is Response and self.hello is not None:
            self._owner.responded(self, cast(Response, frame))
        elif self.hello is None:
            if kind is not Hello:
                raise WorkerProtocolError(f"unexpected {kind.__name__.lower()} frame")
            hello = cast(Hello, frame)
            if hello.pid != self._peer:  # it may be killed by that number
                raise WorkerProtocolError(f"process {self._peer} says that it is {hello.pid}")
            self.hello = hello
            log.info("%s %d of launch %d has joined", self.hello.role, self.hello.pid, self.hello.launch)
            self._owner.connected(self)
        elif kind is ResponseEnd:
            self._owner.responded(self, cast(ResponseEnd, frame))
        elif kind is ResponseBody:
            body = cast(ResponseBody, frame)
            if self.streaming is not None and self.streaming.number == body.id:
                self.streaming.client.part(body.data)
        elif kind is ResponseHead:
            self.streaming = self._owner.began(self, cast(ResponseHead, frame))
        elif kind is Ready and self.hello.role == "worker":
            self._owner.ready(self)
        else:
            raise WorkerProtocolError(f"unexpected {kind.__name__.lower()} frame")


class JobFlow:
    """A worker's end of a job, for the client (`job.Flow`). What comes after the job's end does nothing."""

    __slots__ = ("_job", "_owner", "_worker")

    def __init__(self, worker: WorkerConnection, owner: Owner, job: Job) -> None:
        self._worker = worker
        self._owner = owner
        self._job = job

    def pause(self) -> None:
        """Take no further parts of the answer from the worker for now: it blocks."""
        self._worker.pause(self._job)

    def resume(self) -> None:
        """Take them again."""
        self._worker.resume(self._job)

    def body(self, data: bytes, *, last: bool) -> None:
        """The next part of a streamed request body."""
        self._worker.body(self._job, data, last=last)
        if last:
            self._owner.whole(self._job)

    def cancel(self) -> None:
        """The client has gone: the worker should stop."""
        if self._owner.cancelled(self._job):
            self._worker.cancel(self._job)
