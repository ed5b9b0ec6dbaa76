"""One reported instance: its readings become reports."""

from __future__ import annotations

from typing import NamedTuple

from greengrass_agent.emitter.rest import NOTHING, Rest, Shares
from greengrass_agent.emitter.settings import Add, EmitterSettings
from greengrass_agent.emitter.trust import Trust
from greengrass_agent.host.cgroup import CgroupError, Usage
from greengrass_agent.host.waits import Waits
from greengrass_agent.logs.evidence import Rows
from greengrass_agent.measure.contention import Contention
from greengrass_agent.measure.metrics import PERMILLE, Share, backlog_us, saturated, service_interval_us
from greengrass_agent.measure.queue_page import Page, QueueNumbers
from hitless.steering.arithmetic import U32
from hitless.wire.report import Report, tagged

NS_PER_MS = 1_000_000
LOGGED = (
    *("ready", "draining", "cpu", "cpu_own", "memory", "queue_depth", "in_flight", "concurrency", "backlog"),
    *("service_interval", "received", "contention"),
)
"""What the log says of a report, beside which one it is."""
COLUMNS = ("epoch", "sequence", "emitted_ns", *LOGGED)
"""Of the log; a flag is 0 or 1."""


def report_of(
    numbers: QueueNumbers,
    now_ns: int,
    *,
    service_id: int,
    node_id: int,
    epoch: int,
    sequence: int,
    cpu: int,
    cpu_own: int,
    memory: int,
    contention: int,
) -> Report:
    """The report of an instance with these numbers at this time. cpu, cpu_own, memory and contention in permille."""
    return Report(
        service_id=service_id,
        node_id=node_id,
        epoch=epoch,
        sequence=sequence & U32,
        ready=numbers.ready,
        draining=numbers.draining,
        cpu=cpu,
        # Both are smoothed alike, but read one after the other: a share is never more than the whole.
        cpu_own=min(cpu_own, cpu),
        memory=memory,
        queue_depth=saturated("queue_depth", numbers.queue_depth),
        in_flight=saturated("in_flight", numbers.in_flight),
        concurrency=saturated("concurrency", numbers.concurrency),
        backlog=backlog_us(numbers, now_ns),
        service_interval=service_interval_us(numbers),
        received=numbers.received & U32,
        contention=contention,
    )


class Node(NamedTuple):
    """How the node is at one point of the schedule."""

    cpu: int
    """Use of its budget, permille."""
    memory: int
    """Use of its budget, permille."""
    felt: float
    """Share of what all instances want in which others keep them from it, 0 to 1."""


class Instance:
    """An instance under report."""

    def __init__(self, added: Add, settings: EmitterSettings, budget_cores: float, sequence: int = 0) -> None:
        """Goes on behind `sequence` where its epoch had reports already. Raises OSError, CgroupError, ReportError."""
        self.added = added
        """As the agent told it."""
        self.key = added.key.key() if added.key is not None else None
        """What the reports are tagged with; None: they are not."""
        self.sequence = sequence
        """Of the last report."""
        self._node_id = settings.node_id
        self._share = Share(budget_cores)
        self._rest = Rest(settings.interval_ms * NS_PER_MS, settings.idle_interval_ms * NS_PER_MS)
        self._trust = Trust()
        self._seen: tuple[QueueNumbers, Shares] = QueueNumbers(), NOTHING
        """When it was last looked at."""
        self._seen_ns = -1
        self._woken_by_page = False
        """Whether the gateway wakes us when its numbers change."""
        self._used_ns: int | None = None
        self._read_ns = 0
        self._page = Page(added.page)
        group = added.cgroup.group()
        try:
            self.felt = Contention(min(budget_cores, group.budget_cores()))
            """By its processes."""
            self._usage: Usage = group.usage()
        except CgroupError:
            self._page.close()
            raise
        self._waits = Waits(group)
        self._rows = Rows(added.log, COLUMNS)

    def read(self, now_ns: int, unused_until_ns: int) -> None:
        """Take a reading of what the instance has used and waited for; up to `unused_until_ns` it has used nothing.

        Raises CgroupError.
        """
        self.rest(unused_until_ns)
        before_ns, self._used_ns, self._read_ns = self._used_ns, self._usage.read_ns(), now_ns
        self._share.add(self._used_ns, now_ns)
        # The kernel counts what a thread waited for when it runs again.
        if self._used_ns != before_ns:
            wanted = self._waits.read(now_ns)
            self.felt.add(wanted.ran_ns, wanted.waited_ns, now_ns, wanted.at_once)
        else:
            self.felt.rest(now_ns)

    def rest(self, now_ns: int) -> None:
        """Take it that no CPU time was used since the last reading, as nothing on the node has used any."""
        if self._used_ns is not None and now_ns > self._read_ns:
            self._share.add(self._used_ns, now_ns)
            self.felt.rest(now_ns)
            self._read_ns = now_ns

    @property
    def unread(self) -> bool:
        """Whether there was no reading yet."""
        return self._used_ns is None

    def due(self, now_ns: int, unused_until_ns: int, node: Node) -> bool:
        """Whether there is something to report at this point of the schedule. `unused_until_ns`: as in `read`."""
        numbers = self._page.read()
        self._trust.look(self._page.holds_until_ns, now_ns)
        return self._rest.due(*self._see(numbers, now_ns, unused_until_ns, node), now_ns)

    @property
    def silent(self) -> bool:
        """Whether its gateway stands still, as it was when it was last looked at."""
        return self._trust.silent

    @property
    def resting(self) -> bool:
        """Whether there was nothing new when it was last looked at."""
        return self._rest.resting

    def rests_until(self) -> int | None:
        """When it is to be reported again, if there was nothing new and, since before that was looked at, its gateway
        wakes us when there is; None if it must be looked at until then."""
        rested, self._woken_by_page = self._woken_by_page, self._rest.resting
        if rested != self._rest.resting:
            self._page.report(self._page.read().queue_depth, resting=self._rest.resting)
        return self._rest.until_ns if rested and self._rest.resting else None

    def report(self, now_ns: int, unused_until_ns: int, node: Node) -> Report:
        """The next report, of what `due` has found if it was asked just now; where a run wants it, it is noted."""
        self.sequence += 1
        if self._seen_ns != now_ns:
            self._see(self._page.read(), now_ns, unused_until_ns, node)
        numbers, shares = self._seen
        report = report_of(
            numbers,
            now_ns,
            service_id=self.added.service_id,
            node_id=self._node_id,
            epoch=self.added.epoch,
            sequence=self.sequence,
            cpu=shares.cpu,
            cpu_own=shares.cpu_own,
            memory=shares.memory,
            contention=shares.contention,
        )
        self._page.report(numbers.queue_depth, resting=self._woken_by_page)
        self._rest.told(numbers, shares, now_ns)
        if self._rows.wanted:
            row = (report.epoch, report.sequence, now_ns, *(int(getattr(report, name)) for name in LOGGED))
            self._rows.add(",".join(map(str, row)))
        return report

    def wire(self, report: Report) -> bytes:
        """A report as it goes to the switch."""
        return report.encode() if self.key is None else tagged(report, self.key)

    def _see(self, numbers: QueueNumbers, now_ns: int, unused_until_ns: int, node: Node) -> tuple[QueueNumbers, Shares]:
        self.rest(unused_until_ns)
        self._seen, self._seen_ns = (self._trust.judge(numbers), self._shares(node)), now_ns
        return self._seen

    def _shares(self, node: Node) -> Shares:
        own = self._share.permille
        return Shares(node.cpu, own, node.memory, self.felt.permille(node.felt, (node.cpu - own) / PERMILLE))

    def close(self, within_s: float = 0.0) -> None:
        """Close its files. Rows that wait are written; waits for that so long at most."""
        self._rows.close(within_s)
        self._usage.close()
        self._waits.close()
        self._page.close()
