"""The `softswitch` command: simple_switch_grpc's options, so that scripts written for it go on working."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

import grpc
from finsy.proto import p4i, p4r
from google.protobuf import text_format

from softswitch.engine import CompilerMissing, Engine, UnsupportedProgram
from softswitch.p4runtime.device import Device
from softswitch.p4runtime.errors import P4RuntimeError
from softswitch.p4runtime.server import P4RuntimeServer, PortTaken

LOGGER = logging.getLogger("softswitch")

DEFAULT_ADDRESS = "127.0.0.1:9559"
DEFAULT_DROP_PORT = 511
MAX_PORT = 511

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 1,
}

_MEANINGLESS = {
    "--thrift-port": "there is no Thrift server",
    "--nanolog": "there is no nanomsg event log",
    "--notifications-addr": "there are no nanomsg notifications",
    "--debugger-addr": "there is no debugger",
    "--packet-in": "packets come from interfaces",
    "--use-files": "packets come from interfaces",
    "--restore-state": "state is written over P4Runtime",
    "--dump-packet-data": "packets are not logged",
    "--log-file-max-size": "the log file is not rotated",
    "--log-file-max-files": "the log file is not rotated",
    "--max-port-count": "the number of ports is not limited",
    "--pcap": "packets are not recorded",
    "--dp-grpc-server-addr": "packets come from interfaces",
    "--priority-queues": "there is one queue a port",
    "--max-mc-groups": "the number of groups is not limited",
    "--max-l1-entries": "the number of replicas is not limited",
    "--max-l2-entries": "the number of replicas is not limited",
}
"""Options of simple_switch_grpc with an argument that are accepted without effect, and why."""

_MEANINGLESS_FLAGS = {
    "--debugger": "there is no debugger",
    "--log-flush": "every line is flushed",
    "--disable-swap": "pipelines can always be pushed",
}


class StartError(Exception):
    """The switch cannot start: one sentence for the user."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(1, f"softswitch: {message}; see softswitch --help\n")


def build_parser() -> argparse.ArgumentParser:
    """The command line. Options that BMv2 wants after `--` are taken before it as well."""
    parser = _Parser(
        prog="softswitch",
        allow_abbrev=False,
        description="A P4Runtime switch that compiles what p4c made for BMv2 and runs it natively.",
        epilog="The options are simple_switch_grpc's. Those of the target may follow a --.",
    )
    parser.add_argument("program", nargs="?", type=Path, help="BMv2 JSON to start with")
    parser.add_argument("--p4info", type=Path, help="the program's P4Info (text), so that clients need not push it")
    parser.add_argument("--no-p4", action="store_true", help="start without a program; a client pushes one")
    parser.add_argument("--device-id", type=int, default=0, help="P4Runtime device id (default 0)")
    parser.add_argument(
        "-i", "--interface", action="append", default=[], type=_interface, metavar="PORT@IFACE", help="attach a port"
    )
    parser.add_argument("-L", "--log-level", choices=_LEVELS, default="info", help="default info")
    destination = parser.add_mutually_exclusive_group()
    destination.add_argument("--log-file", type=Path, help="log to this file instead of to standard error")
    destination.add_argument("--log-console", action="store_true", help="log to standard error (the default)")
    target = parser.add_argument_group("target options, after --")
    target.add_argument("--grpc-server-addr", default=DEFAULT_ADDRESS, help=f"default {DEFAULT_ADDRESS}")
    target.add_argument("--cpu-port", type=_port, help="port number for packet-in and packet-out; none by default")
    target.add_argument("--drop-port", type=_port, default=DEFAULT_DROP_PORT, help=f"default {DEFAULT_DROP_PORT}")
    target.add_argument("--grpc-server-ssl", action="store_true", help="serve with TLS")
    target.add_argument("--grpc-server-cert", type=Path, help="server certificate (PEM)")
    target.add_argument("--grpc-server-key", type=Path, help="server key (PEM)")
    target.add_argument("--grpc-server-cacert", type=Path, help="certificate authority of the clients (PEM)")
    target.add_argument("--grpc-server-with-client-auth", action="store_true", help="demand client certificates")
    for option, why in _MEANINGLESS.items():
        nargs = "?" if option == "--pcap" else None
        parser.add_argument(option, nargs=nargs, help=f"accepted without effect: {why}")
    for option, why in _MEANINGLESS_FLAGS.items():
        parser.add_argument(option, action="store_true", help=f"accepted without effect: {why}")
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read a command line; exits with code 1 and a sentence when it is wrong."""
    parser = build_parser()
    # As in BMv2, a directory for --pcap needs an equals sign: what follows --pcap alone is another argument.
    options = parser.parse_args(["--pcap=." if a == "--pcap" else a for a in arguments if a != "--"])
    if options.program is None and not options.no_p4:
        parser.error("give a BMv2 JSON file, or --no-p4 to start without a program")
    if options.p4info is not None and options.program is None:
        parser.error("--p4info describes a program: give its BMv2 JSON file too")
    if options.cpu_port is not None and options.cpu_port in (0, options.drop_port):
        parser.error("--cpu-port must be neither 0 nor the drop port")
    if options.grpc_server_ssl and not (options.grpc_server_cert and options.grpc_server_key):
        parser.error("--grpc-server-ssl needs --grpc-server-cert and --grpc-server-key")
    if options.grpc_server_with_client_auth and not (options.grpc_server_ssl and options.grpc_server_cacert):
        parser.error("--grpc-server-with-client-auth needs --grpc-server-ssl and --grpc-server-cacert")
    return options


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a switch until SIGTERM or SIGINT. Exits 0, or 1 with a sentence on standard error."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        _set_up_logging(options)
        asyncio.run(_run(options))
    except StartError as error:
        sys.exit(f"softswitch: {error}")
    sys.exit(0)


async def _run(options: argparse.Namespace) -> None:
    _tell_meaningless(options)
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    make_engine = partial(Engine, cpu_port=options.cpu_port, drop_port=options.drop_port)
    with _engine(make_engine) as engine:
        _add_ports(engine, options.interface)
        device = Device(options.device_id, engine, make_engine, options.cpu_port)
        if options.program is not None and not options.no_p4:
            await asyncio.to_thread(_load, device, options.program, options.p4info)
        engine.start()
        server = P4RuntimeServer(device)
        try:
            port = await server.start(options.grpc_server_addr, _credentials(options))
        except PortTaken as error:
            raise StartError(str(error)) from error
        try:
            address = options.grpc_server_addr
            if address.endswith(":0"):
                address = f"{address.removesuffix('0')}{port}"
            serving = f"device {options.device_id} serves P4Runtime on {address}"
            print(f"softswitch: {serving}", flush=True)
            LOGGER.info(serving)
            await stopping.wait()
            LOGGER.info("stopping")
        finally:
            await server.stop()


def _engine(make: Callable[[], Engine]) -> Engine:
    try:
        return make()
    except CompilerMissing as error:
        raise StartError(str(error)) from error
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}"
        raise StartError(
            f"cannot keep compiled programs in {reason} (set XDG_CACHE_HOME to a folder of yours)"
        ) from error


def _add_ports(engine: Engine, interfaces: Sequence[tuple[int, str]]) -> None:
    for port, name in interfaces:
        try:
            engine.add_port(port, name)
        except PermissionError as error:
            raise StartError(f"interface {name} needs privileges: run as root or with CAP_NET_RAW") from error
        except OSError as error:
            raise StartError(f"interface {name} cannot be port {port}: {error.strerror or error}") from error
        except ValueError as error:
            raise StartError(f"interface {name} cannot be port {port}: {error}") from error


def _load(device: Device, program: Path, p4info_path: Path | None) -> None:
    """Start with a program. Without its P4Info it runs, and clients have to push it before they can write."""
    try:
        text = _read(program)
        if p4info_path is None:
            device.engine.load(text.decode())
            return
        p4info = text_format.Parse(_read(p4info_path).decode(), p4i.P4Info())
        config = p4r.ForwardingPipelineConfig(p4info=p4info, p4_device_config=text)
        device.set_pipeline(p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT, config)
    except (CompilerMissing, P4RuntimeError) as error:
        raise StartError(f"{program}: {error}") from error
    except UnsupportedProgram as error:
        raise StartError(f"{program}: this switch cannot run the program: {error}") from error
    except ValueError as error:
        raise StartError(f"{program} is no BMv2 JSON: {error}") from error
    except text_format.ParseError as error:
        raise StartError(f"{p4info_path} is no P4Info in text form: {error}") from error


def _credentials(options: argparse.Namespace) -> grpc.ServerCredentials | None:
    if not options.grpc_server_ssl:
        return None
    authority = _read(options.grpc_server_cacert) if options.grpc_server_cacert else None
    return grpc.ssl_server_credentials(
        [(_read(options.grpc_server_key), _read(options.grpc_server_cert))],
        root_certificates=authority,
        require_client_auth=options.grpc_server_with_client_auth,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartError(f"cannot read {path}: {error.strerror}") from error


def _set_up_logging(options: argparse.Namespace) -> None:
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    try:
        logging.basicConfig(filename=options.log_file, level=_LEVELS[options.log_level], format=form)
    except OSError as error:
        raise StartError(f"cannot write the log file {options.log_file}: {error.strerror}") from error
    for chatty in ("asyncio", "grpc"):
        logging.getLogger(chatty).setLevel(max(logging.INFO, _LEVELS[options.log_level]))


def _tell_meaningless(options: argparse.Namespace) -> None:
    for option, why in (_MEANINGLESS | _MEANINGLESS_FLAGS).items():
        if getattr(options, option.removeprefix("--").replace("-", "_")):
            LOGGER.warning("%s has no effect: %s", option, why)


def _interface(text: str) -> tuple[int, str]:
    port, at, name = text.partition("@")
    if not at or not name or not port.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not PORT@IFACE, such as 1@veth1")
    return _port(port), name


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number in 0..{MAX_PORT}")
    return int(text)
