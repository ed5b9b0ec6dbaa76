"""Which instance should serve new work: the data plane contract as pure code.

    steering = ServiceSteering(settings(fabric, "detect"))
    outcome = steering.report(now_us, member, report)   # a node told how it is
    events = steering.look(now_us)                      # time has passed
    outcome = steering.request(now_us)                  # a piece of new work wants a place

Moves of the host and evictions come back as events, with the ranks that decided.
"""

from controller.policy.outcome import Event, Outcome, Probe, Verdict
from controller.policy.settings import (
    InstanceSettings,
    Pinned,
    Random,
    RoundRobin,
    Settings,
    Single,
    Spread,
    TwoChoices,
    settings,
)
from controller.policy.steering import ServiceSteering

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
    "settings",
]
