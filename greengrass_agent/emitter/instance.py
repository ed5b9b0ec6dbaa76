"""One reported instance: its readings become reports, its reports a log."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from greengrass_agent.emitter.settings import Add
from greengrass_agent.host.cgroup import Usage
from greengrass_agent.measure.metrics import Share, backlog_us, saturated, service_interval_us
from greengrass_agent.measure.queue_page import Page, QueueNumbers
from hitless.files import next_epoch
from hitless.steering.arithmetic import U32
from hitless.wire.report import Report, tagged

LOGGED = ("ready", "draining", "cpu", "cpu_own", "queue_depth", "in_flight", "backlog", "service_interval", "received")
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
) -> Report:
    """The report of an instance with these numbers at this time. cpu, cpu_own and memory in permille."""
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
    )


class Instance:
    """An instance under report."""

    def __init__(self, added: Add, node_id: int, budget_cores: float) -> None:
        """Begins a new epoch. Raises OSError, CgroupError, StateError."""
        self.service = added.service
        self._service_id = added.service_id
        self._node_id = node_id
        self._page = Page(added.page)
        self._usage: Usage = added.cgroup.group().usage()
        self._share = Share(budget_cores)
        self._epoch = next_epoch(added.epoch_file)
        self._sequence = 0
        self._log = _open_log(added.log)
        self.key = added.key.key() if added.key is not None else None
        """What the reports are tagged with; None: they are not."""

    def read(self, now_ns: int) -> None:
        """Take a reading of the CPU time that the instance has used. Raises CgroupError."""
        self._share.add(self._usage.read_ns(), now_ns)

    def report(self, now_ns: int, cpu: int, memory: int) -> Report:
        """The next report; it is in the log."""
        self._sequence += 1
        numbers = self._page.read()
        report = report_of(
            numbers,
            now_ns,
            service_id=self._service_id,
            node_id=self._node_id,
            epoch=self._epoch,
            sequence=self._sequence,
            cpu=cpu,
            cpu_own=self._share.permille,
            memory=memory,
        )
        self._page.report(numbers.queue_depth)
        row = (report.epoch, report.sequence, now_ns, *(int(getattr(report, name)) for name in LOGGED))
        self._log.write(",".join(map(str, row)) + "\n")
        return report

    def wire(self, report: Report) -> bytes:
        """A report as it goes to the switch."""
        return report.encode() if self.key is None else tagged(report, self.key)

    def flush(self) -> None:
        """Hand the log's rows to the operating system."""
        self._log.flush()

    def close(self) -> None:
        """Close its files."""
        self._log.close()
        self._usage.close()
        self._page.close()


def _open_log(path: Path) -> TextIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.open("a", buffering=1 << 16)
    if file.tell() == 0:
        file.write(",".join(COLUMNS) + "\n")
    return file
