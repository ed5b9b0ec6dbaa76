"""What users hand over as files or text: programs, P4Info, entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from finsy.proto import p4i, p4r
from google.protobuf import text_format
from grpc import StatusCode

from softswitch import named_entries
from softswitch.bmv2.source import UnsupportedProgram
from softswitch.codegen.cc import CompilerMissing
from softswitch.p4runtime.device import Device
from softswitch.p4runtime.errors import P4RuntimeError

_ENTITIES_TO_MODIFY = frozenset(
    ["counter_entry", "direct_counter_entry", "meter_entry", "direct_meter_entry", "register_entry", "value_set_entry"]
)
"""Entities that are always there: a write can only change them."""


class LoadError(Exception):
    """A program, P4Info or entries that cannot be used: one sentence that says which and why."""


class WriteError(LoadError):
    """Updates that the switch refused: `errors` has one item per update, None for those that were done."""

    def __init__(self, message: str, errors: Sequence[P4RuntimeError | None]) -> None:
        super().__init__(message)
        self.errors = tuple(errors)


def read_bytes(path: Path) -> bytes:
    """Raises LoadError."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise LoadError(f"cannot read {path}: {error.strerror}") from error


def load_program(device: Device, program: Path, p4info: Path | None) -> None:
    """Commit a program. Without its P4Info packets run, but nothing can be written or read. Raises LoadError."""
    try:
        text = read_bytes(program)
        if p4info is None:
            device.load(text.decode())
            return
        config = p4r.ForwardingPipelineConfig(p4info=_p4info(p4info), p4_device_config=text)
        device.set_pipeline(p4r.SetForwardingPipelineConfigRequest.VERIFY_AND_COMMIT, config)
    except (CompilerMissing, P4RuntimeError) as error:
        raise LoadError(f"{program}: {error}") from error
    except UnsupportedProgram as error:
        raise LoadError(f"{program}: this switch cannot run the program: {error}") from error
    except ValueError as error:
        raise LoadError(f"{program} is no BMv2 JSON: {error} (compile the program with p4c-bm2-ss)") from error


def _p4info(path: Path) -> p4i.P4Info:
    try:
        return text_format.Parse(read_bytes(path), p4i.P4Info())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise LoadError(
            f"{path} is no P4Info in text form: {error} (p4c-bm2-ss --p4runtime-files FILE.txtpb writes one)"
        ) from error


def read_entries(path: Path, info: p4i.P4Info) -> p4r.WriteRequest:
    """A file for `parse_entries`. Raises LoadError."""
    try:
        return parse_entries(read_bytes(path).decode(), info, str(path))
    except UnicodeDecodeError as error:
        raise LoadError(f"{path} is no text protobuf: {error}") from error


def parse_entries(text: str, info: p4i.P4Info, where: str = "entries") -> p4r.WriteRequest:
    """Text protobuf: a P4Runtime WriteRequest (`updates {…}`), or what a read answers (`entities {…}`): each entity is
    inserted, or modified where it exists from the start. Or JSON (`{"table_entries": […]}`), by the names of `info`.
    Raises LoadError, naming line and column, or the entry."""
    if text.lstrip().startswith("{"):
        return by_names(text, info, where)
    request, entities = p4r.WriteRequest(), p4r.ReadResponse()
    try:
        return text_format.Parse(text, request)
    except text_format.ParseError as error:
        problem = error
    try:
        text_format.Parse(text, entities)
    except text_format.ParseError as error:
        # the form that was meant is the one that was understood further
        problem = max(problem, error, key=lambda e: (e.GetLine() or 0, e.GetColumn() or 0))
        raise LoadError(
            f"{where}:{problem.GetLine()}:{problem.GetColumn()}: {_reason(problem)}; entries are a P4Runtime"
            " WriteRequest (updates {…}) or a list of entities (entities {…}) as text protobuf, or JSON by names"
        ) from problem
    return p4r.WriteRequest(updates=map(as_update, entities.entities))


def by_names(entries: str | Mapping[str, Any], info: p4i.P4Info, where: str = "entries") -> p4r.WriteRequest:
    """Tables, fields and actions by the names of `info`, as JSON or as what it says. Raises LoadError."""
    try:
        return named_entries.parse(entries, info) if isinstance(entries, str) else named_entries.read(entries, info)
    except named_entries.NameProblem as error:
        raise LoadError(f"{where}: {error}") from error


def write_file(device: Device, path: Path) -> None:
    """Write a file of entries into a device that runs a program with P4Info. Raises LoadError, WriteError."""
    write(device, read_entries(path, device.current().config.p4info), str(path))


def _reason(error: text_format.ParseError) -> str:
    text = str(error)
    return text.split(" : ", 1)[-1] if error.GetLine() else text


def as_update(entity: p4r.Entity) -> p4r.Update:
    """The update that brings an entity about."""
    kind = entity.WhichOneof("entity")
    default = kind == "table_entry" and entity.table_entry.is_default_action
    modify = default or kind in _ENTITIES_TO_MODIFY
    return p4r.Update(type=p4r.Update.MODIFY if modify else p4r.Update.INSERT, entity=entity)


def write(device: Device, request: p4r.WriteRequest, where: str = "entries") -> None:
    """Do a batch. Raises WriteError when any update was refused."""
    try:
        errors = device.write(request.updates, request.atomicity, request.SerializeToString())
    except P4RuntimeError as error:
        raise LoadError(f"{where}: {error}") from error
    failed = [(place, error) for place, error in enumerate(errors) if error is not None]
    if failed:
        # an update given up because of another is not the cause
        place, cause = next((f for f in failed if f[1].code is not StatusCode.ABORTED), failed[0])
        kind = request.updates[place].entity.WhichOneof("entity")
        more = f" ({len(failed)} of {len(errors)} updates were not done)" if len(failed) > 1 else ""
        raise WriteError(f"{where}: update {place + 1} ({kind}): {cause.code.name}: {cause.message}{more}", errors)
