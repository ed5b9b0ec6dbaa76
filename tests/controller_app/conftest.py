"""A small fabric and small components on disk, and a running broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.fabric.file import Fabric, load
from tests.controller_app.support import FABRIC, Ports, Running, RunningBroker, write_component
from tests.ports import free_ports
from topologies.processes import stop


@pytest.fixture
def ports() -> Ports:
    return Ports(*free_ports(4))


@pytest.fixture
def fabric_path(tmp_path: Path, ports: Ports) -> Path:
    path = tmp_path / "fabric.yaml"
    path.write_text(FABRIC.format(**vars(ports)))
    return path


@pytest.fixture
def fabric(fabric_path: Path) -> Fabric:
    return load(fabric_path)


@pytest.fixture
def components_path(tmp_path: Path) -> Path:
    root = tmp_path / "components"
    write_component(root, "org.example.Resize", "resize")
    write_component(root, "org.example.Web", "web", "{resize: {address: 10.96.0.1, port: 9000, service_id: 1}}")
    return root


@pytest.fixture
def broker(tmp_path: Path, ports: Ports) -> Iterator[RunningBroker]:
    running = RunningBroker(tmp_path / "broker", ports.broker)
    running.start()
    yield running
    running.kill()


@pytest.fixture
def running(tmp_path: Path, fabric_path: Path, components_path: Path) -> Iterator[Running]:
    # A moment in which the machine lets nobody work must not make instances stale.
    patient = "    stale_after_ms: 60000\n    dead_after_ms: 60000\n    component:"
    fabric_path.write_text(fabric_path.read_text().replace("    component:", patient))
    controller = Running(tmp_path, fabric_path, components_path)
    yield controller
    if controller.process is not None:
        stop([controller.process])
