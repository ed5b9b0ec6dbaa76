"""The controller's API: JSON over HTTP on a Unix socket, for the `hitless` command and for scripts.

GET /v1/status; GET /v1/events?since=N[&follow=1] (NDJSON); POST /v1/migrate {service, node, hold},
/v1/release {service}, /v1/drain {service, node, undo}, /v1/rotate-keys {service or null}. An error is
{"error": "..."} with a status of 400 (not understood) or 409 (not possible).
"""

import errno
import json
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from controller.observe.events import EventLog
from controller.operator.overrides import CommandError

Document = dict[str, Any]


class Control(Protocol):
    """What the API offers of a controller."""

    @property
    def events(self) -> EventLog:
        """What has happened."""

    async def status(self) -> Document:
        """What there is and how it is now."""

    async def migrate(self, service: str, node: str, *, hold: bool) -> Document:
        """Move a service; raises CommandError."""

    async def release(self, service: str) -> Document:
        """Let go of a service; raises CommandError."""

    async def drain(self, service: str, node: str, *, undo: bool) -> Document:
        """Drain an instance or end that; raises CommandError."""

    async def rotate_keys(self, service: str | None) -> Document:
        """Give the instances of a service, or of all, new keys; raises CommandError."""


class ApiError(Exception):
    """The API cannot be offered; the message says why and what to do."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Migrate(_Body):
    service: str
    node: str
    hold: bool = False


class _Release(_Body):
    service: str


class _Drain(_Body):
    service: str
    node: str
    undo: bool = False


class _RotateKeys(_Body):
    service: str | None = None


class _BadRequestError(Exception):
    """A request that cannot be understood."""


BodyType = TypeVar("BodyType", bound=_Body)


async def _body(request: web.Request, model: type[BodyType]) -> BodyType:
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        faults = (f"{'.'.join(map(str, fault['loc'])) or 'body'}: {fault['msg']}" for fault in error.errors())
        raise _BadRequestError("; ".join(faults)) from error


def _number(request: web.Request, name: str) -> int:
    text = request.query.get(name, "0")
    if not text.isdecimal():
        raise _BadRequestError(f"{name}: expected a number, got {text!r}")
    return int(text)


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except _BadRequestError as error:
        return web.json_response({"error": str(error)}, status=400)
    except CommandError as error:
        return web.json_response({"error": str(error)}, status=409)
    except web.HTTPException as error:
        return web.json_response({"error": f"{request.method} {request.path}: {error.reason}"}, status=error.status)


def application(control: Control) -> web.Application:
    """The API of one controller."""

    async def status(_: web.Request) -> web.Response:
        return web.json_response(await control.status())

    async def migrate(request: web.Request) -> web.Response:
        body = await _body(request, _Migrate)
        return web.json_response(await control.migrate(body.service, body.node, hold=body.hold))

    async def release(request: web.Request) -> web.Response:
        body = await _body(request, _Release)
        return web.json_response(await control.release(body.service))

    async def drain(request: web.Request) -> web.Response:
        body = await _body(request, _Drain)
        return web.json_response(await control.drain(body.service, body.node, undo=body.undo))

    async def rotate_keys(request: web.Request) -> web.Response:
        body = await _body(request, _RotateKeys)
        return web.json_response(await control.rotate_keys(body.service))

    async def events(request: web.Request) -> web.StreamResponse:
        since = _number(request, "since")
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        if not _number(request, "follow"):
            await response.write("".join(json.dumps(one) + "\n" for one in control.events.since(since)).encode())
            return response
        try:
            async for event in control.events.follow(since):
                await response.write(json.dumps(event).encode() + b"\n")
        except ConnectionError:
            pass  # the reader has gone
        return response

    app = web.Application(middlewares=[_errors])
    app.router.add_get("/v1/status", status)
    app.router.add_get("/v1/events", events)
    app.router.add_post("/v1/migrate", migrate)
    app.router.add_post("/v1/release", release)
    app.router.add_post("/v1/drain", drain)
    app.router.add_post("/v1/rotate-keys", rotate_keys)
    return app


def listen(path: Path) -> socket.socket:
    """Bind the API's socket, which root and the owner alone may use; a dead controller's is taken over.

    Raises ApiError when another controller answers there, or the place is no place for a socket.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            if not path.is_socket():
                raise ApiError(f"{path} is there and no socket: choose another place with --socket")
            if _answers(path):
                raise ApiError(f"another controller runs at {path}: end it, or choose another place with --socket")
            path.unlink()
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(str(path))
        path.chmod(0o600)
    except OSError as error:
        reason = "the path is too long" if "too long" in str(error) else error.strerror
        raise ApiError(f"cannot listen on {path}: {reason}: choose another place with --socket") from error
    return server


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        return probe.connect_ex(str(path)) not in (errno.ECONNREFUSED, errno.ENOENT)
