"""The requests that wait for a worker, shared fairly by those who sent them. Pure.

Sources take turns; within one, first come is first served. A full queue gives way to a newcomer whose source has fewer
waiting than another has: that one's newest is refused in its place.
"""

from __future__ import annotations

from collections import OrderedDict

from greengrass_agent.gateway.job import Job


class Waiting:
    """A bounded queue. A job in it is known by its number."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, OrderedDict[int, Job]] = OrderedDict()
        """Sources with something waiting, the next one first; their jobs, the oldest first."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, job: Job, limit: int) -> Job | None:
        """Append a job. Returns the one that is refused, this or another, if `limit` jobs are waiting already."""
        own = self._turns.get(job.source)
        victim = None
        if self._count >= limit:
            longest = max(self._turns.values(), key=len, default=None)
            if longest is None or len(longest) <= (0 if own is None else len(own)):
                return job
            _, victim = longest.popitem()
            self._removed(victim)
        if own is None:
            own = self._turns[job.source] = OrderedDict()
        own[job.number] = job
        self._count += 1
        return victim

    def put_back(self, job: Job) -> None:
        """Put a job in front of all, whatever the limit."""
        own = self._turns.setdefault(job.source, OrderedDict())
        own[job.number] = job
        own.move_to_end(job.number, last=False)
        self._turns.move_to_end(job.source, last=False)
        self._count += 1

    def take(self) -> Job:
        """The next job. Raises KeyError when there is none."""
        source, own = self._turns.popitem(last=False)
        _, job = own.popitem(last=False)
        if own:
            self._turns[source] = own
        self._count -= 1
        return job

    def remove(self, job: Job) -> None:
        """Take a job out that waits. Raises KeyError when it does not."""
        del self._turns[job.source][job.number]
        self._removed(job)

    def clear(self) -> list[Job]:
        """Take all out."""
        jobs = [job for own in self._turns.values() for job in own.values()]
        self._turns.clear()
        self._count = 0
        return jobs

    def _removed(self, job: Job) -> None:
        self._count -= 1
        if not self._turns[job.source]:
            del self._turns[job.source]
