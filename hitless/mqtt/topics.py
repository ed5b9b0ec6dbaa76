"""MQTT topics: Greengrass's suffix grammar under the prefix `hitless/`, and ours. Topic strings are built only here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

PREFIX = "hitless/"

_NAME = re.compile(r"[^/+#\x00$]+")
_PLACE = re.compile(r"\{(\w+)\}")


class TopicError(ValueError):
    """A name that cannot be a level of a topic, or a name that the topic does not have."""


@dataclass(frozen=True)
class Topic:
    """A family of topics with named levels, such as `things/{node}/presence`."""

    template: str
    names: tuple[str, ...] = field(init=False)
    """The named levels, in order."""
    _pattern: re.Pattern[str] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(_PLACE.findall(self.template)))
        pattern = re.escape(PREFIX) + "/".join(
            f"(?P<{place[1]}>{_NAME.pattern})" if (place := _PLACE.fullmatch(level)) else re.escape(level)
            for level in self.template.split("/")
        )
        object.__setattr__(self, "_pattern", re.compile(pattern))

    def of(self, **levels: str) -> str:
        """The topic with every named level filled in.

        Raises TopicError when a level is missing, unknown, empty or holds `/`, `+`, `#` or `$`.
        """
        missing = [name for name in self.names if name not in levels]
        if missing:
            raise TopicError(f"topic {self.template} needs {', '.join(missing)}")
        return self.filter(**levels)

    def filter(self, **levels: str) -> str:
        """A subscription filter: levels that are not given match anything (`+`). Raises TopicError as `of` does."""
        for name, value in levels.items():
            if name not in self.names:
                raise TopicError(f"topic {self.template} has no level {name}")
            if not _NAME.fullmatch(value):
                raise TopicError(f"{value!r} cannot be the {name} of {self.template}: empty, or holds one of / + # $")
        return PREFIX + _PLACE.sub(lambda place: levels.get(place[1], "+"), self.template)

    def match(self, topic: str) -> dict[str, str] | None:
        """The named levels of `topic`, or None when it is not of this family."""
        found = self._pattern.fullmatch(topic)
        return found.groupdict() if found else None


JOBS_NOTIFY_NEXT = Topic("things/{node}/jobs/notify-next")
"""Controller to node: the next job execution (messages.NextJob), QoS 1, not retained."""
JOBS_START_NEXT = Topic("things/{node}/jobs/start-next")
"""Node to controller, on every connect: is there a job for me? (messages.StartNext)"""
JOBS_START_NEXT_ACCEPTED = Topic("things/{node}/jobs/start-next/accepted")
"""Controller to node: the answer (messages.NextJob)."""
JOB_UPDATE = Topic("things/{node}/jobs/{job}/update")
"""Node to controller: progress of a job (messages.JobUpdate)."""
JOB_UPDATE_ACCEPTED = Topic("things/{node}/jobs/{job}/update/accepted")
"""Controller to node: the update was taken (messages.JobUpdateAccepted)."""
SHADOW_UPDATE = Topic("things/{node}/shadow/name/{component}/update")
"""Node to controller: the state that the component has (messages.ShadowUpdate)."""
SHADOW_UPDATE_DELTA = Topic("things/{node}/shadow/name/{component}/update/delta")
"""Controller to node: the state that the component should have (messages.ShadowDelta)."""
RESTART = Topic("things/{node}/components/{component}/restart")
"""Controller to node: launch the component anew, at once (messages.Restart), QoS 1, not retained."""
RESTART_ENDED = Topic("things/{node}/components/{component}/restart/ended")
"""Node to controller: what came of it (messages.RestartEnded)."""
PRESENCE = Topic("things/{node}/presence")
"""Node to all, retained, also its last will (messages.Presence)."""
HEALTH = Topic("things/{node}/greengrassv2/health/json")
"""Node to controller, retained: its components and their states (messages.Health)."""
METRICS = Topic("things/{node}/metrics/{service}")
"""Node to controller, QoS 0: a report's fields (messages.Metrics)."""
ENDPOINT = Topic("services/{service}/endpoint")
"""Controller to clients, retained: where the service's next request goes (messages.EndpointUpdate)."""
TRIGGER_HOLDER = Topic("services/{service}/holder")
"""Node to nodes, retained, also its last will: who takes the service's triggers (messages.TriggerHolder)."""
TRIGGER_FIRED = Topic("services/{service}/triggers/{trigger}/fired")
"""Node to nodes, retained: up to when a schedule's times have been dealt with (messages.TriggerFired)."""
CLIENT_ACK = Topic("clients/{client}/ack")
"""Client to controller: the endpoint that it uses from now on (messages.EndpointAck)."""
