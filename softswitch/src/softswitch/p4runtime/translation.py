"""Types that are translated between controller and device: `@p4runtime_translation` (specification, "User-defined
types").

P4Info has the controller's width of them. The device's values are the same numbers here: what does not fit the width of
the program is refused like any other value. For text see `names.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

from finsy.proto import p4i, p4t

from softswitch.bmv2.program import Program
from softswitch.p4runtime.names import Names


def as_on_the_device(p4info: p4i.P4Info, program: Program) -> p4i.P4Info:
    """P4Info with the widths that `program` has."""
    translated = {n for n, t in p4info.type_info.new_types.items() if t.HasField("translated_type")}
    if not translated:
        return p4info
    native = p4i.P4Info()
    native.CopyFrom(p4info)
    for element, width in _elements(native, program):
        if element.type_name.name in translated:
            element.bitwidth = width
    for name, width in _members(native, program):
        if name in translated:
            native.type_info.new_types[name].original_type.bitstring.bit.bitwidth = width
    return native


def named(p4info: p4i.P4Info) -> dict[str, Names]:
    """The types that are translated to text, with no names yet."""
    types = p4info.type_info.new_types.items()
    return {name: Names() for name, new_type in types if new_type.translated_type.HasField("sdn_string")}


_Element: TypeAlias = p4i.Action.Param | p4i.MatchField | p4i.ControllerPacketMetadata.Metadata


def _elements(p4info: p4i.P4Info, program: Program) -> Iterator[tuple[_Element, int]]:
    """Parameters, key fields and packet metadata, each with its width in the program."""
    actions = {action.name: action for action in program.actions.values()}
    for described in p4info.actions:
        if (action := actions.get(described.preamble.name)) is not None:
            yield from zip(described.params, (p.width for p in action.parameters), strict=False)
    for table in p4info.tables:
        if (keyed := program.tables.get(table.preamble.name)) is not None:
            yield from zip(table.match_fields, (key.width for key in keyed.keys), strict=False)
    for value_set in p4info.value_sets:
        known = program.value_sets.get(value_set.preamble.name)
        if known is not None and len(value_set.match) == 1:
            yield value_set.match[0], known.width
    for packet in p4info.controller_packet_metadata:
        widths = _header_widths([metadata.name for metadata in packet.metadata], program)
        yield from zip(packet.metadata, widths, strict=False)


def _header_widths(names: list[str], program: Program) -> Iterable[int]:
    """P4Info does not say which header carries packet metadata: it is the one with these fields."""
    for header_type in program.header_types.values():
        fields = [field for field in header_type.fields if not field.name.startswith("_padding")]
        if [field.name for field in fields] == names:
            return [field.width for field in fields]
    return []


def _members(p4info: p4i.P4Info, program: Program) -> Iterator[tuple[str, int]]:
    """Names of the new types in digests and registers, with the widths of those members in the program."""
    learned = {learn.name: learn.widths for learn in program.learn_lists.values()}
    for digest in p4info.digests:
        leaves = _leaves(digest.type_spec, p4info.type_info)
        yield from zip(leaves, learned.get(digest.preamble.name, ()), strict=False)
    for register in p4info.registers:
        if (array := program.registers.get(register.preamble.name)) is not None:
            yield from zip(_leaves(register.type_spec, p4info.type_info), [array.width], strict=False)


def _leaves(spec: p4t.P4DataTypeSpec, types: p4t.P4TypeInfo) -> list[str]:
    """The new type of each scalar, empty where it has none."""
    match spec.WhichOneof("type_spec"):
        case "struct":
            return [leaf for m in types.structs[spec.struct.name].members for leaf in _leaves(m.type_spec, types)]
        case "tuple":
            return [leaf for member in spec.tuple.members for leaf in _leaves(member, types)]
        case "new_type":
            return [spec.new_type.name]
        case _:
            return [""]
