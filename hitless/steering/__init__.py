"""Which instance should serve new work: the data plane contract as pure code.

    steering = ServiceSteering(settings(fabric, "detect"))
    outcome = steering.report(now_us, member, report)   # a node told how it is
    events = steering.look(now_us)                      # time has passed
    outcome = steering.request(now_us)                  # a piece of new work wants a place

Moves of the host and evictions come back as events, with the ranks that decided.
"""

from hitless.steering.outcome import Event, Outcome, Probe, Verdict
from hitless.steering.policies import (
    InstanceSettings,
    Pinned,
    Random,
    RoundRobin,
    Settings,
    Single,
    Spread,
    TwoChoices,
)
from hitless.steering.service import ServiceSteering

__all__ = [
    "Event",
    "InstanceSettings",
    "Outcome",
    "Pinned",
    "Probe",
    "Random",
    "RoundRobin",
    "ServiceSteering",
    "Settings",
    "Single",
    "Spread",
    "TwoChoices",
    "Verdict",
]
