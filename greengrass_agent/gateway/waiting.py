"""The requests that wait for a worker, shared fairly by those who sent them. Pure.

Sources take turns; within one, first come is first served. A full queue gives way to a newcomer whose source has fewer
waiting than another has: that one's newest is refused in its place.
"""

from __future__ import annotations

from collections import OrderedDict

from greengrass_agent.gateway.job import Job

_Jobs = OrderedDict[int, Job]
"""Of a source, by number, the oldest first."""


class Waiting:
    """A bounded queue. A job in it is known by its number. Each operation takes constant time, amortised."""

    def __init__(self) -> None:
        self._turns: OrderedDict[str, _Jobs] = OrderedDict()
        """Sources with something waiting, the next one first."""
        self._count = 0
        self._lengths: _Lengths | None = None
        """Kept from when the queue is full until it is half empty: a queue that is never full does not pay for it."""

    def __len__(self) -> int:
        return self._count

    def add(self, job: Job, limit: int) -> Job | None:
        """Append a job. Returns the one that is refused, this or another, if `limit` jobs are waiting already."""
        own = self._turns.get(job.source)
        victim = None
        if self._count >= limit:
            victim = self._give_way(0 if own is None else len(own))
            if victim is None:
                return job
        if own is None:
            own = self._turns[job.source] = OrderedDict()
        own[job.number] = job
        self._count += 1
        if self._lengths is not None:
            self._lengths.change(job.source, len(own) - 1, len(own))
        return victim

    def put_back(self, job: Job) -> None:
        """Put a job in front of all, whatever the limit."""
        own = self._turns.setdefault(job.source, OrderedDict())
        own[job.number] = job
        own.move_to_end(job.number, last=False)
        self._turns.move_to_end(job.source, last=False)
        self._count += 1
        if self._lengths is not None:
            self._lengths.change(job.source, len(own) - 1, len(own))

    def take(self) -> Job:
        """The next job. Raises KeyError when there is none."""
        source, own = self._turns.popitem(last=False)
        _, job = own.popitem(last=False)
        if own:
            self._turns[source] = own
        self._count -= 1
        if self._lengths is not None:
            self._shorter(self._lengths, source, len(own))
        return job

    def remove(self, job: Job) -> None:
        """Take a job out that waits. Raises KeyError when it does not."""
        own = self._turns[job.source]
        del own[job.number]
        if not own:
            del self._turns[job.source]
        self._count -= 1
        if self._lengths is not None:
            self._shorter(self._lengths, job.source, len(own))

    def clear(self) -> list[Job]:
        """Take all out."""
        jobs = [job for own in self._turns.values() for job in own.values()]
        self._turns.clear()
        self._count = 0
        self._lengths = None
        return jobs

    def _give_way(self, own: int) -> Job | None:
        """Take out the newest job of the source that has most, if it has more than `own`."""
        if self._lengths is None:
            self._lengths = _Lengths(self._turns, self._count)
        source = self._lengths.longest()
        if source is None or len(self._turns[source]) <= own:
            return None
        victim = next(reversed(self._turns[source].values()))
        self.remove(victim)
        return victim

    def _shorter(self, lengths: _Lengths, source: str, length: int) -> None:
        lengths.change(source, length + 1, length)
        if self._count <= lengths.full // 2:
            self._lengths = None


class _Lengths:
    """How many jobs each source has waiting, so that the one that has most is found at once."""

    def __init__(self, turns: OrderedDict[str, _Jobs], full: int) -> None:
        self.full = full
        """Jobs in the queue when this was made."""
        self._sources: dict[int, dict[str, None]] = {}
        """By how many they have."""
        self._most = 0
        for source, jobs in turns.items():
            self._sources.setdefault(len(jobs), {})[source] = None
            self._most = max(self._most, len(jobs))

    def change(self, source: str, before: int, now: int) -> None:
        """A source has one more, or one less."""
        if before:
            self._sources[before].pop(source)
            if not self._sources[before]:
                del self._sources[before]
        if now:
            self._sources.setdefault(now, {})[source] = None
        if now > self._most or (before == self._most and before not in self._sources):
            self._most = now

    def longest(self) -> str | None:
        """A source of which none has more."""
        return next(iter(self._sources[self._most]), None) if self._most else None
