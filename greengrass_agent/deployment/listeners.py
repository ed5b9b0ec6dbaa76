"""What a deployment asks of the components that listen, and what it tells them."""

from __future__ import annotations

from collections.abc import Mapping

from greengrass_agent.deployment.configuration import Configuration
from greengrass_agent.deployment.plan import Components


class Listeners:
    """The components of a node on which nobody listens; the one place that says who is asked what."""

    async def validate(
        self, deployment_id: str, configurations: Mapping[str, Configuration], timeout_s: float
    ) -> str | None:
        """Ask components whether they take the configuration that they will get: None, or who does not, and why."""
        return None

    async def agree(self, job: str, deployment_id: str, timeout_s: float) -> None:
        """Tell of an update, and return when no component puts it off; who says nothing is waited for `timeout_s`."""

    def ended(self, job: str) -> None:
        """The job, of whose update they may have been told, has come to its end."""

    def configured(self, before: Components, after: Components) -> None:
        """Other configurations are in force than before."""
