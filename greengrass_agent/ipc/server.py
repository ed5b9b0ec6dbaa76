"""The server of Greengrass's interprocess communication: a Unix socket, and who may do what there. The thin shell.

A component's processes find the socket and a token of their launch in their environment. Whoever connects must have the
token, and be the user that the launch's scripts run as: a token that has leaked is of no use to another component.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from greengrass_agent.ipc.authorization import allowed
from greengrass_agent.ipc.connection import MAX_MESSAGE, MAX_STREAMS, Asked, Connection, Ended, Requested
from greengrass_agent.ipc.operation import Caller, IpcError, Json, Operation

log = logging.getLogger(__name__)

CONNECT_S: Final = 10.0
"""How long a client may take to say who it is."""
LINGER_S: Final = 1.0
"""How long a client that was refused may take to leave: closed at once, it might not see why."""
MAX_CONNECTIONS: Final = 64
"""Connections of one user of the machine at a time; each component has a user of its own."""
MAX_UNREAD: Final = 4 * MAX_MESSAGE
"""Bytes that may wait for a client that does not read; one that leaves more is disconnected."""
LONGEST_PATH: Final = 107
"""Bytes of a Unix socket's path (sockaddr_un.sun_path)."""
_CREDENTIALS = struct.Struct("iII")
"""struct ucred: pid, uid, gid."""


@dataclass(eq=False, frozen=True, slots=True)
class _Grant:
    """That a launch may connect."""

    caller: Caller
    users: set[int]
    """Whom its processes may run as."""
    clients: set[_Client] = field(default_factory=set)


class IpcServer:
    """The server of a node. All of it belongs to the event loop."""

    def __init__(self, path: Path, thing: str, configuration: Callable[[Caller], Mapping[str, Any]]) -> None:
        """Listens at `path` once it is open. `thing` is the node's name.

        `configuration` is the one that a launch has now, whose `accessControl` says what it may do.
        """
        self.path = path
        self.thing = thing
        self.operations: dict[str, Operation] = {}
        self._configuration = configuration
        self._grants: dict[str, _Grant] = {}
        self._tokens: dict[Caller, str] = {}
        self._clients: set[_Client] = set()
        self._connections: Counter[int] = Counter()
        """By user."""
        self._server: asyncio.Server | None = None

    def serve(self, operations: Iterable[Operation]) -> None:
        """Serve these too."""
        self.operations.update({operation.name: operation for operation in operations})

    async def open(self) -> None:
        """Begin to listen. Raises OSError."""
        if len(os.fsencode(self.path)) > LONGEST_PATH:
            raise OSError(f"{self.path}: longer than {LONGEST_PATH} bytes: choose a shorter root")
        # In a folder of its own: that is what components see of the agent's folder.
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.parent.chmod(0o755)
        self.path.unlink(missing_ok=True)
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: _Client(self), str(self.path))
        self.path.chmod(0o666)  # who may connect is decided by token and user

    async def close(self) -> None:
        """End it, and every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for client in list(self._clients):
            client.end()
        self.path.unlink(missing_ok=True)

    def grant(self, caller: Caller, user: int | None) -> str:
        """The token by which a launch may connect, as `user` (None: whom the agent runs as), or as root."""
        token = self._tokens.get(caller)
        if token is None:
            token = self._tokens[caller] = secrets.token_urlsafe(24)
            self._grants[token] = _Grant(caller, {0, os.geteuid()})
        if user is not None:
            self._grants[token].users.add(user)
        return token

    def revoke(self, caller: Caller) -> None:
        """The launch has ended: its token is worth nothing any more, and its connections are closed."""
        if (token := self._tokens.pop(caller, None)) is not None:
            for client in list(self._grants.pop(token).clients):
                client.abort("its launch has ended")

    def let_in(self, client: _Client, token: str) -> _Grant:
        """What a client that has this token may connect as. Raises PermissionError."""
        grant = self._grants.get(token)
        if grant is None:
            raise PermissionError("its token is that of no launch that runs now")
        if client.user not in grant.users:
            raise PermissionError(f"its token is that of {grant.caller.component}, whose user it is not")
        grant.clients.add(client)
        return grant

    def authorize(self, caller: Caller, operation: Operation, request: Json) -> None:
        """Raises IpcError where the caller may not do that."""
        if operation.resource is None or operation.service is None:
            return
        resource = operation.resource(request)
        configuration = self._configuration(caller)
        if not allowed(configuration, self.thing, operation.service, operation.name, resource):
            raise IpcError(
                "UnauthorizedError",
                f"{caller.component} is not authorized to perform {operation.service}:{operation.name} on resource "
                f"{resource}: accessControl in its configuration must allow it",
            )

    def came(self, client: _Client) -> bool:
        """Whether one more client may stay."""
        self._clients.add(client)
        self._connections[client.user] += 1
        return self._connections[client.user] <= MAX_CONNECTIONS

    def went(self, client: _Client, grant: _Grant | None) -> None:
        """A client has gone."""
        self._clients.discard(client)
        self._connections[client.user] -= 1
        self._connections += Counter()  # leaves out those that have none
        if grant is not None:
            grant.clients.discard(client)


class _Stream:
    """An operation of a client under way. Implements operation.Stream."""

    def __init__(self, client: _Client, number: int, operation: Operation) -> None:
        self._client = client
        self._number = number
        self._operation = operation
        self._early: list[Json] | None = []
        """Events before the response, which goes first; None once it is sent."""
        self._calls: list[Callable[[], None]] = []
        self._ended = False

    def send(self, event: Json) -> None:
        """Tell the client of an event."""
        if self._ended:
            return
        if self._early is not None:
            self._early.append(event)
            return
        assert self._operation.event is not None
        self._client.connection.event(self._number, self._operation.event, event)
        self._client.flush()

    def closed(self, call: Callable[[], None]) -> None:
        """Have this called once when nobody listens any more."""
        if self._ended:
            call()
        else:
            self._calls.append(call)

    def answered(self, response: Json) -> None:
        """The operation has been done."""
        connection, streams = self._client.connection, self._operation.event is not None
        connection.respond(self._number, f"{self._operation.name}Response", response, last=not streams)
        early, self._early = self._early or [], None
        for event in early if streams else ():
            self.send(event)
        if not streams:
            self._client.ended(self._number)

    def failed(self, error: IpcError) -> None:
        """The operation cannot be done."""
        self._client.connection.fail(self._number, error)
        self._client.ended(self._number)

    def end(self) -> None:
        """Nobody listens any more."""
        self._ended = True
        calls, self._calls = self._calls, []
        for call in calls:
            call()


class _Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: IpcServer) -> None:
        self.connection = Connection()
        self.user = -1
        """Whom its process runs as."""
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._grant: _Grant | None = None
        self._streams: dict[int, _Stream] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._leaving = False
        """Whether it has been told that this is the end."""

    @property
    def _who(self) -> str:
        if self._grant is not None:
            return self._grant.caller.component
        return f"a process of user {self.user}"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for its Connect message."""
        # A stream's, but uvloop's is no asyncio.Transport by type.
        self._transport = cast(asyncio.Transport, transport)
        connected = transport.get_extra_info("socket")
        credentials = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, self.user, _ = _CREDENTIALS.unpack(credentials)
        self._transport.set_write_buffer_limits(high=MAX_MESSAGE)
        if not self._server.came(self):
            self.abort(f"has more than {MAX_CONNECTIONS} connections")
            return
        self._end_in(CONNECT_S, f"has not said within {CONNECT_S:g} s who it is")

    def data_received(self, data: bytes) -> None:
        """Take what it asks for."""
        if self.connection.closing:
            return
        for event in self.connection.receive(data):
            match event:
                case Asked(token):
                    self._connect(token)
                case Requested(number, operation, request):
                    self._request(number, operation, request)
                case Ended(number):
                    self.ended(number)
        self.flush()

    def pause_writing(self) -> None:
        """It does not read its answers: it may ask for no more until it does."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        """It has read."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """It has gone, or was disconnected."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._server.went(self, self._grant)
        for number in list(self._streams):
            self.ended(number)

    def flush(self) -> None:
        """Send what there is to send, and close if that was the last."""
        data = self.connection.data_to_send()
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(data)
        if self._transport.get_write_buffer_size() > MAX_UNREAD:
            self.abort(f"has left more than {MAX_UNREAD} bytes unread")
        elif self.connection.closing and not self._leaving:
            self._leaving = True
            log.warning("ipc: %s: disconnected: %s", self._who, self.connection.reason)
            self._end_in(LINGER_S, "has not left")

    def abort(self, reason: str) -> None:
        """Close the connection at once."""
        if self._transport is not None and not self._transport.is_closing():
            log.warning("ipc: %s: disconnected: %s", self._who, reason)
            self._transport.abort()

    def end(self) -> None:
        """Close the connection, and leave what is under way: the agent ends."""
        for task in self._tasks:
            task.cancel()
        if self._transport is not None:
            self._transport.abort()

    def ended(self, number: int) -> None:
        """A stream has ended, by whichever side."""
        if (stream := self._streams.pop(number, None)) is not None:
            stream.end()

    def _end_in(self, seconds: float, reason: str) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, self.abort, reason)

    def _connect(self, token: str) -> None:
        try:
            self._grant = self._server.let_in(self, token)
        except PermissionError as error:
            self.connection.refuse(str(error))
            return
        if self._timer is not None:
            self._timer.cancel()
        self.connection.accept()

    def _request(self, number: int, name: str, request: Json) -> None:
        operation = self._server.operations.get(name)
        if operation is None:
            log.warning("ipc: %s: %s is not served here", self._who, name)
            self.connection.fail(number, IpcError("ServiceError", f"{name} is not served on this node"))
            return
        if len(self._tasks) >= MAX_STREAMS:  # it may have ended the streams, not what it asked for
            self.connection.fail(number, IpcError("ServiceError", f"{MAX_STREAMS} operations are under way already"))
            return
        stream = self._streams[number] = _Stream(self, number, operation)
        task = asyncio.create_task(self._do(operation, request, stream))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, operation: Operation, request: Json, stream: _Stream) -> None:
        assert self._grant is not None
        caller = self._grant.caller
        try:
            self._server.authorize(caller, operation, request)
            stream.answered(await operation.call(caller, request, stream))
        except IpcError as error:
            if error.code == "UnauthorizedError":
                log.warning("ipc: %s", error.message)
            stream.failed(error)
        except Exception as error:  # whatever it is, the client is told and the server goes on
            log.exception("ipc: %s: %s", caller.component, operation.name)
            stream.failed(IpcError("ServiceError", f"{operation.name}: {type(error).__name__}: see the agent's log"))
        self.flush()
