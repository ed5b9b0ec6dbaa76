"""What must be known of deployments after a crash: what is in force, what is under way, how jobs went. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from greengrass_agent.deployment.configuration import Configuration
from greengrass_agent.deployment.plan import Components
from greengrass_agent.deployment.timestamps import Times
from hitless.mqtt.messages import DeploymentInformation, DetailedStatus, JobStatus


@dataclass(frozen=True, slots=True)
class Result:
    """How a job went."""

    status: JobStatus
    detail: DetailedStatus | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A deployment that has merged and has no result yet: all that it takes to come to one, whenever the agent dies."""

    job: str
    deployment_id: str
    before_id: str
    before: Components
    """What was in force until the merge, and is again after a rollback."""
    names: tuple[str, ...]
    """The components before and after: those not in force any more may have left something on the node."""
    roll_back: bool
    """Whether a failure brings back what was before."""
    reason: str | None = None
    """Why it is being rolled back; None while it is not."""


@dataclass(frozen=True, slots=True)
class Record:
    """The deployment in force, the one under way, and how jobs went."""

    deployment_id: str = ""
    components: Components = field(default_factory=dict)
    results: Mapping[str, Result] = field(default_factory=dict)
    """By job id, oldest first."""
    untold: tuple[str, ...] = ()
    """The jobs among them whose result the controller has not confirmed."""
    information: DeploymentInformation | None = None
    """The last deployment that came to an end, as the node's health tells it."""
    under_way: UnderWay | None = None

    def configured(self, component: str, configuration: Configuration, times: Times) -> Record:
        """The same with another configuration of a component, if that is in force."""
        if (own := self.components.get(component)) is None:
            return self
        changed = replace(own, configuration=configuration, times=times)
        return replace(self, components={**self.components, component: changed})
