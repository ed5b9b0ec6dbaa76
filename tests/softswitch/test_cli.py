"""The `softswitch` command as scripts written for simple_switch_grpc call it."""

from __future__ import annotations

import json
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import grpc
import pytest
from finsy.proto import p4r
from google.protobuf import text_format
from softswitch.commands import serve

from tests.softswitch.p4runtime.client import PROGRAMS, Client, Names
from tests.softswitch.p4runtime.entities import exact_entry, insert
from tests.softswitch.p4runtime.test_stream_messages import message, packet_out
from tests.softswitch.thrift.client import ThriftClient

Start = Callable[..., "Process"]


class Process:
    """A running `softswitch` on a free port of loopback."""

    def __init__(self, *arguments: str, cache: Path, module: Sequence[str] = ("-m", "softswitch")) -> None:
        command = [sys.executable, *module, *arguments]
        environment = {"XDG_CACHE_HOME": str(cache), "PATH": "/usr/bin:/bin"}
        self.popen = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def address(self) -> str:
        """Where it serves, once it says so."""
        assert self.popen.stdout is not None
        readable, _, _ = select.select([self.popen.stdout], [], [], 60)
        line = self.popen.stdout.readline() if readable else "nothing within a minute"
        found = re.fullmatch(r"softswitch: device (\d+) serves P4Runtime on (\S+)\n", line)
        assert found, line + self.stop()[1]
        return found[2]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """End it; its exit code and what it wrote to standard error."""
        if self.popen.poll() is None:
            self.popen.send_signal(number)
        _, errors = self.popen.communicate(timeout=60)
        return self.popen.returncode, errors


@pytest.fixture
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start switches; those still running are ended."""
    started: list[Process] = []

    def start(*arguments: str, **more: Sequence[str]) -> Process:
        started.append(Process(*arguments, cache=tmp_path_factory.getbasetemp() / "softswitch-cache", **more))
        return started[-1]

    yield start
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
            process.popen.communicate()


FREE = "127.0.0.1:0"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_until_told_to_stop(start: Start, number: int) -> None:
    process = start("--device-id", "1", "--no-p4", "-L", "warn", "--", "--grpc-server-addr", FREE, "--cpu-port", "510")
    with Client(process.address()) as client:
        stream = client.primary()
        client.push(Names.of("everything").config())
        assert process.stop(number) == (0, "")
        assert isinstance(stream.end_code(), grpc.StatusCode)


def test_starts_with_a_program_and_its_p4info(start: Start) -> None:
    names = Names.of("everything")
    p4info = str(PROGRAMS / "everything.p4info.txtpb")
    program = str(PROGRAMS / "everything.json")
    process = start("--device-id", "1", "--p4info", p4info, program, "--", "--grpc-server-addr", FREE)
    with Client(process.address()) as client:
        assert client.config() == names.config()
        assert client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=names["exact_table"]))) == []
    assert process.stop()[0] == 0


def test_starts_with_entries_for_want_of_a_controller(start: Start, tmp_path: Path) -> None:
    names = Names.of("everything")
    by_name, as_text = tmp_path / "s1-runtime.json", tmp_path / "more.txtpb"
    forward = {"action_name": "EverythingIngress.forward", "action_params": {"port": 3}}
    entries = [{"table": "EverythingIngress.exact_table", "match": {"tag": 7}, **forward}]
    by_name.write_text(json.dumps({"target": "bmv2", "p4info": P4INFO, "table_entries": entries}))
    as_text.write_text(text_format.MessageToString(p4r.WriteRequest(updates=[insert(exact_entry(names, 8, 4))])))
    files = ("--entries", str(by_name), "--entries", str(as_text))
    process = start("--device-id", "1", EVERYTHING, "--p4info", P4INFO, *files, "--", "--grpc-server-addr", FREE)
    with Client(process.address()) as client:
        found = client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=names["exact_table"])))
    assert found == [exact_entry(names, 7, 3), exact_entry(names, 8, 4)]


def test_pcap_alone_records_to_the_present_folder() -> None:
    """As with BMv2: what follows is its folder unless it is an option."""
    assert serve.parse(["--pcap", "--no-p4"]).pcap == Path()
    assert serve.parse(["--no-p4", "--pcap", "--", "--cpu-port", "510"]).pcap == Path()
    options = serve.parse(["--pcap", "pcaps", "--nanolog", "ipc:///x", "basic.json"])
    assert (options.pcap, options.program) == (Path("pcaps"), Path("basic.json"))


def test_bmv2s_other_options_are_accepted_and_said_to_do_nothing(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "switch.txt"  # BMv2 adds the .txt
    process = start(
        *("--thrift-port", "0", "--nanolog", "ipc:///tmp/x.ipc", "--no-p4", "--log-file", str(tmp_path / "switch")),
        *("--log-flush", "--", "--grpc-server-addr", FREE, "--max-mc-groups", "8"),
    )
    process.address()
    assert process.stop() == (0, "")
    text = log.read_text()
    for option in ("--nanolog", "--log-flush", "--max-mc-groups"):
        assert f"{option} has no effect" in text


def test_thrift_is_served_where_it_is_told(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "switch.txt"
    options = ("--thrift-port", "0", "--no-p4", "--log-file", str(tmp_path / "switch"))
    process = start(*options, "--", "--grpc-server-addr", FREE)
    process.address()
    found = re.search(r"serves Thrift .* on port (\d+)", log.read_text())
    assert found, log.read_text()
    # a switch that was told this port does not start, and one that was not goes without Thrift
    taken = failure(start("--thrift-port", found[1], "--no-p4", "--", "--grpc-server-addr", FREE))
    assert f"cannot serve Thrift on port {found[1]}: Address already in use" in taken
    with ThriftClient(int(found[1])) as client:
        assert client.standard.bm_get_config() == "{}"
        # nor does a client that stays keep the switch from ending
        assert process.stop() == (0, "")


def test_a_default_port_that_is_taken_does_not_stop_the_switch(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "switch.txt"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        main = f"from softswitch.commands import serve as s; import sys; s.THRIFT_PORT = {port}; s.main(sys.argv[1:])"
        options = ("--no-p4", "--log-file", str(tmp_path / "switch"), "--", "--grpc-server-addr", FREE)
        process = start(*options, module=("-c", main))
        process.address()
        assert f"cannot serve Thrift on port {port}: Address already in use" in log.read_text()
        assert process.stop() == (0, "")


@pytest.mark.parametrize(("level", "told"), [("trace", True), ("debug", False)])
def test_log_level_trace_tells_what_packets_meet(start: Start, tmp_path: Path, level: str, told: bool) -> None:
    log = tmp_path / "switch.txt"
    target = ("--grpc-server-addr", FREE, "--cpu-port", "510")
    process = start("--device-id", "1", "--no-p4", "-L", level, "--log-file", str(tmp_path / "switch"), "--", *target)
    with Client(process.address()) as client:
        stream = client.primary()
        client.push(Names.of("everything").config())
        stream.send(packet=packet_out((2, b"\x01"), (1, b"\x00"), payload=message(2, tag=7)))
        stream.receive()
        assert process.stop()[0] == 0
    assert ("extract message: " in log.read_text()) is told
    assert ("to port 510" in log.read_text()) is told


@pytest.mark.parametrize(("option", "pattern"), [("--version", r"\d+\.\d+\.\d+"), ("--json-version", r"2\.\d+")])
def test_versions_as_bmv2_tells_them(start: Start, option: str, pattern: str) -> None:
    process = start(option)
    output, errors = process.popen.communicate(timeout=60)
    assert (process.popen.returncode, errors) == (0, "")
    assert re.fullmatch(pattern + "\n", output)


def failure(process: Process) -> str:
    """The one sentence on standard error of a switch that does not start."""
    output, errors = process.popen.communicate(timeout=60)
    assert process.popen.returncode == 1
    assert output == ""
    assert errors.startswith("softswitch: ")
    assert errors.count("\n") == 1, errors
    return errors


EVERYTHING, P4INFO = str(PROGRAMS / "everything.json"), str(PROGRAMS / "everything.p4info.txtpb")
BROKEN_TLS = ("--grpc-server-ssl", "--grpc-server-cert", __file__, "--grpc-server-key", __file__)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "give a BMv2 JSON file, or --no-p4"),
        (["--no-p4", "-i", "veth1"], "'veth1' is not PORT@IFACE"),
        (["--no-p4", "-i", "512@veth1"], "not a port number in 0..511"),
        (["--no-p4", "--device-id", "-1"], "'-1' is not a device id"),
        (["--no-p4", "--io", "carrier_pigeon"], "'af_packet', 'af_xdp'"),
        pytest.param(
            ["--no-p4", "-i", "1@lo", "--io", "af_xdp"],
            "interface lo cannot be port 1: port 1: cannot open",
            marks=pytest.mark.root("needs root to be refused for another reason"),
        ),
        (["--no-p4", "--no-such-option"], "--no-such-option"),
        (["--no-p4", "--", "--cpu-port", "0"], "neither 0 nor the drop port"),
        (["--no-p4", "--", "--cpu-port", "511"], "neither 0 nor the drop port"),
        (["--no-p4", "--", "--grpc-server-ssl"], "--grpc-server-ssl needs"),
        (["--no-p4", "--", *BROKEN_TLS, "--grpc-server-addr", FREE], "certificate and key have to be PEM files"),
        (["--no-p4", "--", "--grpc-server-addr", "127.0.0.1:99999"], "host:port, with a port up to 65535"),
        (["no-such-file.json", "--", "--grpc-server-addr", FREE], "cannot read no-such-file.json"),
        ([__file__, "--", "--grpc-server-addr", FREE], "test_cli.py"),
        (["--no-p4", "--log-file", "/no/such/folder/x.log"], "cannot write the log file /no/such/folder/x.log.txt"),
        (["--no-p4", "--pcap=/no/such"], "cannot record to /no/such: no such folder"),
        (["--no-p4", "--pcap", "/no/such"], "cannot record to /no/such: no such folder"),
        (["--no-p4", "--entries", "s1-runtime.json"], "--entries needs the program and its P4Info"),
        (["-L", "warn", EVERYTHING, "--p4info", P4INFO, "--entries", "no.json"], "cannot read no.json"),
        (["-L", "warn", EVERYTHING, "--p4info", P4INFO, "--entries", EVERYTHING], "nothing is called"),
        (["--no-p4", "-i", "1@no-such-iface", "--", "--grpc-server-addr", FREE], "no-such-iface"),
    ],
)
def test_mistakes_get_one_sentence(start: Start, arguments: list[str], sentence: str) -> None:
    assert sentence in failure(start(*arguments))


def test_cache_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = Process("--no-p4", "--", "--grpc-server-addr", FREE, cache=tmp_path / "file")
    assert "cannot keep compiled programs" in failure(process)


def test_taken_port_is_said(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        assert f"cannot serve on {address}" in failure(start("--no-p4", "--", "--grpc-server-addr", address))


def test_second_switch_on_the_same_port_is_refused(start: Start) -> None:
    address = start("--no-p4", "--", "--grpc-server-addr", FREE).address()
    assert f"cannot serve on {address}" in failure(start("--no-p4", "--", "--grpc-server-addr", address))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's and a client's self-signed certificates for localhost."""
    folder = tmp_path_factory.mktemp("certificates")
    for who in ("server", "client"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", f"{who}.key", "-out", f"{who}.pem"],
            cwd=folder, check=True, capture_output=True,
        )  # fmt: skip
    return folder


def test_tls_with_client_certificates(start: Start, certificates: Path) -> None:
    process = start(
        *("--device-id", "1", "--no-p4", "--", "--grpc-server-addr", "localhost:0", "--grpc-server-ssl"),
        *(
            "--grpc-server-cert",
            str(certificates / "server.pem"),
            "--grpc-server-key",
            str(certificates / "server.key"),
        ),
        *("--grpc-server-cacert", str(certificates / "client.pem"), "--grpc-server-with-client-auth"),
    )
    address = process.address()
    authority = (certificates / "server.pem").read_bytes()
    known = grpc.ssl_channel_credentials(
        authority, (certificates / "client.key").read_bytes(), (certificates / "client.pem").read_bytes()
    )
    with Client(address, known) as client:
        assert client.config() is None
    for stranger in (None, grpc.ssl_channel_credentials(authority)):
        with Client(address, stranger) as client, pytest.raises(grpc.RpcError) as refused:
            client.config()
        assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    # over Thrift nobody could show one
    assert "Thrift" not in process.stop()[1]
