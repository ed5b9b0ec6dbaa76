"""Registers (specification, "RegisterEntry")."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from finsy.proto import p4r

from softswitch.engine.abi import Array
from softswitch.engine.carry import Alike
from softswitch.p4runtime.data import decode, encode
from softswitch.p4runtime.entities.cells import by_id, cells, find, select_cells
from softswitch.p4runtime.entities.effect import Effect, only_modify
from softswitch.p4runtime.errors import invalid
from softswitch.p4runtime.schema import Register

if TYPE_CHECKING:
    from softswitch.p4runtime.pipeline import Pipeline


def stage(pipeline: Pipeline, kind: int, message: p4r.RegisterEntry) -> Effect:
    """Set one cell of a register, or all. Raises P4RuntimeError."""
    register = find("register", pipeline.schema.registers, message.register_id)
    what = f"register {register.name!r}"
    only_modify(kind, what)
    where = cells(what, register.size, message)
    try:
        values = decode(register.type, message.data)
    except ValueError as error:
        raise invalid(f"{what}: {error}") from error
    engine, name = pipeline.engine, register.name

    def perform() -> Callable[[], None]:
        put_back = engine.keep_cells(Array.REGISTERS, name, where.start, len(where))
        engine.write_registers(name, where.start, values, len(where))
        return put_back

    return Effect(perform)


def select(pipeline: Pipeline, request: p4r.RegisterEntry) -> Iterable[p4r.Entity]:
    """The cells that a read asks for. Raises P4RuntimeError."""
    wanted = by_id("register", pipeline.schema.registers, request.register_id)
    return select_cells("register", wanted, request, pipeline.engine.take_registers, _cell)


def carry(old: Pipeline, new: Pipeline, same: Alike) -> None:
    """Give registers that the new program has in another shape what the old ones hold. Raises INVALID_ARGUMENT for
    what does not fit."""
    for register in old.schema.registers.values():
        if register.name in same.registers:
            continue
        for block in old.engine.used_blocks(Array.REGISTERS, register.name, register.size):
            values = old.engine.take_registers(register.name, block.start, len(block))
            for index, value in zip(block, values, strict=True):
                if value:
                    stage(new, p4r.Update.MODIFY, _cell(register, index, value).register_entry).perform()


def _cell(register: Register, index: int, value: int) -> p4r.Entity:
    data = encode(register.type, (value,))
    message = p4r.RegisterEntry(register_id=register.id, index=p4r.Index(index=index), data=data)
    return p4r.Entity(register_entry=message)
