"""The gateway's queue: which request goes to which worker, and when one has waited too long. Pure: time is passed in.

First come, first served, with a bound; a request leaves the queue when a worker takes it or its deadline passes.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from greengrass_agent.gateway.job import Answer, Job
from greengrass_agent.measure.metrics import ServiceTime
from greengrass_agent.measure.queue_page import QueueNumbers
from hitless.wire.worker_frames import Response

STUCK_AFTER_NS = 1_000_000_000
"""A worker that has not answered so long after the time limit will not."""


@dataclass(frozen=True, slots=True)
class Execution:
    """A request's fate, as the execution log has it; started and finished are 0 if no worker finished it."""

    job: Job
    started_ns: int
    finished_ns: int
    status: int


Worker = TypeVar("Worker", bound=Hashable)
"""Whatever stands for a connected worker."""


class Dispatcher(Generic[Worker]):
    """The queue of one instance."""

    def __init__(self, concurrency: int, queue_limit: int, timeout_ns: int) -> None:
        self.concurrency = concurrency
        """Requests executed at a time, if there are as many workers."""
        self.queue_limit = queue_limit
        self.timeout_ns = timeout_ns
        """A request's time limit, also if its client would wait longer."""
        self.service_time = ServiceTime()
        self._queue: deque[Job] = deque()
        self._idle: deque[Worker] = deque()
        self._running: OrderedDict[Worker, Job] = OrderedDict()
        self._numbers = 0

    def submit(self, job: Job) -> Execution | None:
        """Take a request. Returns its end if it was refused because the queue is full."""
        if len(self._queue) >= self.queue_limit:
            job.conclude(Answer(503, f"queue of {self.queue_limit} requests is full".encode(), {"retry-after": "1"}))
            return Execution(job, 0, 0, 503)
        self._numbers += 1
        job.number = self._numbers
        self._queue.append(job)
        return None

    def joined(self, worker: Worker) -> None:
        """A worker can take requests."""
        self._idle.append(worker)

    def assign(self, now_ns: int) -> list[tuple[Worker, Job]]:
        """The requests to send now, each with its worker."""
        assigned = []
        while self._queue and self._idle and len(self._running) < self.concurrency:
            worker, job = self._idle.popleft(), self._queue.popleft()
            job.dispatched_ns = now_ns
            self._running[worker] = job
            assigned.append((worker, job))
        return assigned

    def done(self, worker: Worker, response: Response) -> Execution | None:
        """A worker has answered; None if it answered what nobody asked it."""
        job = self._running.get(worker)
        if job is None or job.number != response.id:
            return None
        del self._running[worker]
        self._idle.append(worker)
        self.service_time.add(max(0, response.finished_ns - response.started_ns))
        job.conclude(Answer(response.status, response.body, response.headers))
        return Execution(job, response.started_ns, response.finished_ns, job.status)

    def left(self, worker: Worker) -> Execution | None:
        """A worker has gone; returns the end of the request that it had."""
        job = self._running.pop(worker, None)
        if worker in self._idle:
            self._idle.remove(worker)
        if job is None:
            return None
        job.conclude(Answer(502, b"the function's worker ended while it had the request"))
        return Execution(job, 0, 0, 502)

    def expire(self, now_ns: int) -> tuple[list[Execution], list[Worker]]:
        """Answer requests whose time is up. Returns those that leave the queue, and workers that are stuck."""
        expired = [job for job in self._queue if job.deadline_ns <= now_ns]
        if expired:
            self._queue = deque(job for job in self._queue if job.deadline_ns > now_ns)
        for job in expired:
            job.conclude(Answer(504, b"the deadline passed while the request waited for a worker"))
        stuck = []
        for worker, job in self._running.items():
            if job.deadline_ns <= now_ns:
                job.conclude(Answer(504, b"the deadline passed while the request was executed"))
            if job.dispatched_ns + self.timeout_ns + STUCK_AFTER_NS <= now_ns:
                stuck.append(worker)
        return [Execution(job, 0, 0, 504) for job in expired], stuck

    @property
    def workers(self) -> int:
        """Workers that are connected."""
        return len(self._idle) + len(self._running)

    @property
    def empty(self) -> bool:
        """Whether there is nothing left to do."""
        return not self._queue and not self._running

    def numbers(self, *, draining: bool, received: int) -> QueueNumbers:
        """The queue in numbers, with those two that are not its own."""
        oldest = next(iter(self._running.values())).dispatched_ns if self._running else 0
        return QueueNumbers(
            queue_depth=len(self._queue),
            in_flight=len(self._running),
            concurrency=min(self.workers, self.concurrency),
            ready=self.workers > 0,
            draining=draining,
            service_time_ns=int(self.service_time.average_ns),
            oldest_start_ns=oldest,
            received=received,
        )
