"""The agent's configuration file: one model, mistakes named by line."""

from __future__ import annotations

import os
import pwd
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from greengrass_agent.logs.rotation import DAY_S, Limits
from greengrass_agent.settings import CgroupSettings, ReportSettings
from hitless.ipv4 import ipv4_text
from hitless.located import LocatedError, read, validate
from hitless.modes import IN_NETWORK, Mode
from hitless.mqtt.broker import BrokerSettings

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
Address = Annotated[str, AfterValidator(ipv4_text)]


def _user(name: str) -> str:
    try:
        pwd.getpwnam(name)
    except KeyError:
        raise ValueError("expected a user of this machine") from None
    return name


class ConfigError(LocatedError):
    """A configuration file that cannot be used; a line for each mistake."""


class LogSettings(BaseModel):
    """How much of a component's output stays on disk."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    megabytes: Annotated[int, Field(ge=1)] = 10
    """Of a file (10^6 bytes) at most."""
    files: Annotated[int, Field(ge=1, le=100)] = 3
    """The file that is written and those before it (`.1`, `.2`, …)."""
    days: Annotated[int, Field(ge=1)] = 7
    """A file that was begun so long ago makes way to a new one."""

    def limits(self) -> Limits:
        """The same in bytes and seconds."""
        return Limits(self.megabytes * 1_000_000, self.files, self.days * DAY_S)


class ArchiveSettings(BaseModel):
    """What an archive among the artefacts may unpack to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    megabytes: Annotated[int, Field(ge=1)] = 4000
    """All files of it (10^6 bytes)."""
    files: Annotated[int, Field(ge=1)] = 100_000
    """Files and folders."""
    ratio: Annotated[int, Field(ge=1)] = 200
    """Times its own size, where it unpacks to more than 16 MB."""
    name_bytes: Annotated[int, Field(ge=1, le=4096)] = 1024
    """The path of a file within it."""

    @property
    def bytes(self) -> int:
        """All files of it."""
        return self.megabytes * 1_000_000


class AgentConfig(BaseModel):
    """A node and what it belongs to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    thing: Name
    """The node's name: MQTT identity and topics."""
    node_id: Annotated[int, Field(ge=1, lt=1 << 16)]
    node_address: Address
    gateway_address: Address | None = None
    """Next hop for calls to services; without it, the default route's."""
    broker: BrokerSettings
    reports: ReportSettings
    root: Path
    """Folder of what must survive a restart: deployment, packages, start counters."""
    log_dir: Path
    """Folder of the components' output, and of the evidence."""
    component_logs: LogSettings = LogSettings()
    """For the output of each component."""
    archives: ArchiveSettings = ArchiveSettings()
    """For each archive among the artefacts."""
    evidence: bool = False
    """Whether each execution and each report is written down as a row in `log_dir`: a hundred rows a second for each
    instance. For experiments, which read them."""
    cgroup: CgroupSettings
    """The node's CPU budget, made beforehand."""
    memory_mb: Annotated[int, Field(ge=1)] | None = None
    """The node's memory budget; without it, the machine's memory."""
    allow_privilege: bool = False
    """Whether a recipe's steps that say RequiresPrivilege are run as root; otherwise such a deployment is refused."""
    allow_users: tuple[Annotated[str, AfterValidator(_user)], ...] = ()
    """Users of this machine that a deployment's runWith may have a component run as; others are refused."""
    allow_reboot: bool = False
    """Whether a bootstrap step that ends with 101 reboots this machine; otherwise it has failed, and the operator is
    told."""
    run_as: Annotated[str, AfterValidator(_user)] | None = None
    """The user that components' scripts run as; without it, each component has one of its own."""
    component_memory_mb: Annotated[int, Field(ge=1)] | None = None
    """What a component may use of memory at most, unless its deployment says otherwise."""
    component_cpus: Annotated[float, Field(gt=0)] | None = None
    """Cores that a component may use at most, unless its deployment says otherwise."""
    component_processes: Annotated[int, Field(ge=8)] = 512
    """Processes and threads that a component may have at a time."""
    invoke_key: Path | None = None
    """File of the key of Lambda's Invoke API (`hitless lambda-api`), whose events functions here take as they are;
    without it, they take none."""
    metrics_broker: BrokerSettings | None = None
    """Where each report's numbers go over MQTT too, and who the emitter is there; without it, nowhere."""
    trigger_identities: Path | None = None
    """Folder of those that the authority has issued, `trigger-SERVICE/bus` for each service here that has triggers.
    Without it a service's triggers are taken as `broker` says, under the client id `trigger-SERVICE`."""
    mode: Mode = IN_NETWORK
    """in-network: service addresses are the node's, reports go to the switch. reconfiguration: neither."""

    @property
    def in_network(self) -> bool:
        """Whether a switch steers."""
        return self.mode == IN_NETWORK

    @property
    def memory_bytes(self) -> int:
        """The node's memory budget in bytes."""
        if self.memory_mb is not None:
            return self.memory_mb << 20
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def load(path: Path) -> AgentConfig:
    """Read a configuration file (YAML, or JSON, which is YAML too). Raises ConfigError."""
    return validate(read(path, ConfigError), AgentConfig, ConfigError)
