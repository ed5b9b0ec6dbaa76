"""The broker that tests talk to: a real mosquitto, which can be killed, stopped, and started again."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hitless.mqtt.broker import BrokerSettings, Credentials
from tests.patience import PATIENCE
from tests.ports import free_port
from topologies import broker


class Mosquitto:
    """A broker on 127.0.0.1, or at another address; it is not started yet."""

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        address: str = "127.0.0.1",
        identities: Iterable[Credentials] | None = None,
        access: str = "pattern readwrite #\n",
    ) -> None:
        """`identities` are who may come; without them, everyone. `access` is the access list of those who may."""
        self.address = address
        self.port = port or free_port()
        self._identities = {one.username: one for one in identities or ()}
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = folder
        if identities is None:
            folder.mkdir(parents=True, exist_ok=True)
            self._configuration = folder / "mosquitto.conf"
            self._configuration.write_text(f"listener {self.port} {address}\nallow_anonymous true\nuser root\n")
        else:
            self._configuration, _ = broker.write_configuration(
                folder, address, self.port, self._identities.values(), access
            )

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def settings(self, name: str | None = None, password: str | None = None) -> BrokerSettings:
        """Where it is, for one of the identities, perhaps with another password."""
        identity = self._identities[name] if name else None
        if name and password:
            identity = Credentials(username=name, password=password)
        return BrokerSettings.of(self.address, self.port, identity)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        if self._identities:
            for parent in (self._folder.parent, *self._folder.parent.parents[:3]):
                parent.chmod(
                    0o755
                )  # it gives up root and must reach its files; another pytest beside this one closes them
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                ["mosquitto", "-c", str(self._configuration)], stdout=output, stderr=output
            )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"mosquitto ended: {(self._folder / 'output').read_text()}"
            with socket.socket() as probe:
                if probe.connect_ex((self.address, self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError("mosquitto does not listen")

    def kill(self) -> None:
        """End it at once, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def send_signal(self, number: signal.Signals) -> None:
        """Stop it, let it go on, or kill it."""
        assert self._process is not None
        self._process.send_signal(number)


@contextmanager
def mosquitto(
    folder: Path,
    *,
    port: int | None = None,
    address: str = "127.0.0.1",
    identities: Iterable[Credentials] | None = None,
    access: str = "pattern readwrite #\n",
) -> Iterator[Mosquitto]:
    """A running broker, ended with the block."""
    own = Mosquitto(folder, port=port, address=address, identities=identities, access=access)
    own.start()
    try:
        yield own
    finally:
        own.kill()
