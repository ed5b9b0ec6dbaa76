"""What Python and the runtime's C say to each other in numbers is the same on both sides."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path

import pytest
from softswitch.codegen.cc import RUNTIME
from softswitch.engine import abi
from softswitch.engine.ffi import LineState, LinkStruct, PortState, ReplicaStruct, TraceStruct

ENUMS: dict[str, type[IntEnum]] = {
    "SS_": abi.Match,
    "SS_OP": abi.Operation,
    "SS_RESULT": abi.Result,
    "SS_REF": abi.Reference,
    "SS_METER": abi.MeterKind,
    "SS_ARRAY": abi.Array,
    "SS_CARRY_": abi.Carry,
    "SS_EVENT_": abi.Event,
    "SS_FIELD_": abi.Field,
    "SS_TYPE": abi.InstanceType,
    "SS_TRACE_": abi.TraceKind,
    "SS_DIRECTION": abi.Direction,
}
"""Their names in C begin with this, as far as it ends with an underline; with SS_ otherwise."""

NUMBERS = {
    "UINT32_MAX": abi.NONE,
    "SS_MAX_PORTS": abi.MAX_PORTS,
    "sizeof(((struct ss_engine *)0)->attached) / sizeof(void *)": abi.MAX_ATTACHED,
    "sizeof(((struct ss_port *)0)->interface)": abi.INTERFACE_BYTES,
    "SS_FRAME_LIMIT": abi.MAX_FRAME,
    "sizeof(*((struct ss_op *)0)->words) * 8": abi.WORD_BITS,
    "sizeof(u128) * 8": abi.MAX_NUMBER_BITS,
    "SS_DIGEST_VALUES": abi.MAX_DIGEST_VALUES,
    "sizeof(u128)": abi.DIGEST_VALUE_BYTES,
    "sizeof(struct ss_op)": abi.OPERATION.size,
    "offsetof(struct ss_op, target)": 4,
    "offsetof(struct ss_op, operation)": 8,
    "offsetof(struct ss_op, action)": 12,
    "offsetof(struct ss_op, offset)": 12,
    "offsetof(struct ss_op, count)": 12,
    "offsetof(struct ss_op, priority)": 16,
    "offsetof(struct ss_op, number)": 16,
    "offsetof(struct ss_op, length)": 20,
    "sizeof(struct ss_cell)": abi.COUNTER.size,
    "sizeof(struct ss_entry)": abi.ENTRY_BYTES,
    "offsetof(struct ss_entry, counter)": abi.ENTRY_COUNTER.offset,
    "sizeof(struct ss_meter)": abi.METER.length,
    "offsetof(struct ss_meter, committed)": 16,
    "sizeof(struct ss_bucket)": 32,
    "offsetof(struct ss_meter, marked)": abi.METER_MARKED.offset,
    "sizeof(((struct ss_meter *)0)->marked)": abi.METER_MARKED.length,
    "sizeof(struct ss_carry)": abi.CARRY.size,
    "offsetof(struct ss_carry, first_action)": 12,
    "sizeof(struct ss_renumbered)": abi.RENUMBERED.size,
    "sizeof(struct ss_event)": abi.EVENT.size,
    "offsetof(struct ss_event, type)": 4,
    "sizeof(struct ss_row)": abi.ROW.size,
    "offsetof(struct ss_row, update)": 8,
    "offsetof(struct ss_row, priority)": 16,
    "offsetof(struct ss_row, action)": 24,
    "sizeof(struct ss_replica)": ctypes.sizeof(ReplicaStruct),
    "sizeof(struct ss_trace)": ctypes.sizeof(TraceStruct),
    "offsetof(struct ss_trace, length)": TraceStruct.length.offset,
    "sizeof(struct ss_port_state)": ctypes.sizeof(PortState),
    "offsetof(struct ss_port_state, cut)": PortState.cut.offset,
    "offsetof(struct ss_port_state, interface)": PortState.interface.offset,
    "SS_PRIORITIES": abi.PRIORITIES,
    "SS_QUEUE_DEPTH": abi.QUEUE_DEPTH,
    "SS_LINES": abi.MAX_LINES,
    "sizeof(struct ss_link_settings)": ctypes.sizeof(LinkStruct),
    "offsetof(struct ss_link_settings, loss)": LinkStruct.loss.offset,
    "sizeof(struct ss_line_state)": ctypes.sizeof(LineState),
    "offsetof(struct ss_line_state, link)": LineState.link.offset,
    "offsetof(struct ss_line_state, link_dropped)": LineState.link_dropped.offset,
}


def equalities() -> Iterator[tuple[str, int]]:
    """C expressions and what they must be."""
    yield from NUMBERS.items()
    for prefix, enum in ENUMS.items():
        for member in enum:
            yield f"{prefix if prefix.endswith('_') else 'SS_'}{member.name}", member.value


def compiled(folder: Path, pairs: dict[str, int]) -> str:
    """What the C compiler says of it."""
    headers = ("decode", "engine", "meter", "profile", "table", "trace")
    lines = [f'#include "{name}.h"' for name in headers]
    lines += [f'_Static_assert(({expression}) == {value}, "{expression}");' for expression, value in pairs.items()]
    (folder / "abi.c").write_text("\n".join(lines) + "\n")
    command = ["gcc", "-std=gnu11", "-fsyntax-only", f"-I{RUNTIME}", str(folder / "abi.c")]
    return subprocess.run(command, capture_output=True, text=True, check=False).stderr


def test_numbers_are_the_same_on_both_sides(tmp_path: Path) -> None:
    assert compiled(tmp_path, dict(equalities())) == ""
    wrong = dict(equalities()) | {"sizeof(struct ss_op)": abi.OPERATION.size + 1}
    assert "static assertion failed" in compiled(tmp_path, wrong)


@pytest.mark.parametrize("prefix", ["ss_operation", "ss_result", "ss_event_type", "ss_carry_kind", "ss_trace_kind"])
def test_python_knows_every_code(prefix: str) -> None:
    """What C adds is not forgotten here."""
    enums = {
        "ss_operation": abi.Operation,
        "ss_result": abi.Result,
        "ss_event_type": abi.Event,
        "ss_carry_kind": abi.Carry,
        "ss_trace_kind": abi.TraceKind,
    }
    text = "".join(re.sub(r"/\*.*?\*/", "", path.read_text(), flags=re.DOTALL) for path in RUNTIME.glob("*.h"))
    found = re.search(rf"enum {prefix} {{(.*?)}};", text, re.DOTALL)
    assert found is not None
    names = re.findall(r"SS_\w+", found[1])
    assert len(names) == len(enums[prefix])
