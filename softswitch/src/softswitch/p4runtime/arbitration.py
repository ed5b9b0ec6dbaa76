"""Client arbitration (specification, "Client Arbitration and Controller Replication") as a pure state machine.

One device, any number of roles. A role has one primary at most: the live controller whose election id is the highest
that the device has ever seen for that role. When it leaves there is none until a controller comes with that id or a
higher one.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from grpc import StatusCode

from softswitch.p4runtime.errors import P4RuntimeError, invalid

MAX_STREAMS_PER_ROLE = 64
"""Live controllers that one role may have."""
MAX_ROLES = 1024
"""Roles that were ever arbitrated for: each has a highest election id to be remembered."""
MAX_ROLE_NAME = 256
"""Characters of a role's name."""


@dataclass(frozen=True, slots=True)
class Notification:
    """A MasterArbitrationUpdate to send on `stream`. `election_id` is None while the role never had a primary."""

    stream: Hashable
    role: str
    election_id: int | None
    status: StatusCode


@dataclass(slots=True)
class _Role:
    controllers: dict[Hashable, int | None] = field(default_factory=dict)
    highest: int | None = None

    def primary(self) -> Hashable | None:
        for stream, election_id in self.controllers.items():
            if election_id is not None and election_id == self.highest:
                return stream
        return None


class Arbitration:
    """Who may write to one device. Streams are named by any hashable of the caller's."""

    def __init__(self, device_id: int) -> None:
        self._device_id = device_id
        self._roles: dict[str, _Role] = {"": _Role()}
        self._role_of: dict[Hashable, str] = {}

    def update(self, stream: Hashable, device_id: int, role_name: str, election_id: int | None) -> list[Notification]:
        """Handle a MasterArbitrationUpdate; `election_id` None is an unset one, which never becomes primary.

        Returns what to send, in order (the new primary last). Raises P4RuntimeError, after which the stream must be
        ended with that status.
        """
        live = stream in self._role_of
        if device_id != self._device_id:
            code = StatusCode.FAILED_PRECONDITION if live else StatusCode.NOT_FOUND
            raise P4RuntimeError(code, f"device {device_id} is not served here: this is device {self._device_id}")
        if live and self._role_of[stream] != role_name:
            raise P4RuntimeError(
                StatusCode.FAILED_PRECONDITION,
                f"this stream has role {self._role_of[stream]!r}; open another one for role {role_name!r}",
            )
        role = self._role(role_name)
        if election_id is not None and any(
            other != stream and used == election_id for other, used in role.controllers.items()
        ):
            raise invalid(f"Election id {election_id} is already used by another controller of role {role_name!r}")
        if not live and len(role.controllers) >= MAX_STREAMS_PER_ROLE:
            raise P4RuntimeError(
                StatusCode.RESOURCE_EXHAUSTED, f"role {role_name!r} already has {MAX_STREAMS_PER_ROLE} controllers"
            )
        was_primary = role.primary() == stream if live else False
        self._role_of[stream] = role_name
        role.controllers[stream] = election_id
        if election_id is not None and (role.highest is None or election_id >= role.highest):
            role.highest = election_id
            return self._notify_all(role_name)
        if was_primary:
            return self._notify_all(role_name)
        return [self._notification(role_name, stream)]

    def _role(self, name: str) -> _Role:
        role = self._roles.get(name)
        if role is None:
            if len(name) > MAX_ROLE_NAME:
                raise invalid(f"a role's name has at most {MAX_ROLE_NAME} characters")
            if len(self._roles) >= MAX_ROLES:
                raise P4RuntimeError(StatusCode.RESOURCE_EXHAUSTED, f"there are {MAX_ROLES} roles already")
            role = self._roles[name] = _Role()
        return role

    def leave(self, stream: Hashable) -> list[Notification]:
        """Forget a stream that ended. Returns what to send to the others."""
        role_name = self._role_of.pop(stream, None)
        if role_name is None:
            return []
        role = self._roles[role_name]
        was_primary = role.primary() == stream
        del role.controllers[stream]
        return self._notify_all(role_name) if was_primary else []

    def primary(self, role_name: str) -> Hashable | None:
        """The stream of the role's primary, None while there is none."""
        role = self._roles.get(role_name)
        return role.primary() if role else None

    def primaries(self) -> list[Hashable]:
        """The streams of all roles' primaries."""
        return [stream for role in self._roles.values() if (stream := role.primary()) is not None]

    def is_primary(self, stream: Hashable) -> bool:
        """Whether `stream` is its role's primary."""
        role_name = self._role_of.get(stream)
        return role_name is not None and self._roles[role_name].primary() == stream

    def check_write(self, device_id: int, role_name: str, election_id: int | None) -> None:
        """Refuse a Write or pipeline change that is not the primary's. Raises P4RuntimeError."""
        self.check_device(device_id)
        role = self._roles.get(role_name)
        if role is None:
            raise P4RuntimeError(StatusCode.NOT_FOUND, f"no controller has arbitrated for role {role_name!r}")
        if election_id is None or election_id != role.highest or role.primary() is None:
            raise P4RuntimeError(
                StatusCode.PERMISSION_DENIED,
                f"election id {election_id} is not the primary's of role {role_name!r} (highest seen: {role.highest})",
            )

    def check_device(self, device_id: int) -> None:
        """Raises NOT_FOUND for another device's id."""
        if device_id != self._device_id:
            raise P4RuntimeError(
                StatusCode.NOT_FOUND, f"device {device_id} is not served here: this is device {self._device_id}"
            )

    def _notify_all(self, role_name: str) -> list[Notification]:
        role = self._roles[role_name]
        primary = role.primary()
        streams = [stream for stream in role.controllers if stream != primary]
        if primary is not None:
            streams.append(primary)
        return [self._notification(role_name, stream) for stream in streams]

    def _notification(self, role_name: str, stream: Hashable) -> Notification:
        role = self._roles[role_name]
        primary = role.primary()
        if primary is None:
            status = StatusCode.NOT_FOUND
        else:
            status = StatusCode.OK if primary == stream else StatusCode.ALREADY_EXISTS
        return Notification(stream, role_name, role.highest, status)
