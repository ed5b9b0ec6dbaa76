"""Fields as bytes: loads from a received header, stores into one that leaves."""

from __future__ import annotations

from softswitch.bmv2.program import Field, HeaderType
from softswitch.bmv2.source import UnsupportedProgram
from softswitch.codegen.integers import sign, write
from softswitch.codegen.layout import Layout


def load(base: str, offset: int, width: int, signed: bool = False) -> str:
    """C text, of type `unsigned_type(width)` unless signed, of the `width` bits at bit `offset` behind `base`."""
    if width > 128:
        text = f"ss_wide_load({base}, {offset}, {width})"
        return sign(text, width) if signed else text
    first, last = offset // 8, (offset + width - 1) // 8
    count, below = last - first + 1, (last + 1) * 8 - offset - width
    if count > 8:
        text = f"ss_load_bits({base}, {offset}, {width})"
        return f"ss_sign128({text}, {width})" if signed else text
    text = f"ss_load({base} + {first}, {count})"
    if below:
        text = f"({text} >> {below})"
    if signed:
        return f"ss_sign64({text}, {width})"
    if count * 8 - below != width:
        text = f"({text} & {(1 << width) - 1:#x}u)"
    return text


def store(base: str, offset: int, width: int, value: str) -> str:
    """C statement that writes the low bits of `value`; beyond 128 bits that is an array of words."""
    if width > 128:
        return f"ss_wide_store({base}, {offset}, {width}, {value});"
    if offset % 8 == 0 and width % 8 == 0 and width <= 64:
        return f"ss_store({base} + {offset // 8}, (uint64_t){value}, {width // 8});"
    return f"ss_store_bits({base}, {offset}, {width}, (u128){value});"


class Wire:
    """Extraction and emission of whole headers."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def check(self, header_type: HeaderType) -> None:
        """A header on the wire is whole bytes."""
        if header_type.width % 8:
            raise UnsupportedProgram(
                f"header {header_type.name!r} of {header_type.width} bits, not whole bytes",
                self.layout.place(header_type),
            )

    def extract(self, header: str, header_type: HeaderType, base: str) -> list[str]:
        """Statements that load every stored field of the header at `base`; a varbit's length is set already."""
        lines = [f"{header}.raw = {base};", f"{header}.valid = 1;"]
        for field, offset, pointer in self._positions(header, header_type, base):
            text = load(pointer, offset, field.width, field.signed)
            lines.append(write(f"{header}.{self.layout.member(field)}", field, text))
        if self.layout.varbit(header_type):
            lines.append(f"{header}.variable = {base} + {self.varbit_offset(header_type)};")
        return lines

    def varbit_offset(self, header_type: HeaderType) -> int:
        """Bytes before the varbit field."""
        bits = 0
        for field in header_type.fields:
            if field.varbit:
                break
            bits += field.width
        if bits % 8:
            text = f"varbit field of header type {header_type.name!r} off a byte boundary"
            raise UnsupportedProgram(text, self.layout.place(header_type))
        return bits // 8

    def _positions(
        self, header: str, header_type: HeaderType, base: str, written_only: bool = False
    ) -> list[tuple[Field, int, str]]:
        positions, offset, pointer = [], 0, base
        stored = {f.name for f in self.layout.stored(header_type)}
        for field in header_type.fields:
            if field.varbit:
                self.varbit_offset(header_type)
                pointer = f"({base} + {header}.varbit)"
                continue
            wanted = field.name in stored and (not written_only or self.layout.is_written(header_type, field))
            if wanted:
                positions.append((field, offset, pointer))
            offset += field.width
        return positions

    def length(self, header: str, header_type: HeaderType) -> str:
        """C text of a valid header's bytes."""
        fixed = header_type.width // 8
        return f"({fixed} + {header}.varbit)" if any(f.varbit for f in header_type.fields) else str(fixed)

    def emit(self, header: str, header_type: HeaderType, base: str) -> list[str]:
        """Statements that write a header: its bytes as received, over them what the program may have changed."""
        length = self.length(header, header_type)
        varbit = self.layout.varbit(header_type)
        made = varbit is not None and self.layout.is_written(header_type, varbit)
        lines = (
            [
                f"memset({base}, 0, {length});",
                f"if ({header}.varbit)",
                f"    memcpy({base} + {self.varbit_offset(header_type)}, {header}.variable, {header}.varbit);",
            ]
            if made
            else [
                f"if ({header}.raw)",
                f"    memcpy({base}, {header}.raw, {length});",
                "else",
                f"    memset({base}, 0, {length});",
            ]
        )
        for field, offset, pointer in self._positions(header, header_type, base, written_only=True):
            lines.append(store(pointer, offset, field.width, f"{header}.{self.layout.member(field)}"))
        return lines
