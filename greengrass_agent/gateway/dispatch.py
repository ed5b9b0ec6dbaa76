"""Which request goes to which worker, and when one has waited too long. Pure: time is passed in.

Workers belong to launches, the starts of the component's script. One launch is served: new work goes to its workers.
Those of an earlier one are retired: they finish what they have. Those of a later one wait until it is served.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

from greengrass_agent.gateway.deadlines import Deadlines
from greengrass_agent.gateway.job import Answer, Job
from greengrass_agent.gateway.waiting import Waiting
from greengrass_agent.measure.metrics import ServiceTime
from greengrass_agent.measure.queue_page import QueueNumbers
from hitless.wire.worker_frames import Response, ResponseEnd, ResponseHead

STUCK_AFTER_NS = 1_000_000_000
"""A worker that has not answered so long after the time limit will not."""
STALLED_NS = 1_000_000_000
STALLED_TIMES = 8
"""Workers that have all been at work for so long, and for so many times the service time, take no new work."""
CLIENT_GONE = 499
"""In the execution log: the client left without an answer. (No RFC has a status for it; nginx calls it this.)"""


@dataclass(slots=True)
class Limits:
    """What the component's configuration says of its queue; may be replaced at any time."""

    concurrency: int
    """Requests executed at a time, if there are as many workers."""
    queue_limit: int
    timeout_ns: int
    """A request's time limit, also if its client would wait longer."""
    idempotent: bool = False
    """Whether a request whose worker died may be executed again."""


@dataclass(slots=True)
class Execution:
    """A request's fate, as the execution log has it; started and finished are 0 if no worker finished it."""

    job: Job
    started_ns: int
    finished_ns: int
    status: int
    """What the client was told."""


Worker = TypeVar("Worker", bound=Hashable)
"""Whatever stands for a connected worker."""


class Dispatcher(Generic[Worker]):
    """The queue of one instance and its workers.

    What a method returns as executions has left; workers that it returns are to be shut down. `assign` says afterwards
    what to send.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.served = 0
        """The launch that new work goes to; 0 is that of workers that nobody has numbered."""
        self.suspended: str | None = None
        """Why requests are refused at once; None: they are not."""
        self.service_time = ServiceTime()
        self.failing = False
        """Whether the health checks of the instance fail."""
        self.stalled = False
        """Whether work waits and no worker takes any, as it was when `look` looked last."""
        self._retired: set[int] = set()
        self._launches: dict[Worker, int] = {}
        """Workers that are warm and not shut down."""
        self._waiting = Waiting()
        self._idle: deque[Worker] = deque()
        """Of the launch that is served."""
        self._running: dict[Worker, Job] = {}
        """Of the launch that is served, in the order in which they got their requests."""
        self._leaving: dict[Worker, Job] = {}
        """Workers that leave with their answer."""
        self._started: dict[Worker, int] = {}
        """When the handler began on an answer that comes in parts."""
        self._deadlines = Deadlines()
        """By job number: first of the client, then of the worker."""
        self.next_deadline = self._deadlines.next
        """When `expire` has something to do next."""
        self._workers_of: dict[int, Worker] = {}
        """By the number of the job that they have."""
        self._jobs: dict[int, Job] = {}
        """Those that wait or are executed."""
        self._numbers = 0

    def submit(self, job: Job) -> Execution | None:
        """Take a request. Returns the end of that which is refused, if one has to be."""
        if self.suspended is not None:
            return self._refuse(job, self.suspended)
        self._numbers = job.number = self._numbers + 1
        self._jobs[job.number] = job
        self._deadlines.set(job.number, job.deadline_ns)
        refused = self._waiting.add(job, self.limits.queue_limit)
        if refused is None:
            return None
        self._forget(refused)
        return self._refuse(refused, f"queue of {self.limits.queue_limit} requests is full")

    def ready(self, worker: Worker, launch: int) -> list[Worker]:
        """A worker is warm."""
        if worker in self._launches:
            return []
        if self.retired(launch) or (launch == self.served and self._serving() >= self.limits.concurrency):
            return [worker]
        self._launches[worker] = launch
        if launch == self.served:
            self._idle.append(worker)
        return []

    def retired(self, launch: int) -> bool:
        """Whether a launch gets no more work."""
        return launch in self._retired or launch < self.served

    def serve(self, launch: int) -> list[Worker]:
        """New work goes to this launch from now on."""
        if launch == self.served:
            return []
        self._retired.add(self.served)
        self._retired.discard(launch)
        self.served = launch
        self._leaving.update(self._running)
        self._running.clear()
        gone = [one for one, own in self._launches.items() if self.retired(own) and one not in self._leaving]
        for worker in gone:
            del self._launches[worker]
        self._idle = deque(one for one, own in self._launches.items() if own == launch and one not in self._leaving)
        return gone + self.trim()

    def trim(self) -> list[Worker]:
        """Let go of workers beyond the concurrency; busy ones leave with their answer."""
        gone: list[Worker] = []
        surplus = self._serving() - self.limits.concurrency
        while surplus > 0 and self._idle:
            gone.append(self._idle.pop())
            del self._launches[gone[-1]]
            surplus -= 1
        for worker in list(self._running)[: max(0, surplus)]:
            self._leaving[worker] = self._running.pop(worker)
        return gone

    def suspend(self, reason: str | None) -> list[Execution]:
        """Refuse what waits and what comes, for this reason; None: no longer."""
        self.suspended = reason
        if reason is None:
            return []
        refused = self._waiting.clear()
        for job in refused:
            self._forget(job)
        return [self._refuse(job, reason) for job in refused]

    def assign(self, now_ns: int) -> list[tuple[Worker, Job]]:
        """The requests to send now, each with its worker."""
        idle, waiting = self._idle, self._waiting
        if not idle or not waiting:
            return []
        assigned = []
        while idle and waiting:
            worker, job = idle.popleft(), waiting.take()
            job.dispatched_ns = now_ns
            self._running[worker] = job
            self._workers_of[job.number] = worker
            if job.body is None:
                # Its time is counted from the last byte of the body, and how long that may take is the server's matter.
                self._deadlines.clear(job.number)
            assigned.append((worker, job))
        return assigned

    def unsent(self, worker: Worker, job: Job) -> list[Worker]:
        """A request that was assigned cannot be sent to any worker. Returns workers that leave."""
        self._forget(job)
        return self._free(worker)

    def refused(self, worker: Worker, job: Job) -> Execution | None:
        """A worker takes no more requests: this one waits for another. Returns its end if it does not."""
        del self._running[worker]
        del self._launches[worker]
        del self._workers_of[job.number]
        if self.suspended is not None:
            self._forget(job)
            return self._refuse(job, self.suspended)
        self._deadlines.set(job.number, job.deadline_ns)
        self._waiting.put_back(job)
        return None

    def job_of(self, worker: Worker) -> Job | None:
        """The request that a worker has."""
        return self._running.get(worker) or self._leaving.get(worker)

    def whole(self, job: Job, now_ns: int) -> None:
        """The last byte of a streamed body has come."""
        if job.number in self._jobs and not job.answered:
            job.deadline_ns = now_ns + self.limits.timeout_ns
            self._deadlines.set(job.number, job.deadline_ns)

    def began(self, worker: Worker, head: ResponseHead) -> Job | None:
        """A worker begins an answer that comes in parts. Returns the request; None if its client does not get them."""
        job = self.job_of(worker)
        if job is None or job.number != head.id or worker in self._started:
            return None
        self._started[worker] = head.started_ns
        if not job.begin(head.status, head.headers):
            return None
        self._deadlines.clear(job.number)
        return job

    def cancelled(self, job: Job, now_ns: int) -> bool:
        """The client has gone. Returns whether a worker is to be told; without an answer in time, it is stuck."""
        if job.number not in self._workers_of:
            return False
        if not job.answered:
            job.answered, job.status = True, CLIENT_GONE
        self._deadlines.set(job.number, now_ns + self.limits.timeout_ns + STUCK_AFTER_NS)
        return True

    def freed(self, worker: Worker, end: Response | ResponseEnd) -> tuple[Job | None, list[Worker]]:
        """A worker has answered, or ended an answer in parts, and can have its next request.

        Returns the job that `done` is to be told of; none if nobody had asked for that answer.
        """
        job = self._running.get(worker) or self._leaving.get(worker)
        if job is None or job.number != end.id:
            return None, []
        started_ns = end.started_ns if type(end) is Response else self._started.pop(worker, end.finished_ns)
        job.started_ns = started_ns
        self.service_time.add(min(max(0, end.finished_ns - started_ns), self.limits.timeout_ns))
        self._forget(job)
        return job, self._free(worker)

    def _free(self, worker: Worker) -> list[Worker]:
        """A worker has nothing to do any more. Returns it if it leaves."""
        if self._running.pop(worker, None) is not None:
            self._idle.append(worker)
            return []
        del self._leaving[worker]
        del self._launches[worker]
        return [worker]

    def done(self, job: Job, end: Response | ResponseEnd) -> Execution:
        """Tell the client of a job its whole answer; one in parts was told before."""
        if isinstance(end, Response):
            job.conclude(Answer(end.status, end.body, end.headers))
        else:
            job.conclude(Answer(502, b"the function's worker ended an answer that it had not begun"))
        return Execution(job, job.started_ns, end.finished_ns, job.status)

    def left(self, worker: Worker, now_ns: int) -> Execution | None:
        """A worker has gone. Returns the end of the request that it had, if it is not executed again."""
        job = self._running.pop(worker, None) or self._leaving.pop(worker, None)
        if self._launches.pop(worker, None) == self.served and job is None:
            self._idle.remove(worker)
        began = self._started.pop(worker, None) is not None
        if job is None:
            return None
        self._workers_of.pop(job.number, None)
        repeatable = self.limits.idempotent and job.body is not None and not job.again
        if repeatable and not job.answered and job.deadline_ns > now_ns and self.suspended is None:
            job.again = True
            self._waiting.put_back(job)
            return None
        self._forget(job)
        reason = "the function's worker ended while it had the request"
        if began:
            job.client.broken(reason)
        job.conclude(Answer(502, reason.encode(), {"content-type": "text/plain"}))
        return Execution(job, 0, 0, job.status)

    def expire(self, now_ns: int) -> tuple[list[Execution], list[Worker]]:
        """Answer requests whose time is up. Returns those that leave the queue, and workers that are stuck."""
        expired, stuck = [], []
        for number in self._deadlines.due(now_ns):
            job, worker = self._jobs[number], self._workers_of.get(number)
            if worker is None:
                self._waiting.remove(job)
                del self._jobs[number]
                job.conclude(_late("waited for a worker"))
                expired.append(Execution(job, 0, 0, job.status))
                continue
            kill_ns = max(job.dispatched_ns + self.limits.timeout_ns, job.deadline_ns) + STUCK_AFTER_NS
            if not job.answered:
                job.conclude(_late("was executed"))
                self._deadlines.set(number, max(kill_ns, now_ns))
            else:
                stuck.append(worker)
        return expired, stuck

    def look(self, now_ns: int) -> bool:
        """Look whether the workers still take work; returns whether that has changed.

        They do not if work waits, none is free, and the one that was given a request last has had it for longer than
        any should take: whether they hang, were stopped or starve. What waited may leave unserved; they are at work
        again only when one of them has answered, or another has come.
        """
        latest = next(reversed(self._running.values()), None)
        waits = self.stalled or len(self._waiting) > 0
        # Parts that come are a sign of life, and how fast a client sends its body is not the worker's doing.
        lives = bool(self._idle) or any(
            worker in self._started or job.body is None for worker, job in self._running.items()
        )
        stalled = latest is not None and waits and not lives and now_ns - latest.dispatched_ns >= self._patience_ns
        before, self.stalled = self.stalled, stalled
        return stalled is not before

    @property
    def workers(self) -> dict[int, int]:
        """How many workers each launch has that are warm."""
        counts: dict[int, int] = {}
        for launch in self._launches.values():
            counts[launch] = counts.get(launch, 0) + 1
        return counts

    @property
    def empty(self) -> bool:
        """Whether there is nothing left to do."""
        return not self._jobs

    def numbers(self, *, draining: bool, received: int) -> QueueNumbers:
        """The queue in numbers, with those two that are not its own."""
        running = self._running or self._leaving
        oldest = next(iter(running.values())).dispatched_ns if running else 0
        serving = self._serving()
        return QueueNumbers(
            queue_depth=len(self._waiting),
            in_flight=len(self._running) + len(self._leaving),
            concurrency=serving,
            ready=serving > 0 and self.suspended is None and not self.stalled and not self.failing,
            draining=draining,
            service_time_ns=int(self.service_time.average_ns),
            oldest_start_ns=oldest,
            received=received,
        )

    @property
    def _patience_ns(self) -> int:
        return max(STALLED_NS, min(STALLED_TIMES * int(self.service_time.average_ns), self.limits.timeout_ns))

    def _serving(self) -> int:
        return len(self._idle) + len(self._running)

    def _forget(self, job: Job) -> None:
        del self._jobs[job.number]
        self._workers_of.pop(job.number, None)
        self._deadlines.clear(job.number)

    def _refuse(self, job: Job, reason: str) -> Execution:
        job.conclude(Answer(503, reason.encode(), {"content-type": "text/plain", "retry-after": "1"}))
        return Execution(job, 0, 0, job.status)


def _late(when: str) -> Answer:
    return Answer(504, f"the deadline passed while the request {when}".encode(), {"content-type": "text/plain"})
