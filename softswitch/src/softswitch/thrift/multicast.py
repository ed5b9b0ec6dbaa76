"""Multicast groups over Thrift, made of nodes. A group is P4Runtime's: its replicas are those of its nodes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from finsy.proto import p4r
from grpc import StatusCode

from softswitch.bmv2.v1model import MAX_PORT
from softswitch.thrift.access import Access, Node, View
from softswitch.thrift.clone_sessions import copy_group_again
from softswitch.thrift.definitions import bad_replication, codes

_Result = TypeVar("_Result")

_CODES = {StatusCode.INVALID_ARGUMENT: "ERROR"}


class Multicast:
    """The calls of services `simple_pre` and `simple_pre_lag`."""

    def __init__(self, access: Access) -> None:
        self._access = access

    def bm_mc_mgrp_create(self, context: int, group: int) -> int:
        """Returns the handle, which is the group's number. One that is there stays."""

        def create(view: View) -> int:
            if group not in view.pipeline.replication.groups:
                with codes(bad_replication, {StatusCode.INVALID_ARGUMENT: "INVALID_MGID"}):
                    _write(view, p4r.Update.INSERT, group)
            return group

        return self._do(create)

    def bm_mc_mgrp_destroy(self, context: int, group: int) -> None:
        """Its nodes stay; one that is not there is no mistake."""

        def destroy(view: View) -> None:
            if group in view.pipeline.replication.groups:
                for handle in view.nodes.of_group.pop(group, []):
                    view.nodes.by_handle[handle].group = None
                _write(view, p4r.Update.DELETE, group)

        self._do(destroy)

    def bm_mc_node_create(self, context: int, instance: int, ports: str, lags: str = "") -> int:
        """Returns the handle of a node of no group."""

        def create(view: View) -> int:
            node = Node(instance, _ports(ports, lags))
            handle = view.nodes.numbers.take()
            view.nodes.by_handle[handle] = node
            return handle

        return self._do(create)

    def bm_mc_node_update(self, context: int, node: int, ports: str, lags: str = "") -> None:
        """Other ports for a node."""

        def update(view: View) -> None:
            known = _node(view, node)
            before, known.ports = known.ports, _ports(ports, lags)
            if known.group is not None:
                try:
                    _rewrite(view, known.group)
                except BaseException:
                    known.ports = before
                    raise

        self._do(update)

    def bm_mc_node_associate(self, context: int, group: int, node: int) -> None:
        """Into a group."""

        def associate(view: View) -> None:
            known = _node(view, node)
            _check_group(view, group)
            if known.group is not None:
                raise bad_replication("ERROR", f"node {node} is in group {known.group} already")
            members = view.nodes.of_group.setdefault(group, [])
            members.append(node)
            try:
                _rewrite(view, group)
            except BaseException:
                members.remove(node)
                raise
            known.group = group

        self._do(associate)

    def bm_mc_node_dissociate(self, context: int, group: int, node: int) -> None:
        """Out of a group."""

        def dissociate(view: View) -> None:
            known = _node(view, node)
            _check_group(view, group)
            if known.group != group:
                raise bad_replication("ERROR", f"node {node} is not in group {group}")
            _leave(view, node)

        self._do(dissociate)

    def bm_mc_node_destroy(self, context: int, node: int) -> None:
        """Out of its group as well."""

        def destroy(view: View) -> None:
            if _node(view, node).group is not None:
                _leave(view, node)
            _forget(view, node)

        self._do(destroy)

    def bm_mc_set_lag_membership(self, context: int, lag: int, ports: str) -> None:
        """Refused: P4Runtime's replicas are ports."""
        raise bad_replication("ERROR", "this switch has no link aggregation groups")

    def bm_mc_get_entries(self, context: int) -> str:
        """Groups, and nodes in two halves: number and ports."""

        def read(view: View) -> str:
            nodes = view.nodes.by_handle
            groups = [
                {"id": group, "l1_handles": view.nodes.of_group.get(group, [])}
                for group in sorted(view.pipeline.replication.groups)
            ]
            first = [{"handle": h, "l2_handle": h, "rid": node.instance} for h, node in sorted(nodes.items())]
            second = [{"handle": h, "ports": list(node.ports), "lags": []} for h, node in sorted(nodes.items())]
            return json.dumps({"mgrps": groups, "l1_handles": first, "l2_handles": second, "lags": []})

        return self._do(read)

    def _do(self, work: Callable[[View], _Result]) -> _Result:
        def with_groups(view: View) -> _Result:
            _follow(view)
            return work(view)

        missing = "no program is loaded, and groups are forgotten with their program"
        return self._access.do(with_groups, lambda: bad_replication("ERROR", missing))


def _ports(ports: str, lags: str) -> tuple[int, ...]:
    if "1" in lags:
        raise bad_replication("ERROR", "this switch has no link aggregation groups")
    if set(ports) - {"0", "1"}:
        raise bad_replication("ERROR", f"{ports!r} is no map of ports")
    numbers = tuple(port for port, bit in enumerate(reversed(ports)) if bit == "1")
    if numbers and numbers[-1] > MAX_PORT:
        raise bad_replication("ERROR", f"port {numbers[-1]} is not in 0..{MAX_PORT}")
    return numbers


def _node(view: View, handle: int) -> Node:
    node = view.nodes.by_handle.get(handle)
    if node is None:
        raise bad_replication("INVALID_L1_HANDLE", f"there is no node {handle}")
    return node


def _check_group(view: View, group: int) -> None:
    if group not in view.pipeline.replication.groups:
        raise bad_replication("INVALID_MGRP_HANDLE", f"there is no multicast group {group}")


def _replicas(view: View, group: int) -> list[tuple[int, int]]:
    """(port, instance) of a group's nodes."""
    nodes = (view.nodes.by_handle[handle] for handle in view.nodes.of_group.get(group, []))
    return [(port, node.instance) for node in nodes for port in node.ports]


def _rewrite(view: View, group: int) -> None:
    with codes(bad_replication, _CODES):
        _write(view, p4r.Update.MODIFY, group)


def _write(view: View, kind: int, group: int) -> None:
    message = p4r.MulticastGroupEntry(multicast_group_id=max(group, 0))
    if kind != p4r.Update.DELETE:
        message.replicas.extend(p4r.Replica(egress_port=p, instance=i) for p, i in _replicas(view, group))
    if kind == p4r.Update.MODIFY:
        message.metadata = view.pipeline.replication.groups[group].metadata
    entry = p4r.PacketReplicationEngineEntry(multicast_group_entry=message)
    view.write(kind, p4r.Entity(packet_replication_engine_entry=entry))
    copy_group_again(view, group)


def _leave(view: View, handle: int) -> None:
    node = view.nodes.by_handle[handle]
    assert node.group is not None
    view.nodes.of_group[node.group].remove(handle)
    group, node.group = node.group, None
    _rewrite(view, group)


def _forget(view: View, handle: int) -> None:
    del view.nodes.by_handle[handle]
    view.nodes.numbers.give(handle)


def _follow(view: View) -> None:
    """Let the nodes be those of the groups as they are: a controller may have written them."""
    groups = view.pipeline.replication.groups
    for group in [known for known in view.nodes.of_group if known not in groups]:
        _forget_all(view, view.nodes.of_group.pop(group))
    for group, written in groups.items():
        replicas = [(replica.port, replica.instance) for replica in written.replicas]
        if replicas != _replicas(view, group):
            _forget_all(view, view.nodes.of_group.pop(group, []))
            _adopt(view, group, replicas)


def _forget_all(view: View, handles: Iterable[int]) -> None:
    for handle in handles:
        _forget(view, handle)


def _adopt(view: View, group: int, replicas: list[tuple[int, int]]) -> None:
    """A node for each run of replicas with one instance."""
    handles: list[int] = []
    for port, instance in replicas:
        last: Any = view.nodes.by_handle[handles[-1]] if handles else None
        if last is not None and last.instance == instance and last.ports[-1] < port:
            last.ports = (*last.ports, port)
            continue
        handles.append(view.nodes.numbers.take())
        view.nodes.by_handle[handles[-1]] = Node(instance, (port,), group)
    view.nodes.of_group[group] = handles
