"""Calls of p4-utils' P4Runtime API (`SimpleSwitchP4RuntimeAPI`), as its exercises make them. Runs where p4-utils can be
imported: ``python p4utils_calls.py PORT FOLDER_OF_PROGRAMS``; prints what each came to as JSON, one a line.

The API prints what goes wrong and returns None; a device without a pipeline has to say so, or it never pushes one.
"""

import sys
from pathlib import Path

from p4utils.utils.sswitch_p4runtime_API import SimpleSwitchP4RuntimeAPI
from p4utils_attempts import attempt

RATES = [(1000, 100), (2000, 200)]


def connect(port, folder, program):
    """The API on a switch; it pushes the program when there is none."""
    p4info, compiled = folder / f"{program}.p4info.txtpb", folder / f"{program}.json"
    return SimpleSwitchP4RuntimeAPI(1, port, "127.0.0.1", str(p4info), str(compiled))


def tables(api):
    """Entries, default entries, their counters."""
    exact, keyless = (f"EverythingIngress.{n}_table" for n in ("exact", "keyless"))
    forward = "EverythingIngress.forward"
    yield "table_add", lambda: api.table_add(exact, forward, ["5"], ["3"]) is True
    yield "table_modify_match", lambda: api.table_modify_match(exact, forward, ["5"], ["4"]) is True
    yield (
        "direct_counter_write",
        lambda: api.direct_counter_write("EverythingIngress.exact_counter", ["5"], pkts=3, byts=99) is True,
    )
    yield "direct_counter_read", lambda: api.direct_counter_read("EverythingIngress.exact_counter", ["5"]) == (99, 3)
    yield "table_set_default", lambda: api.table_set_default(keyless, forward, ["6"]) is True
    yield "table_reset_default", lambda: api.table_reset_default(keyless) is True
    yield "table_delete_match", lambda: api.table_delete_match(exact, ["5"]) is True


def counters(api):
    """Cells of a counter."""
    yield "counter_write", lambda: api.counter_write("EverythingIngress.by_kind", 3, pkts=2, byts=200) is True
    yield "counter_read", lambda: api.counter_read("EverythingIngress.by_kind", 3) == (200, 2)
    yield (
        "counter_reset",
        lambda: (
            api.counter_reset("EverythingIngress.by_kind") is True
            and api.counter_read("EverythingIngress.by_kind", 3) == (0, 0)
        ),
    )


def replication(api):
    """Multicast groups, clone sessions."""
    yield "mc_mgrp_create", lambda: api.mc_mgrp_create(7, ports=[1, 2], instances=[1, 1]) is True
    yield "mc_set_replicas", lambda: api.mc_set_replicas(7, ports=[1, 2, 3]) is True
    yield "mc_get_replicas", lambda: api.mc_get_replicas(7) == ([1, 2, 3], [0, 0, 0])
    yield "mc_mgrp_destroy", lambda: api.mc_mgrp_destroy(7) is True
    yield "cs_create", lambda: api.cs_create(9, ports=[3]) is True
    yield "cs_get_replicas", lambda: api.cs_get_replicas(9)[0] == [3]
    yield "cs_set_replicas", lambda: api.cs_set_replicas(9, ports=[4]) is True
    yield "cs_destroy", lambda: api.cs_destroy(9) is True


def digests(api):
    """Digests."""
    yield "digest_enable", lambda: api.digest_enable("seen_t", 10**6, 5, 10**9) is True
    yield "digest_get_conf", lambda: api.digest_get_conf("seen_t") == (10**6, 5, 10**9)
    yield "digest_set_conf", lambda: api.digest_set_conf("seen_t", 10**6, 1, 10**9) is True
    yield "get_digest_list", lambda: api.get_digest_list(timeout=0.1) is None


def meters(api):
    """Priorities; meters, direct ones too."""
    yield "table_add with priority", lambda: api.table_add("I.ageing", "I.answer", ["4&&&6"], ["3"], prio=4) is True
    yield "table_clear", lambda: api.table_clear("I.ageing") is True
    yield "meter_set_rates", lambda: api.meter_set_rates("I.by_packets", 1, RATES) is True
    yield "meter_get_rates", lambda: api.meter_get_rates("I.by_packets", 1) == RATES
    yield "meter_array_set_rates", lambda: api.meter_array_set_rates("I.by_bytes", RATES) is True
    yield "table_add with a meter", lambda: api.table_add("I.metered", "I.mark", ["5"], ["1"], rates=RATES) is True
    yield "direct_meter_get_rates", lambda: api.direct_meter_get_rates("I.own", ["5"]) == RATES
    yield "direct_meter_set_rates", lambda: api.direct_meter_set_rates("I.own", ["5"], rates=RATES) is True
    yield "direct_meter_array_set_rates", lambda: api.direct_meter_array_set_rates("I.own", RATES) is True


def main():
    """Each call in turn."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    api = attempt("connects to an empty switch and pushes", lambda: connect(port, folder, "everything"))
    if api is None:
        return
    for part in (tables, counters, replication, digests):
        for name, call in part(api):
            attempt(name, call)
    api.teardown()
    again = attempt("connects to a running switch and leaves its pipeline", lambda: connect(port, folder, "everything"))
    if again is None:
        return
    again.p4rt_path, again.json_path = (str(folder / f"metered.{suffix}") for suffix in ("p4info.txtpb", "json"))
    attempt("reset_state pushes anew", lambda: again.reset_state() is None)
    for name, call in meters(again):
        attempt(name, call)
    again.teardown()


main()
