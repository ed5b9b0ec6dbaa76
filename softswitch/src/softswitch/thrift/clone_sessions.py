"""Clone sessions ("mirroring") over Thrift. One that copies to a multicast group has that group's replicas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from finsy.proto import p4r

from softswitch.thrift.access import Access, View
from softswitch.thrift.definitions import bad_session, codes, simple_switch, unsupported

_Result = TypeVar("_Result")


class CloneSessions:
    """The calls about clone sessions of service `simple_switch`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def mirroring_session_add(self, session: int, content: Any) -> None:
        """Create or replace one."""

        def add(view: View) -> None:
            with codes(lambda _, reason: bad_session(reason), {}):
                _put(view, session, content.port, content.group)

        self._do(add)

    def mirroring_session_delete(self, session: int) -> None:
        """Raises SESSION_NOT_FOUND."""

        def delete(view: View) -> None:
            _check(view, session)
            view.copied_groups.pop(session, None)
            _write(view, p4r.Update.DELETE, p4r.CloneSessionEntry(session_id=session))

        self._do(delete)

    def mirroring_session_get(self, session: int) -> Any:
        """Port, and multicast group, as far as there is one."""

        def read(view: View) -> Any:
            _check(view, session)
            copied = view.copied_groups.get(session)
            replicas = [(r.port, r.instance) for r in view.pipeline.replication.sessions[session].replicas]
            if copied is not None and replicas == _replicas(view, *copied):
                return simple_switch.CloneSession(port=copied[0], group=copied[1])
            return simple_switch.CloneSession(port=replicas[0][0] if len(replicas) == 1 else None)

        return self._do(read)

    def mirroring_mapping_add(self, session: int, port: int) -> int:
        """As `mirroring_session_add`; of old clients."""
        self.mirroring_session_add(session, simple_switch.CloneSession(port=port))
        return 1

    def mirroring_mapping_delete(self, session: int) -> int:
        """As `mirroring_session_delete`, returning whether there was one."""
        try:
            self.mirroring_session_delete(session)
        except simple_switch.BadCloneSessionCall:
            return 0
        return 1

    def mirroring_mapping_get_egress_port(self, session: int) -> int:
        """The port, -1 without one."""
        try:
            port: int | None = self.mirroring_session_get(session).port
        except simple_switch.BadCloneSessionCall:
            return -1
        return -1 if port is None else port

    def _do(self, work: Callable[[View], _Result]) -> _Result:
        missing = "no program is loaded, and clone sessions are forgotten with their program"
        return self._access.do(work, lambda: unsupported(missing))


def copy_group_again(view: View, group: int) -> None:
    """The replicas of a group have changed."""
    for session, (port, copied) in list(view.copied_groups.items()):
        if copied == group and session in view.pipeline.replication.sessions:
            _put(view, session, port, group)


def _check(view: View, session: int) -> None:
    if session not in view.pipeline.replication.sessions:
        raise bad_session(f"there is no clone session {session}")


def _replicas(view: View, port: int | None, group: int | None) -> list[tuple[int, int]]:
    replicas = [] if port is None else [(port, 0)]
    if group is not None and (written := view.pipeline.replication.groups.get(group)) is not None:
        replicas += [(r.port, r.instance) for r in written.replicas]
    return replicas


def _put(view: View, session: int, port: int | None, group: int | None) -> None:
    """Raises P4RuntimeError."""
    exists = session in view.pipeline.replication.sessions
    message = p4r.CloneSessionEntry(session_id=max(session, 0))
    for egress, instance in _replicas(view, port, group):
        message.replicas.add(egress_port=max(egress, 0), instance=instance)
    _write(view, p4r.Update.MODIFY if exists else p4r.Update.INSERT, message)
    view.copied_groups.pop(session, None)
    if group is not None:
        view.copied_groups[session] = port, group


def _write(view: View, kind: int, message: p4r.CloneSessionEntry) -> None:
    entry = p4r.PacketReplicationEngineEntry(clone_session_entry=message)
    view.write(kind, p4r.Entity(packet_replication_engine_entry=entry))
