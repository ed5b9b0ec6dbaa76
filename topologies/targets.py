"""The switches that can run the steering program, and how to start each: same arguments, one command line."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hitless.tls import AUTHORITY, CERTIFICATE, KEY
from hitless.words import CPU_PORT, DROP_PORT

BMV2 = "simple_switch_grpc"
NAMES = ("softswitch", "bmv2")


class TargetMissing(Exception):
    """A target that is not installed here; the message says how to get it."""


def missing(name: str) -> str | None:
    """Why a target cannot be started here and how to mend it, or None if it can."""
    if name == "softswitch":
        absent = [module for module in ("softswitch", "grpc") if importlib.util.find_spec(module) is None]
        if absent:
            return f"softswitch: no Python module {absent[0]} in {sys.executable}; run `make setup`"
        if shutil.which("gcc") is None:
            return "softswitch: it needs gcc to compile a pipeline; run `make setup`"
        return None
    if name == "bmv2":
        if shutil.which(BMV2) is None:
            return f"bmv2: {BMV2} is not in PATH; `vagrant up` gives a machine with it, or take TARGET=softswitch"
        return None
    raise ValueError(f"no target {name!r}; there is {' and '.join(NAMES)}")


def require(name: str) -> None:
    """Raise TargetMissing if a target cannot be started here."""
    reason = missing(name)
    if reason is not None:
        raise TargetMissing(reason)


def command(
    name: str,
    *,
    device_id: int,
    ports: Mapping[int, str],
    p4runtime: str,
    tls: Path | None = None,
    log_level: str = "warn",
    emulation: Sequence[str] = (),
) -> list[str]:
    """The command line that starts a target without a program on `ports` (number to interface).

    `p4runtime` is the address and port to serve P4Runtime on; with `tls`, a folder of `hitless.tls`, only to those that
    its authority knows. `emulation` is softswitch's options for links. A BMv2 built with Thrift also listens on port
    9090 of every address, so it belongs in a network namespace of its own.
    """
    require(name)
    program = [sys.executable, "-m", "softswitch"] if name == "softswitch" else [BMV2]
    interfaces = [word for port, interface in sorted(ports.items()) for word in ("-i", f"{port}@{interface}")]
    interfaces += emulation
    general = ["--device-id", str(device_id), *interfaces, "--log-console", "-L", log_level, "--no-p4"]
    own = ["--grpc-server-addr", p4runtime, "--cpu-port", str(CPU_PORT), "--drop-port", str(DROP_PORT)]
    if tls is not None:
        own += ["--grpc-server-ssl", "--grpc-server-with-client-auth", "--grpc-server-cacert", str(tls / AUTHORITY)]
        own += ["--grpc-server-cert", str(tls / CERTIFICATE), "--grpc-server-key", str(tls / KEY)]
    return [*program, *general, "--", *own]
