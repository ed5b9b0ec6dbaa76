"""RECONCILE: a new program takes the place of the running one with the state that clients have written and the engine
has counted (specification, "SetForwardingPipelineConfig")."""

from __future__ import annotations

from softswitch.engine.carry import Alike, Carried, alike, pack
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


def carry(old: Pipeline, new: Pipeline) -> Carried:
    """Bring `new`, which is freshly loaded on an engine without packets, to the state of `old`. Returns what the
    engines have to exchange when the program of one takes the place of the other's; until then `old` goes on.

    Raises INVALID_ARGUMENT for state that does not fit the new program.
    """
    same = alike(old.compiled, new.compiled)
    whole_tables, whole_profiles = _whole(old, new, same)
    try:
        profiles.carry(old, new, whole_profiles)
        tables.carry(old, new, whole_tables)
        counters.carry(old, new, same)
        meters.carry(old, new, same)
        registers.carry(old, new, same)
        value_sets.carry(old, new)
        digests.carry(old, new)
    except P4RuntimeError as error:
        raise invalid(f"the present state does not fit the new program: {error.message}") from error
    replication.carry(old, new)
    names = [new.schema.tables[identifier].name for identifier in whole_tables]
    of_profiles = [new.schema.profiles[identifier].name for identifier in whole_profiles]
    return pack(old.compiled, new.compiled, same, names, of_profiles)


def _whole(old: Pipeline, new: Pipeline, same: Alike) -> tuple[set[int], set[int]]:
    """The tables and action profiles that are the same in both programs, to clients and to the engine. Indirect tables
    and their profile know one another's numbers, so they are taken over together or not at all."""
    alike_tables = tables.unchanged(old, new, same.tables)
    alike_profiles = {
        identifier
        for identifier, profile in new.schema.profiles.items()
        if profile.name in same.profiles and old.schema.profiles.get(identifier) == profile
    }
    others = [
        table
        for schema in (old.schema, new.schema)
        for identifier, table in schema.tables.items()
        if identifier not in alike_tables
    ]
    whole_profiles = alike_profiles - {table.profile for table in others}
    whole_tables = {
        identifier
        for identifier in alike_tables
        if new.schema.tables[identifier].profile is None or new.schema.tables[identifier].profile in whole_profiles
    }
    return whole_tables, whole_profiles
