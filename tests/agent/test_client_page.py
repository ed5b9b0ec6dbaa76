"""docs/client.md: each of its programs runs, against a real gateway and broker, and prints what the page says."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from controller.authority.plan import Realm
from hitless.mqtt.access import access_list
from hitless.mqtt.messages import EndpointUpdate
from hitless.mqtt.topics import ENDPOINT
from hitless.tls import Identity
from tests.agent.gateway import Gateway, running_gateway
from tests.agent.support import ROOT
from tests.authority import authority
from tests.mosquitto import mosquitto
from tests.patience import PATIENCE
from tests.ports import free_port

PAGE = (ROOT / "docs" / "client.md").read_text()
PROGRAMS = dict(re.findall(r"^```python\n# (\w+)\.py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
OUTPUTS = dict(
    re.findall(r"^```python\n# (\w+)\.py\n[^`]*?^```\n\n```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with running_gateway(PROGRAMS["echo"]) as running:
        running.serve()
        yield running


def on_loopback(text: str, gateway: Gateway) -> str:
    """A part of the page with the service's address and port as the test has them."""
    return text.replace("10.96.0.7", "127.0.0.1").replace("9000", str(gateway.port))


def run(program: str, folder: Path) -> str:
    """What a program prints."""
    file = folder / "program.py"
    file.write_text(program)
    command = [sys.executable, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_program_says_what_it_prints() -> None:
    assert set(PROGRAMS) == {"echo", *OUTPUTS}
    assert set(OUTPUTS) == {"ask", "wait", "follow", "errors"}


@pytest.mark.parametrize("name", ["ask", "wait", "errors"])
def test_a_program_prints_what_the_page_says(name: str, gateway: Gateway, tmp_path: Path) -> None:
    assert run(on_loopback(PROGRAMS[name], gateway), tmp_path) == on_loopback(OUTPUTS[name], gateway)


def test_a_client_follows_the_endpoint_that_the_controller_publishes(gateway: Gateway, tmp_path: Path) -> None:
    port = free_port()
    update = EndpointUpdate(term=1, version=1, address="127.0.0.1", port=gateway.port, reason="test")
    own = authority(tmp_path / "authority", ["controller", "client-camera"])
    with mosquitto(tmp_path / "broker", port=port, authority=own, access=access_list([], ["camera"])) as broker:
        controller = paho.Client(CallbackAPIVersion.VERSION2)
        controller.tls_set_context(Identity(own.issued_folder(Realm.BUS, "controller")).client())
        controller.connect("127.0.0.1", port)
        controller.loop_start()
        try:
            published = controller.publish(ENDPOINT.of(service="echo"), update.encode(), qos=1, retain=True)
            published.wait_for_publish(PATIENCE)
            program = PROGRAMS["follow"].replace('"10.0.0.100"', f'"127.0.0.1", port={port}')
            program = program.replace("/etc/hitless/tls/bus", str(broker.settings("client-camera").tls))
            assert run(program, tmp_path) == OUTPUTS["follow"]
        finally:
            controller.disconnect()
            controller.loop_stop()
