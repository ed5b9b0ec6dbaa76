"""The controller's API: JSON over HTTP on a Unix socket, and over HTTPS where it is asked for: docs/api.md."""

import errno
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeVar

from aiohttp import web
from aiohttp.typedefs import Middleware
from pydantic import ValidationError

from controller.observe.events import Event
from controller.observe.log import EventLog
from controller.operator import logs, openapi, requests
from controller.operator.commands import Commands
from controller.operator.documents import DeployEntry, Document, LogEntry, Status, UndeployResult
from controller.operator.overrides import CommandError
from hitless.faults import faults
from hitless.mqtt.messages import LogsAsked, LogsTold


class ApiError(Exception):
    """The API cannot be offered; the message says why and what to do."""


class _BadRequestError(Exception):
    """A request that cannot be understood."""


_NDJSON = {"Content-Type": "application/x-ndjson"}
BodyType = TypeVar("BodyType", bound=requests.Body)


async def _body(request: web.Request, model: type[BodyType]) -> BodyType:
    try:
        return model.model_validate_json(await request.read())
    except ValidationError as error:
        raise _BadRequestError(faults(error, "body")) from error


def _given(request: web.Request, name: str) -> int | None:
    return _number(request, name, openapi.MAX_NUMBER) if name in request.query else None


def _number(request: web.Request, name: str, highest: int) -> int:
    text = request.query.get(name, "0")
    # Nineteen digits are more than any number, and Python refuses to read thousands of them.
    if not text.isascii() or not text.isdecimal() or len(text) > 19 or int(text) > highest:
        raise _BadRequestError(f"{name}: expected a number of {highest} at most, got {text[:80]!r}")
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
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
        answer = {"error": f"{request.method} {request.path}: {error.reason}"}
        return web.json_response(answer, status=error.status, headers=headers)


class Deployments(Protocol):
    """What carries deployments out. Calls raise CommandError."""

    async def begin(self, asked: requests.Deploy) -> AsyncIterator[DeployEntry]:
        """Begin one; gives its steps and its result."""

    async def remove(self, service: str) -> UndeployResult:
        """Take away a service that was deployed."""


MAX_BODY = 64 << 20
"""Bytes of a request: a component with its artefacts."""


def application(
    status: Callable[[], Awaitable[Status]],
    commands: Callable[[], Awaitable[Commands]],
    deploying: Deployments,
    events: EventLog,
    guard: Middleware | None = None,
) -> web.Application:
    """The API of one controller. `guard` says who may do what, where others than its socket's owner can call."""

    async def get_status(_: web.Request) -> web.Response:
        return _answer(await status())

    async def get_description(_: web.Request) -> web.Response:
        return web.json_response(openapi.description())

    async def migrate(request: web.Request) -> web.Response:
        body = await _body(request, requests.Migrate)
        return _answer(await (await commands()).migrate(body.service, body.node, hold=body.hold, force=body.force))

    async def release(request: web.Request) -> web.Response:
        body = await _body(request, requests.Release)
        return _answer(await (await commands()).release(body.service))

    async def drain(request: web.Request) -> web.Response:
        body = await _body(request, requests.Drain)
        return _answer(await (await commands()).drain(body.service, body.node, undo=body.undo))

    async def exclude(request: web.Request) -> web.Response:
        return _answer(await (await commands()).exclude((await _body(request, requests.Node)).node))

    async def include(request: web.Request) -> web.Response:
        return _answer(await (await commands()).include((await _body(request, requests.Node)).node))

    async def restart(request: web.Request) -> web.Response:
        body = await _body(request, requests.Restart)
        return _answer(await (await commands()).restart(body.component, body.node))

    async def rotate_keys(request: web.Request) -> web.Response:
        body = await _body(request, requests.RotateKeys)
        return _answer(await (await commands()).rotate_keys(body.service))

    async def get_events(request: web.Request) -> web.StreamResponse:
        since, follow = _number(request, "since", openapi.MAX_NUMBER), _number(request, "follow", 1)
        if follow:
            return await _lines(request, events.follow(since))
        response = web.StreamResponse(headers=_NDJSON)
        await response.prepare(request)
        await response.write("".join(event.encode() + "\n" for event in events.since(since)).encode())
        return response

    async def get_logs(request: web.Request) -> web.StreamResponse:
        follow = _number(request, "follow", 1)
        since, tail = (_given(request, name) for name in ("since", "tail"))
        named, node = request.query.get("component", ""), request.query.get("node")
        if not named:
            raise _BadRequestError("component: expected the name of a component, or of a service")
        component, nodes = (await commands()).logs_on(named, node)

        async def ask(node: str, asked: LogsAsked) -> LogsTold:
            if request.transport is None or request.transport.is_closing():
                raise ConnectionResetError("the reader has gone")
            return await (await commands()).log_piece(component, node, asked)

        return await _lines(request, logs.read(ask, nodes, since_s=since, tail=tail, follow=bool(follow)))

    async def deploy(request: web.Request) -> web.StreamResponse:
        return await _lines(request, await deploying.begin(await _body(request, requests.Deploy)))

    async def undeploy(request: web.Request) -> web.Response:
        return _answer(await deploying.remove((await _body(request, requests.Undeploy)).service))

    app = web.Application(middlewares=[_errors, *([guard] if guard is not None else [])], client_max_size=MAX_BODY)
    app.router.add_get("/v1/status", get_status)
    app.router.add_get("/v1/events", get_events)
    app.router.add_get("/v1/logs", get_logs)
    app.router.add_get(openapi.PATH, get_description)
    app.router.add_post("/v1/migrate", migrate)
    app.router.add_post("/v1/release", release)
    app.router.add_post("/v1/drain", drain)
    app.router.add_post("/v1/exclude", exclude)
    app.router.add_post("/v1/include", include)
    app.router.add_post("/v1/restart", restart)
    app.router.add_post("/v1/rotate-keys", rotate_keys)
    app.router.add_post("/v1/deploy", deploy)
    app.router.add_post("/v1/undeploy", undeploy)
    return app


async def _lines(
    request: web.Request, documents: AsyncIterator[Event] | AsyncIterator[LogEntry] | AsyncIterator[DeployEntry]
) -> web.StreamResponse:
    """Answer with a line for each document, when it is there; whoever reads slowly has them made slowly."""
    response = web.StreamResponse(headers=_NDJSON)
    await response.prepare(request)
    try:
        async for document in documents:
            await response.write(document.encode().encode() + b"\n")
    except ConnectionError:
        pass  # the reader has gone
    return response


def _answer(document: Document) -> web.Response:
    return web.Response(text=document.encode(), content_type="application/json")


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
