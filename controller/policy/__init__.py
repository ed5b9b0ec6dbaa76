"""Which instance should serve new work: the data plane contract as pure code.

    steering = ServiceSteering(settings(fabric, "detect"))
    outcome = steering.report(now_us, member, report)   # a node told how it is
    events = steering.look(now_us)                      # time has passed
    outcome = steering.request(now_us)                  # a piece of new work wants a place

Moves of the host and evictions come back as events, with the ranks that decided.
"""

from controller.policy.settings import InstanceSettings, Pinned, Settings, Single, Spread, settings
from controller.policy.steering import Event, Outcome, Probe, ServiceSteering, Verdict

__all__ = [
    "Event",
    "InstanceSettings",
    "Outcome",
    "Pinned",
    "Probe",
    "ServiceSteering",
    "Settings",
    "Single",
    "Spread",
    "Verdict",
    "settings",
]
