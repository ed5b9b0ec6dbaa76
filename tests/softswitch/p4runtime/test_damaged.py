"""Damaged requests: always a canonical status that says what is wrong, never a defect of the server's; what was refused
has changed nothing, and the switch goes on forwarding.

`MINUTES=60 make fuzz` goes on for an hour. A failure names the seed that brings it back.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import grpc
import pytest
from finsy.proto import p4r, rpc_status
from google.protobuf.message import Message
from grpc import StatusCode

from tests.softswitch.p4runtime.client import Client, Names
from tests.softswitch.p4runtime.damage import ids, parses, spoil_bytes, spoil_fields, write_request
from tests.softswitch.p4runtime.entities import (
    counter_cell,
    default_entry,
    digest_config,
    exact_entry,
    group,
    lpm_entry,
    register_cell,
    session,
    ternary_entry,
)
from tests.softswitch.p4runtime.switches import RunningSwitch, message

MINUTES = float(os.environ.get("MINUTES", "0"))
PROGRAMS = ("everything", "indirect", "metered")
SECONDS = (MINUTES * 60 or 8) / (4 * len(PROGRAMS))
"""For each program and kind of request."""

TIMEOUT = 60
DEFECTS = {StatusCode.INTERNAL.value[0], StatusCode.UNKNOWN.value[0], StatusCode.DATA_LOSS.value[0]}

pytestmark = pytest.mark.timeout(int(SECONDS * 4) + 300)


class Complaints(logging.Handler):
    """What the server logged as an error; what the program says of its packets is its own affair."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line and its traceback."""
        if record.name.startswith(("softswitch.p4runtime", "softswitch.grpc", "grpc", "asyncio")):
            self.lines.append(logging.Formatter().format(record))


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    """Errors that the server logged; there must be none at the end."""
    handler = Complaints()
    logging.getLogger().addHandler(handler)
    yield handler.lines
    logging.getLogger().removeHandler(handler)
    assert handler.lines == []


@dataclass
class Victim:
    """A switch that runs a program, and raw calls on it."""

    client: Client
    names: Names
    switch: RunningSwitch

    def call(self, method: str, data: bytes) -> tuple[StatusCode, list[int]]:
        """What a unary or server-streaming call with this body comes to: its status, and those of the batch."""
        path = f"/p4.v1.P4Runtime/{method}"
        try:
            if method == "Read":
                list(self.client.channel.unary_stream(path)(data, timeout=TIMEOUT))
            else:
                self.client.channel.unary_unary(path)(data, timeout=TIMEOUT)
        except grpc.RpcError as error:
            return error.code(), _batch(error)
        return StatusCode.OK, []

    def state(self) -> list[bytes]:
        """All that a client can read but the data plane's own counts."""
        everything = p4r.ReadRequest(device_id=1)
        for kind in ("table_entry", "action_profile_member", "action_profile_group", "meter_entry", "value_set_entry"):
            getattr(everything.entities.add(), kind).SetInParent()
        for kind in ("counter_entry", "register_entry", "digest_entry"):
            getattr(everything.entities.add(), kind).SetInParent()
        everything.entities.add().table_entry.is_default_action = True
        for kind in ("multicast_group_entry", "clone_session_entry"):
            getattr(everything.entities.add().packet_replication_engine_entry, kind).SetInParent()
        answer = self.client.stub.Read(everything, timeout=TIMEOUT)
        return sorted(entity.SerializeToString() for part in answer for entity in part.entities)


def _batch(error: Any) -> list[int]:
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            codes = []
            for detail in rpc_status.Status.FromString(value).details:
                part = p4r.Error()
                assert detail.Unpack(part)
                codes.append(part.canonical_code)
            return codes
    return []


def _healthy(status: StatusCode, batch: list[int]) -> bool:
    if batch:
        return status is StatusCode.UNKNOWN and not DEFECTS & set(batch) and any(batch)
    return status.value[0] not in DEFECTS


@pytest.fixture(params=PROGRAMS)
def victim(request: pytest.FixtureRequest, client: Client, switch: RunningSwitch) -> Victim:
    """A switch under each program."""
    names = Names.of(request.param)
    client.primary()
    client.push(names.config())
    return Victim(client, names, switch)


def entities(names: Names) -> list[p4r.Entity]:
    """Good ones to begin with: our own for `everything`, and for any program one made from its P4Info for each of its
    tables, profiles, meters and value sets."""
    info = names.p4info
    found = [group(7, (1, 0), (2, 5)), session(9, 2, 3, length=4)]
    if any(table.preamble.alias == "exact_table" for table in info.tables) and len(info.digests):
        found += [exact_entry(names, tag, port=3) for tag in range(3)]
        found += [lpm_entry(names, 0xAB00, 8, port=4), ternary_entry(names, 5, 3, tag=(1, 1), value=(1, 9), pad=7)]
        found += [default_entry(names, "keyless_table", "forward", b"\x06"), default_entry(names, "keyless_table")]
        found += [register_cell(names, "wide_register", 3, b"\x07"), register_cell(names, "wide_register", None, b"\0")]
        found += [counter_cell(names, 3, 50, 60), digest_config(names, timeout_ns=5, size=6, ack_ns=7)]
    actions = {action.preamble.id: action for action in info.actions}
    for table in info.tables:
        entry = p4r.TableEntry(table_id=table.preamble.id)
        for field in table.match_fields:
            match = entry.match.add(field_id=field.id)
            match field.match_type:
                case field.LPM:
                    match.lpm.value, match.lpm.prefix_len = b"\0", 1
                case field.TERNARY:
                    match.ternary.value, match.ternary.mask = b"\x01", b"\x01"
                case field.RANGE:
                    match.range.low, match.range.high = b"\0", b"\x01"
                case field.OPTIONAL:
                    match.optional.value = b"\x01"
                case _:
                    match.exact.value = b"\x01"
        if any(field.match_type not in (field.EXACT, field.LPM) for field in table.match_fields):
            entry.priority = 1
        if table.implementation_id:
            entry.action.action_profile_member_id = 1
        elif table.action_refs:
            _act(entry.action.action, actions[table.action_refs[0].id])
        found.append(p4r.Entity(table_entry=entry))
    for profile in info.action_profiles:
        member = p4r.ActionProfileMember(action_profile_id=profile.preamble.id, member_id=1)
        table = next(table for table in info.tables if table.preamble.id == profile.table_ids[0])
        _act(member.action, actions[table.action_refs[0].id])
        found.append(p4r.Entity(action_profile_member=member))
        several = p4r.ActionProfileGroup(action_profile_id=profile.preamble.id, group_id=1, max_size=4)
        several.members.add(member_id=1, weight=1)
        found.append(p4r.Entity(action_profile_group=several))
    for meter in info.meters:
        configured = p4r.MeterEntry(meter_id=meter.preamble.id, index=p4r.Index(index=0))
        configured.config.cir = configured.config.pir = configured.config.cburst = configured.config.pburst = 100
        found.append(p4r.Entity(meter_entry=configured))
    for value_set in info.value_sets:
        members = p4r.ValueSetEntry(value_set_id=value_set.preamble.id)
        for field in value_set.match:
            members.members.add().match.add(field_id=field.id).exact.value = b"\x01"
        found.append(p4r.Entity(value_set_entry=members))
    return found


def _act(to: p4r.Action, action: Any) -> None:
    to.action_id = action.preamble.id
    for param in action.params:
        to.params.add(param_id=param.id, value=b"\x01")


def rounds() -> Iterator[tuple[int, Random]]:
    """Seeds and their numbers, for as long as there is time; at least ten."""
    first = int(os.environ.get("SEED", "0")) or (time.time_ns() if MINUTES else 1)
    end = time.monotonic() + SECONDS
    number = 0
    while number < 10 or time.monotonic() < end:
        yield first + number, Random(first + number)
        number += 1


def damaged(random: Random, request: Message, known: list[int]) -> bytes:
    if random.random() < 0.15:
        return spoil_bytes(random, request.SerializeToString())
    return spoil_fields(random, request, known, random.choice((0, 1, 1, 1, 2))).SerializeToString()


def test_writes(victim: Victim, complaints: list[str]) -> None:
    good, known = entities(victim.names), ids(victim.names)
    state = victim.state()
    done = 0
    for seed, random in rounds():
        request = write_request(good, random, known)
        data = damaged(random, request, known) if random.random() < 0.2 else request.SerializeToString()
        status, batch = victim.call("Write", data)
        assert _healthy(status, batch), f"SEED={seed}: {status} {batch}"
        assert parses(p4r.WriteRequest, data) or status is StatusCode.INVALID_ARGUMENT, f"SEED={seed}"
        if status is StatusCode.OK:
            done += 1
            state = victim.state()
        elif 0 in batch:
            assert p4r.WriteRequest.FromString(data).atomicity == p4r.WriteRequest.CONTINUE_ON_ERROR, f"SEED={seed}"
            state = victim.state()
        else:
            assert victim.state() == state, f"SEED={seed}: a refused write changed something"
        assert complaints == [], f"SEED={seed}"
        if seed % 20 == 0:
            victim.switch.engine.process(1, message(random.randrange(8), tag=random.randrange(4)))
            state = victim.state()
    assert done >= 1
    forget_everything(victim)


def forget_everything(victim: Victim) -> None:
    """What can be read can be deleted: the models have not parted from the engine."""
    readable = ("table_entry", "action_profile_group", "action_profile_member", "digest_entry")
    requests = [p4r.Entity() for _ in readable]
    for entity, kind in zip(requests, readable, strict=True):
        getattr(entity, kind).SetInParent()
    requests += [group(0), session(0)]
    for request in requests:
        for entity in victim.client.read(request):
            if not entity.table_entry.is_const:
                victim.client.write(p4r.Update(type=p4r.Update.DELETE, entity=entity))
        assert [e for e in victim.client.read(request) if not e.table_entry.is_const] == []


def test_reads(victim: Victim, complaints: list[str]) -> None:
    good, known = entities(victim.names), ids(victim.names)
    for entity in good:
        victim.call("Write", write_one(entity).SerializeToString())
    for seed, random in rounds():
        request = p4r.ReadRequest(device_id=1, entities=random.choices(good, k=random.choice((1, 1, 3))))
        status, batch = victim.call("Read", damaged(random, request, known))
        assert _healthy(status, batch), f"SEED={seed}: {status} {batch}"
        assert complaints == [], f"SEED={seed}"


def write_one(entity: p4r.Entity) -> p4r.WriteRequest:
    request = p4r.WriteRequest(device_id=1)
    request.election_id.low = 10
    request.updates.add(type=p4r.Update.INSERT, entity=entity)
    return request


def test_stream_messages(victim: Victim, complaints: list[str]) -> None:
    arbitration = p4r.StreamMessageRequest()
    arbitration.arbitration.device_id = 1
    arbitration.arbitration.election_id.low = 11
    packet = p4r.StreamMessageRequest()
    packet.packet.payload = message(2, tag=7)
    for header in victim.names.p4info.controller_packet_metadata:
        if header.preamble.name == "packet_out":
            for field in header.metadata:
                packet.packet.metadata.add(metadata_id=field.id, value=b"\0")
    ack = p4r.StreamMessageRequest(digest_ack=p4r.DigestListAck(digest_id=1, list_id=1))
    for digest in victim.names.p4info.digests:
        ack.digest_ack.digest_id = digest.preamble.id
    open_stream = victim.client.channel.stream_stream("/p4.v1.P4Runtime/StreamChannel")
    for seed, random in rounds():
        sent = [damaged(random, random.choice((arbitration, packet, packet, ack)), ids(victim.names)) for _ in range(4)]
        try:
            for answer in open_stream(iter([arbitration.SerializeToString(), *sent]), timeout=TIMEOUT):
                code = p4r.StreamMessageResponse.FromString(answer).error.canonical_code
                assert code not in DEFECTS, f"SEED={seed}"
        except grpc.RpcError as error:
            assert error.code().value[0] not in DEFECTS, f"SEED={seed}: {error.code()} {error.details()}"
        assert complaints == [], f"SEED={seed}"


ACTIONS = (1, 1, 1, 2, 5)
"""Mostly VERIFY, which changes nothing."""


def test_pipelines(victim: Victim, complaints: list[str]) -> None:
    program = json.loads(victim.names.device_config)
    packet = message(3)
    forwarded = victim.switch.engine.process(1, packet)
    for seed, random in rounds():
        config = victim.names.config()
        if random.random() < 0.6:
            config.p4info.CopyFrom(spoil_fields(random, config.p4info, ids(victim.names), random.choice((1, 1, 3))))
        else:
            config.p4_device_config = json.dumps(spoil_json(random, program)).encode()
        request = p4r.SetForwardingPipelineConfigRequest(device_id=1, action=random.choice(ACTIONS), config=config)
        request.election_id.low = 10
        data = request.SerializeToString()
        if random.random() < 0.2:
            data = spoil_bytes(random, data)
        before = victim.client.config()
        status, _ = victim.call("SetForwardingPipelineConfig", data)
        assert status.value[0] not in DEFECTS, f"SEED={seed}: {status}"
        assert complaints == [], f"SEED={seed}"
        if status is not StatusCode.OK:
            assert victim.client.config() == before, f"SEED={seed}"
            assert victim.switch.engine.process(1, packet) == forwarded, f"SEED={seed}"
        else:
            victim.client.push(victim.names.config())


def spoil_json(random: Random, program: Any) -> Any:
    """A copy with something anywhere in it gone, doubled or replaced."""
    copy = json.loads(json.dumps(program))
    node = copy
    while True:
        places = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not places:
            return copy
        place = random.choice(places)
        inside = node[place]
        if isinstance(inside, dict | list) and inside and random.random() < 0.85:
            node = inside
            continue
        match random.randrange(3):
            case 0:
                del node[place]
            case 1 if isinstance(node, list):
                node.append(inside)
            case _:
                node[place] = random.choice((None, 0, -1, 2**70, "", "x", "0x", [], {}, [[]], True, 1.5))
        return copy
