"""An instance as its reports leave it: acceptance by serial numbers, work still on its way, status and rank."""

from dataclasses import dataclass

from hitless.steering.arithmetic import U32, newer
from hitless.steering.policies import OneHost
from hitless.steering.settings import InstanceSettings, Settings
from hitless.wire.report import Report
from hitless.words import LAST_RESORT, LATE_START, NOT_ELIGIBLE, MemberStatus


@dataclass(slots=True)
class Instance:
    """What is kept of an instance. All zero: there has been none."""

    generation: int = 0
    """Of the binding that accepted its last report."""
    epoch: int = 0
    sequence: int = 0
    arrival: int = 0
    """When the last accepted report came (µs)."""
    report: Report | None = None
    """The last accepted one."""
    status: MemberStatus = MemberStatus.ABSENT
    sent: int = 0
    """Pieces of new work sent to it, modulo 2^32."""
    floor: int = 0
    """Leaking minimum of `sent` less `received`, in 1/64, modulo 2^32."""
    left: int = 0
    """When it last ceased to be the host (µs); 0 for never."""

    def accept(self, now: int, report: Report, bound: InstanceSettings) -> int | None:
        """Take in a report if it is newer than the last one; then how many pieces of work it has not seen yet.

        Work on its way when the node looked is what was sent less what it had received, above that difference's own
        minimum, which leaks upwards by 1/64 a report so that what got lost is forgotten.
        """
        restarted = bound.generation != self.generation
        same_epoch = report.epoch == self.epoch
        if not (restarted or newer(report.epoch, self.epoch) or (same_epoch and newer(report.sequence, self.sequence))):
            return None
        gap = (self.sent - report.received << 6) & U32
        unseen = (gap - self.floor) & U32
        if restarted or not same_epoch or unseen >= 2**31:
            self.floor, unseen = gap, 0
        else:
            self.floor = (self.floor + 1) & U32
        self.generation = bound.generation
        self.epoch, self.sequence = report.epoch, report.sequence
        self.arrival = now
        self.report = report
        self.status = (
            MemberStatus.NOT_READY
            if not report.ready
            else MemberStatus.DRAINING
            if report.draining or bound.doubted
            else MemberStatus.READY
        )
        return unseen >> 6


def rank(now: int, report: Report, unseen: int, service: Settings, instance: InstanceSettings) -> int:
    """The rank that a report gives its instance, by the service's policy and scoring."""
    if not report.ready:
        return NOT_ELIGIBLE
    if report.draining or instance.doubted:
        return LAST_RESORT
    policy = service.policy
    if isinstance(policy, OneHost) and policy.too_late(report, service.stale_after):
        return LATE_START
    return policy.rank(now, report, unseen, service.score, instance.path_cost)
