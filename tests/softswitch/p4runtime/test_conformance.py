"""Statements of the specification, each put to both targets. Where BMv2 answers otherwise, `DEVIATES` says how."""

from __future__ import annotations

from collections.abc import Callable

import grpc
import pytest
from finsy.proto import p4r, rpc_code

from tests.softswitch.p4runtime.client import BatchError, Names
from tests.softswitch.p4runtime.entities import (
    action,
    counter_cell,
    default_entry,
    delete,
    digest_config,
    exact_entry,
    group,
    insert,
    lpm_entry,
    modify,
    session,
    ternary_entry,
)
from tests.softswitch.p4runtime.switches import message
from tests.softswitch.p4runtime.targets import Target

Set = p4r.SetForwardingPipelineConfigRequest

ANY_DEVICE = "serves whatever device id a stream names, so the call fails later, for want of a primary or a pipeline"
TARGET_ERROR = "reports an error code of the target's own, for which the canonical one is UNKNOWN"
COMPLETE_KEY = "only a complete key filters a read of a table; other filters are ignored"

DEVIATES = {
    "entity must be set": "UNKNOWN instead of INVALID_ARGUMENT",
    "empty byte string": "takes it for 0",
    "explicit don't care range": "takes it",
    "index beyond the size": TARGET_ERROR,
    "Write to an unknown device": ANY_DEVICE,
    "Read from an unknown device": ANY_DEVICE,
    "push to an unknown device": ANY_DEVICE,
    "test_stream_to_an_unknown_device_ends": ANY_DEVICE,
    "Write of an unknown role": "ignores roles",
    "unknown atomicity": "UNIMPLEMENTED, as for those that the specification knows",
    "VERIFY without config": "takes no config for an empty one",
    "COMMIT with a config": TARGET_ERROR,
    "COMMIT of nothing": TARGET_ERROR,
    "read by priority": COMPLETE_KEY,
    "read by match": "wants the priority as well",
    "read by action": COMPLETE_KEY,
    "read by metadata": COMPLETE_KEY,
    "test_read_of_an_unset_entity_is_invalid": "answers with nothing",
    "test_rollback_is_all_or_nothing": "CONTINUE_ON_ERROR only; the specification allows that",
}
"""What simple_switch_grpc does otherwise, by statement or test."""


@pytest.fixture
def everything(target: Target) -> Names:
    """The program `everything`, pushed anew."""
    return target.push("everything")


@pytest.fixture
def statement(request: pytest.FixtureRequest, target: Target) -> str:
    """The statement that is put to the target; one that the target is known not to keep must go on failing there."""
    name = str(request.param) if hasattr(request, "param") else request.node.originalname
    if target.name == "bmv2" and name in DEVIATES:
        request.applymarker(pytest.mark.xfail(reason=DEVIATES[name], strict=True))
    return name


def spoilt(entity: p4r.Entity, spoil: Callable[[p4r.TableEntry], object]) -> p4r.Entity:
    spoil(entity.table_entry)
    return entity


def _set(**fields: object) -> Callable[[p4r.TableEntry], None]:
    def spoil(entry: p4r.TableEntry) -> None:
        for field, value in fields.items():
            setattr(entry, field, value)

    return spoil


def _match(value: bytes) -> Callable[[p4r.TableEntry], None]:
    return lambda entry: setattr(entry.match[0].exact, "value", value)


def _param(value: bytes) -> Callable[[p4r.TableEntry], None]:
    return lambda entry: setattr(entry.action.action.params[0], "value", value)


Refused = tuple[Callable[[Names], p4r.Update], int]

INVALID, MISSING, DENIED = rpc_code.INVALID_ARGUMENT, rpc_code.NOT_FOUND, rpc_code.PERMISSION_DENIED

REFUSALS: dict[str, Refused] = {
    "update type must be set": (lambda n: p4r.Update(entity=exact_entry(n, 1, 3)), INVALID),
    "entity must be set": (lambda n: insert(p4r.Entity()), INVALID),
    "INSERT of an entry that exists": (lambda n: insert(exact_entry(n, 9, 3)), rpc_code.ALREADY_EXISTS),
    "MODIFY of an absent entry": (lambda n: modify(exact_entry(n, 1, 3)), MISSING),
    "DELETE of an absent entry": (lambda n: delete(exact_entry(n, 1, 3)), MISSING),
    "unknown table": (lambda n: insert(spoilt(exact_entry(n, 1, 3), _set(table_id=7))), INVALID),
    "missing exact field": (lambda n: insert(spoilt(exact_entry(n, 1, 3), lambda e: e.ClearField("match"))), INVALID),
    "field given twice": (
        lambda n: insert(spoilt(exact_entry(n, 1, 3), lambda e: e.match.append(e.match[0]))),
        INVALID,
    ),
    "empty byte string": (lambda n: insert(spoilt(exact_entry(n, 1, 3), _match(b""))), INVALID),
    "value wider than its field": (lambda n: insert(spoilt(exact_entry(n, 1, 3), _match(b"\x01\0\0"))), INVALID),
    "parameter wider than its type": (lambda n: insert(spoilt(exact_entry(n, 1, 3), _param(b"\x02\0"))), INVALID),
    "explicit don't care prefix": (
        lambda n: insert(spoilt(lpm_entry(n, 0, 8, 3), lambda e: setattr(e.match[0].lpm, "prefix_len", 0))),
        INVALID,
    ),
    "ones beyond the prefix": (lambda n: insert(lpm_entry(n, 0xAB01, 8, 3)), INVALID),
    "prefix longer than its field": (lambda n: insert(lpm_entry(n, 0xAB01, 17, 3)), INVALID),
    "explicit don't care mask": (
        lambda n: insert(
            spoilt(ternary_entry(n, 5, 3, tag=(1, 1)), lambda e: setattr(e.match[1].ternary, "mask", b"\0"))
        ),
        INVALID,
    ),
    "ones outside the mask": (lambda n: insert(ternary_entry(n, 5, 3, tag=(3, 1))), INVALID),
    "empty range": (lambda n: insert(ternary_entry(n, 5, 3, value=(9, 1))), INVALID),
    "explicit don't care range": (lambda n: insert(ternary_entry(n, 5, 3, value=(0, 0xFFFF))), INVALID),
    "priority must be positive": (lambda n: insert(ternary_entry(n, 0, 3, tag=(1, 1))), INVALID),
    "no priority in an exact table": (lambda n: insert(spoilt(exact_entry(n, 1, 3), _set(priority=1))), INVALID),
    "INSERT without action": (
        lambda n: insert(spoilt(exact_entry(n, 1, 3), lambda e: e.ClearField("action"))),
        INVALID,
    ),
    "unknown action": (
        lambda n: insert(spoilt(exact_entry(n, 1, 3), lambda e: setattr(e.action.action, "action_id", 7))),
        INVALID,
    ),
    "default-only action in an entry": (
        lambda n: insert(spoilt(exact_entry(n, 1, 3), lambda e: e.action.CopyFrom(action(n, "NoAction")))),
        DENIED,
    ),
    "table-only action as default": (lambda n: modify(default_entry(n, "exact_table", "drop")), DENIED),
    "missing parameter": (
        lambda n: insert(spoilt(exact_entry(n, 1, 3), lambda e: e.action.action.ClearField("params"))),
        INVALID,
    ),
    "constant default": (lambda n: modify(default_entry(n, "lpm_table", "forward", b"\x06")), DENIED),
    "INSERT of a default entry": (lambda n: insert(default_entry(n, "keyless_table", "forward", b"\x06")), INVALID),
    "DELETE of a default entry": (lambda n: delete(default_entry(n, "keyless_table", "forward", b"\x06")), INVALID),
    "INSERT of a counter": (lambda n: insert(counter_cell(n, 1, 1)), INVALID),
    "negative index": (lambda n: modify(counter_cell(n, -1, 1)), INVALID),
    "index beyond the size": (lambda n: modify(counter_cell(n, 8, 1)), rpc_code.OUT_OF_RANGE),
    "multicast group 0": (lambda n: insert(group(0, (1, 0))), INVALID),
    "two replicas alike": (lambda n: insert(group(8, (1, 0), (1, 0))), INVALID),
    "clone session 0": (lambda n: insert(session(0, 1)), INVALID),
    "MODIFY of an absent group": (lambda n: modify(group(8, (1, 0))), MISSING),
    "MODIFY of an absent session": (lambda n: modify(session(8, 1)), MISSING),
    "MODIFY of an absent digest configuration": (lambda n: modify(digest_config(n)), MISSING),
}


@pytest.mark.parametrize("statement", REFUSALS, indirect=True)
def test_update_is_refused(target: Target, everything: Names, statement: str) -> None:
    make, code = REFUSALS[statement]
    target.client.write(insert(exact_entry(everything, 9, 3)))
    update = make(everything)
    assert target.refusal(update) == code
    table = p4r.Entity(table_entry=p4r.TableEntry(table_id=everything["exact_table"]))
    assert target.client.read(table) == [exact_entry(everything, 9, 3)]


def status(call: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    code: grpc.StatusCode = caught.value.code()
    return code


RPC_ERRORS: dict[str, tuple[Callable[[Target, Names], object], grpc.StatusCode]] = {
    "Write to an unknown device": (
        lambda t, n: t.client.write(insert(exact_entry(n, 1, 3)), device_id=7),
        grpc.StatusCode.NOT_FOUND,
    ),
    "Read from an unknown device": (
        lambda t, n: t.client.read(counter_cell(n, 1), device_id=7),
        grpc.StatusCode.NOT_FOUND,
    ),
    "push to an unknown device": (lambda t, n: t.client.push(n.config(), device_id=7), grpc.StatusCode.NOT_FOUND),
    "Write by a backup": (
        lambda t, n: t.client.write(insert(exact_entry(n, 1, 3)), election_id=9),
        grpc.StatusCode.PERMISSION_DENIED,
    ),
    "Write without election id": (
        lambda t, n: t.client.write(insert(exact_entry(n, 1, 3)), election_id=None),
        grpc.StatusCode.PERMISSION_DENIED,
    ),
    "Write of an unknown role": (
        lambda t, n: t.client.write(insert(exact_entry(n, 1, 3)), role="nobody"),
        grpc.StatusCode.NOT_FOUND,
    ),
    "push by a backup": (
        lambda t, n: t.client.push(n.config(), election_id=9),
        grpc.StatusCode.PERMISSION_DENIED,
    ),
    "unknown atomicity": (
        lambda t, n: t.client.write(insert(exact_entry(n, 1, 3)), atomicity=9),
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    "unknown response type": (lambda t, n: t.client.config(9), grpc.StatusCode.INVALID_ARGUMENT),
    "VERIFY without config": (lambda t, n: t.client.push(None, Set.VERIFY), grpc.StatusCode.INVALID_ARGUMENT),
    "COMMIT with a config": (lambda t, n: t.client.push(n.config(), Set.COMMIT), grpc.StatusCode.INVALID_ARGUMENT),
    "COMMIT of nothing": (lambda t, n: t.client.push(None, Set.COMMIT), grpc.StatusCode.NOT_FOUND),
    "push without action": (
        lambda t, n: t.client.push(n.config(), Set.UNSPECIFIED),
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
}


@pytest.mark.parametrize("statement", RPC_ERRORS, indirect=True)
def test_call_is_refused(target: Target, everything: Names, statement: str) -> None:
    call, code = RPC_ERRORS[statement]
    assert status(lambda: call(target, everything)) is code
    assert target.client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=everything["exact_table"]))) == []


@pytest.mark.usefixtures("statement")
def test_batch_error_has_one_item_for_each_update(target: Target, everything: Names) -> None:
    good, bad, also_good = exact_entry(everything, 1, 3), exact_entry(everything, 1, 4), exact_entry(everything, 2, 3)
    with pytest.raises(BatchError) as caught:
        target.client.write(insert(good), insert(bad), insert(also_good))
    if target.name == "softswitch":  # many clients show the status and nothing else
        assert caught.value.status == f"update 2: ALREADY_EXISTS: {caught.value.messages[1]}"
    assert caught.value.codes == [0, rpc_code.ALREADY_EXISTS, 0]
    assert target.client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=everything["exact_table"]))) == [
        good,
        also_good,
    ]


@pytest.mark.usefixtures("statement")
def test_byte_strings_come_back_in_their_shortest_form(target: Target, everything: Names) -> None:
    long = exact_entry(everything, 1, port=3)
    long.table_entry.match[0].exact.value = b"\0\0\0\x01"
    long.table_entry.action.action.params[0].value = b"\0\0\x03"
    target.client.write(insert(long))
    wildcard = p4r.Entity(table_entry=p4r.TableEntry(table_id=everything["exact_table"]))
    assert target.client.read(wildcard) == [exact_entry(everything, 1, port=3)]


@pytest.mark.usefixtures("statement")
def test_default_entry_without_action_resets_it(target: Target, everything: Names) -> None:
    original = default_entry(everything, "keyless_table", "forward", b"\x05")
    wanted = p4r.Entity(table_entry=p4r.TableEntry(table_id=everything["keyless_table"], is_default_action=True))
    target.client.write(modify(default_entry(everything, "keyless_table", "forward", b"\x06")))
    assert [port for port, _ in target.send(message(3))] == [6]
    target.client.write(modify(default_entry(everything, "keyless_table")))
    assert [port for port, _ in target.send(message(3))] == [5]
    assert target.client.read(wanted) == [original]


@pytest.mark.usefixtures("statement")
def test_metadata_comes_back(target: Target, everything: Names) -> None:
    entity = exact_entry(everything, 1, port=3)
    entity.table_entry.metadata = b"cookie"
    target.client.write(insert(entity))
    assert target.client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=everything["exact_table"]))) == [entity]


FILTERS: dict[str, Callable[[Names], dict[str, object]]] = {
    "read by priority": lambda n: {"priority": 8},
    "read by match": lambda n: {"match": ternary_entry(n, 7, 3, tag=(2, 2)).table_entry.match},
    "read by complete key": lambda n: {"priority": 7, "match": ternary_entry(n, 7, 3, tag=(2, 2)).table_entry.match},
    "read by action": lambda n: {"action": p4r.TableAction(action=p4r.Action(action_id=n["drop"]))},
    "read by metadata": lambda n: {"metadata": b"note"},
}


@pytest.mark.parametrize("statement", FILTERS, indirect=True)
def test_reads_are_filtered(target: Target, everything: Names, statement: str) -> None:
    dropping = ternary_entry(everything, 7, port=0, tag=(2, 2))
    dropping.table_entry.action.CopyFrom(action(everything, "drop"))
    noted = ternary_entry(everything, 8, port=3, tag=(3, 3))
    noted.table_entry.metadata = b"note"
    same_key = ternary_entry(everything, 9, port=3, tag=(2, 2))
    target.client.write(*map(insert, (dropping, noted, same_key)))
    expected = {
        "read by priority": [noted],
        "read by match": [dropping, same_key],
        "read by complete key": [dropping],
        "read by action": [dropping],
        "read by metadata": [noted],
    }[statement]
    filters = FILTERS[statement](everything)
    entry = p4r.TableEntry(table_id=everything["ternary_table"], **filters)
    found = target.client.read(p4r.Entity(table_entry=entry))
    assert sorted(found, key=str) == sorted(expected, key=str)


@pytest.mark.usefixtures("statement")
def test_wildcard_read_of_counters(target: Target, everything: Names) -> None:
    target.send(message(3))
    cells = target.client.read(counter_cell(everything, None))
    assert [cell.counter_entry.data.packet_count for cell in cells] == [0, 0, 0, 1, 0, 0, 0, 0]


@pytest.mark.usefixtures("statement")
def test_wildcard_read_of_groups(target: Target, everything: Names) -> None:
    target.client.write(insert(group(7, (1, 0))), insert(group(8, (2, 0))))
    try:
        assert sorted(target.client.read(group(0)), key=str) == [group(7, (1, 0)), group(8, (2, 0))]
    finally:
        target.client.write(delete(group(7)), delete(group(8)))


@pytest.mark.usefixtures("statement")
def test_read_of_an_unset_entity_is_invalid(target: Target, everything: Names) -> None:
    with pytest.raises(BatchError) as caught:
        target.client.read(p4r.Entity())
    assert caught.value.codes == [INVALID]


@pytest.mark.usefixtures("statement")
def test_rollback_is_all_or_nothing(target: Target, everything: Names) -> None:
    entry = exact_entry(everything, 1, port=3)
    with pytest.raises(BatchError):
        target.client.write(insert(entry), insert(entry), atomicity=p4r.WriteRequest.ROLLBACK_ON_ERROR)
    assert target.client.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=everything["exact_table"]))) == []


@pytest.mark.usefixtures("statement")
def test_digest_lists_fill(target: Target, everything: Names) -> None:
    """BMv2 sends even a full list only when its time is over."""
    timeout_s = 1 if target.name == "bmv2" else 600
    target.client.write(insert(digest_config(everything, timeout_ns=timeout_s * 10**9, size=2)))
    target.exchange([message(1, tag=tag) for tag in (1, 1, 2)])
    lists: list[int] = []
    while sum(lists) < 2:
        digest = target.stream.receive().digest
        assert digest.digest_id == everything["seen_t"]
        lists.append(len(digest.data))
        target.stream.send(digest_ack=p4r.DigestListAck(digest_id=digest.digest_id, list_id=digest.list_id))
    assert lists == [2] or (target.name == "bmv2" and lists == [1, 1])
    target.client.write(delete(digest_config(everything)))


@pytest.mark.usefixtures("statement")
def test_cookie_comes_back_alone(target: Target, everything: Names) -> None:
    target.client.push(everything.config(cookie=0xC0FFEE))
    expected = p4r.ForwardingPipelineConfig(cookie=p4r.ForwardingPipelineConfig.Cookie(cookie=0xC0FFEE))
    assert target.client.config(p4r.GetForwardingPipelineConfigRequest.COOKIE_ONLY) == expected


@pytest.mark.usefixtures("statement")
def test_duplicate_election_id_ends_the_stream(target: Target, everything: Names) -> None:
    second = target.client.stream()
    second.arbitrate(10, device_id=target.client.device_id)
    assert second.end_code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.usefixtures("statement")
def test_backup_hears_who_is_primary(target: Target, everything: Names) -> None:
    backup = target.client.stream()
    backup.arbitrate(9, device_id=target.client.device_id)
    assert backup.arbitration() == (rpc_code.ALREADY_EXISTS, 10)
    backup.close()


@pytest.mark.usefixtures("statement")
def test_stream_to_an_unknown_device_ends(target: Target, everything: Names) -> None:
    stream = target.client.stream()
    stream.arbitrate(9, device_id=7)
    assert stream.end_code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.usefixtures("statement")
def test_capabilities_name_a_version_of_1(target: Target, everything: Names) -> None:
    assert target.client.stub.Capabilities(p4r.CapabilitiesRequest()).p4runtime_api_version.startswith("1.")
