"""Which configurations of its service a gateway can go on with: another one ends it, and what it still has."""

import tempfile
from pathlib import Path

import pytest

from greengrass_agent.components.epochs import Epochs
from greengrass_agent.components.service import Service
from greengrass_agent.components.triggers import Triggers
from greengrass_agent.config import AgentConfig
from greengrass_agent.deployment.store import Store
from greengrass_agent.host.cgroup import Group
from greengrass_agent.host.network import NodeNetwork
from greengrass_agent.settings import CgroupSettings, ReportSettings
from hitless.component.endpoint import ServiceEndpoint
from hitless.component.service_configuration import ServiceConfiguration
from hitless.mqtt.broker import BrokerSettings

NODE, SERVICE = "10.0.0.11", "10.96.0.1"


def configured(address: str = SERVICE, port: int = 9000, detect: str = "10.96.0.2") -> ServiceConfiguration:
    """A service that calls another one."""
    endpoints = {"web": ServiceEndpoint(address, port, 1, "udp"), "detect": ServiceEndpoint(detect, 9001, 2, "udp")}
    return ServiceConfiguration(service="web", endpoints=endpoints)


@pytest.mark.parametrize(
    ("changed", "fits"),
    [
        (configured(detect="10.0.0.12"), True),
        # The controller steers by endpoints from now on: the gateway listens at its node's address in any case.
        (configured(NODE, detect="10.0.0.12"), True),
        (configured("10.96.0.9"), False),
        (configured(port=9001), False),
        (configured(NODE, port=9001), False),
    ],
)
def test_who_steers_may_change_without_another_gateway(
    changed: ServiceConfiguration, fits: bool, tmp_path: Path
) -> None:
    group = Group.unified(tmp_path)
    with tempfile.TemporaryDirectory(prefix="agent-", dir="/tmp") as root:  # a socket's path is short
        config = AgentConfig(
            thing="edge1",
            node_id=1,
            node_address=NODE,
            broker=BrokerSettings(host=NODE, port=1),
            reports=ReportSettings(address="10.96.255.254", port=9600),
            root=Path(root),
            log_dir=tmp_path,
            cgroup=CgroupSettings.of(group),
        )
        store = Store(Path(root))
        service = Service(
            "org.example.Web",
            configured(),
            lambda _: None,
            on_health=lambda: None,
            config=config,
            store=store,
            leaf=group,
            network=NodeNetwork(NODE, None, tmp_path / "network.json"),
            emit=lambda _: None,
            key=None,
            epochs=Epochs(store.epoch),
            triggers=Triggers(config),
        )
        assert service.fits(changed) is fits
        # It may change back as well.
        assert service.fits(configured())
