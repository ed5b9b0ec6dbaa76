"""One call of a service, for the operator: over the invocation protocol or HTTP, as the service is called."""

import base64
import ctypes
import http.client
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.operator.documents import CalledAt, Status
from hitless.client.blocking import BlockingClient
from hitless.wire.calls import DeadlineExceeded, Endpoint
from hitless.wire.invocation import InvocationError

NAMESPACES = "namespaces.json"
"""Beside the socket of a controller whose fabric is laid out on this machine: by host, a process in its network."""
CLONE_NEWNET = 0x40000000
NODE_HEADER = "x-hitless-node"


class InvokeError(Exception):
    """The call cannot be made; the message says why and what to do."""


class NoAnswerError(Exception):
    """Nobody answered in time; the message says where and for how long."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered."""

    service: str
    status: int
    """An HTTP status, also over the invocation protocol."""
    failed: bool
    body: bytes
    address: str
    port: int
    took_ms: float
    node: str | None
    """Who served it, where the answer says so: over HTTP."""

    def document(self) -> str:
        """As JSON. A body that is no text is in base64."""
        try:
            body, encoded = self.body.decode(), False
        except UnicodeDecodeError:
            body, encoded = base64.b64encode(self.body).decode(), True
        return json.dumps(
            {
                "service": self.service,
                "status": self.status,
                "failed": self.failed,
                "node": self.node,
                "address": self.address,
                "port": self.port,
                "took_ms": round(self.took_ms, 3),
                "body": body,
                "isBase64Encoded": encoded,
            }
        )


def place_of(service: str, status: Status) -> CalledAt:
    """Where a service is called now. Raises InvokeError."""
    if service not in status.services:
        raise InvokeError(f"no service {service} in fabric {status.fabric}; services: {', '.join(status.services)}")
    place = status.services[service].called_at
    if place is None:
        raise InvokeError(f"no node serves {service} yet: see hitless status")
    return place


def client_host(namespaces: Mapping[str, int], status: Status, wanted: str | None) -> str | None:
    """The host of a fabric on this machine to call from: the first that is neither node nor switch.

    None if there is none. Raises InvokeError if the wanted one does not exist.
    """
    if wanted is not None:
        if wanted not in namespaces:
            known = ", ".join(namespaces) or "none, for its fabric is not laid out on this machine"
            raise InvokeError(f"no host {wanted} to call from; hosts: {known}")
        return wanted
    others = status.nodes.keys() | status.switches.keys()
    return next((name for name in namespaces if name not in others), None)


def read_namespaces(folder: Path) -> dict[str, int]:
    """The hosts of the fabric whose controller's socket is in this folder, if they are on this machine."""
    try:
        return dict(json.loads((folder / NAMESPACES).read_text()))
    except (OSError, ValueError):
        return {}


def enter(pid: int, host: str) -> None:
    """Call from a host's network from now on: that which a process is in. Raises InvokeError."""
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        with Path(f"/proc/{pid}/ns/net").open("rb") as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    except OSError as error:
        raise InvokeError(f"cannot call from host {host} ({error.strerror}): run it as root") from error


def call(
    service: str, place: CalledAt, body: bytes | None, *, path: str, method: str | None, timeout_s: float
) -> Answer:
    """Call a service once, and wait for its answer. Raises InvokeError and NoAnswerError."""
    if place.protocol == "udp":
        return _over_udp(service, place, body or b"", timeout_s)
    return _over_http(service, place, body, path, method or ("GET" if body is None else "POST"), timeout_s)


def _over_udp(service: str, place: CalledAt, body: bytes, timeout_s: float) -> Answer:
    endpoint = Endpoint(place.service_id, place.address, place.port)
    try:
        with BlockingClient() as client:
            response = client.invoke(endpoint, body, timeout_s)
    except DeadlineExceeded as error:
        raise NoAnswerError(str(error)) from error
    except (InvocationError, OSError) as error:
        raise _unreachable(place, error) from error
    took_ms = (response.received_ns - response.sent_ns) / 1e6
    payload, failed = response.payload, response.failed
    return Answer(service, response.status, failed, payload, place.address, place.port, took_ms, None)


def _over_http(service: str, place: CalledAt, body: bytes | None, path: str, method: str, timeout_s: float) -> Answer:
    connection = http.client.HTTPConnection(place.address, place.port, timeout=timeout_s)
    sent = time.monotonic()
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        content = response.read()
    except TimeoutError as error:
        raise NoAnswerError(f"no answer from {place.address}:{place.port} within {timeout_s:g} s") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _unreachable(place, error) from error
    finally:
        connection.close()
    took_ms = (time.monotonic() - sent) * 1000
    failed = response.status >= http.client.BAD_REQUEST
    node = response.getheader(NODE_HEADER)
    return Answer(service, response.status, failed, content, place.address, place.port, took_ms, node)


def _unreachable(place: CalledAt, error: Exception) -> InvokeError:
    return InvokeError(f"cannot call {place.address}:{place.port} from here: {error}")
