"""Settings that several parts of the agent share: the configuration file has them, the emitter is told them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from greengrass_agent.host.cgroup import Group
from hitless.words import REPORT_PORT

_STRICT = ConfigDict(frozen=True, extra="forbid")


class CgroupSettings(BaseModel):
    """A control group: `paths` names its folder in the trees cpu and cpuacct (version 1), or unified (version 2).

    With version 1, memory and pids are there where components shall be limited in these, freezer where they may be
    paused.
    """

    model_config = _STRICT

    version: Literal[1, 2]
    paths: dict[Literal["cpu", "cpuacct", "memory", "pids", "freezer", "unified"], Path]

    @classmethod
    def of(cls, group: Group) -> CgroupSettings:
        """The settings that name a group."""
        return cls.model_validate({"version": group.version, "paths": dict(group.paths)})

    def group(self) -> Group:
        """The group."""
        return Group(self.version, {str(tree): path for tree, path in self.paths.items()})


class ReportSettings(BaseModel):
    """Where reports go, and how often."""

    model_config = _STRICT

    address: str
    port: int = REPORT_PORT
    interval_ms: Annotated[int, Field(ge=1)] = 10
    """Between two reports of an instance that has something new to say."""
    idle_interval_ms: Annotated[int, Field(ge=1)] = 50
    """Between two reports of an instance at rest; never shorter than `interval_ms`."""
