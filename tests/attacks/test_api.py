"""The API over the network: who may read, who may command, who is nobody. And the repository, for nodes alone."""

import asyncio
import hashlib
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from controller.authority.plan import Realm, Subject
from controller.authority.store import AuthorityStore
from controller.operator.cli import main
from controller.operator.client import Client, NoControllerError, RefusedError, Remote
from controller.operator.roles import TokenFile
from greengrass_agent.deployment.transfer import DownloadError, Limits, Progress, Transfer
from hitless.tls import Identity
from tests.authority import HERE, authority
from tests.controller_app.support import FABRIC, Ports, Running, write_component
from tests.patience import PATIENCE
from tests.ports import free_port, free_ports
from topologies.processes import stop

TLS = """\
tls: {{bus: {bus}}}
api: {{host: 127.0.0.1, port: {port}, read: [anna, reader], operate: [otto, robot], tokens: {tokens}}}
"""


class Remotely:
    """A controller whose API is in the network, and those who call it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ports = Ports(*free_ports(4))
        self.authority = authority(folder / "authority", ["edge1", "anna", "otto", "eve"])
        self.authority.bring_up_to_date([Subject(Realm.BUS, "controller", (HERE,))], time.time())
        self.tokens = TokenFile(folder / "tokens.json")
        self.url = f"https://{HERE}:{free_port()}"
        fabric = folder / "fabric.yaml"
        bus = self.authority.issued_folder(Realm.BUS, "controller")
        extra = TLS.format(bus=bus, port=self.url.rpartition(":")[2], tokens=folder / "tokens.json")
        fabric.write_text(FABRIC.format(**vars(self.ports)) + extra)
        write_component(folder / "components", "org.example.Resize", "resize")
        upstream = "{resize: {address: 10.96.0.1, port: 9000, service_id: 1}}"
        write_component(folder / "components", "org.example.Web", "web", upstream)
        self.running = Running(folder, fabric, folder / "components")

    def by_certificate(self, name: str) -> Client:
        return Client(Remote(self.url, self.authority.issued_folder(Realm.BUS, name)), timeout_s=PATIENCE)

    def by_token(self, token: str) -> Client:
        file, trust = self.folder / "token", self.folder / "trust"
        trust.mkdir(exist_ok=True)
        (trust / "ca.crt").write_bytes((self.authority.issued_folder(Realm.BUS, "anna") / "ca.crt").read_bytes())
        file.write_text(token + "\n")
        return Client(Remote(self.url, trust, file), timeout_s=PATIENCE)


@pytest.fixture(scope="module")
def remotely(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Remotely]:
    made = Remotely(tmp_path_factory.mktemp("remotely"))
    made.running.start()
    yield made
    assert made.running.process is not None
    stop([made.running.process])


def refused(client: Client) -> str:
    """Why a command is refused for who gives it."""
    with pytest.raises(RefusedError) as error:
        client.drain("web", "edge1")
    return str(error.value)


def test_a_reader_reads_and_commands_nothing(remotely: Remotely) -> None:
    for client, name in (
        (remotely.by_certificate("anna"), "anna"),
        (remotely.by_token(remotely.tokens.make("reader")), "reader"),
    ):
        assert client.status().fabric == "small"
        assert list(client.events()) is not None
        assert refused(client) == f"{name} may read"
    assert not remotely.running.client.status().services["web"].instances["edge1"].draining


def test_an_operator_commands(remotely: Remotely) -> None:
    assert remotely.by_certificate("otto").drain("web", "edge2").draining
    assert not remotely.by_token(remotely.tokens.make("robot")).drain("web", "edge2", undo=True).draining


def test_who_has_no_role_reads_nothing_though_it_has_a_certificate_of_the_fabrics(remotely: Remotely) -> None:
    for name in ("eve", "edge1"):
        with pytest.raises(RefusedError, match=f"{name} has no role"):
            remotely.by_certificate(name).status()


def test_a_wrong_or_removed_token_is_nobodys(remotely: Remotely) -> None:
    token = remotely.tokens.make("robot")
    assert remotely.by_token(token).status()
    for bad in ("", "guess", token + "x", "é"):
        assert "expected a client certificate, or a token" in refused(remotely.by_token(bad))
    remotely.tokens.remove("robot")
    assert "expected a client certificate, or a token" in refused(remotely.by_token(token))
    assert token not in (remotely.folder / "tokens.json").read_text()


def test_nobody_takes_the_controllers_place_and_nothing_is_answered_in_clear(
    remotely: Remotely, tmp_path: Path
) -> None:
    other = authority(tmp_path / "other", ["anna"])
    stranger = Client(Remote(remotely.url, other.issued_folder(Realm.BUS, "anna")), timeout_s=PATIENCE)
    with pytest.raises(NoControllerError, match="its certificate is refused"):
        stranger.status()
    with socket.create_connection((HERE, int(remotely.url.rpartition(":")[2])), PATIENCE) as clear:
        clear.sendall(b"GET /v1/status HTTP/1.1\r\nHost: hitless\r\n\r\n")
        assert b"fabric" not in clear.recv(4096)


def test_the_repository_is_read_by_nodes_alone(remotely: Remotely) -> None:
    place = f"https://{HERE}:{remotely.ports.repository}/artifacts/org.example.Resize/1.0.0/main.py"
    node = Identity(remotely.authority.issued_folder(Realm.BUS, "edge1"))
    with urllib.request.urlopen(place, context=node.client(), timeout=PATIENCE) as answer:
        assert b"lambda_handler" in answer.read()
    nobody = ssl.create_default_context(cafile=node.folder / "ca.crt")
    with pytest.raises((urllib.error.URLError, OSError)):
        urllib.request.urlopen(place, context=nobody, timeout=PATIENCE)


def test_a_node_fetches_from_the_fabrics_repository_and_from_no_impostor(remotely: Remotely, tmp_path: Path) -> None:
    place = f"https://{HERE}:{remotely.ports.repository}/artifacts/org.example.Resize/1.0.0/main.py"
    content = (remotely.folder / "components" / "resize" / "main.py").read_bytes()
    once = Limits(attempts=1)

    async def fetch(own: AuthorityStore) -> None:
        tls = Identity(own.issued_folder(Realm.BUS, "edge1")).client(also_public=True)
        async with aiohttp.ClientSession() as session:
            transfer = Transfer(session, once, place, tmp_path / "main.py", 1 << 20, Progress(), tls)
            await transfer.run(hashlib.sha256(content).digest())

    with pytest.raises(DownloadError, match="its certificate is refused"):
        asyncio.run(fetch(authority(tmp_path / "other", ["edge1"])))
    asyncio.run(fetch(remotely.authority))
    assert (tmp_path / "main.py").read_bytes() == content


def test_the_command_line_reaches_it_with_a_token(remotely: Remotely) -> None:
    file = ["token", "reader", "--file", str(remotely.folder / "tokens.json")]
    remotely.by_token(CliRunner().invoke(main, file).output)
    options = ["--api", remotely.url, "--tls", str(remotely.folder / "trust")]
    options += ["--token-file", str(remotely.folder / "token")]
    status = CliRunner().invoke(main, [*options, "status", "--json"])
    assert json.loads(status.output)["fabric"] == "small"
    released = CliRunner().invoke(main, [*options, "release", "web"])
    assert (released.exit_code, released.output) == (1, "reader may read\n")
    assert CliRunner().invoke(main, [*file, "--remove"]).exit_code == 0
    assert CliRunner().invoke(main, [*options, "status"]).exit_code == 1
