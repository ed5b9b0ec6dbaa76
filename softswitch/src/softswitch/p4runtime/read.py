"""Read: snapshots of what clients wrote and what the engine counted (specification, "Read RPC")."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from finsy.proto import p4r

from softswitch.p4runtime.allowance import Allowance
from softswitch.p4runtime.entities import (
    counters,
    digests,
    meters,
    profiles,
    registers,
    replication,
    tables,
    value_sets,
)
from softswitch.p4runtime.errors import P4RuntimeError, invalid
from softswitch.p4runtime.pipeline import Pipeline

MAX_MESSAGE_BYTES = 1 << 18
"""A response message is closed once it holds this much: well below gRPC's usual limit of 4 MB, and made in a time that
others can wait."""


def read(
    pipeline: Pipeline, requests: Sequence[p4r.Entity]
) -> tuple[Iterator[p4r.ReadResponse], list[P4RuntimeError | None]]:
    """Take what a batch of requests asks for. Returns the responses, in messages of bounded size and made as they
    are asked for, and one result per request, None for success.

    The responses show the state at the time of this call, whatever is written while they are consumed.
    """
    selected: list[Iterable[p4r.Entity]] = []
    errors: list[P4RuntimeError | None] = []
    allowance = Allowance(pipeline)
    for request in requests:
        try:
            allowance.cells(request)
            allowance.entries(request)
            selected.append(_select(pipeline, request))
            errors.append(None)
        except P4RuntimeError as error:
            errors.append(error.as_result())
    return _responses(entity for entities in selected for entity in entities), errors


def _responses(entities: Iterable[p4r.Entity]) -> Iterator[p4r.ReadResponse]:
    response, octets = p4r.ReadResponse(), 0
    for entity in entities:
        response.entities.append(entity)
        octets += entity.ByteSize()
        if octets >= MAX_MESSAGE_BYTES:
            yield response
            response, octets = p4r.ReadResponse(), 0
    if octets:
        yield response


def _select(pipeline: Pipeline, request: p4r.Entity) -> Iterable[p4r.Entity]:
    """The entities of one request. State is taken before this returns; messages are made later."""
    match request.WhichOneof("entity"):
        case "table_entry":
            return tables.select(pipeline, request.table_entry)
        case "counter_entry":
            return counters.select(pipeline, request.counter_entry)
        case "direct_counter_entry":
            return counters.select_direct(pipeline, request.direct_counter_entry)
        case "action_profile_member":
            return profiles.select_members(pipeline, request.action_profile_member)
        case "action_profile_group":
            return profiles.select_groups(pipeline, request.action_profile_group)
        case "meter_entry":
            return meters.select(pipeline, request.meter_entry)
        case "direct_meter_entry":
            return meters.select_direct(pipeline, request.direct_meter_entry)
        case "value_set_entry":
            return value_sets.select(pipeline, request.value_set_entry)
        case "register_entry":
            return registers.select(pipeline, request.register_entry)
        case "packet_replication_engine_entry":
            return replication.select(pipeline, request.packet_replication_engine_entry)
        case "digest_entry":
            return digests.select(pipeline, request.digest_entry)
        case "extern_entry":
            # a program with externs is refused when it is pushed, so a wildcard read finds none
            if request.extern_entry.extern_type_id:
                raise invalid(f"no extern has id {request.extern_entry.extern_type_id}")
            return ()
        case _:
            raise invalid("entity is not set")
