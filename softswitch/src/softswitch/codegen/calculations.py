"""Hashes and checksums: inputs laid end to end, fields of invalid headers left out, then one of BMv2's algorithms."""

from __future__ import annotations

from dataclasses import dataclass

from softswitch.bmv2.expressions import FieldRef
from softswitch.bmv2.json_reader import VALID
from softswitch.bmv2.program import Calculation, CalculationInput, Program
from softswitch.bmv2.source import Source, UnsupportedProgram
from softswitch.codegen.integers import constant, low_bits, unsigned_type, word_list, words
from softswitch.codegen.layout import Layout
from softswitch.codegen.usage import is_varbit
from softswitch.codegen.wire import Wire, store

ALGORITHMS = {
    "crc32": "ss_hash_crc32",
    "crc32_custom": "ss_hash_crc32",
    "crc16": "ss_hash_crc16",
    "crc16_custom": "ss_hash_crc16",
    "crcCCITT": "ss_hash_crc_ccitt",
    "csum16": "ss_hash_csum16",
    "cksum16": "ss_hash_csum16",
    "xor16": "ss_hash_xor16",
    "xor32": "ss_hash_xor32",
    "identity": "ss_hash_identity",
}
"""BMv2's name to the function in runtime/hash.h. The custom checksums have the standard polynomials: nothing in
P4Runtime can change them."""


@dataclass(frozen=True)
class Run:
    """Inputs that are present or absent together."""

    header: str | None
    inputs: tuple[CalculationInput, ...]

    @property
    def width(self) -> int:
        """Bits that are always there."""
        return sum(i.width for i in self.inputs)


class CalculationWriter:
    """Writes `static uint64_t <name>(const struct phv *p)` for each calculation."""

    def __init__(self, program: Program, layout: Layout) -> None:
        self.program = program
        self.layout = layout
        self.wire = Wire(layout)

    def name(self, calculation: str) -> str:
        """The C function of a calculation."""
        return self.layout.identifiers.get("calculate_", calculation)

    def functions(self) -> list[str]:
        """All of them."""
        return [line for c in self.program.calculations.values() for line in self._function(c)]

    def _function(self, calculation: Calculation) -> list[str]:
        if calculation.algorithm not in ALGORITHMS:
            raise UnsupportedProgram(f"hash algorithm {calculation.algorithm!r}", calculation.source)
        if self._is_sum(calculation):
            return self._sum(calculation)
        payload = any(i.kind == "payload" for i in calculation.inputs)
        runs = self._runs([i for i in calculation.inputs if i.kind != "payload"])
        size = sum((r.width + 7) // 8 + self._varbit_room(r) for r in runs) + 8
        room = f"{size} + (size_t)p->base.payload_length" if payload else str(size)
        lines = [f"static uint64_t {self.name(calculation.name)}(const struct phv *p)", "{"]
        lines += [f"    uint8_t buffer[{room}];", "    uint8_t *q = buffer;"]
        whole = all(r.width % 8 == 0 for r in runs[:-1])
        if not whole:
            lines += ["    unsigned at = 0;", f"    memset(buffer, 0, {size});"]
        for run in runs:
            body = self._bytes(run) if whole else self._bits(run, calculation.source)
            guard = self._guard(run.header)
            lines += (
                [f"    if ({guard}) {{", *[f"        {b}" for b in body], "    }"]
                if guard
                else [f"    {b}" for b in body]
            )
        if not whole:
            lines.append("    q = buffer + (at + 7) / 8;")
        if payload:
            # BMv2 looks at no more of the payload than will leave
            lines += [
                "    size_t payload = p->base.payload_length;",
                "    if (payload > p->base.truncate)",
                "        payload = p->base.truncate;",
                "    memcpy(q, p->base.payload, payload);",
                "    q += payload;",
            ]
        lines += [f"    return {ALGORITHMS[calculation.algorithm]}(buffer, (size_t)(q - buffer));", "}"]
        return lines

    def _is_sum(self, calculation: Calculation) -> bool:
        """Whether each header's fields make up whole 16-bit words of an Internet checksum, whatever else is there."""
        return ALGORITHMS[calculation.algorithm] == "ss_hash_csum16" and all(
            run.width % 16 == 0
            and all(i.kind != "payload" and not i.header and i.width <= 128 for i in run.inputs)
            and not self._varbit(run)
            for run in self._runs(list(calculation.inputs))
        )

    def _sum(self, calculation: Calculation) -> list[str]:
        lines = [f"static uint64_t {self.name(calculation.name)}(const struct phv *p)", "{", "    uint64_t sum = 0;"]
        for run in self._runs(list(calculation.inputs)):
            guard, end = self._guard(run.header), 0
            lines.append(f"    if ({guard}) {{" if guard else "    {")
            for item in run.inputs:
                end += item.width
                value = self._value(item)
                if item.field is not None and self.layout.field_info(item.field).signed:
                    value = low_bits(f"({unsigned_type(item.width)}){value}", item.width)
                lines.append(f"        sum = ss_csum16_add(sum, {value}, {-end % 16});")
            lines.append("    }")
        return [*lines, "    return ss_csum16_end(sum);", "}"]

    def _varbit_room(self, run: Run) -> int:
        if not run.inputs[0].header:
            return 0
        header_type = self.program.headers[run.inputs[0].header].type
        return sum((f.width + 7) // 8 for f in header_type.fields if f.varbit)

    def _varbit(self, run: Run) -> bool:
        field = run.inputs[0].field
        return field is not None and is_varbit(self.program, field)

    def _guard(self, header: str | None) -> str:
        if header is None or self.program.headers[header].metadata:
            return ""
        return f"{self.layout.header(header)}.valid"

    def _runs(self, inputs: list[CalculationInput]) -> list[Run]:
        runs: list[Run] = []
        for item in inputs:
            header = item.header or (item.field.header if item.field else None)
            joins = runs and runs[-1].header == header and not runs[-1].inputs[0].header and not self._varbit(runs[-1])
            if joins and not item.header and not self._varbit(Run(header, (item,))):
                runs[-1] = Run(header, (*runs[-1].inputs, item))
            else:
                runs.append(Run(header, (item,)))
        return runs

    def _value(self, item: CalculationInput) -> str:
        if item.field is None:
            if item.width > 128:
                return word_list(item.value, words(item.width))
            return constant(item.value, unsigned_type(item.width))
        if item.field.field == VALID:
            return f"(uint64_t){self.layout.field(FieldRef(item.field.header, VALID))}"
        return self.layout.field(item.field)

    def _bytes(self, run: Run) -> list[str]:
        """Stores at offsets known now: everything before is whole bytes."""
        if run.inputs[0].header:
            header_type = self.program.headers[run.inputs[0].header].type
            text = self.layout.header(run.inputs[0].header)
            return [*self.wire.emit(text, header_type, "q"), f"q += {self.wire.length(text, header_type)};"]
        if self._varbit(run):
            return self._varbit_bytes(run)
        lines, offset = [], 0
        if any(i.width % 8 for i in run.inputs):
            lines.append(f"memset(q, 0, {(run.width + 7) // 8});")
        for item in run.inputs:
            lines.append(store("q", offset, item.width, self._value(item)))
            offset += item.width
        return [*lines, f"q += {(run.width + 7) // 8};"]

    def _varbit_bytes(self, run: Run) -> list[str]:
        """A varbit field as it was received."""
        assert run.header is not None
        header_type, text = self.program.headers[run.header].type, self.layout.header(run.header)
        if self.layout.varbit(header_type):
            return [f"if ({text}.varbit) memcpy(q, {text}.variable, {text}.varbit);", f"q += {text}.varbit;"]
        if self.program.headers[run.header].metadata:
            return []  # never assigned: empty
        before = self.wire.varbit_offset(header_type)
        return [f"if ({text}.raw) memcpy(q, {text}.raw + {before}, {text}.varbit);", f"q += {text}.varbit;"]

    def _bits(self, run: Run, source: Source | None) -> list[str]:
        """Stores at a running bit offset."""
        if run.inputs[0].header or self._varbit(run):
            raise UnsupportedProgram("hash of a whole header or varbit field off a byte boundary", source)
        lines = []
        for item in run.inputs:
            if item.width > 128:
                lines.append(f"ss_wide_store(buffer, at, {item.width}, {self._value(item)});")
            else:
                lines.append(f"ss_store_bits(buffer, at, {item.width}, (u128){self._value(item)});")
            lines.append(f"at += {item.width};")
        return lines
