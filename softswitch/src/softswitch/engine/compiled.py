"""A program made ready to run: read, checked, turned into C and compiled."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from softswitch.bmv2.loader import load_program
from softswitch.bmv2.program import Program
from softswitch.bmv2.source import UnsupportedProgram
from softswitch.codegen.cc import Compiler
from softswitch.codegen.program import generate
from softswitch.engine.addresses import Formats
from softswitch.engine.packing import Codecs, TableCodec, codecs

Prepare = Callable[[Program], Program]
"""What becomes of a program between its text and its C; raises what refuses it."""


def as_it_is(program: Program) -> Program:
    """No preparation."""
    return program


@dataclass(frozen=True)
class Compiled:
    """A compiled program and by which numbers the runtime knows what it has. `counters` and `meters` are the indirect
    ones; each maps a full name to a number."""

    program: Program
    library: Path
    codecs: Codecs
    counters: dict[str, int]
    meters: dict[str, int]
    registers: dict[str, int]
    initial: tuple[bytes, ...]
    """Packed operations: the default actions and entries that the program gives its tables."""
    formats: Formats = field(default_factory=dict)
    """What its P4Info says of how a trace is to write values."""


def compile_program(bmv2_json: str, prepare: Prepare, compiler: Compiler) -> Compiled:
    """Raises what `prepare` raises, UnsupportedProgram, ValueError for text that is not BMv2 JSON, CompilerMissing."""
    program = prepare(load_program(bmv2_json))
    generated = generate(program)
    known = codecs(program, generated.tables, generated.value_sets)
    initial = tuple(operation for codec in known.tables.values() for operation in _initial(codec))
    return Compiled(
        program=program,
        library=compiler.program(generated.text),
        codecs=known,
        counters=_numbered(counter.name for counter in program.counters.values() if counter.table is None),
        meters=_numbered(meter.name for meter in program.meters.values() if meter.table is None),
        registers=_numbered(program.registers),
        initial=initial,
    )


def _initial(codec: TableCodec) -> list[bytes]:
    try:
        return codec.initial()
    except ValueError as error:
        raise UnsupportedProgram(str(error), codec.table.source) from error


def _numbered(names: Iterable[str]) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}
