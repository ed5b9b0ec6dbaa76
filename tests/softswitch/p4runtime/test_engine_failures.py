"""What becomes of a batch when the engine refuses an update that the models had accepted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from finsy.proto import p4r
from grpc import StatusCode
from softswitch.engine import abi
from softswitch.engine.abi import Operation, Result
from softswitch.engine.compiled import Compiled
from softswitch.engine.engine import Engine
from softswitch.p4runtime import write
from softswitch.p4runtime.device import Device
from softswitch.p4runtime.entities.profile_entries import OneShot

from tests.softswitch.p4runtime import test_action_profiles as profiles
from tests.softswitch.p4runtime.client import Names
from tests.softswitch.p4runtime.entities import default_entry, delete, exact_entry, group, insert, lpm_entry, modify
from tests.softswitch.p4runtime.switches import message


class PickyEngine(Engine):
    """Refuses, when told to, operations that would forward to port 9, and members with parameter 9."""

    picky = False

    def apply_packed(self, operations: bytes, count: int) -> list[int]:
        """Do the operations, each on its own, but the refused ones."""
        results: list[int] = []
        while operations:
            size = abi.OPERATION.unpack_from(operations)[0]
            operation, operations = operations[:size], operations[size:]
            if self.picky and self._forwards_to_9(operation):
                results.append(Result.FULL)
            else:
                results += super().apply_packed(operation, 1)
        assert len(results) == count
        return results

    def _forwards_to_9(self, operation: bytes) -> bool:
        _, target, kind, *_ = abi.OPERATION.unpack_from(operation)
        if kind not in (Operation.SET_MEMBER, Operation.INSERT, Operation.MODIFY, Operation.SET_DEFAULT):
            return False
        tables = self._running().codecs.tables.values()
        key_words = 0 if kind == Operation.SET_MEMBER else next(t for t in tables if t.number == target).key_words
        parameter = abi.OPERATION.size + 8 * key_words
        return operation[parameter : parameter + 8] == (9).to_bytes(8, "little")


@pytest.fixture
def device(names: Names, program_cache: Path) -> Iterator[Device]:
    """A device with the program, entries for tags 1 and 2, and an engine that has become picky."""
    engine = PickyEngine(cache_dir=program_cache)
    with engine:
        device = Device(1, engine, lambda: Engine(cache_dir=program_cache), cpu_port=None)
        device.set_pipeline(p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT, names.config())
        assert codes(device, insert(exact_entry(names, 1, port=3)), insert(exact_entry(names, 2, port=3))) == [None] * 2
        engine.picky = True
        yield device
        device.close()


def codes(
    device: Device, *updates: p4r.Update, atomicity: int = p4r.WriteRequest.CONTINUE_ON_ERROR
) -> list[StatusCode | None]:
    return [error.code if error else None for error in device.write(updates, atomicity)]


def entries(device: Device, names: Names) -> list[p4r.Entity]:
    responses, _ = device.read([p4r.Entity(table_entry=p4r.TableEntry(table_id=names["exact_table"]))])
    return [entity for response in responses for entity in response.entities]


def leaves(device: Device, tag: int, kind: int = 0) -> list[int]:
    return [port for port, _ in device.engine.process(1, message(kind, tag=tag))]


def test_refused_updates_are_not_in_the_model(device: Device, names: Names) -> None:
    assert codes(
        device,
        modify(exact_entry(names, 1, port=9)),
        insert(exact_entry(names, 3, port=9)),
        insert(exact_entry(names, 4, port=5)),
        modify(default_entry(names, "keyless_table", "forward", b"\x09")),
    ) == [StatusCode.RESOURCE_EXHAUSTED, StatusCode.RESOURCE_EXHAUSTED, None, StatusCode.RESOURCE_EXHAUSTED]
    kept = [exact_entry(names, 1, port=3), exact_entry(names, 2, port=3), exact_entry(names, 4, port=5)]
    assert entries(device, names) == kept
    assert codes(device, insert(exact_entry(names, 3, port=5))) == [None]
    assert leaves(device, 0, kind=3) == [5]


def test_later_update_of_a_refused_entry_stands(device: Device, names: Names) -> None:
    assert codes(device, modify(exact_entry(names, 1, port=9)), modify(exact_entry(names, 1, port=4))) == [
        StatusCode.RESOURCE_EXHAUSTED,
        None,
    ]
    assert entries(device, names)[0] == exact_entry(names, 1, port=4)
    assert leaves(device, 1) == [4]


def test_refused_chain_leaves_nothing(device: Device, names: Names) -> None:
    entry = exact_entry(names, 3, port=9)
    assert codes(device, insert(entry), delete(entry)) == [StatusCode.RESOURCE_EXHAUSTED, StatusCode.NOT_FOUND]
    assert len(entries(device, names)) == 2


def test_rollback_brings_engine_and_model_back(device: Device, names: Names) -> None:
    before = entries(device, names)
    assert codes(
        device,
        modify(exact_entry(names, 1, port=4)),
        delete(exact_entry(names, 2, port=3)),
        insert(exact_entry(names, 5, port=5)),
        insert(group(7, (1, 0))),
        modify(default_entry(names, "keyless_table", "forward", b"\x04")),
        insert(exact_entry(names, 3, port=9)),
        atomicity=p4r.WriteRequest.ROLLBACK_ON_ERROR,
    ) == [*[StatusCode.ABORTED] * 5, StatusCode.RESOURCE_EXHAUSTED]
    assert sorted(entries(device, names), key=str) == sorted(before, key=str)
    assert (leaves(device, 1), leaves(device, 2), leaves(device, 5)) == ([3], [3], [0])
    assert leaves(device, 0, kind=3) == [5]
    assert codes(device, insert(group(7, (1, 0)))) == [None]


def test_rollback_brings_back_what_was_done_by_the_short_way(
    device: Device, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "STRETCHES", (20, 10))
    before = entries(device, names)
    plain = [modify(exact_entry(names, 1, port=4)), delete(exact_entry(names, 2, port=3))]
    plain += [insert(lpm_entry(names, 0x100 + tag, 16, port=5)) for tag in range(40)]
    updates = [*plain, insert(group(7, (1, 0)))]
    wrong = [*updates, insert(exact_entry(names, 3, port=9))]
    rollback = p4r.WriteRequest.ROLLBACK_ON_ERROR
    assert codes(device, *wrong, atomicity=rollback) == [*[StatusCode.ABORTED] * 43, StatusCode.RESOURCE_EXHAUSTED]
    assert sorted(entries(device, names), key=str) == sorted(before, key=str)
    assert (leaves(device, 1), leaves(device, 2), leaves(device, 0x110)) == ([3], [3], [0])
    assert codes(device, *updates, atomicity=rollback) == [None] * 43
    assert (leaves(device, 1), leaves(device, 2), leaves(device, 0x110)) == ([4], [0], [5])


def test_rollback_brings_action_profiles_back(program_cache: Path) -> None:
    with PickyEngine(cpu_port=510, cache_dir=program_cache) as engine:
        device = Device(1, engine, lambda: Engine(cache_dir=program_cache), cpu_port=510)
        names = Names.of("indirect")
        device.set_pipeline(p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT, names.config())
        made = [insert(profiles.member(names, "spread", i, "answer", 100 + i)) for i in (1, 2, 3)]
        made += [insert(profiles.group(names, i, (1, 2), (2, 1), size=6)) for i in (1, 2, 3)]
        made += [insert(profiles.entry(names, "spreading", 1, to_group=1))]
        made += [insert(profiles.entry(names, "spreading", 2, to_member=3))]
        assert codes(device, *made) == [None] * 8
        engine.picky = True

        def answers() -> list[bytes]:
            packets = [*profiles.many(3, 1), profiles.question(3, 2)]
            return [data for packet in packets for _, data in engine.process(1, packet)]

        before = answers()
        assert codes(
            device,
            modify(profiles.member(names, "spread", 1, "answer", 55)),
            delete(profiles.entry(names, "spreading", 2)),
            delete(profiles.member(names, "spread", 3)),
            modify(profiles.group(names, 1, (2, 1), size=6)),
            delete(profiles.group(names, 3)),
            insert(profiles.entry(names, "spreading", 4, to_group=2)),
            insert(profiles.member(names, "spread", 7, "answer", 56)),
            insert(profiles.group(names, 9, (7, 3), size=6)),
            insert(profiles.entry(names, "spreading", 3, to_group=9)),
            insert(profiles.member(names, "spread", 8, "answer", 9)),
            atomicity=p4r.WriteRequest.ROLLBACK_ON_ERROR,
        ) == [StatusCode.ABORTED] * 9 + [StatusCode.RESOURCE_EXHAUSTED]
        assert answers() == before
        assert codes(
            device,
            delete(profiles.member(names, "spread", 3)),
            delete(profiles.group(names, 2)),
            modify(profiles.group(names, 3, (3, 1), size=6)),
        ) == [StatusCode.FAILED_PRECONDITION, None, None]
        device.close()


class FailingEngine(Engine):
    """Cannot take a program."""

    def run(self, compiled: Compiled) -> None:
        """Fail."""
        raise MemoryError("no memory for the program's entries")


def test_engines_that_come_to_nothing_keep_no_file_open(program_cache: Path, names: Names) -> None:
    with Engine(cache_dir=program_cache) as engine:
        device = Device(1, engine, lambda: FailingEngine(cache_dir=program_cache), cpu_port=None)
        before = set(Path("/proc/self/fd").iterdir())
        with pytest.raises(ValueError, match="carrier_pigeon"):
            Engine(io="carrier_pigeon", cache_dir=program_cache)
        with pytest.raises(MemoryError):
            device.set_pipeline(p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_SAVE, names.config())
        assert set(Path("/proc/self/fd").iterdir()) <= before


def test_what_one_shots_leave_is_taken_again(program_cache: Path) -> None:
    with Engine(cpu_port=510, cache_dir=program_cache) as engine:
        device = Device(1, engine, lambda: Engine(cache_dir=program_cache), cpu_port=510)
        names = Names.of("indirect")
        device.set_pipeline(p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT, names.config())
        assert codes(device, insert(profiles.one_shot(names, 1, ("answer", 3, (0,)), ("drop", 1, ())))) == [None]
        for value in range(20):
            assert codes(device, modify(profiles.one_shot(names, 1, ("answer", 3, (value,)), ("drop", 1, ())))) == [
                None
            ]
        assert device.running is not None
        tables = device.running.tables
        (entry,) = tables.state(names["spreading"]).entries.values()
        shot = entry.reference
        assert isinstance(shot, OneShot)
        assert shot.group_number < 2
        assert max(number for numbers in shot.numbers for number in numbers) < 8
        device.close()
