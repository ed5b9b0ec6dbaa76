"""The client of the controller's API (docs/api.md), for the command line and for scripts: plain calls.

Each call is one short request, so a program on asyncio makes it in a thread: `await asyncio.to_thread(client.status)`.
"""

import http.client
import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit

from pydantic import ValidationError

from controller.observe.events import Event, EventError, decode
from controller.operator import requests
from controller.operator.documents import (
    DEPLOY_ENTRY,
    LOG_ENTRY,
    DeployEntry,
    Document,
    DrainResult,
    ExcludeResult,
    LogEntry,
    MigrateResult,
    ReleaseResult,
    RestartResult,
    RotateKeysResult,
    Status,
    UndeployResult,
)
from hitless.faults import faults
from hitless.tls import AUTHORITY, CERTIFICATE, KEY, explained

TIMEOUT_S = 10.0

Answer = TypeVar("Answer", bound=Document)


class NoControllerError(Exception):
    """Nobody answers at the socket; the message says what to do."""


class RefusedError(Exception):
    """The controller does not do what it was asked, in its own words; or its answer cannot be read."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("controller", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@dataclass(frozen=True, slots=True)
class Remote:
    """A controller's API over the network, and who one is there: by certificate, or by token."""

    url: str
    """`https://host:port`."""
    tls: Path | None = None
    """Folder with `ca.crt`, and `tls.crt` with `tls.key` unless a token says who one is; None: the system's trust."""
    token_file: Path | None = None

    def __str__(self) -> str:
        return self.url

    def connection(self, timeout: float | None) -> http.client.HTTPConnection:
        """A connection, not open yet. Raises NoControllerError."""
        place = urlsplit(self.url)
        if place.scheme != "https" or place.hostname is None:
            raise NoControllerError(f"{self.url}: expected such as https://10.0.0.100:9443")
        try:
            context = ssl.create_default_context(cafile=self.tls / AUTHORITY if self.tls is not None else None)
            if self.tls is not None and (self.tls / CERTIFICATE).exists():
                context.load_cert_chain(self.tls / CERTIFICATE, self.tls / KEY)
        except OSError as error:
            raise NoControllerError(f"no certificates in {self.tls}: {error.strerror or error}") from error
        return http.client.HTTPSConnection(place.hostname, place.port, timeout=timeout, context=context)

    def headers(self) -> dict[str, str]:
        """What says who one is. Raises NoControllerError."""
        if self.token_file is None:
            return {}
        try:
            return {"Authorization": f"Bearer {self.token_file.read_text().strip()}"}
        except OSError as error:
            raise NoControllerError(f"{self.token_file}: {error.strerror}") from error


Place = Path | Remote
"""Where a controller's API is: its socket, or somewhere in the network."""


class Client:
    """The controller at a place. Every call may raise NoControllerError and RefusedError."""

    def __init__(self, path: Place, *, timeout_s: float = TIMEOUT_S) -> None:
        """`timeout_s` is how long the controller may be silent in a call; events may take any time."""
        self.path = path
        self._timeout_s = timeout_s

    def status(self) -> Status:
        """What there is and how it is now."""
        return self._get("/v1/status", Status)

    def migrate(self, service: str, node: str, *, hold: bool = False, force: bool = False) -> MigrateResult:
        """Make a node the host of a service's new work, until its dwell is over or, on `hold`, until released.

        Refused when its instance cannot serve, unless on `force`.
        """
        return self._post("/v1/migrate", MigrateResult, service=service, node=node, hold=hold, force=force)

    def exclude(self, node: str) -> ExcludeResult:
        """Send nothing to a node, and take no report of its."""
        return self._post("/v1/exclude", ExcludeResult, node=node)

    def include(self, node: str) -> ExcludeResult:
        """Let a node serve again."""
        return self._post("/v1/include", ExcludeResult, node=node)

    def release(self, service: str) -> ReleaseResult:
        """Let go of a service."""
        return self._post("/v1/release", ReleaseResult, service=service)

    def drain(self, service: str, node: str, *, undo: bool = False) -> DrainResult:
        """Let an instance take no new work, or on `undo` take it again."""
        return self._post("/v1/drain", DrainResult, service=service, node=node, undo=undo)

    def restart(self, component: str, node: str | None = None) -> RestartResult:
        """Launch a component anew on a node, or on all that have it; waits until that is done, minutes if need be."""
        body: dict[str, str | bool | None] = {"component": component, "node": node}
        return self._read(self._request("POST", "/v1/restart", body, None), RestartResult)

    def rotate_keys(self, service: str | None = None) -> RotateKeysResult:
        """Give the instances of a service, or of all, new keys for their reports."""
        return self._post("/v1/rotate-keys", RotateKeysResult, service=service)

    def events(self, since: int = 0, *, follow: bool = False) -> Iterator[Event]:
        """What happened after event number `since`; on `follow`, without an end, each event when it happens."""
        target = f"/v1/events?since={since}" + ("&follow=1" if follow else "")
        answer = self._request("GET", target, None, None if follow else self._timeout_s)
        while line := self._reading(answer.readline):
            try:
                yield decode(line)
            except EventError as error:
                raise _unreadable(str(error)) from error

    def deploy(self, body: requests.Deploy) -> Iterator[DeployEntry]:
        """Roll a component out: each step when it is done and, last, what came of it. It goes on without the reader."""
        answer = self._request("POST", "/v1/deploy", json.loads(body.model_dump_json()), None)
        while line := self._reading(answer.readline):
            try:
                yield DEPLOY_ENTRY.validate_json(line)
            except ValidationError as error:
                raise _unreadable(faults(error, "the deployment")) from error

    def undeploy(self, service: str) -> UndeployResult:
        """Take away a service that was deployed."""
        return self._post("/v1/undeploy", UndeployResult, service=service)

    def logs(
        self,
        component: str,
        node: str | None = None,
        *,
        since_s: int | None = None,
        tail: int | None = None,
        follow: bool = False,
    ) -> Iterator[LogEntry]:
        """What a component has printed on a node, or on all of its: in the last `since_s` seconds, or else the last
        `tail` lines of each node, or all that is kept; on `follow`, without an end, each line when it is written."""
        asked = {"component": component, "node": node, "since": since_s, "tail": tail, "follow": int(follow) or None}
        query = urlencode({name: value for name, value in asked.items() if value is not None})
        answer = self._request("GET", f"/v1/logs?{query}", None, None)
        while line := self._reading(answer.readline):
            try:
                yield LOG_ENTRY.validate_json(line)
            except ValidationError as error:
                raise _unreadable(faults(error, "the log")) from error

    def _get(self, target: str, answer: type[Answer]) -> Answer:
        return self._read(self._request("GET", target, None, self._timeout_s), answer)

    def _post(self, target: str, answer: type[Answer], **body: str | bool | None) -> Answer:
        return self._read(self._request("POST", target, body, self._timeout_s), answer)

    def _read(self, response: http.client.HTTPResponse, answer: type[Answer]) -> Answer:
        try:
            return answer.model_validate_json(self._reading(response.read))
        except ValidationError as error:
            raise _unreadable(faults(error, "the answer")) from error

    def _reading(self, read: Callable[[], bytes]) -> bytes:
        try:
            return read()
        except (OSError, http.client.HTTPException) as error:
            raise NoControllerError(f"the controller at {self.path} went away while it answered: {error}") from error

    def _request(
        self, method: str, target: str, body: Mapping[str, Any] | None, timeout: float | None
    ) -> http.client.HTTPResponse:
        place = self.path
        connection = place.connection(timeout) if isinstance(place, Remote) else _UnixConnection(place, timeout)
        headers = place.headers() if isinstance(place, Remote) else {}
        try:
            connection.request(method, target, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
        except PermissionError as error:
            raise NoControllerError(f"{place} is not yours to use: run hitless as root") from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if isinstance(place, Remote):
                raise NoControllerError(f"no controller at {place}: has its fabric file an api there?") from error
            start = f"hitless controller FABRIC --components DIR --socket {place}"
            raise NoControllerError(f"no controller at {place}: start one with {start}") from error
        except ssl.SSLError as error:
            raise NoControllerError(f"{place}: {explained(error, time.time())}") from error
        except (OSError, http.client.HTTPException) as error:
            raise NoControllerError(f"the controller at {place} does not answer: {error}") from error
        if answer.status >= http.client.BAD_REQUEST:
            text = answer.read().decode(errors="replace")
            try:
                raise RefusedError(json.loads(text)["error"])
            except (ValueError, KeyError, TypeError):
                raise RefusedError(f"the controller answered {answer.status} to {method} {target}") from None
        return answer


def _unreadable(problem: str) -> RefusedError:
    return RefusedError(f"the controller answers what cannot be read here; is it of another version? {problem}")
