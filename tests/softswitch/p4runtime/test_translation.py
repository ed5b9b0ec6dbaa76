"""Types that P4Info has in the controller's width (`@p4runtime_translation`) are used in the program's."""

from __future__ import annotations

from pathlib import Path

import pytest
from finsy.proto import p4i, p4r, p4t
from google.protobuf import text_format
from softswitch.bmv2.loader import load_program
from softswitch.p4runtime import names, p4info

import softswitch
from tests.softswitch.p4runtime.client import PROGRAMS, Names
from tests.softswitch.p4runtime.switches import message

CONTROLLERS_BITS = 32


def translated(known: Names) -> p4i.P4Info:
    """The P4Info that p4c writes when each unsigned number is of a type that is translated to 32 bits, one type for
    each width of the program."""
    info = p4i.P4Info()
    info.CopyFrom(known.p4info)

    def new_type(width: int) -> str:
        made = info.type_info.new_types[f"type_{width}"].translated_type
        made.uri, made.sdn_bitwidth = "example/type", CONTROLLERS_BITS
        return f"type_{width}"

    elements = [parameter for action in info.actions for parameter in action.params]
    elements += [match for table in info.tables for match in table.match_fields]
    elements += [match for value_set in info.value_sets if len(value_set.match) == 1 for match in value_set.match]
    elements += [metadata for packet in info.controller_packet_metadata for metadata in packet.metadata]
    for element in elements:
        element.type_name.name = new_type(element.bitwidth)
        element.bitwidth = CONTROLLERS_BITS
    specs = [register.type_spec for register in info.registers]
    specs += [member.type_spec for struct in info.type_info.structs.values() for member in struct.members]
    for spec in specs:
        if spec.bitstring.HasField("bit"):
            width = spec.bitstring.bit.bitwidth
            spec.CopyFrom(p4t.P4DataTypeSpec(new_type=p4t.P4NamedType(name=new_type(width))))
    return info


@pytest.mark.parametrize("program", ["everything", "metered"])
def test_widths_are_those_of_the_program(program: str) -> None:
    known = Names.of(program)
    loaded = load_program(known.device_config.decode())
    assert p4info.build(translated(known), loaded) == p4info.build(known.p4info, loaded)


def test_values_are_the_same_numbers(tmp_path: Path) -> None:
    info = tmp_path / "p4info.txtpb"
    info.write_text(text_format.MessageToString(translated(Names.of("everything"))))
    entry = {"table": "exact_table", "match": {"tag": 7}, "action_name": "EverythingIngress.forward"}
    with softswitch.load(PROGRAMS / "everything.json", info) as switch:
        switch.write({"table_entries": [entry | {"action_params": {"port": 3}}]})
        with pytest.raises(softswitch.WriteError, match="parameter 'port': 0200 does not fit bit<9>"):
            switch.write({"table_entries": [entry | {"match": {"tag": 8}, "action_params": {"port": 512}}]})


def text_of(bits: int) -> p4i.P4Info:
    """The types of this width are translated to text, which P4Info gives no width."""
    info = translated(Names.of("everything"))
    info.type_info.new_types[f"type_{bits}"].translated_type.sdn_string.SetInParent()
    for element in [
        *(parameter for action in info.actions for parameter in action.params),
        *(match for table in info.tables for match in table.match_fields),
        *(metadata for packet in info.controller_packet_metadata for metadata in packet.metadata),
    ]:
        if element.type_name.name == f"type_{bits}":
            element.bitwidth = 0
    return info


def forward(info: p4i.P4Info, tag: bytes, port: bytes) -> p4r.Entity:
    """An entry of the exact table."""
    table = next(t for t in info.tables if t.preamble.alias == "exact_table")
    action = next(a for a in info.actions if a.preamble.alias == "forward")
    entry = p4r.TableEntry(table_id=table.preamble.id)
    entry.match.add(field_id=table.match_fields[0].id).exact.value = tag
    entry.action.action.action_id = action.preamble.id
    entry.action.action.params.add(param_id=action.params[0].id, value=port)
    return p4r.Entity(table_entry=entry)


def test_text_stands_for_the_numbers_of_the_program(tmp_path: Path) -> None:
    info, made = text_of(9), tmp_path / "p4info.txtpb"
    made.write_text(text_format.MessageToString(info))
    entries = [forward(info, b"\7", b"3"), forward(info, b"\10", b"uplink"), forward(info, b"\11", b"uplink")]
    with softswitch.load(PROGRAMS / "everything.json", made) as switch:
        switch.write(entries)
        table = entries[0].table_entry.table_id
        read = switch.read(p4r.Entity(table_entry=p4r.TableEntry(table_id=table)))
        assert sorted(map(str, read)) == sorted(map(str, entries))
        assert [switch.process(1, message(0, tag=tag))[0][0] for tag in (7, 8, 9)] == [3, 256, 256]
        with pytest.raises(softswitch.WriteError, match=r"parameter 'port': 512 does not fit bit<9>"):
            switch.write([forward(info, b"\12", b"512")])


def test_names() -> None:
    known = names.Names()
    assert [known.decode(text, 2) for text in (b"a", b"0", b"b", b"a")] == [2, 0, 3, 2]
    assert [known.encode(number) for number in range(4)] == [b"0", b"1", b"a", b"b"]
    for text, reason in ((b"3", "is the number of 'b'"), (b"4", "does not fit"), (b"", "empty"), (b"\xff", "no name")):
        with pytest.raises(ValueError, match=reason):
            known.decode(text, 2)
    assert known.decode(b"c", 2) == 1
    with pytest.raises(ValueError, match="is left for 'e'"):
        known.decode(b"e", 2)
