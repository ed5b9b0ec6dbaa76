"""Who is not the controller programs no switch, though it has a certificate of the fabric's."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.authority.plan import Realm, Subject
from controller.authority.store import AuthorityStore
from tests.authority import HERE
from tests.controller_app.namespace import Namespace, namespace
from tests.patience import PATIENCE, until
from topologies import targets
from topologies.processes import Process, start, stop
from topologies.testbed import REPOSITORY_ROOT as ROOT

PORT = 9559
TARGETS = [
    pytest.param(name, marks=pytest.mark.skipif(reason is not None, reason=str(reason)))
    for name in targets.NAMES
    for reason in [targets.missing(name)]
]


@pytest.fixture
def own_namespace() -> Iterator[Namespace]:
    with namespace(f"swa-{os.getpid()}", ports=0) as made:
        yield made


@pytest.mark.root
@pytest.mark.parametrize("target", TARGETS)
def test_only_the_controller_is_let_in(target: str, own_namespace: Namespace, tmp_path: Path) -> None:
    own = AuthorityStore(tmp_path / "authority")
    wanted = [
        Subject(Realm.SWITCHES, "controller"),
        Subject(Realm.SWITCHES, "s1", (HERE,), client=False),
        Subject(Realm.BUS, "controller"),
    ]
    own.bring_up_to_date(wanted, time.time())
    address = f"{HERE}:{PORT}"
    switches, bus = (own.issued_folder(realm, "controller") for realm in (Realm.SWITCHES, Realm.BUS))
    serving = own.issued_folder(Realm.SWITCHES, "s1")
    command = targets.command(target, device_id=1, ports={}, p4runtime=address, tls=serving)
    callers = [switches, "-", bus, serving, switches]
    line = [sys.executable, "-m", "tests.attacks.p4runtime_call", address]
    line += map(str, callers)

    def inside() -> None:
        switch = start("switch", command, tmp_path / "switch.log")
        with subprocess.Popen(line, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as calling:
            assert calling.stdin is not None and calling.stdout is not None

            def call() -> str:
                print(file=calling.stdin, flush=True)
                return calling.stdout.readline()

            try:
                until(lambda: listens(switch), "it does not serve")
                assert call() == "primary\n"
                assert "it serves TLS alone" in call()
                assert "its certificate is a stranger's" in call(), "an authority of the bus is not the switches'"
                assert "refuses the controller's certificate" in call(), "a switch is no controller"
                own.bring_up_to_date((), time.time(), rotate=True)
                assert call() == "primary\n"
            finally:
                calling.kill()
                stop([switch])

    own_namespace.run(inside)


def listens(switch: Process) -> bool:
    switch.check()
    with socket.socket() as probe:
        return probe.connect_ex((HERE, PORT)) == 0


@pytest.mark.root
def test_a_renewed_certificate_is_shown_by_a_running_softswitch(own_namespace: Namespace, tmp_path: Path) -> None:
    own = AuthorityStore(tmp_path / "authority")
    own.bring_up_to_date([Subject(Realm.SWITCHES, "s1", (HERE,), client=False)], time.time())
    folder = own.issued_folder(Realm.SWITCHES, "s1")
    command = targets.command("softswitch", device_id=1, ports={}, p4runtime=f"{HERE}:{PORT}", tls=folder)

    def shown() -> str:
        line = ["openssl", "s_client", "-connect", f"{HERE}:{PORT}", "-alpn", "h2"]
        done = subprocess.run(line, input="", capture_output=True, text=True, timeout=PATIENCE, check=False)
        begin, end = done.stdout.find("-----BEGIN"), done.stdout.find("-----END")
        return done.stdout[begin:end]

    def inside() -> None:
        switch = start("switch", command, tmp_path / "switch.log")
        try:
            before = until(shown, "it does not serve")
            own.bring_up_to_date((), time.time(), rotate=True)
            until(lambda: shown() not in ("", before), "it shows the old one")
        finally:
            stop([switch])

    own_namespace.run(inside)
