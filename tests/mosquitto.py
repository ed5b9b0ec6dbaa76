"""The broker that tests talk to: a real mosquitto, which can be killed, stopped, and started again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from controller.authority.plan import Realm
from controller.authority.store import AuthorityStore
from hitless.mqtt.broker import BrokerSettings, Credentials
from hitless.mqtt.identities import BROKER
from hitless.tls import Identity
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
        authority: AuthorityStore | None = None,
        access: str = "pattern readwrite #\n",
    ) -> None:
        """Whom it lets in: those with one of the `identities`, or with a certificate of the `authority`, or everyone.

        `access` is the access list of those who have a name.
        """
        self.address = address
        self.port = port or free_port()
        self.authority = authority
        self.folder = folder
        self._identities = {one.username: one for one in identities or ()}
        self._process: subprocess.Popen[bytes] | None = None
        self._configuration = folder / "mosquitto.conf"
        if authority is not None:
            identity = Identity(authority.issued_folder(Realm.BUS, BROKER))
            broker.write_configuration(folder, address, self.port, identity, access)
            return
        folder.mkdir(parents=True, exist_ok=True)
        who = "allow_anonymous true\n" if identities is None else self._with_passwords(access)
        self._configuration.write_text(f"listener {self.port} {address}\nuser root\n{who}")

    def _with_passwords(self, access: str) -> str:
        passwords, rights = self.folder / "passwords", self.folder / "access"
        passwords.write_text("".join(f"{one.username}:{one.password}\n" for one in self._identities.values()))
        subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True)
        rights.write_text(access)
        return f"allow_anonymous false\npassword_file {passwords}\nacl_file {rights}\n"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def settings(self, name: str | None = None, password: str | None = None) -> BrokerSettings:
        """Where it is, for one of those it lets in, perhaps with another password."""
        if self.authority is not None:
            assert name is not None, "nobody comes without a certificate"
            return BrokerSettings.of(self.address, self.port, tls=self.authority.issued_folder(Realm.BUS, name))
        identity = self._identities[name] if name else None
        if name and password:
            identity = Credentials(username=name, password=password)
        return BrokerSettings.of(self.address, self.port, identity)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        if self.authority is not None and os.geteuid() == 0:
            # It gives up root and must reach its files. Folders that everybody may pass already are not pytest's.
            for parent in self.folder.parents:
                if not (mode := parent.stat().st_mode) & 0o001:
                    parent.chmod(mode | 0o011)
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                ["mosquitto", "-c", str(self._configuration)], stdout=output, stderr=output
            )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self._process.poll() is None, f"mosquitto ended: {(self.folder / 'output').read_text()}"
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
    authority: AuthorityStore | None = None,
    access: str = "pattern readwrite #\n",
) -> Iterator[Mosquitto]:
    """A running broker, ended with the block."""
    own = Mosquitto(folder, port=port, address=address, identities=identities, authority=authority, access=access)
    own.start()
    try:
        yield own
    finally:
        own.kill()
