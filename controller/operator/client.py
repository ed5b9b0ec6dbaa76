"""A client of the controller's API, for the command line: plain calls over the Unix socket."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

TIMEOUT_S = 10.0


class NoControllerError(Exception):
    """Nobody answers at the socket; the message says what to do."""


class RefusedError(Exception):
    """The controller does not do what it was asked; the message is its own."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("controller", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class Client:
    """The controller that listens at a socket. Every call may raise NoControllerError and RefusedError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, target: str) -> dict[str, Any]:
        """GET a document."""
        return cast(dict[str, Any], json.loads(self._request("GET", target, None, TIMEOUT_S).read()))

    def post(self, target: str, **body: Any) -> dict[str, Any]:
        """POST a command; returns what came of it."""
        return cast(dict[str, Any], json.loads(self._request("POST", target, body, TIMEOUT_S).read()))

    def lines(self, target: str) -> Iterator[dict[str, Any]]:
        """GET a stream of documents, each when it comes."""
        answer = self._request("GET", target, None, None)
        while line := answer.readline():
            yield json.loads(line)

    def _request(
        self, method: str, target: str, body: dict[str, Any] | None, timeout: float | None
    ) -> http.client.HTTPResponse:
        connection = _UnixConnection(self.path, timeout)
        try:
            connection.request(method, target, None if body is None else json.dumps(body))
            answer = connection.getresponse()
        except PermissionError as error:
            raise NoControllerError(f"{self.path} is not yours to use: run hitless as root") from error
        except (FileNotFoundError, ConnectionRefusedError) as error:
            start = f"hitless controller FABRIC --components DIR --socket {self.path}"
            raise NoControllerError(f"no controller at {self.path}: start one with {start}") from error
        except (OSError, http.client.HTTPException) as error:
            raise NoControllerError(f"the controller at {self.path} does not answer: {error}") from error
        if answer.status >= http.client.BAD_REQUEST:
            text = answer.read().decode(errors="replace")
            try:
                raise RefusedError(json.loads(text)["error"])
            except (ValueError, KeyError):
                raise RefusedError(f"the controller answered {answer.status} to {method} {target}") from None
        return answer
