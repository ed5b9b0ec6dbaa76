"""Members that watch ports (specification, "Group Programming"): one whose port is down is not selected.

Not on BMv2: when a port changes, its server stops at the first action profile that has it so already, and the others
keep their members.
"""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from finsy.proto import p4r, rpc_code
from softswitch.engine.carry import Carried
from softswitch.engine.engine import Engine

from tests.softswitch.native.test_ports import Wire, make_wire
from tests.softswitch.native.test_ports import eventually as until
from tests.softswitch.p4runtime.client import Names
from tests.softswitch.p4runtime.entities import insert, modify, number
from tests.softswitch.p4runtime.switches import RunningSwitch
from tests.softswitch.p4runtime.targets import Target
from tests.softswitch.p4runtime.test_action_profiles import (
    SPREADING,
    ask,
    chosen,
    entry,
    group,
    many,
    member,
    one_shot,
    values,
)

PATIENCE_S = 60.0
PORTS = (4, 5)

pytestmark = pytest.mark.root("needs root")


@pytest.fixture
def wires() -> Iterator[list[Wire]]:
    """A veth pair for each port."""
    made: list[Wire] = []
    try:
        for place in range(len(PORTS)):
            made.append(make_wire(place))
        yield made
    finally:
        for wire in made:
            wire.far.close()
            subprocess.run(["ip", "link", "del", wire.name], check=False, capture_output=True)


@pytest.fixture
def watched(softswitch: Target, switch: RunningSwitch, wires: list[Wire]) -> Target:
    """A softswitch with ports 4 and 5, both up."""
    for port, wire in zip(PORTS, wires, strict=True):
        switch.engine.add_port(port, wire.name)
    return softswitch


def set_link(wire: Wire, state: str) -> None:
    """Make an interface go up or down."""
    subprocess.run(["ip", "link", "set", wire.name, state], check=True)


def eventually(target: Target, packets: Sequence[bytes], wanted: list[int]) -> None:
    """The packets are answered so before long."""
    end = time.monotonic() + PATIENCE_S
    while (got := values(ask(target, packets))) != wanted:
        assert time.monotonic() < end, (got, wanted)
        time.sleep(0.05)


def watching(entity: p4r.Entity, *ports: int | None) -> p4r.Entity:
    """The same, its members watching these ports."""
    if entity.WhichOneof("entity") == "table_entry":
        items: Sequence[p4r.ActionProfileGroup.Member | p4r.ActionProfileAction]
        items = entity.table_entry.action.action_profile_action_set.action_profile_actions
    else:
        items = entity.action_profile_group.members
    for item, port in zip(items, ports, strict=True):
        if port is not None:
            item.watch_port = number(port)
    return entity


def test_a_group_leaves_out_whose_port_is_down(watched: Target, wires: list[Wire]) -> None:
    names = watched.push("indirect")
    for identifier in (1, 2, 3):
        watched.client.write(insert(member(names, "spread", identifier, "answer", 10 * identifier)))
    watched.client.write(insert(watching(group(names, 1, (1, 1), (2, 2), (3, 1), size=6), 4, 5, None)))
    watched.client.write(insert(entry(names, "spreading", 1, to_group=1)))
    packets = many(SPREADING, 1)
    eventually(watched, packets, chosen(packets, [10, 20, 30, 20]))
    set_link(wires[1], "down")
    eventually(watched, packets, chosen(packets, [10, 30]))
    watched.client.write(modify(watching(group(names, 1, (1, 1), (2, 1), size=6), 5, None)))
    eventually(watched, packets, [20] * len(packets))
    set_link(wires[1], "up")
    eventually(watched, packets, chosen(packets, [10, 20]))


def test_a_one_shot_does_too(watched: Target, wires: list[Wire]) -> None:
    names = watched.push("indirect")
    made = watching(one_shot(names, 1, ("answer", 1, (10,)), ("answer", 1, (20,))), 4, 5)
    watched.client.write(insert(made))
    packets = many(SPREADING, 1)
    eventually(watched, packets, chosen(packets, [10, 20]))
    set_link(wires[0], "down")
    eventually(watched, packets, [20] * len(packets))
    table = p4r.Entity(table_entry=p4r.TableEntry(table_id=names["spreading"]))
    assert watched.client.read(table) == [made], "what is read does not depend on the ports"
    set_link(wires[0], "up")
    eventually(watched, packets, chosen(packets, [10, 20]))


def test_when_all_are_down_nothing_runs(watched: Target, wires: list[Wire]) -> None:
    """BMv2 divides by zero."""
    names = watched.push("indirect")
    watched.client.write(insert(watching(one_shot(names, 1, ("answer", 1, (10,))), 4)))
    packets = many(SPREADING, 1, 5)
    eventually(watched, packets, [10] * 5)
    set_link(wires[0], "down")
    eventually(watched, packets, [0] * 5)


def spread_over_two(target: Target) -> tuple[Names, list[bytes]]:
    """Push `indirect` with a one-shot entry that answers 10 while port 4 is up, 20 while port 5 is; packets for it."""
    names = target.push("indirect")
    target.client.write(insert(watching(one_shot(names, 1, ("answer", 1, (10,)), ("answer", 1, (20,))), 4, 5)))
    packets = many(SPREADING, 1)
    eventually(target, packets, chosen(packets, [10, 20]))
    return names, packets


def test_a_port_that_is_removed_is_down(watched: Target, switch: RunningSwitch, wires: list[Wire]) -> None:
    _, packets = spread_over_two(watched)
    switch.engine.remove_port(4)
    eventually(watched, packets, [20] * len(packets))
    switch.engine.add_port(4, wires[0].name)
    eventually(watched, packets, chosen(packets, [10, 20]))


def test_a_write_between_a_change_and_word_of_it_does_not_hide_it(
    watched: Target, switch: RunningSwitch, wires: list[Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    names, packets = spread_over_two(watched)
    read_events, word = switch.engine.read_events, threading.Event()
    monkeypatch.setattr(switch.engine, "read_events", lambda most: read_events(most) if word.is_set() else [])
    set_link(wires[0], "down")
    until(lambda: not switch.engine.ports()[4][1])
    watched.client.write(insert(watching(one_shot(names, 2, ("answer", 1, (10,)), ("answer", 1, (20,))), 4, 5)))
    word.set()
    eventually(watched, packets, [20] * len(packets))


def test_a_port_that_changes_during_a_push_is_seen(
    watched: Target, switch: RunningSwitch, wires: list[Wire], monkeypatch: pytest.MonkeyPatch
) -> None:
    names, packets = spread_over_two(watched)
    adopt = switch.engine.adopt

    def late(other: Engine, carried: Carried) -> None:
        set_link(wires[0], "down")
        time.sleep(0.1)  # for the event to come before the new program does
        adopt(other, carried)

    monkeypatch.setattr(switch.engine, "adopt", late)
    config = names.config()
    config.p4_device_config += b"\n"
    watched.client.push(config, p4r.SetForwardingPipelineConfigRequest.RECONCILE_AND_COMMIT)
    eventually(watched, packets, [20] * len(packets))


def test_only_ports_of_the_device_can_be_watched(softswitch: Target) -> None:
    names: Names = softswitch.push("indirect")
    made = watching(one_shot(names, 1, ("answer", 1, (10,))), 4)
    assert softswitch.refusal(insert(made)) == rpc_code.INVALID_ARGUMENT
