"""One instance's gateway: queue, servers, workers, shared numbers and log put together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from greengrass_agent.gateway.dispatch import Dispatcher, Execution, Limits
from greengrass_agent.gateway.executions import ExecutionLog
from greengrass_agent.gateway.heartbeat import Heartbeat
from greengrass_agent.gateway.http.server import HttpServer
from greengrass_agent.gateway.job import Answer, Job
from greengrass_agent.gateway.sealed import SealedEvents
from greengrass_agent.gateway.settings import Configure, GatewaySettings, Role, Status
from greengrass_agent.gateway.udp import UdpServer
from greengrass_agent.gateway.workers import WorkerConnection
from greengrass_agent.measure.queue_page import Page
from hitless.alarm import Alarm
from hitless.wire.worker_frames import Response, ResponseEnd, ResponseHead, WorkerProtocolError

log = logging.getLogger(__name__)

PUBLISH_S = 0.001
"""So long after a change the queue's numbers are shared, once for all changes until then."""
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
_NEVER = 1 << 64


class Gateway:
    """The gateway of an instance; `tell` is called with what the agent should know."""

    def __init__(self, settings: GatewaySettings, configure: Configure, tell: Callable[[Status], None]) -> None:
        self._settings = settings
        self._current = configure
        """Of the launch that is served, and of those that have none of their own."""
        self._prepared: dict[int, Configure] = {}
        """Of launches that are to be served later."""
        self._tell = tell
        self._told: dict[int, int] = {}
        self._role = Role()
        self._dispatcher: Dispatcher[WorkerConnection] = Dispatcher(_limits(configure))
        self._received = 0
        """Pieces of new work that came since start, as the switch counts what it sent: requests, refused ones included;
        over TCP connections, whose later requests are not steered."""
        self._workers: set[WorkerConnection] = set()
        self._supervisors: set[WorkerConnection] = set()
        path = settings.execution_log
        self._log = None if path is None else ExecutionLog(path, settings.service, settings.node)
        self._sealed = SealedEvents(settings.service, settings.invoke_key)
        self._page = Page(Path(settings.page), create=True)
        self._emitter = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._emitter.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._alarm = Alarm(self._expire)
        self._alarm_ns = _NEVER
        """What the alarm is set to."""
        self._publishing = False
        self._heartbeat = Heartbeat(settings.idle_interval_ms * NS_PER_MS, time.monotonic_ns())
        self._beating: asyncio.TimerHandle | None = None
        self.udp = UdpServer(settings.service_id, self._timeout_ns, self._submit_new)
        self.http = HttpServer(settings.node, self._timeout_ns, self._submit, self._count)
        self.http.streamed = configure.streamed
        self._worker_server: asyncio.Server | None = None
        self._finishing = False
        self._finished = asyncio.Event()
        self._closed = False

    async def open(self) -> None:
        """Listen for workers and clients. Raises OSError, naming the address."""
        settings = self._settings
        path = Path(settings.worker_socket)
        path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        self._worker_server = await loop.create_unix_server(self._worker, path)
        path.chmod(0o666)  # workers have a user of their own; who may see its folder is decided by the agent
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
        self._beat()

    async def run(self) -> None:
        """Wait until all is finished, after `finish`."""
        await self._finished.wait()
        await self.http.settled()
        self._tell_status(finished=True)

    async def finish(self) -> None:
        """Take nothing new; `run` returns when what is here has been answered."""
        self.udp.pause()
        await self.http.pause()
        self._finishing = True
        self._changed()

    async def close(self) -> None:
        """Close everything."""
        self._closed = True
        if self._worker_server is not None:
            self._worker_server.close()
        self.udp.close()
        await self.http.close()
        self._alarm.cancel()
        if self._beating is not None:
            self._beating.cancel()
        if self._log is not None:
            self._log.close()
        self._emitter.close()
        self._page.close()

    def configure(self, configure: Configure) -> None:
        """Take a changed configuration; workers have it from their next request on."""
        if configure.launch is None or configure.launch == self._dispatcher.served:
            self._apply(configure)
        elif not self._dispatcher.retired(configure.launch):
            self._prepared[configure.launch] = configure
        for worker in self._workers:
            if not self._dispatcher.retired(worker.launch):
                worker.configure(self._configured(worker).configuration)
        for supervisor in self._supervisors:
            if not self._dispatcher.retired(supervisor.launch):
                supervisor.want(self._configured(supervisor).concurrency)
        self._shut_down(self._dispatcher.trim())
        self._changed(notify=True)

    def serve(self, launch: int) -> None:
        """Give new work to this launch from now on, and let those before it go."""
        log.info("launch %d serves", launch)
        prepared = self._prepared.pop(launch, None)
        if prepared is not None:
            self._apply(prepared)
        self._shut_down(self._dispatcher.serve(launch))
        self._prepared = {number: one for number, one in self._prepared.items() if not self._dispatcher.retired(number)}
        for supervisor in self._supervisors:
            if self._dispatcher.retired(supervisor.launch):
                supervisor.shut_down()
        self._changed(notify=True)

    def suspend(self, reason: str | None) -> None:
        """Refuse requests for this reason; None: no longer."""
        for execution in self._dispatcher.suspend(reason):
            self._note(execution)
        self._changed(notify=True)

    def take_role(self, role: Role) -> None:
        """Take what the controller wants of the instance, and let the switch know at once."""
        changed = role.draining != self._role.draining
        self._role = role
        self.http.closing = role.closes_connections
        self._publish(notify=changed)

    def checked(self, *, failing: bool) -> None:
        """Take what came of the health checks."""
        self._dispatcher.failing = failing
        self._publish(notify=True)

    def connected(self, connection: WorkerConnection) -> None:
        """Tell a worker the configuration, a supervisor how many workers are wanted."""
        retired = self._dispatcher.retired(connection.launch)
        if connection.hello is not None and connection.hello.role == "supervisor":
            self._supervisors.add(connection)
            if retired:
                connection.shut_down()
            else:
                connection.want(self._configured(connection).concurrency)
        elif retired:
            connection.shut_down()
        else:
            self._workers.add(connection)
            connection.configure(self._configured(connection).configuration)

    def ready(self, connection: WorkerConnection) -> None:
        """Give a warm worker requests, if its launch is served."""
        self._shut_down(self._dispatcher.ready(connection, connection.launch))
        self._changed(notify=True)

    def began(self, connection: WorkerConnection, head: ResponseHead) -> Job | None:
        """Let the client of an answer in parts have its beginning."""
        job = self._dispatcher.began(connection, head)
        if job is None and (late := self._dispatcher.job_of(connection)) is not None:
            connection.cancel(late)
        return job

    def responded(self, connection: WorkerConnection, end: Response | ResponseEnd) -> None:
        """Let the client have its answer, and the worker its next request."""
        streaming = connection.streaming
        if streaming is not None and streaming.number == end.id and isinstance(end, ResponseEnd):
            if end.failure:
                streaming.client.broken(end.failure)
            else:
                streaming.client.end()
        job, leaving = self._dispatcher.freed(connection, end)
        if job is not None:
            connection.forget(job)
            # Its next request first: the worker executes that one while the client of this one is answered.
            self._assign(time.monotonic_ns())
            self._ended(self._dispatcher.done(job, end))
        if leaving:
            self._shut_down(leaving)
        self._noticed()

    def whole(self, job: Job) -> None:
        """Count a request's time limit from now on: its body is complete."""
        self._dispatcher.whole(job, time.monotonic_ns())
        self._changed()

    def cancelled(self, job: Job) -> bool:
        """Give a worker the time limit to stop."""
        told = self._dispatcher.cancelled(job, time.monotonic_ns())
        self._changed()
        return told

    def left(self, connection: WorkerConnection) -> None:
        """Answer for a worker that has gone."""
        self._workers.discard(connection)
        self._supervisors.discard(connection)
        if self._closed:
            return
        execution = self._dispatcher.left(connection, time.monotonic_ns())
        if execution is not None:
            connection.forget(execution.job)
            self._ended(execution)
        self._changed(notify=True)

    def _apply(self, configure: Configure) -> None:
        self._current = configure
        self._dispatcher.limits = _limits(configure)
        self.http.streamed = configure.streamed

    def _configured(self, connection: WorkerConnection) -> Configure:
        return self._prepared.get(connection.launch, self._current)

    def _timeout_ns(self) -> int:
        return self._dispatcher.limits.timeout_ns

    def _count(self) -> None:
        self._received += 1

    def _submit_new(self, job: Job) -> None:
        self._count()
        self._submit(job)

    def _submit(self, job: Job) -> None:
        if self._sealed.refuses(job):
            self._note(Execution(job, 0, 0, job.status))
            return
        refused = self._dispatcher.submit(job)
        if refused is not None:
            self._note(refused)
        self._changed()

    def _changed(self, *, notify: bool = False) -> None:
        """Send what can be sent, and let everyone know how things are."""
        dispatcher = self._dispatcher
        now_ns = time.monotonic_ns()
        self._assign(now_ns)
        deadline_ns = dispatcher.next_deadline()
        if deadline_ns is not None and deadline_ns < self._alarm_ns:
            self._alarm_ns = deadline_ns
            self._alarm.set(deadline_ns / NS_PER_S, now_ns / NS_PER_S)
        if notify:
            self._publish(notify=True)
            workers = dispatcher.workers
            if workers != self._told:
                self._told = workers
                self._tell_status()
        self._noticed()

    def _noticed(self) -> None:
        """Let everyone know in a moment how things are."""
        if not self._publishing:
            self._publishing = True
            self._loop.call_later(PUBLISH_S, self._publish)
        if self._finishing and self._dispatcher.empty:
            self._finished.set()

    def _assign(self, now_ns: int) -> None:
        for worker, job in self._dispatcher.assign(now_ns):
            try:
                if worker.execute(job):
                    continue
                refused = self._dispatcher.refused(worker, job)
                if refused is not None:
                    self._note(refused)
                self._loop.call_soon(self._changed)
            except WorkerProtocolError as error:
                leaving = self._dispatcher.unsent(worker, job)
                job.conclude(Answer(400, f"no worker can be given this request: {error}".encode()))
                self._note(Execution(job, 0, 0, job.status))
                self._shut_down(leaving)
                self._loop.call_soon(self._changed)

    def _expire(self) -> None:
        self._alarm_ns = _NEVER
        refused, stuck = self._dispatcher.expire(time.monotonic_ns())
        for execution in refused:
            self._note(execution)
        for worker in stuck:
            self._end(worker)
        self._changed()

    def _end(self, worker: WorkerConnection) -> None:
        log.error("worker %d has not answered within the time limit: it is ended", worker.pid)
        supervisors = [one for one in self._supervisors if one.launch == worker.launch]
        for supervisor in supervisors:
            supervisor.end(worker.pid)
        if not supervisors:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)

    def _shut_down(self, workers: list[WorkerConnection]) -> None:
        for worker in workers:
            worker.shut_down()

    def _worker(self) -> WorkerConnection:
        return WorkerConnection(self)

    def _ended(self, execution: Execution) -> None:
        execution.job.flow = None  # no circle is left to be collected
        self._note(execution)

    def _note(self, execution: Execution) -> None:
        if self._log is not None:
            self._log.add(execution)

    def _tell_status(self, *, finished: bool = False) -> None:
        self._tell(Status(workers=self._dispatcher.workers, finished=finished, stalled=self._dispatcher.stalled))

    def _beat(self) -> None:
        """Say that the loop turns, and look whether the workers do."""
        dispatcher, heartbeat, now_ns = self._dispatcher, self._heartbeat, time.monotonic_ns()
        self._page.hold(heartbeat.beat(now_ns, dispatcher.service_time.samples, empty=dispatcher.empty))
        if heartbeat.in_time and dispatcher.look(now_ns):
            self._publish(notify=True)
            self._tell_status()
        self._beating = self._loop.call_later((heartbeat.next_ns - now_ns) / NS_PER_S, self._beat)

    def _publish(self, *, notify: bool = False) -> None:
        self._publishing = False
        if self._closed:
            return
        numbers = self._dispatcher.numbers(draining=self._role.draining, received=self._received)
        if self._page.write(numbers) or notify:
            # No emitter, or one that has notifications enough: the report on schedule will do.
            with contextlib.suppress(OSError):
                self._emitter.sendto(self._settings.service.encode(), self._settings.notify_socket)


def _limits(configure: Configure) -> Limits:
    return Limits(configure.concurrency, configure.queue_limit, configure.timeout_ms * NS_PER_MS, configure.idempotent)
