"""P4Data (specification, "Representation of Arbitrary P4 Types") to and from the engine's flat unsigned integers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from finsy.proto import p4d, p4t

from softswitch.p4runtime import bytestrings


class _Kind(Enum):
    BIT = "bit"
    INT = "int"
    BOOL = "bool"
    ENUM = "serializable_enum"
    STRUCT = "struct"
    TUPLE = "tuple"


@dataclass(frozen=True, slots=True)
class DataType:
    """A type of P4 as far as registers and digests use it: a scalar of `width` bits, or members in order."""

    kind: _Kind
    width: int = 0
    members: tuple[DataType, ...] = ()

    @property
    def widths(self) -> tuple[int, ...]:
        """Bits of each scalar, in the order of the flat integers."""
        if self.kind in (_Kind.STRUCT, _Kind.TUPLE):
            return tuple(width for member in self.members for width in member.widths)
        return (self.width,)


def data_type(spec: p4t.P4DataTypeSpec, types: p4t.P4TypeInfo) -> DataType:
    """Resolve a type of P4Info. Raises ValueError for one that no register or digest can have here."""
    match spec.WhichOneof("type_spec"):
        case "bitstring" if spec.bitstring.HasField("bit"):
            return DataType(_Kind.BIT, spec.bitstring.bit.bitwidth)
        case "bitstring" if spec.bitstring.HasField("int"):
            return DataType(_Kind.INT, spec.bitstring.int.bitwidth)
        case "bool":
            return DataType(_Kind.BOOL, 1)
        case "serializable_enum":
            return DataType(_Kind.ENUM, types.serializable_enums[spec.serializable_enum.name].underlying_type.bitwidth)
        case "new_type":
            return data_type(types.new_types[spec.new_type.name].original_type, types)
        case "struct":
            members = types.structs[spec.struct.name].members
            return DataType(_Kind.STRUCT, members=tuple(data_type(m.type_spec, types) for m in members))
        case "tuple":
            return DataType(_Kind.TUPLE, members=tuple(data_type(m, types) for m in spec.tuple.members))
        case other:
            raise ValueError(f"data of type {other} is not supported")


def encode(kind: DataType, values: Sequence[int]) -> p4d.P4Data:
    """The message for the flat unsigned integers `values`, one per element of `kind.widths`."""
    return _encode(kind, iter(values))


def _encode(kind: DataType, values: Iterator[int]) -> p4d.P4Data:
    match kind.kind:
        case _Kind.STRUCT:
            return p4d.P4Data(struct=p4d.P4StructLike(members=[_encode(m, values) for m in kind.members]))
        case _Kind.TUPLE:
            return p4d.P4Data(tuple=p4d.P4StructLike(members=[_encode(m, values) for m in kind.members]))
        case _Kind.BOOL:
            return p4d.P4Data(bool=bool(next(values)))
        case _Kind.ENUM:
            return p4d.P4Data(enum_value=bytestrings.encode(next(values)))
        case _Kind.INT:
            value = next(values)
            signed = value - (1 << kind.width) if value >> (kind.width - 1) else value
            return p4d.P4Data(bitstring=bytestrings.encode_signed(signed))
        case _Kind.BIT:
            return p4d.P4Data(bitstring=bytestrings.encode(next(values)))


def decode(kind: DataType, data: p4d.P4Data) -> list[int]:
    """The flat unsigned integers of a message. Raises ValueError when it does not have the type `kind`."""
    given = data.WhichOneof("data")
    match kind.kind:
        case _Kind.STRUCT | _Kind.TUPLE:
            _expect(given, kind.kind.value)
            members = data.struct.members if kind.kind is _Kind.STRUCT else data.tuple.members
            if len(members) != len(kind.members):
                raise ValueError(f"{len(members)} members where {len(kind.members)} are expected")
            return [value for m, d in zip(kind.members, members, strict=True) for value in decode(m, d)]
        case _Kind.BOOL:
            _expect(given, "bool")
            return [int(data.bool)]
        case _Kind.ENUM:
            _expect(given, "enum_value")
            return [bytestrings.decode(data.enum_value, kind.width)]
        case _Kind.INT:
            _expect(given, "bitstring")
            return [bytestrings.decode_signed(data.bitstring, kind.width) & ((1 << kind.width) - 1)]
        case _Kind.BIT:
            _expect(given, "bitstring")
            return [bytestrings.decode(data.bitstring, kind.width)]


def _expect(given: str | None, wanted: str) -> None:
    if given != wanted:
        raise ValueError(f"data is {given or 'unset'}, expected {wanted}")
