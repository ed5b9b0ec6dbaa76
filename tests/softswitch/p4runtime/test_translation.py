"""Types that P4Info has in the controller's width (`@p4runtime_translation`) are used in the program's."""

from __future__ import annotations

from pathlib import Path

import pytest
from finsy.proto import p4i, p4t
from google.protobuf import text_format
from softswitch.bmv2.loader import load_program
from softswitch.p4runtime import p4info
from softswitch.p4runtime.errors import P4RuntimeError

import softswitch
from tests.softswitch.p4runtime.client import PROGRAMS, Names

CONTROLLERS_BITS = 32


def translated(names: Names) -> p4i.P4Info:
    """The P4Info that p4c writes when each unsigned number is of a type that is translated to 32 bits, one type for
    each width of the program."""
    info = p4i.P4Info()
    info.CopyFrom(names.p4info)

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
    names = Names.of(program)
    loaded = load_program(names.device_config.decode())
    assert p4info.build(translated(names), loaded) == p4info.build(names.p4info, loaded)


def test_values_are_the_same_numbers(tmp_path: Path) -> None:
    info = tmp_path / "p4info.txtpb"
    info.write_text(text_format.MessageToString(translated(Names.of("everything"))))
    entry = {"table": "exact_table", "match": {"tag": 7}, "action_name": "EverythingIngress.forward"}
    with softswitch.load(PROGRAMS / "everything.json", info) as switch:
        switch.write({"table_entries": [entry | {"action_params": {"port": 3}}]})
        with pytest.raises(softswitch.WriteError, match="parameter 'port': 0200 does not fit bit<9>"):
            switch.write({"table_entries": [entry | {"match": {"tag": 8}, "action_params": {"port": 512}}]})


def test_text_is_refused() -> None:
    names = Names.of("everything")
    info = translated(names)
    info.type_info.new_types["type_9"].translated_type.sdn_string.SetInParent()
    with pytest.raises(P4RuntimeError, match="type 'type_9' is translated to strings"):
        p4info.build(info, load_program(names.device_config.decode()))
