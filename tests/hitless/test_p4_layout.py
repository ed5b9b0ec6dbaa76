"""The codecs against the headers of the P4 program, which define them: read from its source and its compiled JSON."""

import json
import re
from dataclasses import fields
from pathlib import Path

import pytest

from hitless.wire import invocation, report
from hitless.wire.invocation import Message
from hitless.words import InvocationType

P4 = Path(__file__).parents[2] / "p4src"
COMPILED = P4 / "compiled" / "steering.json"

Layout = list[tuple[str, int]]

REPORT_VALUES = {
    "magic": 0x4854,
    "version": 1,
    "reserved_flags": 0,
    "draining": 1,
    "ready": 0,
    "service_id": 0x0102,
    "node_id": 0x0304,
    "epoch": 0x05060708,
    "sequence": 0x090A0B0C,
    "cpu": 0x0D0E,
    "cpu_own": 0x0F10,
    "memory": 0x1112,
    "queue_depth": 0x1314,
    "in_flight": 0x1516,
    "concurrency": 0x1718,
    "backlog": 0x191A1B1C,
    "service_interval": 0x1D1E1F20,
    "received": 0x21222324,
    "key_id": 0x25,
    "contention": 0x2E2F,
    "reserved": 0,
    "tag": 0x262728292A2B2C2D,
}
INVOCATION_VALUES = {
    "magic": 0x4849,
    "version": 1,
    "type": 1,
    "flags": 0,
    "attempt": 2,
    "service_id": 0x0102,
    "client_id": 0x03040506,
    "request_id": 0x0708090A0B0C0D0E,
    "parent_id": 0x0F10111213141516,
    "deadline": 0x1718191A,
    "status": 0x1B1C,
    "fragment_index": 1,
    "fragment_count": 2,
    "total_length": 1500,
}


def in_source(header: str) -> Layout:
    text = (P4 / "headers.p4").read_text()
    body = re.search(rf"header {header} \{{(.*?)\}}", text, re.DOTALL)
    assert body, f"no header {header} in headers.p4"
    return [(name, int(bits)) for bits, name in re.findall(r"^\s*bit<(\d+)>\s+(\w+);", body[1], re.MULTILINE)]


def in_compiled(header: str) -> Layout:
    types = {kind["name"]: kind for kind in json.loads(COMPILED.read_text())["header_types"]}
    return [(name, bits) for name, bits, *_ in types[header]["fields"]]


def split(data: bytes, layout: Layout) -> dict[str, int]:
    number, left = int.from_bytes(data), len(data) * 8
    values = {}
    for name, bits in layout:
        left -= bits
        values[name] = number >> left & (1 << bits) - 1
    assert left == 0, f"the header is {len(data) * 8 - left} bits long, the codec writes {len(data) * 8}"
    return values


def layouts(header: str) -> Layout:
    """As the source has it, which the compiled JSON must agree with once it exists."""
    layout = in_source(header)
    if COMPILED.exists():
        assert in_compiled(header) == layout
    return layout


def test_report() -> None:
    told = {name: value for name, value in REPORT_VALUES.items() if name not in ("magic", "version")}
    flags = {"draining": True, "ready": False}
    numbers = {name: value for name, value in told.items() if not name.startswith("reserved") and name not in flags}
    encoded = report.Report(**numbers, **flags).encode()  # type: ignore[arg-type]
    assert split(encoded, layouts("report_h")) == REPORT_VALUES
    ready = report.Report(**numbers, ready=True).encode()  # type: ignore[arg-type]
    assert split(ready, layouts("report_h"))["ready"] == 1


def test_a_report_has_the_fields_of_the_header_and_no_others() -> None:
    """One that is added to the header is added to Report, or the other way round."""
    same_in_all = {"magic", "version", "reserved_flags", "reserved"}
    assert {field.name for field in fields(report.Report)} == {name for name, _ in in_source("report_h")} - same_in_all


def test_an_invocation_header_has_the_fields_of_the_header_in_its_order() -> None:
    """It is packed and unpacked by position."""
    units = {"deadline_ms": "deadline"}
    assert [units.get(name, name) for name in invocation.Header._fields] == [
        name for name, _ in in_source("invocation_h")
    ]


def test_the_tag_covers_every_field_before_it() -> None:
    """siphash.p4 lists them in words of 64 bits, and their number of bytes at the end."""
    source = re.sub(r"//.*", "", (P4 / "siphash.p4").read_text())
    hashed = " ".join(re.findall(r"compress\.apply\(s, ([^;]*)\);", source))
    before = [name for name, _ in in_source("report_h")]
    before = before[: before.index("tag")]
    assert re.findall(r"report\.(\w+)", hashed) == before
    length = re.search(r"8w(\d+)\s*$", hashed)
    assert length is not None
    assert int(length[1]) == report.TAGGED == report.SIZE - 8


def test_invocation() -> None:
    message = Message(
        InvocationType.REQUEST,
        service_id=INVOCATION_VALUES["service_id"],
        client_id=INVOCATION_VALUES["client_id"],
        request_id=INVOCATION_VALUES["request_id"],
        payload=bytes(1500),
        parent_id=INVOCATION_VALUES["parent_id"],
        deadline_ms=INVOCATION_VALUES["deadline"],
        status=INVOCATION_VALUES["status"],
        attempt=INVOCATION_VALUES["attempt"],
    )
    second = bytes(invocation.fragments(message)[1][: invocation.HEADER_SIZE])
    assert split(second, layouts("invocation_h")) == INVOCATION_VALUES


@pytest.mark.parametrize(
    ("constant", "value"),
    [
        ("REPORT_BYTES", report.SIZE),
        ("INVOCATION_BYTES", invocation.HEADER_SIZE),
    ],
)
def test_constants(constant: str, value: int) -> None:
    found = re.search(rf"const bit<\d+>\s+{constant}\s*=\s*(\w+);", (P4 / "types.p4").read_text())
    assert found, f"no constant {constant} in types.p4"
    assert int(found[1], 0) == value
