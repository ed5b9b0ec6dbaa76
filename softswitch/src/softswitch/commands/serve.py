"""The `softswitch` command: simple_switch_grpc's options, so that scripts written for it go on working."""

from __future__ import annotations

import argparse
import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from textwrap import fill, indent

import grpc

from softswitch.bmv2.v1model import MAX_PORT
from softswitch.codegen.cc import CompilerMissing
from softswitch.commands import shaping
from softswitch.commands.arguments import DEFAULT_ADDRESS, Parser, device_id, port_and, port_number
from softswitch.commands.stopping import Stopping
from softswitch.engine.engine import IO, Engine
from softswitch.files import LoadError, load_program, read_bytes, write_file
from softswitch.grpc_server import MAX_TCP_PORT, CannotServe, tls_credentials
from softswitch.p4runtime.device import Device
from softswitch.p4runtime.server import P4RuntimeServer
from softswitch.switch import cache_problem
from softswitch.thrift.server import ThriftServer

LOGGER = logging.getLogger("softswitch")

_INTERFACE = port_and("IFACE", "1@veth1")

_DESCRIPTION = """\
A P4 switch: compiles what p4c made for BMv2 and runs it natively.

Without a command it takes simple_switch_grpc's place: it moves packets between interfaces and serves P4Runtime."""

_USAGE = """\
softswitch [options] (program.json | --no-p4) [-- target options]
       softswitch run program.json --pcap-in 1@in.pcap … (packets from files; softswitch run --help)
       softswitch port add 3@veth3                       (of a running switch; softswitch port --help)
       softswitch doctor veth1 veth2                     (what would break; softswitch doctor --help)"""

JSON_VERSION = "2.23"
"""Of BMv2's JSON: what the present p4c writes; all of version 2 is understood."""

THRIFT_PORT = 9090
"""Where BMv2's clients look for a switch that does not say where it is."""

_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
    "off": logging.CRITICAL + 1,
}

_MEANINGLESS = {
    "--nanolog": "there is no nanomsg event log",
    "--notifications-addr": "there are no nanomsg notifications",
    "--debugger-addr": "there is no debugger",
    "--packet-in": "packets come from interfaces",
    "--use-files": "packets come from interfaces (softswitch run takes them from files)",
    "--restore-state": "state is written over P4Runtime",
    "--dump-packet-data": "packets are not logged",
    "--log-file-max-size": "the log file is not rotated",
    "--log-file-max-files": "the log file is not rotated",
    "--load-modules": "externs of modules are refused with the program that has them",
    "--max-port-count": "the number of ports is not limited",
    "--dp-grpc-server-addr": "packets come from interfaces",
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


_EPILOG = f"""\
example:
  softswitch --device-id 1 -i 1@veth1 -i 2@veth2 --no-p4 -- --grpc-server-addr 127.0.0.1:9559 --cpu-port 510

It prints where it serves P4Runtime once clients can connect, and ends on SIGTERM or SIGINT. Interfaces need root or
CAP_NET_RAW. When it cannot start, standard error says why in one sentence and the exit code is 1.

simple_switch_grpc's other options are accepted, and the log says that they have no effect:
{indent(fill(", ".join([*_MEANINGLESS, *_MEANINGLESS_FLAGS]), 108, break_on_hyphens=False), "  ")}"""


def _thrift_port(text: str) -> int | str:
    if text != "off" and not (text.isdecimal() and int(text) <= MAX_TCP_PORT):
        raise argparse.ArgumentTypeError(f"{text!r} is neither a port in 0..{MAX_TCP_PORT} nor off")
    return text if text == "off" else int(text)


class StartError(Exception):
    """The switch cannot start: one sentence for the user."""


def build_parser() -> argparse.ArgumentParser:
    """The command line. Options that BMv2 wants after `--` are taken before it as well."""
    parser = Parser("softswitch", _DESCRIPTION, _EPILOG, usage=_USAGE)
    option = parser.add_argument
    option("program", nargs="?", type=Path, metavar="program.json", help="what p4c-bm2-ss made of a P4 program")
    option("--p4info", type=Path, metavar="FILE", help="its P4Info (text), so that clients need not push the program")
    option("-v", "--version", action="version", version=version("softswitch"))
    option("--json-version", action="version", version=JSON_VERSION, help="show which BMv2 JSON is understood")
    option("--no-p4", action="store_true", help="start without a program; a client pushes one")
    option("--device-id", type=device_id, default=0, metavar="N", help="P4Runtime device id (default 0)")
    option(
        *("-i", "--interface"),
        action="append",
        default=[],
        type=_INTERFACE,
        metavar="PORT@IFACE",
        help="attach an interface; repeatable",
    )
    option("--io", choices=IO, default=IO[0], help="how interfaces send and receive; default %(default)s")
    option("--busy-poll", action="store_true", help="never sleep: lower latency, and a processor always busy")
    option("-L", "--log-level", choices=_LEVELS, default="info", metavar="LEVEL", help=f"{', '.join(_LEVELS)}")
    option(
        "--entries",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="write these first, such as a tutorial's s1-runtime.json; needs --p4info; repeatable",
    )
    option(
        "--pcap",
        nargs="?",
        const=Path(),
        type=Path,
        metavar="FOLDER",
        help="record to FOLDER/IFACE_in.pcap and IFACE_out.pcap; without FOLDER to the present one",
    )
    destination = parser.add_mutually_exclusive_group()
    destination.add_argument("--log-file", type=Path, metavar="FILE", help="log to FILE.txt, as BMv2 names it")
    destination.add_argument("--log-console", action="store_true", help="log to standard error (the default)")
    option = parser.add_argument_group("target options, which may follow a --").add_argument
    option("--grpc-server-addr", default=DEFAULT_ADDRESS, metavar="HOST:PORT", help=f"default {DEFAULT_ADDRESS}")
    option("--cpu-port", type=port_number, metavar="N", help="port of packet-in and packet-out; none by default")
    option("--drop-port", type=port_number, default=MAX_PORT, metavar="N", help=f"default {MAX_PORT}")
    option(
        "--thrift-port",
        type=_thrift_port,
        metavar="N|off",
        help=f"where simple_switch_CLI finds it, on this machine only; default {THRIFT_PORT}, if that is free",
    )
    option("--grpc-server-ssl", action="store_true", help="serve with TLS")
    option("--grpc-server-cert", type=Path, metavar="FILE", help="server certificate (PEM)")
    option("--grpc-server-key", type=Path, metavar="FILE", help="server key (PEM)")
    option("--grpc-server-cacert", type=Path, metavar="FILE", help="certificate authority of the clients (PEM)")
    option("--grpc-server-with-client-auth", action="store_true", help="demand client certificates")
    shaping.add_options(option)
    for name in _MEANINGLESS:
        parser.add_argument(name, help=argparse.SUPPRESS)
    for name in _MEANINGLESS_FLAGS:
        parser.add_argument(name, action="store_true", help=argparse.SUPPRESS)
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read a command line; exits with code 1 and a sentence when it is wrong."""
    parser = build_parser()
    options = parser.parse_args([a for a in arguments if a != "--"])
    if options.program is None and not options.no_p4:
        parser.error("give a BMv2 JSON file, or --no-p4 to start without a program")
    if options.p4info is not None and options.program is None:
        parser.error("--p4info describes a program: give its BMv2 JSON file too")
    if options.entries and (options.p4info is None or options.no_p4):
        parser.error("--entries needs the program and its P4Info: program.json --p4info FILE")
    if options.cpu_port is not None and options.cpu_port in (0, options.drop_port):
        parser.error("--cpu-port must be neither 0 nor the drop port")
    if options.grpc_server_ssl and not (options.grpc_server_cert and options.grpc_server_key):
        parser.error("--grpc-server-ssl needs --grpc-server-cert and --grpc-server-key")
    if options.grpc_server_with_client_auth and not (options.grpc_server_ssl and options.grpc_server_cacert):
        parser.error("--grpc-server-with-client-auth needs --grpc-server-ssl and --grpc-server-cacert")
    return options


def main(arguments: Sequence[str]) -> int:
    """Run a switch until SIGTERM or SIGINT; returns the exit code, 1 with a sentence on standard error."""
    options = parse(arguments)
    try:
        _set_up_logging(options)
        # Table entries, made by the hundred thousand, live long and have no cycles: look for these less often.
        gc.set_threshold(100_000, 50, 100)
        with Stopping() as stopping:
            asyncio.run(_run(options, stopping))
    except (StartError, LoadError) as error:
        print(f"softswitch: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(options: argparse.Namespace, stopping: Stopping) -> None:
    _tell_meaningless(options)
    make_engine = partial(Engine, cpu_port=options.cpu_port, drop_port=options.drop_port)
    with _engine(partial(make_engine, io=options.io, busy_poll=options.busy_poll)) as engine:
        if options.pcap is not None:
            if not options.pcap.is_dir() or not os.access(options.pcap, os.W_OK):
                raise StartError(f"cannot record to {options.pcap}: no such folder, or not to be written")
            engine.record_ports(options.pcap)
        stopping.last = engine.stop_compiling
        _add_ports(engine, options.interface)
        try:
            shaping.apply(options, engine)
        except ValueError as error:
            raise StartError(str(error)) from error
        device = Device(options.device_id, engine, make_engine, options.cpu_port)
        if options.program is not None and not options.no_p4:
            await asyncio.to_thread(load_program, device, options.program, options.p4info)
            for path in options.entries:
                await asyncio.to_thread(write_file, device, path)
        engine.trace_packets(options.log_level == "trace")
        engine.start()
        server = P4RuntimeServer(device)
        try:
            port = await server.start(options.grpc_server_addr, _tls(options))
        except CannotServe as error:
            raise StartError(str(error)) from error
        thrift: ThriftServer | None = None
        try:
            thrift = _thrift(options, server)
            address = options.grpc_server_addr
            if address.endswith(":0"):
                address = f"{address.removesuffix('0')}{port}"
            serving = f"device {options.device_id} serves P4Runtime on {address}"
            print(f"softswitch: {serving}", flush=True)
            LOGGER.info(serving)
            await stopping.asked()
            LOGGER.info("stopping")
        finally:
            if thrift is not None:
                await asyncio.to_thread(thrift.stop)
            await server.stop()


def _thrift(options: argparse.Namespace, server: P4RuntimeServer) -> ThriftServer | None:
    """None where it is not wanted; or nobody asked for it and the port is taken, or clients have to show who they are,
    which they cannot over Thrift."""
    wanted = options.thrift_port
    if wanted == "off" or (wanted is None and options.grpc_server_with_client_auth):
        return None
    port = THRIFT_PORT if wanted is None else wanted
    try:
        thrift = ThriftServer(server, asyncio.get_running_loop(), port)
    except OSError as error:
        problem = f"cannot serve Thrift on port {port}: {error.strerror or error}"
        if wanted is not None:
            raise StartError(f"{problem}; give another --thrift-port, or off") from error
        LOGGER.info("%s; --thrift-port gives another", problem)
        return None
    LOGGER.info("serves Thrift (simple_switch_CLI) on port %d of this machine", thrift.port)
    return thrift


def _engine(make: Callable[[], Engine]) -> Engine:
    try:
        return make()
    except CompilerMissing as error:
        raise StartError(str(error)) from error
    except OSError as error:
        raise StartError(cache_problem(error)) from error


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


def _tls(options: argparse.Namespace) -> grpc.ServerCredentials | None:
    if not options.grpc_server_ssl:
        return None
    certificate, key, authority = options.grpc_server_cert, options.grpc_server_key, options.grpc_server_cacert
    for path in filter(None, (certificate, key, authority)):
        read_bytes(path)
    try:
        return tls_credentials(certificate, key, authority, demand_client=options.grpc_server_with_client_auth)
    except OSError as error:
        raise StartError(f"TLS: {error.strerror or error} (certificate and key have to be PEM files)") from error


def _set_up_logging(options: argparse.Namespace) -> None:
    form = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    path = None if options.log_file is None else f"{options.log_file}.txt"
    try:
        logging.basicConfig(filename=path, level=_LEVELS[options.log_level], format=form)
    except OSError as error:
        raise StartError(f"cannot write the log file {path}: {error.strerror}") from error
    for chatty in ("asyncio", "grpc"):
        logging.getLogger(chatty).setLevel(max(logging.INFO, _LEVELS[options.log_level]))


def _tell_meaningless(options: argparse.Namespace) -> None:
    for option, why in (_MEANINGLESS | _MEANINGLESS_FLAGS).items():
        if getattr(options, option.removeprefix("--").replace("-", "_")):
            LOGGER.warning("%s has no effect: %s", option, why)
