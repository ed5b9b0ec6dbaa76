"""What P4Info has and the BMv2 JSON has not, since no packet reaches it: written and read like anything else."""

from __future__ import annotations

from pathlib import Path

import pytest
from finsy.proto import p4i, p4r
from google.protobuf import text_format

import softswitch
from tests.softswitch.native.builder import ProgramBuilder, p4info, send_to

INFO = """
tables {
  preamble { id: 0x02000010 name: "I.dead" }
  match_fields { id: 1 name: "k" bitwidth: 16 match_type: EXACT }
  match_fields { id: 2 name: "o" bitwidth: 8 match_type: OPTIONAL }
  action_refs { id: 0x01000010 }
  action_refs { id: 0x01000011 }
  const_default_action_id: 0x01000010
  initial_default_action { action_id: 0x01000010 arguments { param_id: 1 value: "\\003" } }
  direct_resource_ids: 0x13000010
  direct_resource_ids: 0x15000010
  size: 4
}
tables {
  preamble { id: 0x02000011 name: "I.indirect" }
  match_fields { id: 1 name: "k" bitwidth: 16 match_type: LPM }
  action_refs { id: 0x01000011 }
  implementation_id: 0x11000010
  size: 4
}
actions { preamble { id: 0x01000010 name: "I.forward" } params { id: 1 name: "port" bitwidth: 9 } }
actions { preamble { id: 0x01000011 name: "I.stay" } }
action_profiles { preamble { id: 0x11000010 name: "I.profile" } table_ids: 0x02000011 size: 8 with_selector: true }
direct_counters { preamble { id: 0x13000010 name: "I.hits" } spec { unit: BOTH } direct_table_id: 0x02000010 }
direct_meters { preamble { id: 0x15000010 name: "I.rate" } spec { unit: BYTES } direct_table_id: 0x02000010 }
counters { preamble { id: 0x12000010 name: "I.counter" } spec { unit: BOTH } size: 2 }
meters { preamble { id: 0x14000010 name: "I.meter" } spec { unit: PACKETS } size: 2 }
registers {
  preamble { id: 0x16000010 name: "I.register" }
  type_spec { bitstring { bit { bitwidth: 48 } } }
  size: 2
}
value_sets { preamble { id: 0x03000010 name: "P.set" } match { id: 1 bitwidth: 16 match_type: EXACT } size: 4 }
digests { preamble { id: 0x17000010 name: "digest_0" } type_spec { bitstring { bit { bitwidth: 48 } } } }
"""

INSERTED = [
    """table_entry {
      table_id: 0x02000010 priority: 5
      match { field_id: 1 exact { value: "\\007" } } match { field_id: 2 optional { value: "\\001" } }
      action { action { action_id: 0x01000010 params { param_id: 1 value: "\\002" } } }
      meter_config { cir: 10 cburst: 20 pir: 30 pburst: 40 }
    }""",
    "action_profile_member { action_profile_id: 0x11000010 member_id: 1 action { action_id: 0x01000011 } }",
    """action_profile_group {
      action_profile_id: 0x11000010 group_id: 1 members { member_id: 1 weight: 2 }
    }""",
    """table_entry {
      table_id: 0x02000011 match { field_id: 1 lpm { value: "\\001\\000" prefix_len: 8 } }
      action { action_profile_group_id: 1 }
    }""",
    "digest_entry { digest_id: 0x17000010 config { max_list_size: 9 } }",
]
MODIFIED = [
    "counter_entry { counter_id: 0x12000010 index { index: 1 } data { byte_count: 3 packet_count: 2 } }",
    """meter_entry {
      meter_id: 0x14000010 index { index: 1 } config { cir: 1 cburst: 2 pir: 3 pburst: 4 }
    }""",
    'register_entry { register_id: 0x16000010 index { index: 1 } data { bitstring: "\\022\\064" } }',
    'value_set_entry { value_set_id: 0x03000010 members { match { field_id: 1 exact { value: "\\007" } } } }',
]


def loaded(builder: ProgramBuilder, info: p4i.P4Info, folder: Path) -> softswitch.Switch:
    (folder / "made.json").write_text(builder.text())
    (folder / "made.p4info.txtpb").write_text(text_format.MessageToString(info))
    return softswitch.load(folder / "made.json", folder / "made.p4info.txtpb")


def forwarding() -> ProgramBuilder:
    builder = ProgramBuilder([("x", 8)])
    builder.action("run", [send_to(1)])
    builder.text()  # adds the table that runs it
    return builder


def test_objects_that_no_packet_reaches_are_written_and_read(tmp_path: Path) -> None:
    builder = forwarding()
    info = text_format.Merge(INFO, p4info(builder))
    with loaded(builder, info, tmp_path) as switch:
        inserted = [text_format.Parse(text, p4r.Entity()) for text in INSERTED]
        modified = [text_format.Parse(text, p4r.Entity()) for text in MODIFIED]
        switch.write([p4r.Update(type=p4r.Update.INSERT, entity=entity) for entity in inserted])
        switch.write([p4r.Update(type=p4r.Update.MODIFY, entity=entity) for entity in modified])
        asked = [text_format.Parse(text, p4r.Entity()) for text in INSERTED + MODIFIED]
        asked[3].table_entry.ClearField("action")
        asked[0].table_entry.meter_config.SetInParent()
        assert switch.read(*asked) == inserted + modified
        [default] = switch.read("table_entry { table_id: 0x02000010 is_default_action: true }")
        assert default.table_entry.action.action.params[0].value == b"\3"
        assert switch.process(1, b"\1") == [(1, b"\1")]


def test_what_stands_for_nothing_is_still_checked(tmp_path: Path) -> None:
    builder = forwarding()
    info = text_format.Merge(INFO, p4info(builder))
    info.tables[2].implementation_id = 0x11FFFFFF
    with pytest.raises(softswitch.LoadError, match=r"'I\.indirect'.*action profile"):
        loaded(builder, info, tmp_path)


@pytest.mark.parametrize("kind", ["exact", "ternary"])
def test_a_key_of_type_error_has_the_width_of_the_program(kind: str, tmp_path: Path) -> None:
    builder = ProgramBuilder([("x", 64)])
    forward, stay = builder.action("forward", [send_to(2)]), builder.action("stay", [send_to(1)])
    builder.table("t", [("standard_metadata", "parser_error", kind)], [forward, stay], stay)
    info = p4info(builder)
    info.tables[0].match_fields[0].bitwidth = 0
    with loaded(builder, info, tmp_path) as switch:
        match = p4r.FieldMatch(field_id=1, exact=p4r.FieldMatch.Exact(value=b"\1"))
        if kind == "ternary":
            match = p4r.FieldMatch(field_id=1, ternary=p4r.FieldMatch.Ternary(value=b"\1", mask=b"\xff"))
        entry = p4r.TableEntry(table_id=info.tables[0].preamble.id, match=[match], priority=int(kind == "ternary"))
        entry.action.action.action_id = info.actions[forward].preamble.id
        switch.write([p4r.Entity(table_entry=entry)])
        assert switch.process(1, b"short") == [(2, b"short")]  # PacketTooShort is error 1
        assert switch.process(1, bytes(8)) == [(1, bytes(8))]


def test_a_digest_without_a_struct_goes_by_its_name_in_the_p4info(tmp_path: Path) -> None:
    builder = ProgramBuilder([("x", 8), ("y", 16)])
    digest = {"op": "generate_digest", "parameters": [{"type": "hexstr", "value": v} for v in ("0x1", "0x2")]}
    builder.action("run", [send_to(1), digest])
    fields = [{"type": "field", "value": ["in", name]} for name in ("x", "y")]
    builder.root["learn_lists"] = [
        {"id": 1, "name": "digest", "elements": fields[:1]},
        {"id": 2, "name": "tuple_1", "elements": fields},
    ]
    builder.text()
    info = p4info(builder)
    numbers = ["bitstring { bit { bitwidth: 8 } }", "bitstring { bit { bitwidth: 16 } }"]
    pair = f"tuple {{ members {{ {numbers[0]} }} members {{ {numbers[1]} }} }}"
    for place, kind in enumerate([numbers[1], numbers[0], pair]):  # p4c has taken out the first
        text = f'digests {{ preamble {{ id: {0x17000010 + place} name: "digest_{place}" }} type_spec {{ {kind} }} }}'
        text_format.Merge(text, info)
    with loaded(builder, info, tmp_path) as switch:
        switch.process(1, b"\1\2\3")
        assert [(digest.name, digest.values) for digest in switch.digests()] == [("digest_2", (1, 0x203))]
