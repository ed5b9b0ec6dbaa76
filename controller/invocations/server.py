"""What is served over HTTP: Lambda's Invoke, requests of callers who do not wait, and how far these are."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from controller.invocations import outcomes
from controller.invocations.calling import INVOCATION_ID, Caller, new_id
from controller.invocations.errors import LambdaError, invalid, not_found, too_large, unavailable
from controller.invocations.functions import Function, Functions, find
from controller.invocations.keeper import Keeper
from controller.invocations.names import LATEST, Named, named
from controller.invocations.outcomes import EXECUTED_VERSION, FUNCTION_ERROR, TooLongError, UnreachedError
from controller.invocations.queue import HttpCall, Invocation, QueueFullError, State
from controller.invocations.settings import origin
from controller.invocations.signature import verify
from controller.invocations.store import Store
from hitless.wire.worker_frames import Invoked

log = logging.getLogger(__name__)

MAX_PAYLOAD = 6 * 1024 * 1024
"""Bytes of a request, as on Lambda."""
MAX_EVENT = 1024 * 1024
"""Bytes of an asynchronous one, as on Lambda."""
MAX_CLIENT_CONTEXT = 3583
"""Characters in base64, as on Lambda."""
CALLBACK = "X-Hitless-Callback"
REQUEST_ID = "x-amzn-RequestId"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OWN = frozenset(
    {
        "authorization",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "prefer",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        CALLBACK.lower(),
        INVOCATION_ID.lower(),
    }
)
"""Fields of a request that are about this connection, or for us."""
_NOT_SERVED = ("X-Amz-Tenant-Id", "X-Amz-Durable-Execution-Name")


class Door:
    """The application's handlers."""

    def __init__(
        self,
        functions: Functions,
        caller: Caller,
        keeper: Keeper,
        store: Store,
        *,
        access_keys: Mapping[str, str] | None,
        callbacks: frozenset[str],
        region: str,
    ) -> None:
        """Without `access_keys`, signatures are not looked at. `callbacks` are the origins that may be called back."""
        self._functions = functions
        self._caller = caller
        self._keeper = keeper
        self._store = store
        self._access_keys = access_keys
        self._callbacks = callbacks
        self._region = region

    def application(self) -> web.Application:
        """What a server serves."""
        app = web.Application(middlewares=[_errors], client_max_size=MAX_PAYLOAD + 1)
        app.router.add_post("/2015-03-31/functions/{name:[^/]+}/invocations", self.invoke)
        app.router.add_route("*", "/services/{service:[^/]+}{path:(?:/.*)?}", self.respond_async)
        app.router.add_get("/invocations/{id:[^/]+}", self.progress)
        app.router.add_get("/invocations/{id:[^/]+}/result", self.result)
        app.router.add_route("*", "/{rest:.*}", self.not_served)
        return app

    async def invoke(self, request: web.Request) -> web.Response:
        """Lambda's Invoke. Raises LambdaError."""
        body = await self._body(request)
        wanted = named(request.match_info["name"], request.query.get("Qualifier"))
        kind = request.headers.get("X-Amz-Invocation-Type", "RequestResponse")
        if kind not in ("RequestResponse", "Event", "DryRun"):
            raise invalid(f"X-Amz-Invocation-Type {kind!r}: expected RequestResponse, Event or DryRun")
        if request.headers.get("X-Amz-Log-Type", "None") != "None":
            raise invalid(
                "X-Amz-Log-Type: Tail is not served here: what a function logs is in its component's log on the node"
            )
        for name in _NOT_SERVED:
            if name in request.headers:
                raise invalid(f"{name} is not served here")
        function = await self._function(wanted)
        request_id = new_id()
        if kind == "DryRun":
            return _answer(204, b"", {REQUEST_ID: request_id})
        context = _client_context(request.headers.get("X-Amz-Client-Context"))
        trace = request.headers.get("X-Amzn-Trace-Id", "")
        if kind == "Event" and len(body) > MAX_EVENT:
            raise too_large(MAX_EVENT)
        await _check_json(body)
        invoked = Invoked(request_id, context, wanted.version, trace)
        if kind == "Event":
            await self._accept(
                Invocation(
                    id=request_id,
                    service=function.service,
                    accepted_at=time.time(),
                    size=len(body),
                    version=wanted.version,
                    client_context=context,
                    trace=trace,
                ),
                body or b"{}",
            )
            return _answer(202, b"", {REQUEST_ID: request_id})
        try:
            reply = await self._caller.event(function, invoked, body or b"{}", again=False)
            done = outcomes.executed(reply, request_id, wanted.arn(self._region))
        except (UnreachedError, TooLongError) as error:
            done = outcomes.without_reply(error, request_id)
        headers = {REQUEST_ID: request_id, EXECUTED_VERSION: done.version or function.version or LATEST}
        if done.error:
            headers[FUNCTION_ERROR] = done.error
        return _answer(200, done.payload, headers)

    async def respond_async(self, request: web.Request) -> web.Response:
        """Take a request for a service, whose caller does not wait. Raises LambdaError."""
        body = await self._body(request)
        wishes = [one.strip() for one in request.headers.get("Prefer", "").lower().split(",")]
        if "respond-async" not in wishes:
            raise invalid("expected Prefer: respond-async: who waits for an answer calls the service at its address")
        callback = request.headers.get(CALLBACK)
        if callback is not None and origin(callback) not in self._callbacks:
            raise LambdaError(
                "AccessDeniedException",
                403,
                f"{CALLBACK}: no address among those that the configuration lets be called back (callbacks)",
            )
        service = request.match_info["service"]
        function = find(await self._functions.all(), service)
        if function is None:
            raise not_found(service)
        path, mark, query = request.raw_path.partition("?")
        below = f"/{path.split('/', 3)[3]}" if path.count("/") > 2 else "/"
        headers = tuple(
            (name, value)
            for name, value in request.headers.items()
            if name.lower() not in _OWN and not name.lower().startswith("x-amz-")
        )
        number = new_id()
        call = HttpCall(method=request.method, path=below + mark + query, headers=headers)
        await self._accept(
            Invocation(
                id=number,
                service=function.service,
                accepted_at=time.time(),
                size=len(body),
                http=call,
                callback=callback,
            ),
            body,
        )
        place = f"/invocations/{number}"
        said = json.dumps({"id": number, "location": place}).encode()
        return _answer(202, said, {"Location": place, "Preference-Applied": "respond-async", INVOCATION_ID: number})

    async def progress(self, request: web.Request) -> web.Response:
        """How far an invocation is. Raises LambdaError."""
        await self._body(request)
        number = request.match_info["id"]
        return _answer(200, json.dumps(outcomes.progress(*self._known(number))).encode(), {INVOCATION_ID: number})

    async def result(self, request: web.Request) -> web.Response:
        """What an invocation was answered with. Raises LambdaError."""
        await self._body(request)
        number = request.match_info["id"]
        _, state = self._known(number)
        content = self._store.result(number)
        if state.end is None or content is None:
            raise LambdaError("ResourceNotFoundException", 404, f"invocation {number} has no result, or none yet")
        headers = {INVOCATION_ID: number, "X-Hitless-Status": str(state.end.status)}
        return web.Response(
            body=content, headers=headers | {"Content-Type": state.end.content_type or "application/octet-stream"}
        )

    async def not_served(self, request: web.Request) -> web.Response:
        """Say what there is. Raises LambdaError."""
        await self._body(request)
        raise LambdaError(
            "UnknownOperationException",
            404,
            f"{request.method} {request.path}: of Lambda's API only Invoke is served here (docs/invoke.md)",
        )

    async def _accept(self, invocation: Invocation, body: bytes) -> None:
        try:
            # What was begun is finished even if the caller leaves: it is accepted whole, or not at all.
            await asyncio.shield(asyncio.ensure_future(self._keeper.accept(invocation, body)))
        except QueueFullError as error:
            raise LambdaError("TooManyRequestsException", 429, str(error)) from error
        except OSError as error:
            log.error("an invocation cannot be kept: %s", error)
            raise unavailable(f"the invocation cannot be kept ({error.strerror}), so it is not accepted") from error

    async def _body(self, request: web.Request) -> bytes:
        """The request's body, once it is clear who has sent it. Raises LambdaError."""
        try:
            body = await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise too_large(MAX_PAYLOAD) from None
        if self._access_keys is not None:
            path, _, query = request.raw_path.partition("?")
            headers = list(request.headers.items())
            verify(self._access_keys, request.method, path, query, headers, body, time.time())
        return body

    async def _function(self, wanted: Named) -> Function:
        """The function of a name, if it may be in that version. Raises LambdaError."""
        function = find(await self._functions.all(), wanted.name)
        if function is None or (function.version is not None and wanted.version not in ("", function.version)):
            raise not_found(wanted.arn(self._region))
        return function

    def _known(self, number: str) -> tuple[Invocation, State]:
        found = self._keeper.find(number) if _ID.fullmatch(number) else None
        if found is None:
            said = f"no invocation {number}: it is done and gone, or never was"
            raise LambdaError("ResourceNotFoundException", 404, said)
        return found


def _client_context(text: str | None) -> str:
    """A client context as JSON on one line; empty for none. Raises LambdaError."""
    if not text:
        return ""
    try:
        if len(text) > MAX_CLIENT_CONTEXT:
            raise ValueError
        document = json.loads(base64.b64decode(text, validate=True))
        if not isinstance(document, dict):
            raise ValueError
    except (ValueError, RecursionError):
        raise LambdaError(
            "InvalidRequestContentException",
            400,
            f"Client context must be a valid Base64-encoded JSON object of at most {MAX_CLIENT_CONTEXT} characters.",
        ) from None
    return json.dumps(document)


async def _check_json(body: bytes) -> None:
    """Raises LambdaError for what is no JSON. Nothing at all is an empty object."""
    try:
        if body:
            await asyncio.to_thread(json.loads, body)
    except (ValueError, RecursionError) as error:
        raise LambdaError(
            "InvalidRequestContentException", 400, f"Could not parse request body into json: {error}"
        ) from None


def _answer(status: int, body: bytes, headers: Mapping[str, str]) -> web.Response:
    return web.Response(status=status, body=body, headers={"Content-Type": "application/json", **headers})


@web.middleware
async def _errors(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except LambdaError as error:
        return _answer(error.status, error.body, {**error.headers, REQUEST_ID: new_id()})
    except web.HTTPException as error:
        said = f"{request.method} {request.path}: {error.reason}"
        refused = LambdaError("UnknownOperationException", error.status, said)
        return _answer(refused.status, refused.body, {**refused.headers, REQUEST_ID: new_id()})
