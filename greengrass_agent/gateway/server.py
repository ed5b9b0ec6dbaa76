"""One instance's gateway: queue, servers, workers, shared numbers and log put together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from greengrass_agent.gateway.dispatch import Dispatcher, Execution
from greengrass_agent.gateway.executions import FLUSH_S, ExecutionLog
from greengrass_agent.gateway.http.server import HttpServer
from greengrass_agent.gateway.job import Job
from greengrass_agent.gateway.settings import Configure, GatewaySettings, Role, Status
from greengrass_agent.gateway.udp import UdpServer
from greengrass_agent.gateway.workers import WorkerConnection
from greengrass_agent.measure.queue_page import Page
from hitless.steering.arithmetic import U32
from hitless.wire.worker_frames import Request, Response

log = logging.getLogger(__name__)

WAKING_GROWTH = 4
"""Requests by which the queue must have grown beyond the last report to be reported at once."""
TICK_S = 0.01
"""How exactly deadlines are kept."""
NS_PER_MS = 1_000_000


class Gateway:
    """The gateway of an instance; `tell` is called with what the agent should know."""

    def __init__(self, settings: GatewaySettings, configure: Configure, tell: Callable[[Status], None]) -> None:
        self._settings = settings
        self._configuration: dict[str, Any] = configure.configuration
        self._tell = tell
        self._role = Role()
        self._dispatcher: Dispatcher[WorkerConnection] = Dispatcher(
            configure.concurrency, configure.queue_limit, configure.timeout_ms * NS_PER_MS
        )
        self._received = 0
        """Pieces of new work that came since start, as the switch counts what it sent: requests, refused ones included;
        over TCP connections, whose later requests are not steered."""
        self._workers: set[WorkerConnection] = set()
        self._log = ExecutionLog(Path(settings.execution_log), settings.service, settings.node)
        self._page = Page(Path(settings.page), create=True)
        self._emitter = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._emitter.setblocking(False)
        self.udp = UdpServer(settings.service_id, self._timeout_ns, self._submit_new)
        self.http = HttpServer(settings.node, self._timeout_ns, self._submit, self._count)
        self.http.streamed = configure.streamed
        self._worker_server: asyncio.Server | None = None
        self._finishing = False
        self._closed = False
        self._flushed = 0.0

    async def open(self) -> None:
        """Listen for workers and clients. Raises OSError, naming the address."""
        settings = self._settings
        path = Path(settings.worker_socket)
        path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._worker_server = await loop.create_unix_server(self._worker, path)
        try:
            if "udp" in settings.protocols:
                self.udp.open(settings.addresses, settings.port)
            if "tcp" in settings.protocols:
                await self.http.open(settings.addresses, settings.port)
        except OSError as error:
            where = " and ".join(settings.addresses)
            raise OSError(
                error.errno, f"service {settings.service} at {where} port {settings.port}: {error}"
            ) from error

    async def run(self) -> None:
        """Keep deadlines and the log until all is finished (after `finish`), or cancelled."""
        while not (self._finishing and self._dispatcher.empty):
            now = time.monotonic_ns()
            refused, stuck = self._dispatcher.expire(now)
            for execution in refused:
                self._log.add(execution)
            for worker in stuck:
                worker.kill()
            if refused:
                self._publish()
            self._flush(now / 1e9)
            await asyncio.sleep(TICK_S)
        await self.http.settled()
        self._log.flush()
        self._tell(Status(workers={0: self._dispatcher.workers}, finished=True))

    async def finish(self) -> None:
        """Take nothing new; `run` returns when what is here has been answered."""
        self.udp.pause()
        await self.http.pause()
        self._finishing = True

    async def close(self) -> None:
        """Close everything."""
        self._closed = True
        if self._worker_server is not None:
            self._worker_server.close()
        self.udp.close()
        await self.http.close()
        self._log.close()
        self._emitter.close()
        self._page.close()

    def configure(self, configure: Configure) -> None:
        """Take a changed configuration; workers have it from their next request on."""
        self._configuration = configure.configuration
        self.http.streamed = configure.streamed
        self._dispatcher.concurrency = configure.concurrency
        self._dispatcher.queue_limit = configure.queue_limit
        self._dispatcher.timeout_ns = configure.timeout_ms * NS_PER_MS
        for worker in self._workers:
            worker.configure()
        self._dispatch()

    def take_role(self, role: Role) -> None:
        """Take what the controller wants of the instance, and let the switch know at once."""
        changed = role.draining != self._role.draining
        self._role = role
        self.http.closing = role.closes_connections
        self._publish(notify=changed)

    def _timeout_ns(self) -> int:
        return self._dispatcher.timeout_ns

    def _count(self) -> None:
        self._received += 1

    def _submit_new(self, job: Job) -> None:
        self._count()
        self._submit(job)

    def _submit(self, job: Job) -> None:
        refused = self._dispatcher.submit(job)
        if refused is not None:
            self._log.add(refused)
        self._dispatch()

    def _dispatch(self) -> None:
        for worker, job in self._dispatcher.assign(time.monotonic_ns()):
            left_ms = max(0, job.deadline_ns - job.dispatched_ns) // NS_PER_MS
            worker.send(
                Request(
                    job.number,
                    job.client_id,
                    job.request_id,
                    job.parent_id,
                    min(left_ms, U32),
                    job.body or b"",
                    job.http,
                )
            )
        self._publish()

    def _worker(self) -> WorkerConnection:
        return WorkerConnection(lambda: self._configuration, self._joined, self._responded, self._left)

    def _joined(self, worker: WorkerConnection) -> None:
        self._workers.add(worker)
        self._dispatcher.joined(worker)
        self._dispatch()
        self._publish(notify=True)
        self._tell(Status(workers={0: self._dispatcher.workers}))

    def _responded(self, worker: WorkerConnection, response: Response) -> None:
        self._note(self._dispatcher.done(worker, response))
        self._dispatch()

    def _left(self, worker: WorkerConnection) -> None:
        self._workers.discard(worker)
        if self._closed:
            return
        self._note(self._dispatcher.left(worker))
        self._publish(notify=True)
        self._tell(Status(workers={0: self._dispatcher.workers}))

    def _note(self, execution: Execution | None) -> None:
        if execution is not None:
            self._log.add(execution)

    def _publish(self, *, notify: bool = False) -> None:
        numbers = self._dispatcher.numbers(draining=self._role.draining, received=self._received)
        self._page.write(numbers)
        if notify or numbers.queue_depth >= self._page.reported() + WAKING_GROWTH:
            # No emitter, or one that has notifications enough: the report on schedule will do.
            with contextlib.suppress(OSError):
                self._emitter.sendto(self._settings.service.encode(), self._settings.notify_socket)

    def _flush(self, now: float) -> None:
        if now - self._flushed >= FLUSH_S:
            self._flushed = now
            self._log.flush()
