"""A small fabric and small components on disk, and a running broker."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.fabric import Fabric, load
from tests.controller_app.support import FABRIC, Ports, Running, RunningBroker, free_port, write_component
from topologies.processes import stop


@pytest.fixture
def ports() -> Ports:
    return Ports(*(free_port() for _ in range(4)))


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
    controller = Running(tmp_path, fabric_path, components_path)
    yield controller
    if controller.process is not None:
        stop([controller.process])
