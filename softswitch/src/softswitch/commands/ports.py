"""`softswitch port`: ports of a running switch."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct

from softswitch.commands.arguments import DEFAULT_ADDRESS, Parser, port_and, port_number
from softswitch.commands.shaping import add_set_options, set_request, told
from softswitch.files import LoadError, read_bytes
from softswitch.p4runtime.ports import SERVICE

_TIMEOUT = 10.0

_Json = dict[str, Any]

_EPILOG = f"""\
example:
  softswitch port add 3@veth9
  softswitch port list
  softswitch port remove 3
  softswitch port set 3 --delay 10ms --loss 0.1%

It asks the switch that serves P4Runtime on {DEFAULT_ADDRESS}; name another one as you named it when you started it:
--grpc-server-addr HOST:PORT. The interface is one of the switch's network namespace.
"""


def build_parser() -> Parser:
    """The options of `softswitch port`."""
    parser = Parser("softswitch port", "Add, remove, list and set the ports of a running switch.", _EPILOG)
    parser.add_argument("action", choices=("add", "remove", "list", "set"))
    parser.add_argument(
        "what", nargs="?", metavar="PORT@IFACE", help="for remove and set the port alone, for list nothing"
    )
    parser.add_argument(
        "--grpc-server-addr", default=DEFAULT_ADDRESS, metavar="HOST:PORT", help=f"default {DEFAULT_ADDRESS}"
    )
    add_set_options(parser)
    parser.add_argument("--cacert", type=Path, metavar="FILE", help="use TLS, with this certificate authority (PEM)")
    parser.add_argument("--cert", type=Path, metavar="FILE", help="client certificate (PEM)")
    parser.add_argument("--key", type=Path, metavar="FILE", help="client key (PEM)")
    return parser


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    request = _request(parser, options)
    try:
        answer = _ask(options, request)
    except LoadError as error:
        print(f"softswitch: {error}", file=sys.stderr)
        return 1
    except grpc.RpcError as error:
        print(f"softswitch: {_explain(error, options.grpc_server_addr)}", file=sys.stderr)
        return 1
    if options.action == "list":
        print(f"{'port':>5} {'interface':15} state {'cut':>9} {'unsent':>9}")
        for port in answer["ports"]:
            state = "up" if port["up"] else "down"
            counts = f"{int(port['cut']):9} {int(port['unsent']):9}"
            print(f"{int(port['port']):5} {port['interface']:15} {state:5} {counts}")
        for shaping in answer["shaping"]:
            for line in told(shaping):
                print(line)
    return 0


def _request(parser: Parser, options: argparse.Namespace) -> _Json:
    if (options.what is None) is not (options.action == "list"):
        wanted = {
            "add": "PORT@IFACE, such as 3@veth9",
            "set": "a port number",
            "remove": "a port number",
            "list": "nothing else",
        }
        parser.error(f"port {options.action} takes {wanted[options.action]}")
    try:
        settings = set_request(options)
        if bool(settings) is not (options.action == "set"):
            parser.error("port set, and nothing else, takes what is to be set, such as --delay 10ms")
        if options.action == "add":
            port, interface = port_and("IFACE", "3@veth9")(options.what)
            return {"port": port, "interface": interface}
        return {} if options.what is None else {"port": port_number(options.what)} | settings
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))


def _ask(options: argparse.Namespace, request: _Json) -> _Json:
    if options.cacert or options.cert or options.key:
        authority, key, certificate = (
            read_bytes(path) if path else None for path in (options.cacert, options.key, options.cert)
        )
        credentials = grpc.ssl_channel_credentials(authority, key, certificate)
        channel = grpc.secure_channel(options.grpc_server_addr, credentials)
    else:
        channel = grpc.insecure_channel(options.grpc_server_addr)
    with channel:
        call = channel.unary_unary(
            f"/{SERVICE}/{options.action.capitalize()}",
            request_serializer=Struct.SerializeToString,
            response_deserializer=Struct.FromString,
        )
        answer = call(json_format.ParseDict(request, Struct()), timeout=_TIMEOUT)
    decoded: _Json = json_format.MessageToDict(answer)
    return {"ports": [], "shaping": []} | decoded


def _explain(error: grpc.RpcError, address: str) -> str:
    code, details = error.code(), error.details()
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        return f"no switch answers at {address} (--grpc-server-addr says where it is; with TLS it needs --cacert)"
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return f"what serves at {address} is no softswitch"
    return str(details)
