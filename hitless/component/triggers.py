"""Triggers of a service: what calls it beside its clients. The fabric file has them, the controller hands them to the
nodes in the component's configuration.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, ConfigDict, Field

from hitless.component import schedule as schedules
from hitless.component import topic_filters

Guarantee = Literal["at_least_once", "at_most_once"]
ATTEMPTS = 8
"""Of an event at least once, unless the trigger says otherwise: with the pauses between them about a minute."""
_OWN = "hitless"
"""First level of the fabric's own topics."""


def _filter(text: str) -> str:
    if (problem := topic_filters.problem(text, wildcards=True)) is not None:
        raise ValueError(problem)
    return _of_others(text)


def _topic(text: str) -> str:
    if (problem := topic_filters.problem(text, wildcards=False)) is not None:
        raise ValueError(problem)
    return _of_others(text)


def _of_others(text: str) -> str:
    first = text.partition("/")[0]
    if first in (_OWN, "+", "#") or first.startswith("$"):
        raise ValueError(f"expected a first level that is no wildcard, not {_OWN} and not of the broker ($)")
    return text


def _schedule(text: str) -> str:
    schedules.parse(text)
    return text


def _zone(text: str) -> str:
    schedules.zone(text)
    return text


@dataclass(frozen=True, slots=True)
class Trigger:
    """Another way in to a service: the messages of a topic, or points in time; one of `topic` and `schedule`.

    A node that has an instance calls the service with each event, and so the instance that serves now."""

    __pydantic_config__: ClassVar[ConfigDict] = {"extra": "forbid"}

    delivery: Guarantee
    """at_least_once: called again until it is answered below 500; an event may come twice. at_most_once: called once,
    whatever comes of it; an event may be lost."""
    topic: Annotated[str, AfterValidator(_filter)] | None = None
    """MQTT topic filter. No other trigger of the service may match the same topics."""
    schedule: Annotated[str, AfterValidator(_schedule)] | None = None
    """`minute hour day month weekday` as cron has them, `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`, or
    `@every 90s` (`m`, `h`)."""
    time_zone: Annotated[str, AfterValidator(_zone)] = "UTC"
    """Of `schedule`, a name such as Europe/Berlin."""
    missed: Literal["skipped", "caught_up"] = "skipped"
    """What becomes of times of `schedule` at which no node could call (for more than 30 s). caught_up: one call for all
    of them when one can again."""
    path: Annotated[str, Field(pattern=r"^/[!-~]*$")] = "/"
    """What is asked for, of a service over tcp."""
    attempts: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Calls at least once before an event is given up; 8 unless said."""
    dead_letter: Annotated[str, AfterValidator(_topic)] | None = None
    """MQTT topic to which an event is published that is given up; without it, the event is dropped."""

    def __post_init__(self) -> None:
        if (self.topic is None) == (self.schedule is None):
            raise ValueError("expected one of topic and schedule")
        if self.schedule is None and (self.time_zone != "UTC" or self.missed != "skipped"):
            raise ValueError("time_zone and missed: expected with a schedule alone")
        if self.delivery == "at_most_once" and self.attempts is not None:
            raise ValueError("attempts: expected with at_least_once alone")
        if self.topic and self.dead_letter and topic_filters.matches(self.topic, self.dead_letter):
            raise ValueError("dead_letter: expected a topic that the trigger's own does not match")

    @property
    def times(self) -> schedules.Schedule | None:
        """When it fires; None for one of a topic. Raises ScheduleError where this machine's tzdata lacks the zone."""
        return schedules.parse(self.schedule, self.time_zone) if self.schedule is not None else None


def contradictions(triggers: dict[str, Trigger], protocol: str) -> list[tuple[str, str, str]]:
    """What does not fit in the triggers of a service: the trigger, its field, and what was expected."""
    found = []
    for name, trigger in triggers.items():
        if trigger.path != "/" and protocol != "tcp":
            found.append((name, "path", f"expected none for a service over {protocol}"))
    for (one, first), (other, second) in combinations(triggers.items(), 2):
        if first.topic is not None and second.topic is not None and topic_filters.overlap(first.topic, second.topic):
            found.append((other, "topic", f"expected topics that {one} ({first.topic}) does not have: {second.topic}"))
    return found
